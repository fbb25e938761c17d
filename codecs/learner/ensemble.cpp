// From rows to counts, and the bias head; see ensemble.hpp.
#include "learner/ensemble.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace nacrith {
namespace {

constexpr int64_t kTotal = 1 << 24;
constexpr int64_t kMostSymbols = kTotal >> 4;
constexpr double kDown = 1.0 - 1.0 / (1 << 22);  // room for two roundings: see coder/cdf.py

// 0.4 nat, in units of the weights (2^-16 bit)
constexpr float kRate = 37819.0f, kDamping = 0.3f, kThreshold = 1.0f / 4096.0f;

}  // namespace

Ensemble::Ensemble(int32_t set, int64_t vocab, int64_t capacity, const int64_t *lg, const int64_t *exp,
                   const uint8_t *prior, int64_t prior_bytes, const std::vector<int64_t> &lengths,
                   const Kernels &kernels)
    : kernels_(kernels), vocab_(vocab) {
    if (set != 0 && set != 1)
        throw std::invalid_argument("there is no set " + std::to_string(set) + " of predictors");
    if (vocab < 1 || vocab > kMostSymbols)
        throw std::invalid_argument("a vocabulary of " + std::to_string(vocab) + " tokens is out of range");
    if (set == 1 && (capacity < 1 || capacity > 1 << 24))
        throw std::invalid_argument("the capacity of the n-grams is out of range");
    x_ = Buffer<int32_t>(vocab);
    shift_ = Buffer<int32_t>(vocab);
    weights_ = Buffer<float>(vocab);
    if (set == 0) return;
    bias_ = Buffer<float>(vocab);
    squares_ = Buffer<float>(vocab);
    likely_ = Buffer<int32_t>(vocab + 1);
    cascade_.emplace(vocab, capacity, Fixed(lg, exp), prior, prior_bytes, lengths);
}

void Ensemble::counts(size_t lane, const int32_t *row, float *c) {
    const int64_t top = kernels_.shift(row, shift_.data(), vocab_, x_.data());
    if (top < 0) throw std::invalid_argument("a row has weights beyond 2^30");
    const float *w = weights_.data();
    total_ = kernels_.weigh(x_.data(), x_[top], vocab_, weights_.data());
    Cascade::Answers asked{{}, 0, kTotal - vocab_, total_};
    if (cascade_) {
        cascade_->look(lane);
        asked = cascade_->ask(w, total_, static_cast<int32_t>(top), asked.rest);
    }
    const double rest = static_cast<double>(asked.rest), left = static_cast<double>(asked.left);
    const float share = asked.left ? static_cast<float>(rest / left * kDown) : 0.0f;
    int64_t sum = kernels_.portion(w, share, vocab_, c);
    const auto put = [&](int64_t token, int64_t count) {
        sum += count - static_cast<int64_t>(c[token]);
        c[token] = static_cast<float>(count);
    };
    for (size_t i = 0; i < asked.size; i++) put(asked.answers[i].token, int64_t{asked.answers[i].count} + 1);
    put(top, static_cast<int64_t>(c[top]) + kTotal - sum);
}

void Ensemble::update(int32_t token) {
    if (!cascade_) return;
    cascade_->update(token);
    learn_bias(token);
}

// The gradient of the code length for the tokens of some probability and for the one that came.
void Ensemble::learn_bias(int32_t token) {
    const auto total = static_cast<float>(total_);
    const float bound = total * kThreshold;
    int64_t n = kernels_.above(weights_.data(), bound, vocab_, likely_.data());
    if (weights_[token] <= bound) likely_[n++] = token;
    for (int64_t i = 0; i < n; i++) {
        const int32_t t = likely_[i];
        float g = weights_[t] / total;
        if (t == token) g -= 1.0f;
        const float squares = squares_[t] + g * g;
        squares_[t] = squares;
        bias_[t] -= kRate * g / std::sqrt(kDamping + squares);
        shift_[t] = static_cast<int32_t>(std::nearbyint(bias_[t]));
    }
}

}  // namespace nacrith
