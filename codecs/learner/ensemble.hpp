// The state of a group's predictors, and the counts that they and the model make: set 0 is the model
// alone (nacrith/coder/cdf.py), set 1 the cascade with the bias head (nacrith/predictors). See nacrith.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/kernels.hpp"
#include "learner/cascade.hpp"

namespace nacrith {

class Ensemble {
public:
    // lengths: tokens of each lane. The other arguments: see nacrith_group_create.
    Ensemble(int32_t set, int64_t vocab, int64_t capacity, const int64_t *lg, const int64_t *exp,
             const uint8_t *prior, int64_t prior_bytes, const std::vector<int64_t> &lengths, const Kernels &kernels);

    // The counts of the next token of a lane, which sum to 2^24, given the model's row for it.
    void counts(size_t lane, const int32_t *row, float *counts);
    // The token that came under the counts given last.
    void update(int32_t token);

private:
    void learn_bias(int32_t token);

    const Kernels &kernels_;
    int64_t vocab_;
    std::optional<Cascade> cascade_;

    // All of the vocabulary's size. The distribution of model and bias, x in fixed-point log2:
    Buffer<int32_t> x_;
    Buffer<float> weights_;
    int64_t total_ = 0;
    // The bias head; `shift` is the bias rounded, below 2^30 for a block of at most 2^27 tokens.
    Buffer<float> bias_, squares_;
    Buffer<int32_t> shift_, likely_;
};

}  // namespace nacrith
