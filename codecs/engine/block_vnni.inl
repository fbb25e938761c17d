// The `block` of kernels.inl in AVX-512 VNNI; sets that have these instructions include it before that file.
//
// The packing is that of the AVX2 kernels: the 32 bytes of a tile and a pair of columns widen to one register,
// and one vpdpwssd multiplies it by a pair of activations and adds. The sum wraps instead of saturating, so it
// is exact if it fits 32 bits, which `block` may assume. Activations beyond 127 in two int8 planes (vpdpbusd) would
// need as many multiplications.

#include "engine/bare.inl"

constexpr int64_t kRows = 12;

inline __m512i widened(const int8_t *w) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(w)));
}

inline __m512i pair_of(const int16_t *q) {
    int32_t pair;
    std::memcpy(&pair, q, sizeof pair);
    return _mm512_set1_epi32(pair);
}

// Sum i is for row i % M, over every sets-th pair from i / M on: with few rows, several sums per row are needed
// to hide the instruction's latency of five cycles.
template <int M, int... i>
inline void block_rows(std::integer_sequence<int, i...>, const int8_t *w, int64_t pairs, const int16_t *q,
                       int64_t stride, int32_t *acc) {
    constexpr int64_t sets = sizeof...(i) / M;
    __m512i sum[] = {(static_cast<void>(i), _mm512_setzero_si512())...};
    const int16_t *const row[] = {(q + i % M * stride)...};
    const auto add_pair = [w](__m512i &to, const int16_t *from, int64_t p) {
        to = _mm512_dpwssd_epi32(to, widened(w + p * 2 * kTile), pair_of(from + 2 * p));
    };
    int64_t p = 0;
    for (; p + sets <= pairs; p += sets) (add_pair(sum[i], row[i], p + i / M), ...);
    for (; p < pairs; p++) ((i < M ? add_pair(sum[i], row[i], p) : void()), ...);
    const auto join = [](__m512i &to, __m512i more) { to = _mm512_add_epi32(to, more); };
    ((i < M ? void() : join(sum[i % M], sum[i])), ...);
    ((i < M ? _mm512_storeu_si512(acc + i * kTile, sum[i]) : void()), ...);
}

template <int M>
void block(const int8_t *w, int64_t pairs, const int16_t *q, int64_t stride, int32_t *acc) {
    constexpr int sets = M <= 3 ? 4 : 12 / M;
    block_rows<M>(std::make_integer_sequence<int, M * sets>(), w, pairs, q, stride, acc);
}

inline int64_t bare_pairs(int64_t rounds) {
    return bare_products(rounds, 32, _mm512_set1_epi8(1),
                         [](__m512i sum, __m512i x, __m512i w) { return _mm512_dpwssd_epi32(sum, x, w); });
}

// For block_bytes.inl: two tiles of twelve rows have 24 sums, in 27 of 32 registers.
using Vector = __m512i;
constexpr int kLanes = 16;
constexpr int64_t kByteRows = 12, kByteTiles = 2;

inline Vector load(const void *from) { return _mm512_loadu_si512(from); }
inline void store(void *to, Vector x) { _mm512_storeu_si512(to, x); }
inline Vector same(int32_t x) { return _mm512_set1_epi32(x); }
inline Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
inline Vector high(Vector x) { return _mm512_maskz_slli_epi32(0xffff, x, 8); }
inline Vector plus_bytes(Vector sum, Vector w, Vector x) { return _mm512_dpbusd_epi32(sum, w, x); }

// For bytes.inl.
inline Spill *append(const int16_t *excess, int64_t at, Spill *to) {
    static_assert(kSome == 32 && sizeof(Spill) == 8);
    const __m256i quads = _mm512_maskz_cvtepi16_epi8(0xffffffff, _mm512_loadu_si512(excess));
    const __mmask8 some = _mm256_test_epi32_mask(quads, quads);
    const __m512i numbers = _mm512_add_epi64(_mm512_set1_epi64(at / 4), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    const __m512i spills = _mm512_or_si512(numbers, _mm512_maskz_slli_epi64(0xff, _mm512_maskz_cvtepu32_epi64(0xff, quads), 32));
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(some, spills));
    return to + __builtin_popcount(some);
}
