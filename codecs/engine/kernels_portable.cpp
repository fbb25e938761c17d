// The kernels for any processor, in plain C++.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

constexpr int64_t kRows = 6;

// Sixteen independent products of 16 by 16 bits into 32: the form that compilers translate to the widening
// multiplications of SSE2 and NEON.
template <int M>
void block(const int8_t *w, int64_t pairs, const int16_t *q, int64_t stride, int32_t *__restrict acc) {
    for (int64_t i = 0; i < M * kTile; i++) acc[i] = 0;
    for (int64_t p = 0; p < pairs; p++, w += 2 * kTile, q += 2) {
        int16_t even[kTile], odd[kTile];
        for (int64_t n = 0; n < kTile; n++) {
            even[n] = w[2 * n];
            odd[n] = w[2 * n + 1];
        }
        for (int64_t m = 0; m < M; m++) {
            const int16_t q0 = q[m * stride], q1 = q[m * stride + 1];
            for (int64_t n = 0; n < kTile; n++) acc[m * kTile + n] += int32_t{even[n]} * q0;
            for (int64_t n = 0; n < kTile; n++) acc[m * kTile + n] += int32_t{odd[n]} * q1;
        }
    }
}

#include "engine/kernels.inl"

}  // namespace

const Kernels &portable_kernels() {
    static const Kernels table = {"portable", linear, quantise, norm,    silu,  rotate,
                                  attend, shift,  weigh,    portion, above, nullptr};
    return table;
}

}  // namespace nacrith
