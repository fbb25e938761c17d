// The kernels for x86-64 with AMX (int8 tiles) and AVX-512 VNNI. They run only if Linux permits the process to
// use tiles; see variants.cpp.
//
// A tile is 16 rows of 64 bytes. One instruction multiplies 16 rows of activations by 64 columns of 16 rows of
// weights and adds the 16384 products to 16 x 16 sums; vpdpbusd has 64 products. Rows of bytes and tiles of quads, whose
// weights are biased for vpdpbusd, are such tiles as they lie in memory (tdpbsud). Rows that need more are split into two
// planes, 256 * high + low (kernels.hpp), each with its own sums: the low plane is unsigned (tdpbusd), the high plane
// signed (tdpbssd). Their weights are packed in pairs, as for sets without byte products; one vpermw per 64 bytes
// converts them, while the multiplication runs.
// Few rows, for which reading the weights takes most of the time, use the AVX-512 kernels.
//
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18; Linux,
// Documentation/arch/x86/xstate.rst.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

constexpr int64_t kByteUnit = 64;  // columns of a tile

#include "engine/block_vnni.inl"
#include "engine/block_bytes.inl"
#include "engine/kernels.inl"
#include "engine/bytes.inl"

constexpr int64_t kFew = 4;        // up to this many rows, AVX-512 is as fast, by the throughputs in the manuals
constexpr int64_t kTileRows = 16;  // of activations
constexpr int64_t kTileBytes = kTileRows * kPlaneColumns;
constexpr int64_t kAtOnce = 2 * kTileRows;  // rows that share a tile of weights: four tiles of sums
constexpr int64_t kStepPairs = kPlaneColumns / 2;
static_assert(kTile == 16 && kPlaneColumns == 64);

// A compiler barrier: the compiler may not know that tile instructions read or write memory.
inline void settle_memory() { asm volatile("" ::: "memory"); }

// Configures the tile registers until the end of the scope. They are part of the thread's state; once released,
// they add nothing to the cost of a context switch.
class Tiles {
public:
    Tiles() { _tile_loadconfig(&kConfig); }
    ~Tiles() { _tile_release(); }
    Tiles(const Tiles &) = delete;
    Tiles &operator=(const Tiles &) = delete;

private:
    struct alignas(64) Config {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    };
    static_assert(sizeof(Config) == 64);
    static constexpr Config kConfig = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
};

// Padding columns become zeros.
void split(const int16_t *q, int64_t columns, int64_t row, uint8_t *planes) {
    const int64_t steps = (columns + kPlaneColumns - 1) / kPlaneColumns;
    uint8_t *to = planes + row / kTileRows * steps * 2 * kTileBytes + row % kTileRows * kPlaneColumns;
    const __m512i low_byte = _mm512_set1_epi16(255);
    // The pack instruction interleaves its operands every eight bytes; this undoes it.
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    for (int64_t left = columns; left > 0; left -= kPlaneColumns, q += kPlaneColumns, to += 2 * kTileBytes) {
        const uint64_t valid = left < kPlaneColumns ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
        const __m512i a = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(valid), q);
        const __m512i b = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(valid >> 32), q + 32);
        const __m512i low = _mm512_packus_epi16(_mm512_and_si512(a, low_byte), _mm512_and_si512(b, low_byte));
        const __m512i high = _mm512_packs_epi16(_mm512_srai_epi16(a, 8), _mm512_srai_epi16(b, 8));
        _mm512_storeu_si512(to, _mm512_maskz_permutexvar_epi64(0xff, order, low));
        _mm512_storeu_si512(to + kTileBytes, _mm512_maskz_permutexvar_epi64(0xff, order, high));
    }
}

