// The sets of kernels that this processor can run, and whether they may be trusted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/kernels.hpp"

namespace nacrith {

// Those of this build whose instructions the processor and the operating system have, best first; the
// portable ones are the last.
std::vector<const Kernels *> runnable_kernels();

// The same without those that are not faithful, found out once: a kernel that was compiled wrongly, or runs
// on a processor that computes wrongly, must never write an archive.
const std::vector<const Kernels *> &trusted_kernels();

// Whether the kernels answer a few questions as the portable ones do. Takes about a millisecond.
bool faithful(const Kernels &kernels);

// What the kernels answer to the question of number `seed`, as bytes. Questions are shapes and values, the
// extreme ones among them; `size` bounds the shapes: rows and columns of about that many.
std::string answers(const Kernels &kernels, uint64_t seed, int64_t size);

// The first part of a question that two sets answer differently; nullptr if there is none.
const char *difference(const Kernels &a, const Kernels &b, uint64_t seed, int64_t size);

}  // namespace nacrith
