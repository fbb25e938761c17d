// From histories to inputs: for each context an adaptive probability of each history. formats/learner-v1.md.
//
// What is done for each context is done for eight at once where the processor can; the numbers are the same.
#pragma once

#include "learner/mixer.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

constexpr uint32_t kMapMost = 1023;  // uses of an entry after which its rate falls no more

template <int kContexts>
class Maps {
public:
    static constexpr int kPadded = (kContexts + 7) / 8 * 8;  // `consider` may touch two inputs for each of so many

    explicit Maps(const Tables &t) : t_(t) {
        for (size_t i = 0; i < size_t{kContexts} << 8; i++) {
            const uint32_t zeros = t.count[i & 255][0], ones = t.count[i & 255][1];
            maps_[i] = 65535 * (2 * ones + 1) / (2 * (zeros + ones + 1)) << 16;
        }
    }

    // Writes stretch(p) and linear(p) of each context's history at `node` to x; both are 0 where nothing was seen.
    // Returns a bit for each context that has seen something. What lies behind the 2 * kContexts inputs stays.
    uint32_t consider(uint8_t *const *buckets, uint32_t node, int16_t *x) {
        uint32_t seen = 0;
#ifdef __AVX2__
        for (int i = 0; i < kPadded; i += 8) {
            uint32_t at[8], entry[8];  // kept in registers: a vector does not wait for what is stored in parts
            for (int k = 0; k < 8; k++) {
                const bool one = i + k < kContexts;
                at[k] = one ? static_cast<uint32_t>(i + k) << 8 | buckets[one ? i + k : 0][node] : 0;
                entry[k] = one ? maps_[at[k]] : 0;
                at_[i + k] = at[k];
            }
            const __m256i value = eight(entry), state = _mm256_and_si256(eight(at), _mm256_set1_epi32(255));
            _mm256_store_si256(reinterpret_cast<__m256i *>(values_ + i), value);
            const __m256i some = _mm256_cmpgt_epi32(state, _mm256_setzero_si256());
            const auto *table = reinterpret_cast<const int *>(t_.stretch.data());  // two entries, of which one counts
            const __m256i stretched = _mm256_i32gather_epi32(table, _mm256_srli_epi32(value, 20), 2);
            const __m256i half = _mm256_set1_epi32(kOne / 2);
            const __m256i linear = _mm256_srai_epi32(_mm256_sub_epi32(_mm256_srli_epi32(value, 16), half), kLinear);
            __m256i both = _mm256_blend_epi16(stretched, _mm256_slli_epi32(linear, 16), 0xaa);
            both = _mm256_and_si256(both, some);
            auto *to = reinterpret_cast<__m256i *>(x + 2 * i);
            if (i + 8 > kContexts) {
                constexpr int kOwn = (1 << kContexts % 8) - 1;
                both = _mm256_blend_epi32(_mm256_loadu_si256(to), both, kContexts % 8 ? kOwn : 255);
            }
            _mm256_storeu_si256(to, both);
            seen |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(some))) << i;
        }
#else
        for (int i = 0; i < kContexts; i++) {
            at_[i] = static_cast<uint32_t>(i) << 8 | buckets[i][node];
            values_[i] = maps_[at_[i]];
            const bool some = at_[i] & 255;
            const int32_t p = probability(values_[i]);
            x[2 * i] = some ? stretch(t_, p) : int16_t{0};
            x[2 * i + 1] = some ? linear(p) : int16_t{0};
            seen |= uint32_t{some} << i;
        }
#endif
        return seen;
    }

    // The entries that `consider` used learn a bit.
    void learn(int bit) {
#ifdef __AVX2__
        const __m256i aim = _mm256_set1_epi32(bit ? (1 << 22) - 1 : 0), one = _mm256_set1_epi32(1);
        for (int i = 0; i < kPadded; i += 8) {
            const __m256i value = load(values_ + i), count = _mm256_and_si256(value, _mm256_set1_epi32(1023));
            const __m256i p = _mm256_srli_epi32(value, 10), error = _mm256_sub_epi32(aim, p);
            // 2^17 / (2 n + 3) is never within a float's error below a whole number
            const __m256i divisor = _mm256_add_epi32(_mm256_add_epi32(count, count), _mm256_set1_epi32(3));
            const __m256i rate =
                _mm256_cvttps_epi32(_mm256_div_ps(_mm256_set1_ps(131072), _mm256_cvtepi32_ps(divisor)));
            const __m256i even = _mm256_srli_epi64(_mm256_mul_epi32(error, rate), 16);
            const __m256i odd = _mm256_slli_epi64(
                _mm256_mul_epi32(_mm256_srli_epi64(error, 32), _mm256_srli_epi64(rate, 32)), 16);
            const __m256i moved = _mm256_add_epi32(p, _mm256_blend_epi32(even, odd, 0xaa));
            const __m256i counted = _mm256_min_epi32(_mm256_add_epi32(count, one), _mm256_set1_epi32(kMapMost));
            _mm256_store_si256(reinterpret_cast<__m256i *>(values_ + i),
                               _mm256_or_si256(_mm256_slli_epi32(moved, 10), counted));
        }
#else
        for (int i = 0; i < kContexts; i++) adapt(t_, values_[i], bit, kMapMost);
#endif
        for (int i = 0; i < kContexts; i++) maps_[at_[i]] = values_[i];
    }

private:
#ifdef __AVX2__
    static __m256i eight(const uint32_t *n) {
        const auto of = [n](int i) { return static_cast<int>(n[i]); };
        return _mm256_setr_epi32(of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7));
    }
    static __m256i load(const uint32_t *from) { return _mm256_load_si256(reinterpret_cast<const __m256i *>(from)); }
#endif

    const Tables &t_;
    uint32_t maps_[size_t{kContexts} << 8];
    // Of the present bit, for each context: index and value of its entry.
    alignas(32) uint32_t at_[kPadded] = {}, values_[kPadded] = {};
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