// Repacks up to 64 columns of weights, `pairs` pairs, from [pair][16][2] to the tile's [column / 4][16][4].
// Padding columns may have any value, since those of the planes are zeros.
inline void unpack(const int8_t *w, int64_t pairs, int8_t *tile) {
    alignas(64) static constexpr uint16_t kFours[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i fours = _mm512_load_si512(kFours);
    if (pairs > kStepPairs) pairs = kStepPairs;
    for (int64_t p = 0; p < pairs; p += 2, w += 4 * kTile, tile += 4 * kTile) {
        const __mmask16 valid = p + 1 < pairs ? 0xffff : 0xff;
        _mm512_storeu_si512(tile, _mm512_permutexvar_epi16(fours, _mm512_maskz_loadu_epi32(valid, w)));
    }
}

// Computes acc[m][n] for rows m < 16 or, if `both`, m < 32, of planes that begin with the tiles of these rows.
//
// The low plane's sums are at most 255 * 128 * 2 * pairs, which exceeds 32 bits from 65792 columns on, and the
// high plane's are multiplied by 256. All arithmetic, also in tiles, is modulo 2^32, and the complete sum fits
// 32 bits (`block` in kernels.inl), so the result is exact.
void multiply(const int8_t *w, int64_t pairs, const uint8_t *planes, bool both, int32_t *acc) {
    constexpr int64_t kRing = 4, kAhead = 2;  // steps between storing a tile and loading it, which would otherwise wait for the stores
    alignas(64) int8_t ring[kRing][kTileBytes];
    alignas(64) int32_t low[kAtOnce * kTile], high[kAtOnce * kTile];
    const int64_t steps = (pairs + kStepPairs - 1) / kStepPairs;
    const auto prepare = [&](int64_t s) {
        if (s < steps) unpack(w + s * kStepPairs * 2 * kTile, pairs - s * kStepPairs, ring[s % kRing]);
    };
    for (int64_t s = 0; s < kAhead; s++) prepare(s);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < steps; s++) {
        prepare(s + kAhead);
        settle_memory();
        const uint8_t *first = planes + s * 2 * kTileBytes, *second = first + steps * 2 * kTileBytes;
        _tile_loadd(4, ring[s % kRing], 4 * kTile);
        _tile_loadd(5, first, kPlaneColumns);
        _tile_loadd(6, first + kTileBytes, kPlaneColumns);
        _tile_dpbusd(0, 5, 4);
        _tile_dpbssd(1, 6, 4);
        if (both) {
            _tile_loadd(5, second, kPlaneColumns);
            _tile_loadd(6, second + kTileBytes, kPlaneColumns);
            _tile_dpbusd(2, 5, 4);
            _tile_dpbssd(3, 6, 4);
        }
    }
    constexpr int64_t kRowBytes = kTile * sizeof *acc;
    _tile_stored(0, low, kRowBytes);
    _tile_stored(1, high, kRowBytes);
    if (both) {
        _tile_stored(2, low + kTileRows * kTile, kRowBytes);
        _tile_stored(3, high + kTileRows * kTile, kRowBytes);
    }
    settle_memory();
    const int64_t sums = both ? kAtOnce * kTile : kTileRows * kTile;
    for (int64_t i = 0; i < sums; i++)
        acc[i] = static_cast<int32_t>(static_cast<uint32_t>(low[i]) + (static_cast<uint32_t>(high[i]) << 8));
}

// Rows of two planes.
class PlaneRows {
public:
    static constexpr int64_t kMost = kAtOnce, kUnit = kTileRows, kTiles = 1;

    PlaneRows(const Quantised &x, int64_t columns) : planes_(x.formed), columns_(columns) {}
    void times(const int8_t *w, const int8_t *, int64_t first, int64_t m, int32_t *acc) const {
        multiply(w, columns_ / 2, planes_ + form_bytes(Layout::kPairs, first, columns_), m > kTileRows, acc);
    }

private:
    const uint8_t *const planes_;
    const int64_t columns_;
};

