// The tokens of a group of lanes as decisions of a range coder, and back: coding 2 (formats/coding-v2.md).
//
// Every token is a path in the tree of the vocabulary's bytes: bits of the next byte, and whether the token goes
// on. The counts of the ensemble say how likely each step is; the learner, which sees the text as bytes, corrects
// that. One learner and one coder serve all lanes, in the order in which the caller hands them in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "learner/fixed.hpp"
#include "learner/range_coder.hpp"
#include "learner/vocabulary.hpp"

namespace nacrith {

// Codes single tokens. counts: of all ids, at least 1 each, of sum 2^24.
class TokenCoder {
public:
    virtual ~TokenCoder() = default;
    virtual void encode(size_t lane, int32_t token, const float *counts, RangeEncoder &out) = 0;
    // Damaged input gives wrong tokens. Throws std::length_error for a text of more than 2^26 bytes.
    virtual int32_t decode(size_t lane, const float *counts, RangeDecoder &in) = 0;
    // Learns a token that the reader knows: as `encode`, but nothing is written.
    virtual void learn(size_t lane, int32_t token, const float *counts) = 0;
};

// bits: log2 of the bytes of the learner's histories. lanes: how many, 1..kMostLanes.
constexpr size_t kMostLanes = 64;
using MakeCoder = std::unique_ptr<TokenCoder> (*)(std::shared_ptr<const Vocabulary>, const Fixed &, int bits,
                                                  size_t lanes);

std::unique_ptr<TokenCoder> make_coder_portable(std::shared_ptr<const Vocabulary>, const Fixed &, int, size_t);
#ifdef NACRITH_AVX2
std::unique_ptr<TokenCoder> make_coder_avx2(std::shared_ptr<const Vocabulary>, const Fixed &, int, size_t);
#endif

// For a set of kernels of the engine, by its name.
std::unique_ptr<TokenCoder> make_coder(std::shared_ptr<const Vocabulary>, const Fixed &, int bits, size_t lanes,
                                       const std::string &kernels);

}  // namespace nacrith
