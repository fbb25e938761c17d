// The inner loops of arithmetic version 1, as a table of functions for each instruction set.
//
// kernels.inl implements them in plain C++ that compilers vectorise. Each variant compiles that file with its
// own flags and its own `block`, the integer product that takes most of the time.
#pragma once

#include <cstdint>

namespace nacrith {

// Integer matrices are packed in tiles of 16 output rows: [tile][column pair][row in tile][2], padded
// with zeros. One tile and one pair of columns is 32 bytes, the operand of a multiply-add of pairs.
constexpr int64_t kTile = 16;
constexpr int64_t kSinks = 4;

struct Matrix {
    const int8_t *packed;
    const float *scales;  // padded to whole tiles
    int64_t rows, pairs;
    bool wide;  // sums may exceed 32 bits
};

// Quantised rows: x ~ q * scale. The stride is in elements and even.
struct Quantised {
    const int16_t *q;
    int64_t stride;
    const float *scale;
    const uint8_t *planes = nullptr;  // the rows in the form of Kernels::split, for sets that have it
};

// Rows split into bytes, q = 256 * high + low with low in 0 .. 255: [row / 16][column / 64][low, high][16][64].
constexpr int64_t kPlaneColumns = 64;
constexpr int64_t plane_bytes(int64_t rows, int64_t pairs) {
    return (rows + 15) / 16 * ((2 * pairs + kPlaneColumns - 1) / kPlaneColumns) * 2 * 16 * kPlaneColumns;
}

enum class Store { kWrite, kAdd, kLogits };

struct Output {
    Store mode;
    float *values;  // kWrite, kAdd: (rows, stride)
    int64_t stride;
    int32_t *const *rows;  // kLogits: one pointer per row
};

// The KV cache of one head of one lane. Slots 0 .. 15 are for the attention sinks; see lane.hpp.
struct HeadCache {
    const int8_t *k;  // [slot / 16][dim / 2][16][2]
    const int8_t *v;  // [dim / 16][slot / 2][16][2]
    const float *k_scale, *v_scale, *v_max;
    int64_t slots, dim;
};

// One task of attention: `count` query rows of one lane that share a KV head.
struct Attention {
    HeadCache cache;
    const int16_t *q, *q_sink;         // (count, dim)
    const float *factor, *sink_factor;  // (count)
    int64_t count, group;              // count is a multiple of group: row i is token i / group
    const int64_t *slot;               // KV slot of each token's own position
    int64_t window;
    int64_t first_slot, end_slot;  // beyond the sinks: all slots that any row attends to, in whole tiles
    float *t;                      // scratch (count, width), width = kTile + end_slot - first_slot
    int16_t *w;                    // scratch, likewise
    uint8_t *planes;               // scratch of plane_bytes(count, max(dim, width) / 2), for sets with `split`
    float *out;                    // row i: out + (i / group) * out_stride + (i % group) * dim
    int64_t out_stride;
};

struct Kernels {
    const char *name;
    // Multiplies tiles begin .. end - 1 of `matrix` by `count` rows. Sets with `split` need x.planes.
    void (*linear)(const Matrix &matrix, int64_t begin, int64_t end, Quantised x, int64_t count,
                   const Output &out);
    void (*quantise)(const float *x, int64_t n, int32_t limit, int16_t *q, float *scale);
    // scratch: n floats
    void (*norm)(const float *x, const float *gain, int64_t n, double eps, int32_t limit,
                 float *scratch, int16_t *q, float *scale);
    void (*silu)(const float *gate, const float *up, int64_t n, int32_t limit, float *scratch,
                 int16_t *q, float *scale);
    void (*rotate)(const float *x, const float *cos, const float *sin, int64_t half, float *out);
    void (*attend)(const Attention &task);

    // For a vocabulary of n <= 2^20 tokens (coder/cdf.py, predictors/bias.py):
    //
    // x = row + shift, clamped to 2^30. Returns the first index of the largest x; -1 if the row itself exceeds
    // 2^30 in magnitude.
    int64_t (*shift)(const int32_t *row, const int32_t *shift, int64_t n, int32_t *x);
    // w = rint(2^((x - top) 2^-16) 2^23), top >= x. Returns the sum, at most 2^44.
    int64_t (*weigh)(const int32_t *x, int32_t top, int64_t n, float *w);
    // c = floor(w share) + 1, at most 2^24. Returns the sum, at most 2^44.
    int64_t (*portion)(const float *w, float share, int64_t n, float *c);
    // Collects the indices where w > bound and returns their number. `index` has room for n + 1.
    int64_t (*above)(const float *w, float bound, int64_t n, int32_t *index);

    // Writes row number `row`, q[0 .. 2 * pairs - 1], to planes of plane_bytes(rows, pairs), once for all tiles
    // that it is multiplied by. Padding columns become zeros; padding rows are not written. nullptr in sets
    // that need no planes.
    void (*split)(const int16_t *q, int64_t pairs, int64_t row, uint8_t *planes) = nullptr;
};

// A build has the sets of its processor family; see variants.cpp.
const Kernels &portable_kernels();
const Kernels &avx2_kernels();
const Kernels &avx512_kernels();
const Kernels &amx_kernels();
const Kernels &neon_kernels();

}  // namespace nacrith
