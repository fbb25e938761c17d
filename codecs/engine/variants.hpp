// The sets of kernels that this processor can run, and a check of their results.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/kernels.hpp"

namespace nacrith {

// The sets of this build that the processor and the operating system support, best first; the portable set is
// the last.
std::vector<const Kernels *> runnable_kernels();

// The same without the sets that fail the check, which runs once: a kernel that was miscompiled, or that runs on
// a faulty processor, must never write an archive.
const std::vector<const Kernels *> &trusted_kernels();

// Whether a set computes a few test cases as the portable set does. Takes about two milliseconds.
bool faithful(const Kernels &kernels);

// The results of a set for the test case of number `seed`, as bytes. Test cases are random shapes and values,
// with extreme ones among them; rows and columns are about `size` at most.
std::string answers(const Kernels &kernels, uint64_t seed, int64_t size);

// The first part of a test case for which two sets differ; nullptr if there is none.
const char *difference(const Kernels &a, const Kernels &b, uint64_t seed, int64_t size);

}  // namespace nacrith
