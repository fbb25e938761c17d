// The intrinsics of AVX2, AVX-512 VNNI, AVX-VNNI and AMX in plain C++, for kernels whose processor is not at hand
// (NACRITH_EMULATE): those of vectors by SIMDe (Debian: libsimde-dev), the rest here, as in the pseudocode of the Intel 64
// and IA-32 Architectures Software Developer's Manual, volume 2.
#pragma once

#include <cstdint>
#include <cstring>

#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512/add.h>
#include <simde/x86/avx512/and.h>
#include <simde/x86/avx512/cvt.h>
#include <simde/x86/avx512/dpbusd.h>
#include <simde/x86/avx512/dpwssd.h>
#include <simde/x86/avx512/load.h>
#include <simde/x86/avx512/loadu.h>
#include <simde/x86/avx512/or.h>
#include <simde/x86/avx512/packs.h>
#include <simde/x86/avx512/packus.h>
#include <simde/x86/avx512/permutexvar.h>
#include <simde/x86/avx512/set.h>
#include <simde/x86/avx512/set1.h>
#include <simde/x86/avx512/setr.h>
#include <simde/x86/avx512/setzero.h>
#include <simde/x86/avx512/srai.h>
#include <simde/x86/avx512/storeu.h>

using __mmask8 = uint8_t;
using __mmask16 = uint16_t;
using __mmask32 = uint32_t;

namespace emulated {

// Loads the numbers whose bit is set, and touches no others.
template <class T, class Mask>
simde__m512i load_some(Mask mask, const void *from) {
    T values[64 / sizeof(T)] = {};
    for (size_t i = 0; i < 64 / sizeof(T); i++)
        if (mask >> i & 1) std::memcpy(values + i, static_cast<const T *>(from) + i, sizeof(T));
    return simde_mm512_loadu_si512(values);
}

// The numbers of a register, changed by change(value), or zero where the bit is not set.
template <class T, class Mask, class Change>
simde__m512i each(Mask mask, simde__m512i x, const Change &change) {
    T values[64 / sizeof(T)];
    std::memcpy(values, &x, sizeof values);
    for (size_t i = 0; i < 64 / sizeof(T); i++) values[i] = mask >> i & 1 ? static_cast<T>(change(values[i])) : T{0};
    return simde_mm512_loadu_si512(values);
}

inline simde__m512i widened(__mmask8 mask, simde__m256i x) {
    uint32_t from[8];
    uint64_t to[8];
    std::memcpy(from, &x, sizeof from);
    for (int i = 0; i < 8; i++) to[i] = mask >> i & 1 ? from[i] : 0;
    return simde_mm512_loadu_si512(to);
}

inline __mmask8 nonzero(simde__m256i x, simde__m256i y) {
    uint32_t a[8], b[8];
    std::memcpy(a, &x, sizeof a);
    std::memcpy(b, &y, sizeof b);
    int mask = 0;
    for (int i = 0; i < 8; i++) mask |= ((a[i] & b[i]) != 0) << i;
    return static_cast<__mmask8>(mask);
}

inline simde__m512i compressed(__mmask8 mask, simde__m512i x) {
    uint64_t from[8], to[8] = {}, *next = to;
    std::memcpy(from, &x, sizeof from);
    for (int i = 0; i < 8; i++)
        if (mask >> i & 1) *next++ = from[i];
    return simde_mm512_loadu_si512(to);
}

}  // namespace emulated

#define _mm512_maskz_slli_epi32(mask, x, n) emulated::each<uint32_t>(__mmask16(mask), x, [](uint32_t v) { return v << (n); })
#define _mm512_maskz_slli_epi64(mask, x, n) emulated::each<uint64_t>(__mmask8(mask), x, [](uint64_t v) { return v << (n); })
#define _mm512_maskz_cvtepu32_epi64(mask, x) emulated::widened(mask, x)
#define _mm512_maskz_compress_epi64(mask, x) emulated::compressed(mask, x)
#define _mm256_test_epi32_mask(x, y) emulated::nonzero(x, y)
#define _mm512_maskz_loadu_epi16(mask, from) emulated::load_some<uint16_t, uint32_t>(mask, from)
#define _mm512_maskz_loadu_epi32(mask, from) emulated::load_some<uint32_t, uint16_t>(mask, from)
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#define _mm256_dpwssd_avx_epi32 simde_mm256_dpwssd_epi32

namespace emulated {

struct TileState {
    uint8_t rows[8], columns[8];  // columns: in bytes
    uint8_t data[8][16][64];
};
inline thread_local TileState tiles;

inline void tile_loadconfig(const void *config) {
    const auto *bytes = static_cast<const uint8_t *>(config);
    tiles = {};
    for (int t = 0; t < 8; t++) {
        tiles.columns[t] = bytes[16 + 2 * t];  // at most 64
        tiles.rows[t] = bytes[48 + t];
    }
}
inline void tile_zero(int t) { std::memset(tiles.data[t], 0, sizeof tiles.data[t]); }
inline void tile_loadd(int t, const void *from, int64_t stride) {
    tile_zero(t);
    for (int r = 0; r < tiles.rows[t]; r++)
        std::memcpy(tiles.data[t][r], static_cast<const uint8_t *>(from) + r * stride, tiles.columns[t]);
}
inline void tile_stored(int t, void *to, int64_t stride) {
    for (int r = 0; r < tiles.rows[t]; r++)
        std::memcpy(static_cast<uint8_t *>(to) + r * stride, tiles.data[t][r], tiles.columns[t]);
}
// sum += a * b, groups of four bytes; A and B are the types of their bytes.
template <class A, class B>
void tile_multiply(int sum, int a, int b) {
    for (int m = 0; m < tiles.rows[sum]; m++)
        for (int k = 0; k < tiles.columns[a] / 4; k++)
            for (int n = 0; n < tiles.columns[sum] / 4; n++) {
                uint32_t total;
                std::memcpy(&total, tiles.data[sum][m] + 4 * n, 4);
                for (int i = 0; i < 4; i++)
                    total += static_cast<uint32_t>(static_cast<A>(tiles.data[a][m][4 * k + i]) *
                                                   static_cast<B>(tiles.data[b][k][4 * n + i]));
                std::memcpy(tiles.data[sum][m] + 4 * n, &total, 4);
            }
}

}  // namespace emulated

#define _tile_loadconfig(config) emulated::tile_loadconfig(config)
#define _tile_release() emulated::tile_loadconfig(emulated::TileState{}.data)
#define _tile_zero(t) emulated::tile_zero(t)
#define _tile_loadd(t, from, stride) emulated::tile_loadd(t, from, stride)
#define _tile_stored(t, to, stride) emulated::tile_stored(t, to, stride)
#define _tile_dpbusd(sum, a, b) emulated::tile_multiply<uint8_t, int8_t>(sum, a, b)
#define _tile_dpbssd(sum, a, b) emulated::tile_multiply<int8_t, int8_t>(sum, a, b)
#define _tile_dpbsud(sum, a, b) emulated::tile_multiply<int8_t, uint8_t>(sum, a, b)