// T interleaved tiles of weights by rows of bytes, x.
template <int T>
void multiply_bytes(const int8_t *w, int64_t steps, const uint8_t *x, int64_t stride, bool more_rows, int32_t *acc) {
    constexpr bool two = T == 2;
    constexpr int64_t kFours = T * 4 * kTile;  // bytes of four columns
    settle_memory();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < steps; s++, w += T * kTileBytes, x += kPlaneColumns) {
        _tile_loadd(4, x, stride);
        _tile_loadd(6, w, kFours);
        _tile_dpbsud(0, 4, 6);
        if constexpr (two) {
            _tile_loadd(7, w + 4 * kTile, kFours);
            _tile_dpbsud(1, 4, 7);
        }
        if (!more_rows) continue;
        _tile_loadd(5, x + kTileRows * stride, stride);
        _tile_dpbsud(2, 5, 6);
        if constexpr (two) _tile_dpbsud(3, 5, 7);
    }
    constexpr int64_t row = T * kTile, row_bytes = row * static_cast<int64_t>(sizeof *acc);
    _tile_stored(0, acc, row_bytes);
    if constexpr (two) _tile_stored(1, acc + kTile, row_bytes);
    if (more_rows) {
        _tile_stored(2, acc + kTileRows * row, row_bytes);
        if constexpr (two) _tile_stored(3, acc + kTileRows * row + kTile, row_bytes);
    }
    settle_memory();
}

// Rows of bytes, by tiles of memory.
template <int T>
struct ByteTiles : ByteRows<T> {
    static constexpr int64_t kMost = kAtOnce, kUnit = kTileRows;
    static_assert(kByteUnit == kPlaneColumns);
    using ByteRows<T>::ByteRows;

    void times(const int8_t *w, const int8_t *, int64_t first, int64_t m, int32_t *acc) const {
        const uint8_t *row = this->rows + first * this->stride;
        multiply_bytes<T>(w, this->columns / kPlaneColumns, row + sizeof(ByteRow), this->stride, m > kTileRows, acc);
        for (int64_t i = 0; i < m; i++, row += this->stride, acc += T * kTile) {
            const Vector start = quad_of(row);
            for (int64_t n = 0; n < T; n++) store(acc + n * kTile, add(load(acc + n * kTile), start));
            this->add_excess(w, row, acc);
        }
    }
};

// Numbers with an excess in two planes: a list of them would take longer than the second plane.
constexpr RowForm kTileBytesForm = {write_bytes, kByteUnit, kByteLimit, kByteTiles, kByteBias};

void linear_by_tiles(const Matrix &matrix, int64_t begin, int64_t end, Quantised x, int64_t count,
                     const Output &out) {
    if (count <= kFew || matrix.wide) return linear_of_bytes(matrix, begin, end, x, count, out);
    const Tiles in_use;
    if (matrix.layout == Layout::kQuads)
        products(ByteTiles<kByteTiles>(x, matrix.columns), matrix, begin, end, x.scale, count, out);
    else
        products(PlaneRows(x, matrix.columns), matrix, begin, end, x.scale, count, out);
}

void attend_by_tiles(const Attention &a) {
    if (a.count <= kFew) return attend_to_bytes(a);
    const Tiles in_use;
    attend<ByteTiles<1>, ByteWeights<ByteTiles<kByteTiles>>>(a);
}

int64_t bare_tiles(Layout layout, int64_t rounds) {
    constexpr int64_t kProducts = kTileRows * kTile * kPlaneColumns;
    const int64_t count = rounds * 1000 / (4 * kProducts) + 1;
    const Tiles in_use;
    for (int64_t n = 0; n < count; n++) {
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    return count * 4 * kProducts / (layout == Layout::kPairs ? 2 : 1);  // two planes
}

}  // namespace

const Kernels &amx_kernels() {
    static const Kernels table = {"amx", linear_by_tiles, quantise, norm,  silu,       rotate,     attend_by_tiles,
                                  shift, weigh,           portion,  above, bare_tiles, {split, 2}, kTileBytesForm};
    return table;
}

}  // namespace nacrith
