// Mixing of predictions in the logistic domain, and corrections of the result. formats/learner-v1.md.
//
// A mixer is a row of weights that a small context chooses; its output is the weighted sum of the inputs, and each
// weight moves by input times error, which is gradient descent on coding cost (Mahoney 2005, PAQ). The loops are
// plain so that the compiler vectorises them; sums of integers do not depend on their order.
#pragma once

#include <algorithm>
#include <memory>
#include <new>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "learner/tables.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

// A weight of 1 is 2^28; weights keep within (-4, 4). A sum takes their upper 15 bits: 13 after the sign.
constexpr int32_t kWeightOne = 1 << 28;
constexpr int32_t kMostWeight = (1 << 30) - 1;
constexpr int kDropped = 17;  // bits of a weight that a sum leaves out

// Mixers that share their inputs. kInputs: a multiple of 8; |sum| <= kInputs * kMostStretch * 2^13 < 2^31.
template <int kInputs, int kMixers>
class Layer {
    static_assert(kInputs % 8 == 0 && int64_t{kInputs} * kMostStretch << 13 < int64_t{1} << 31);

public:
    // rows: of each mixer. first: the weights that every row begins with, kInputs of them in units of 1 / 4,096.
    Layer(const int (&rows)[kMixers], const int16_t *first) {
        for (int m = 0; m < kMixers; m++) {
            starts_[m] = total_;
            total_ += static_cast<size_t>(rows[m]);
        }
        weights_.reset(new (std::align_val_t{32}) int32_t[total_ * kInputs]);
        for (size_t i = 0; i < total_ * kInputs; i++) weights_[i] = first[i % kInputs] * 65536;
    }

    // What each mixer predicts, in units of stretch. inputs: kInputs, each within kMostStretch, aligned to 32 bytes.
    // rows: the one of each mixer. mixed: aligned to 16 bytes, with room for a multiple of four.
    void mix(const Tables &t, const int16_t *inputs, const uint32_t *rows, int32_t *mixed) {
        for (int m = 0; m < kMixers; m++) rows_[m] = weights_.get() + (starts_[m] + rows[m]) * kInputs;
        add_up(inputs, mixed);
        for (int m = 0; m < kMixers; m++) p_[m] = squash(t, mixed[m]);
    }

    // rate: in 1 / 1,024. An error is kept below 2^15, so that a step is below 2^27.
    void learn(const int16_t *inputs, int bit, int rate) {
        int32_t errors[kMixers], any = 0;
        for (int m = 0; m < kMixers; m++) {
            errors[m] = clamp((bit * kOne - p_[m]) * rate >> 10, 32767);
            any |= errors[m];
        }
        if (any) move(inputs, errors);
    }

private:
#ifdef __AVX2__
    // A product of 16 bits by 16 is half of a madd; the other half's factor is 0.
    void add_up(const int16_t *inputs, int32_t *mixed) const {
        __m256i sum[kMixers];
        for (auto &s : sum) s = _mm256_setzero_si256();
        for (int i = 0; i < kInputs; i += 8) {
            const __m128i eight = _mm_load_si128(reinterpret_cast<const __m128i *>(inputs + i));
            const __m256i x = _mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16);
            for (int m = 0; m < kMixers; m++) {
                const __m256i w = _mm256_load_si256(reinterpret_cast<const __m256i *>(rows_[m] + i));
                sum[m] = _mm256_add_epi32(sum[m], _mm256_madd_epi16(_mm256_srai_epi32(w, kDropped - 16), x));
            }
        }
        const __m128i most = _mm_set1_epi32(kMostStretch), least = _mm_set1_epi32(-kMostStretch);
        for (int m = 0; m < kMixers; m += 4) {
            const auto of = [&](int i) { return i < kMixers ? sum[i < kMixers ? i : 0] : _mm256_setzero_si256(); };
            const __m256i pairs = _mm256_hadd_epi32(of(m), of(m + 1)), others = _mm256_hadd_epi32(of(m + 2), of(m + 3));
            const __m256i four = _mm256_hadd_epi32(pairs, others);
            __m128i s = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
            s = _mm_max_epi32(_mm_min_epi32(_mm_srai_epi32(s, 11), most), least);
            _mm_store_si128(reinterpret_cast<__m128i *>(mixed + m), s);
        }
    }
    // An error of 0 moves nothing.
    void move(const int16_t *inputs, const int32_t *errors) const {
        const __m256i most = _mm256_set1_epi32(kMostWeight), least = _mm256_set1_epi32(-kMostWeight);
        __m256i e[kMixers];
        for (int m = 0; m < kMixers; m++) e[m] = _mm256_set1_epi32(errors[m] & 0xffff);
        for (int i = 0; i < kInputs; i += 8) {
            const __m128i eight = _mm_load_si128(reinterpret_cast<const __m128i *>(inputs + i));
            const __m256i x = _mm256_cvtepu16_epi32(eight);
            for (int m = 0; m < kMixers; m++) {
                auto *at = reinterpret_cast<__m256i *>(rows_[m] + i);
                const __m256i moved = _mm256_add_epi32(_mm256_load_si256(at), _mm256_madd_epi16(x, e[m]));
                _mm256_store_si256(at, _mm256_max_epi32(_mm256_min_epi32(moved, most), least));
            }
        }
    }
