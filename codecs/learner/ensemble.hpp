// The state of one block's predictors, and the counts that they and the model make: set 0 is the model
// alone (nacrith/coder/cdf.py), set 1 the cascade with the bias head (nacrith/predictors). See nacrith.h.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/buffer.hpp"
#include "engine/kernels.hpp"
#include "learner/cascade.hpp"

namespace nacrith {

class Ensemble {
public:
    Ensemble(int32_t set, int64_t vocab, int64_t capacity, const int64_t *lg, const int64_t *exp,
             const uint8_t *prior, int64_t prior_bytes, const Kernels &kernels);

    void counts(int32_t previous, const int32_t *row, float *counts);
    void encode(int64_t n, const int32_t *rows, const int32_t *tokens, uint32_t *low, uint32_t *count);

private:
    template <class Body>
    void guarded(const Body &body);
    void check(int32_t token) const;
    int64_t distribute(const int32_t *row, int64_t split, float *counts);
    void update(int32_t token);
    void learn_bias(int32_t token);

    const Kernels &kernels_;
    int64_t vocab_;
    std::optional<Cascade> cascade_;
    bool given_ = false;   // counts, that no token came under yet
    bool broken_ = false;  // by an error halfway

    // All of the vocabulary's size. The distribution of model and bias, x in fixed-point log2:
    Buffer<int32_t> x_;
    Buffer<float> weights_;
    int64_t total_ = 0;
    // The bias head; `shift` is the bias rounded, below 2^30 for a block of at most 2^27 tokens.
    Buffer<float> bias_, squares_;
    Buffer<int32_t> shift_, likely_;
    Buffer<float> scratch_;
};

}  // namespace nacrith
