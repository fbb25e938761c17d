// The kernels for x86-64 with AVX2; compiled with -mavx2 and run only where the processor has it.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

inline __m256i plus_product(__m256i sum, __m256i x, __m256i w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}

#include "engine/block_avx2.inl"
#include "engine/kernels.inl"

int64_t bare(Layout, int64_t rounds) { return bare_pairs(rounds); }

}  // namespace

const Kernels &avx2_kernels() {
    static const Kernels table = {"avx2", linear, quantise, norm,    silu,  rotate,
                                  attend, shift,  weigh,    portion, above, bare};
    return table;
}

}  // namespace nacrith
