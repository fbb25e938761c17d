// The kernels for x86-64 with AVX2 and the VNNI instructions for its registers (AVX-VNNI), which processors without
// AVX-512 have; compiled with these flags and run only where the processor has them.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

inline __m256i plus_product(__m256i sum, __m256i x, __m256i w) { return _mm256_dpwssd_avx_epi32(sum, x, w); }

#include "engine/block_avx2.inl"

// For block_bytes.inl: the two halves of a tile and six rows have 12 sums, in 15 of 16 registers.
using Vector = __m256i;
constexpr int kLanes = 8;
constexpr int64_t kByteRows = 6, kByteTiles = 1, kByteUnit = 4;

inline Vector load(const void *from) { return _mm256_loadu_si256(static_cast<const __m256i *>(from)); }
inline void store(void *to, Vector x) { _mm256_storeu_si256(static_cast<__m256i *>(to), x); }
inline Vector same(int32_t x) { return _mm256_set1_epi32(x); }
inline Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
inline Vector high(Vector x) { return _mm256_slli_epi32(x, 8); }
inline Vector plus_bytes(Vector sum, Vector w, Vector x) { return _mm256_dpbusd_avx_epi32(sum, w, x); }

#include "engine/block_bytes.inl"
#include "engine/spills.inl"
#include "engine/kernels.inl"
#include "engine/bytes.inl"

}  // namespace

const Kernels &avxvnni_kernels() {
    static const Kernels table = {"avxvnni", linear_of_bytes, quantise, norm,    silu,  rotate, attend_to_bytes,
                                  shift,     weigh,           portion,  above, bare,  {},     kBytes};
    return table;
}

}  // namespace nacrith
