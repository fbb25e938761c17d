// The `block` of kernels.inl in 256-bit vectors; sets include it before that file, after
//
//     __m256i plus_product(__m256i sum, __m256i x, __m256i w)
//
// which adds the sums of adjacent products of int16.

#include "engine/bare.inl"

constexpr int64_t kRows = 6;
constexpr int64_t kAhead = 2048;  // bytes; with few rows, the weights come from memory and are waited for

inline __m256i widened(const int8_t *w) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(w)));
}

inline __m256i pair_of(const int16_t *q) {
    int32_t pair;
    std::memcpy(&pair, q, sizeof pair);
    return _mm256_set1_epi32(pair);
}

// Twelve accumulators, two halves of the tile and one broadcast pair fill the sixteen registers.
// Written without loops over rows: a compiler that unrolls them late keeps the sums in memory.
template <int... m>
inline void block_rows(std::integer_sequence<int, m...>, const int8_t *w, int64_t pairs, const int16_t *q,
                       int64_t stride, int32_t *acc) {
    __m256i low[] = {(static_cast<void>(m), _mm256_setzero_si256())...};
    __m256i high[] = {(static_cast<void>(m), _mm256_setzero_si256())...};
    const int16_t *const row[] = {(q + m * stride)...};
    for (int64_t p = 0; p < pairs; p++) {
        if constexpr (sizeof...(m) < kRows) __builtin_prefetch(w + p * 2 * kTile + kAhead);
        const __m256i w0 = widened(w + p * 2 * kTile), w1 = widened(w + p * 2 * kTile + kTile);
        const auto add_row = [&](__m256i &low_sum, __m256i &high_sum, const int16_t *from) {
            const __m256i x = pair_of(from);
            low_sum = plus_product(low_sum, x, w0);
            high_sum = plus_product(high_sum, x, w1);
        };
        (add_row(low[m], high[m], row[m] + 2 * p), ...);
    }
    ((_mm256_storeu_si256(reinterpret_cast<__m256i *>(acc + m * kTile), low[m]),
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(acc + m * kTile + 8), high[m])),
     ...);
}

template <int M>
void block(const int8_t *w, int64_t pairs, const int16_t *q, int64_t stride, int32_t *acc) {
    block_rows(std::make_integer_sequence<int, M>(), w, pairs, q, stride, acc);
}

inline int64_t bare_pairs(int64_t rounds) { return bare_products(rounds, 16, _mm256_set1_epi8(1), plus_product); }
