// Dot products of bytes in NEON (sdot); sets with them include this file before kernels.inl.

constexpr int64_t kByteTiles = 1;
constexpr int64_t kByteUnit = 16;  // columns of a row that one register holds
constexpr int32_t kByteBias = 0;   // both factors are signed
constexpr int64_t kSpillLimit = 511;

// Adds the products of one quad of columns, number `quad` of x, to the sums of a row: four registers.
template <int quad>
inline void add_quad(int32x4_t &a, int32x4_t &b, int32x4_t &c, int32x4_t &d, const int8x16x4_t &w, int8x16_t x) {
    a = vdotq_laneq_s32(a, w.val[0], x, quad);
    b = vdotq_laneq_s32(b, w.val[1], x, quad);
    c = vdotq_laneq_s32(c, w.val[2], x, quad);
    d = vdotq_laneq_s32(d, w.val[3], x, quad);
}

// The weights of one quad. The compiler may not load them earlier, when others still take the registers.
inline int8x16x4_t quad_of(const int8_t *w) {
    asm volatile("" ::: "memory");
    return {{vld1q_s8(w), vld1q_s8(w + 16), vld1q_s8(w + 32), vld1q_s8(w + 48)}};
}

// Sixteen accumulators, four registers of weights, and sixteen columns of each row.
template <int... m>
inline void byte_rows(std::integer_sequence<int, m...>, const int8_t *w, int64_t columns, const int8_t *x,
                      int64_t stride, int32_t *acc) {
    int32x4_t a[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    int32x4_t b[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    int32x4_t c[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    int32x4_t d[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    for (int64_t at = 0; at < columns; at += kByteUnit, w += kByteUnit * kTile) {
        const int8x16_t row[] = {vld1q_s8(x + m * stride + at)...};
        const int8x16x4_t w0 = quad_of(w);
        (add_quad<0>(a[m], b[m], c[m], d[m], w0, row[m]), ...);
        const int8x16x4_t w1 = quad_of(w + 4 * kTile);
        (add_quad<1>(a[m], b[m], c[m], d[m], w1, row[m]), ...);
        const int8x16x4_t w2 = quad_of(w + 8 * kTile);
        (add_quad<2>(a[m], b[m], c[m], d[m], w2, row[m]), ...);
        const int8x16x4_t w3 = quad_of(w + 12 * kTile);
        (add_quad<3>(a[m], b[m], c[m], d[m], w3, row[m]), ...);
    }
    ((vst1q_s32(acc + m * kTile, a[m]), vst1q_s32(acc + m * kTile + 4, b[m]),
      vst1q_s32(acc + m * kTile + 8, c[m]), vst1q_s32(acc + m * kTile + 12, d[m])),
     ...);
}

// Two sums for each register, for the latency.
template <int>
void add_spills(const int8_t *w, const Spill *spill, int64_t count, int32_t *acc) {
    int32x4_t even[4], odd[4];
    for (int v = 0; v < 4; v++) even[v] = odd[v] = vdupq_n_s32(0);
    const auto plus = [w](int32x4_t *sums, const Spill &from) {
        int32_t quad;
        std::memcpy(&quad, from.excess, sizeof quad);
        const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(quad));
        for (int v = 0; v < 4; v++) sums[v] = vdotq_s32(sums[v], vld1q_s8(w + from.at * 4 * kTile + 16 * v), x);
    };
    int64_t n = 0;
    for (; n + 2 <= count; n += 2) {
        plus(even, spill[n]);
        plus(odd, spill[n + 1]);
    }
    if (n < count) plus(even, spill[n]);
    for (int v = 0; v < 4; v++) {
        const int32x4_t sum = vshlq_n_s32(vaddq_s32(even[v], odd[v]), 8);
        vst1q_s32(acc + 4 * v, vaddq_s32(vld1q_s32(acc + 4 * v), sum));
    }
}

#include "engine/spills.inl"
