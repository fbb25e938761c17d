// The kernels for 64-bit Arm, little-endian, with the dot products of Armv8.2 (sdot), which most processors since 2018
// have. Compiled with these instructions and run only where the processor has them.
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

constexpr int64_t kByteRows = 4;

template <int M, int>
void byte_block(const int8_t *w, const int8_t *, int64_t columns, const uint8_t *rows, int64_t stride, int32_t *acc) {
    const auto *x = reinterpret_cast<const int8_t *>(rows + sizeof(ByteRow));
    byte_rows(std::make_integer_sequence<int, M>(), w, columns, x, stride, acc);
}

#include "engine/kernels.inl"
#include "engine/bytes.inl"

int64_t bare(Layout layout, int64_t rounds) {
    if (layout == Layout::kPairs) return bare_pairs(rounds);
    return bare_products(rounds, 16, vdupq_n_s32(0x01010101), [](int32x4_t sum, int32x4_t x, int32x4_t w) {
        return vdotq_s32(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w));
    });
}

}  // namespace

const Kernels &neondot_kernels() {
    static const Kernels table = {"neon-dot", linear_of_bytes, quantise, norm,    silu,  rotate, attend_to_bytes,
                                  shift,      weigh,           portion,  above, bare,  {},     kBytes};
    return table;
}

}  // namespace nacrith