#else
    void add_up(const int16_t *inputs, int32_t *mixed) const {
        for (int m = 0; m < kMixers; m++) {
            int32_t sum = 0;
            for (int i = 0; i < kInputs; i++) sum += inputs[i] * (rows_[m][i] >> kDropped);
            mixed[m] = clamp(sum >> 11, kMostStretch);
        }
    }
    void move(const int16_t *inputs, const int32_t *errors) const {
        for (int m = 0; m < kMixers; m++)
            for (int i = 0; i < kInputs; i++) rows_[m][i] = clamp(rows_[m][i] + inputs[i] * errors[m], kMostWeight);
    }
#endif

    struct Free {
        void operator()(int32_t *weights) const { ::operator delete[](weights, std::align_val_t{32}); }
    };

    size_t starts_[kMixers] = {}, total_ = 0;  // rows
    std::unique_ptr<int32_t[], Free> weights_;
    int32_t *rows_[kMixers] = {};
    int32_t p_[kMixers] = {};  // what the rows predicted last, 16 bits
};

// The first n of `mixed`, and `last` behind them, as inputs of another layer; n <= 8. Both are aligned to 16 bytes.
template <int n>
inline void narrow(const int32_t *mixed, int16_t last, int16_t *to) {
    static_assert(n <= 8);
#ifdef __AVX2__
    const auto *from = reinterpret_cast<const __m128i *>(mixed);
    __m128i eight = _mm_packs_epi32(_mm_load_si128(from), _mm_load_si128(from + 1));  // all within kMostStretch
    if constexpr (n < 8) eight = _mm_insert_epi16(eight, last, n);
    _mm_store_si128(reinterpret_cast<__m128i *>(to), eight);
    if constexpr (n == 8) to[n] = last;
#else
    for (int i = 0; i < n; i++) to[i] = static_cast<int16_t>(mixed[i]);
    to[n] = last;
#endif
}

// An adaptive correction: for each context probabilities at 17 points of the logistic axis, interpolated.
class Correction {
public:
    static constexpr int kKnots = 17, kStep = 384;  // from -8 * 384 to 8 * 384

    Correction(const Tables &t, int contexts) : p_(new uint16_t[static_cast<size_t>(contexts) * kKnots]) {
        for (int i = 0; i < contexts * kKnots; i++)
            p_[static_cast<size_t>(i)] = static_cast<uint16_t>(squash(t, (i % kKnots - kKnots / 2) * kStep));
    }

    void prefetch(uint32_t context) const {  // the two lines that it may lie in
        __builtin_prefetch(&p_[context * kKnots]);
        __builtin_prefetch(&p_[context * kKnots + kKnots - 1]);
    }

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
// (a Bayesian mixture with a fixed share that forgets; Herbster and Warmuth 1998). It forgets slowly, so that a model
// that is worth nothing costs next to nothing.
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
    static constexpr int kBits = 22, kShare = 12;
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

constexpr int kLinear = 4;  // a probability of 16 bits becomes an input of 12
inline int16_t linear(int32_t p) { return static_cast<int16_t>((p - kOne / 2) >> kLinear); }

inline int32_t probability(uint32_t entry) { return static_cast<int32_t>(entry >> 16); }  // 16 bits of it

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
