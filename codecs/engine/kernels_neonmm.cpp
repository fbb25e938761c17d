// The kernels for 64-bit Arm, little-endian, with the products of int8 matrices of Armv8.6 (i8mm): smmla multiplies two
// rows by two columns of eight numbers each, twice the products of sdot. Compiled with these instructions and run only
// where the processor has them.
#include <arm_neon.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

#include "engine/block_neon.inl"
#include "engine/block_dots_neon.inl"

constexpr int64_t kByteRows = 6;  // with more, the sums do not fit the registers
constexpr int64_t kStep = 8;      // columns of one instruction

// Eight columns of two rows.
inline int8x16_t two_rows(const int8_t *first, const int8_t *second) {
    return vcombine_s8(vld1_s8(first), vld1_s8(second));
}

// The eight columns of rows 4 * part to 4 * part + 3 of a tile of quads, two rows in each register. The compiler may
// not load them earlier, when others still take the registers.
struct Columns {
    int8x16_t first, second;

    Columns(const int8_t *w, int part) {
        asm volatile("" ::: "memory");
        const int32x4_t a = vreinterpretq_s32_s8(vld1q_s8(w + 16 * part));
        const int32x4_t b = vreinterpretq_s32_s8(vld1q_s8(w + 4 * kTile + 16 * part));
        first = vreinterpretq_s8_s32(vzip1q_s32(a, b));
        second = vreinterpretq_s8_s32(vzip2q_s32(a, b));
    }
};

// Adds the products of pairs of rows by four rows of a tile to the sums of these: of rows 2p and 2p + 1 by the first
// two, and by the second two.
template <int... p>
inline void add_columns(std::integer_sequence<int, p...>, int32x4_t *a, int32x4_t *b, const int8x16_t *rows,
                        const Columns &of) {
    ((a[p] = vmmlaq_s32(a[p], rows[p], of.first)), ...);
    ((b[p] = vmmlaq_s32(b[p], rows[p], of.second)), ...);
}

// Writes such sums of pair p, of M rows in all.
template <int M, int... p>
inline void write_columns(std::integer_sequence<int, p...>, const int32x4_t *a, const int32x4_t *b, int32_t *acc) {
    const auto write = [acc](int row, int64x2_t four) {
        if (row < M) vst1q_s32(acc + row * kTile, vreinterpretq_s32_s64(four));
    };
    ((write(2 * p, vzip1q_s64(vreinterpretq_s64_s32(a[p]), vreinterpretq_s64_s32(b[p]))),
      write(2 * p + 1, vzip2q_s64(vreinterpretq_s64_s32(a[p]), vreinterpretq_s64_s32(b[p])))),
     ...);
}

// Eight accumulators for each pair of rows. Written without loops over them: a compiler that unrolls them late keeps
// the sums in memory.
template <int M, int... p>
inline void byte_pairs(std::integer_sequence<int, p...> pairs, const int8_t *w, int64_t columns, const int8_t *x,
                       int64_t stride, int32_t *acc) {
    int32x4_t a[] = {(static_cast<void>(p), vdupq_n_s32(0))...}, b[] = {(static_cast<void>(p), vdupq_n_s32(0))...};
    int32x4_t c[] = {(static_cast<void>(p), vdupq_n_s32(0))...}, d[] = {(static_cast<void>(p), vdupq_n_s32(0))...};
    int32x4_t e[] = {(static_cast<void>(p), vdupq_n_s32(0))...}, f[] = {(static_cast<void>(p), vdupq_n_s32(0))...};
    int32x4_t g[] = {(static_cast<void>(p), vdupq_n_s32(0))...}, h[] = {(static_cast<void>(p), vdupq_n_s32(0))...};
    const int8_t *const even[] = {(x + 2 * p * stride)...};
    const int8_t *const odd[] = {(x + (2 * p + 1 < M ? 2 * p + 1 : 2 * p) * stride)...};
    for (int64_t at = 0; at < columns; at += kStep, w += kStep * kTile) {
        const int8x16_t rows[] = {two_rows(even[p] + at, odd[p] + at)...};
        add_columns(pairs, a, b, rows, Columns(w, 0));
        add_columns(pairs, c, d, rows, Columns(w, 1));
        add_columns(pairs, e, f, rows, Columns(w, 2));
        add_columns(pairs, g, h, rows, Columns(w, 3));
    }
    write_columns<M>(pairs, a, b, acc);
    write_columns<M>(pairs, c, d, acc + 4);
    write_columns<M>(pairs, e, f, acc + 8);
    write_columns<M>(pairs, g, h, acc + 12);
}

template <int M, int>
void byte_block(const int8_t *w, const int8_t *, int64_t columns, const uint8_t *rows, int64_t stride, int32_t *acc) {
    const auto *x = reinterpret_cast<const int8_t *>(rows + sizeof(ByteRow));
    if constexpr (M <= 2)  // half of the products would be for nothing
        byte_rows(std::make_integer_sequence<int, M>(), w, columns, x, stride, acc);
    else
        byte_pairs<M>(std::make_integer_sequence<int, (M + 1) / 2>(), w, columns, x, stride, acc);
}

#include "engine/kernels.inl"
#include "engine/bytes.inl"

int64_t bare(Layout layout, int64_t rounds) {
    if (layout == Layout::kPairs) return bare_pairs(rounds);
    return bare_products(rounds, 32, vdupq_n_s32(0x01010101), [](int32x4_t sum, int32x4_t x, int32x4_t w) {
        return vmmlaq_s32(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w));
    });
}

}  // namespace

const Kernels &neonmm_kernels() {
    static const Kernels table = {"neon-i8mm", linear_of_bytes, quantise, norm,    silu,  rotate, attend_to_bytes,
                                  shift,       weigh,           portion,  above, bare,  {},     kBytes};
    return table;
}

}  // namespace nacrith
