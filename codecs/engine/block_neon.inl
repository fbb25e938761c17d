// The `block` of kernels.inl in NEON; sets include it before that file.
//
// smlal takes tiles of pairs and activations without conversion. The int8 dot products would need two planes of
// activations beyond 127.

#include "engine/bare.inl"

constexpr int64_t kRows = 4;

// Two activations, in the low half of a register.
inline int16x4_t pair_of(const int16_t *q) {
    uint32_t pair;
    std::memcpy(&pair, q, sizeof pair);
    return vcreate_s16(pair);
}

// A quarter of the tile: four sums of the first column's low or high four weights, and of the second's.
inline void add_low(int32x4_t &sum, int16x8_t even, int16x8_t odd, int16x4_t x) {
    sum = vmlal_lane_s16(sum, vget_low_s16(even), x, 0);
    sum = vmlal_lane_s16(sum, vget_low_s16(odd), x, 1);
}

inline void add_high(int32x4_t &sum, int16x8_t even, int16x8_t odd, int16x4_t x) {
    sum = vmlal_high_lane_s16(sum, even, x, 0);
    sum = vmlal_high_lane_s16(sum, odd, x, 1);
}

// Sixteen accumulators, four registers of weights and a pair of each row. Written without loops over rows:
// a compiler that unrolls them late keeps the sums in memory.
template <int... m>
inline void block_rows(std::integer_sequence<int, m...>, const int8_t *w, int64_t pairs, const int16_t *q,
                       int64_t stride, int32_t *acc) {
    int32x4_t a[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    int32x4_t b[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    int32x4_t c[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    int32x4_t d[] = {(static_cast<void>(m), vdupq_n_s32(0))...};
    const int16_t *const row[] = {(q + m * stride)...};
    for (int64_t p = 0; p < pairs; p++) {
        const int8x16x2_t columns = vld2q_s8(w + p * 2 * kTile);
        const int16x8_t even0 = vmovl_s8(vget_low_s8(columns.val[0])), even1 = vmovl_high_s8(columns.val[0]);
        const int16x8_t odd0 = vmovl_s8(vget_low_s8(columns.val[1])), odd1 = vmovl_high_s8(columns.val[1]);
        const auto add_row = [&](int32x4_t &a, int32x4_t &b, int32x4_t &c, int32x4_t &d, const int16_t *from) {
            const int16x4_t x = pair_of(from);
            add_low(a, even0, odd0, x);
            add_high(b, even0, odd0, x);
            add_low(c, even1, odd1, x);
            add_high(d, even1, odd1, x);
        };
        (add_row(a[m], b[m], c[m], d[m], row[m] + 2 * p), ...);
    }
    ((vst1q_s32(acc + m * kTile, a[m]), vst1q_s32(acc + m * kTile + 4, b[m]),
      vst1q_s32(acc + m * kTile + 8, c[m]), vst1q_s32(acc + m * kTile + 12, d[m])),
     ...);
}

template <int M>
void block(const int8_t *w, int64_t pairs, const int16_t *q, int64_t stride, int32_t *acc) {
    block_rows(std::make_integer_sequence<int, M>(), w, pairs, q, stride, acc);
}

inline int64_t bare_pairs(int64_t rounds) {
    return bare_products(rounds, 4, vdupq_n_s32(0x00010001), [](int32x4_t sum, int32x4_t x, int32x4_t w) {
        return vmlal_high_lane_s16(sum, vreinterpretq_s16_s32(x), vget_low_s16(vreinterpretq_s16_s32(w)), 1);
    });
}
