// The model's prediction with a bias learnt for each node of its tokens: what it over- or underrates here.
//
// logit = stretch(model) + b, with one b for each context and node; b follows the error as in logistic
// regression. It is the paper's log-space bias head taken to the decisions of coding 2: a token that the model
// holds for rare and the text does not becomes likelier wherever the model considers it.
#pragma once

#include "mixer.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {
#ifndef TUNE
#define TUNE(name, value) constexpr int name = value
#endif
TUNE(kBiasRate, 3000); TUNE(kBiasMost, 30); TUNE(kBiasLast,24);

class Bias {
public:
    static constexpr int kBits = 18;

    // The biased prediction. h: hash of context and node.
    int16_t predict(const Tables &t, uint32_t h, int32_t model) {
        entry_ = &biases_[h * 0x9e3779b1u >> (32 - kBits)];
        const int32_t biased = clamp(model + (*entry_ >> 12), kMostStretch);
        p_ = squash(t, biased);
        return static_cast<int16_t>(biased);
    }
    int32_t bias() const { return *entry_ >> 12; }
    int seen() const { return *entry_ & 255; }

    void learn(int bit) {
        const int32_t n = *entry_ & 255, error = (bit << 16) - p_;
        int32_t value = *entry_ >> 8;  // in 1/16 units of stretch
        value += static_cast<int32_t>(static_cast<int64_t>(error) * kBiasRate / (n + 2) >> 14);
        value = clamp(value, 1 << 16);
        *entry_ = value * 256 + (n < kBiasMost ? n + 1 : n);
    }

private:
    std::unique_ptr<int32_t[]> biases_{new int32_t[1 << kBits]()};  // 24 bits of bias above a count of 8
    int32_t *entry_ = nullptr;
    int32_t p_ = 0;
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
