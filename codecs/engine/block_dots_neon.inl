// Dot products of bytes in NEON (sdot); sets with them include this file before kernels.inl.

constexpr int64_t kByteTiles = 1;
constexpr int64_t kByteUnit = 16;  // columns of a row that one register holds
constexpr int32_t kByteBias = 0;   // both factors are signed

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
