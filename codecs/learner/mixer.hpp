// Mixing of predictions in the logistic domain, and corrections of the result. formats/learner-v1.md.
//
// A mixer is a row of weights that a small context chooses; its output is the weighted sum of the inputs, and each
// weight moves by input times error, which is gradient descent on coding cost (Mahoney 2005, PAQ). The loops are
// plain so that the compiler vectorises them; sums of integers do not depend on their order.
#pragma once

#include <algorithm>
#include <memory>

#include "learner/tables.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

// A weight of 1 is 2^28; weights keep within (-4, 4). A sum takes their upper 15 bits: 13 after the sign.
constexpr int32_t kWeightOne = 1 << 28;
constexpr int32_t kMostWeight = (1 << 30) - 1;
constexpr int kDropped = 17;  // bits of a weight that a sum leaves out

// kInputs: a multiple of 8. |sum| <= kInputs * kMostStretch * 2^13 < 2^31.
template <int kInputs>
class Mixer {
    static_assert(kInputs % 8 == 0 && int64_t{kInputs} * kMostStretch << 13 < int64_t{1} << 31);

public:
    Mixer() = default;
    // first: the weights that every row begins with, kInputs of them in units of 1 / 4,096.
    Mixer(int rows, const int16_t *first) : weights_(new int32_t[static_cast<size_t>(rows) * kInputs]) {
        for (size_t i = 0; i < static_cast<size_t>(rows) * kInputs; i++) weights_[i] = first[i % kInputs] * 65536;
    }

    // The mixed prediction, in units of stretch. inputs: kInputs, each within kMostStretch.
    int32_t mix(const Tables &t, const int16_t *inputs, uint32_t row) {
        row_ = weights_.get() + size_t{row} * kInputs;
        int32_t sum = 0;
        for (int i = 0; i < kInputs; i++) sum += inputs[i] * (row_[i] >> kDropped);
        const int32_t mixed = clamp(sum >> 11, kMostStretch);
        p_ = squash(t, mixed);
        return mixed;
    }

    // rate: in 1 / 1,024. The error is kept below 2^15, so that a step is below 2^27.
    void learn(const int16_t *inputs, int bit, int rate) {
        const int32_t error = clamp((bit * kOne - p_) * rate >> 10, 32767);
        for (int i = 0; i < kInputs; i++) row_[i] = clamp(row_[i] + inputs[i] * error, kMostWeight);
    }

private:
    std::unique_ptr<int32_t[]> weights_;
    int32_t *row_ = nullptr;
    int32_t p_ = 0;  // what the row predicted last, 16 bits
};

// An adaptive correction: for each context probabilities at 17 points of the logistic axis, interpolated.
class Correction {
public:
    static constexpr int kKnots = 17, kStep = 384;  // from -8 * 384 to 8 * 384

    Correction(const Tables &t, int contexts) : p_(new uint16_t[static_cast<size_t>(contexts) * kKnots]) {
        for (int i = 0; i < contexts * kKnots; i++)
            p_[static_cast<size_t>(i)] = static_cast<uint16_t>(squash(t, (i % kKnots - kKnots / 2) * kStep));
    }

    void prefetch(uint32_t context) const { __builtin_prefetch(&p_[context * kKnots + kKnots / 2]); }

    // The corrected probability, of 16 bits. stretched: within kMostStretch.
    int32_t refine(int32_t stretched, uint32_t context) {
        const int32_t at = stretched + kStep * (kKnots / 2), knot = at / kStep, part = at % kStep;
        uint16_t *low = &p_[context * kKnots + static_cast<uint32_t>(knot)];
        nearest_ = low + (part >= kStep / 2);
        return (low[0] * (kStep - part) + low[1] * part) / kStep;
    }

    // Moves the nearer knot by 2^-shift of the error.
    void learn(int bit, int shift) {
        *nearest_ = static_cast<uint16_t>(*nearest_ + (((bit ? kOne - 1 : 0) - *nearest_) >> shift));
    }

private:
    std::unique_ptr<uint16_t[]> p_;
    uint16_t *nearest_ = nullptr;
};

// A choice between what was mixed and the model alone: the average of both, weighted by how well each has done
// (a Bayesian mixture with a fixed share that forgets; Herbster and Warmuth 1998).
class Gate {
public:
    // Probabilities of 16 bits; the result too, 1..65535.
    int32_t join(int32_t mixed, int32_t model) {
        mixed_ = mixed;
        model_ = std::clamp(model, 1, kOne - 1);
        const int64_t sum = weight_ * mixed_ + (kWhole - weight_) * model_;
        return std::clamp(static_cast<int32_t>(sum >> kBits), 1, kOne - 1);
    }

    void learn(int bit) {
        const int64_t a = bit ? mixed_ : kOne - mixed_, b = bit ? model_ : kOne - model_;
        weight_ = ((weight_ * a) << kBits) / (weight_ * a + (kWhole - weight_) * b);  // products below 2^61
        weight_ += (kWhole / 2 - weight_) >> kShare;
    }

private:
    static constexpr int kBits = 22, kShare = 9;
    static constexpr int64_t kWhole = int64_t{1} << kBits;

    int64_t weight_ = kWhole / 2;  // of what was mixed
    int32_t mixed_ = 0, model_ = 0;
};

// An adaptive probability: 22 bits of it above a count of 10, which sets the rate. Products are below 2^39.
inline void adapt(const Tables &t, uint32_t &entry, int bit, uint32_t most) {
    const uint32_t seen = entry & 1023;
    const int64_t p = entry >> 10, aim = bit ? (1 << 22) - 1 : 0;
    const auto moved = static_cast<uint32_t>(p + ((aim - p) * t.rate[seen] >> 16));
    entry = moved << 10 | (seen < most ? seen + 1 : seen);
}

inline int32_t probability(uint32_t entry) { return static_cast<int32_t>(entry >> 16); }  // 16 bits of it

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
