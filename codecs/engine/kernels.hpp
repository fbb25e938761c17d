// The inner loops of arithmetic version 1, as a table of functions for each instruction set.
//
// kernels.inl implements them in plain C++ that compilers vectorise. Each variant compiles that file with its
// own flags and its own `block`, the integer product that takes most of the time.
#pragma once

#include <cstdint>

namespace nacrith {

// Integer matrices are packed in tiles of 16 output rows: [tile][group of columns][row in tile][column in group],
// padded with zeros. Groups of two columns are multiplied by rows of int16; groups of four by rows of bytes, with
// half the work. Of quads, neighbouring tiles may be interleaved, RowForm::tiles at a time: [group of tiles][group of
// columns][tile in group][row in tile][column in group].
enum class Layout { kPairs, kQuads };
constexpr int64_t kTile = 16;
constexpr int64_t kMostTiles = 2;  // that any set interleaves
constexpr int64_t kMostRows = 32;  // of a block of rows in any set
constexpr int64_t kSinks = 4;
constexpr int64_t kByteLimit = 127;  // of rows that fit bytes

constexpr int64_t rounded_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Matrix {
    const int8_t *packed;
    const float *scales;  // padded to whole groups of tiles
    int64_t rows, columns;  // columns: padded to a multiple of RowForm::unit
    Layout layout;
    bool wide;  // of pairs: sums may exceed 32 bits
};

// Quantised rows: x ~ q * scale. The stride is in elements and even.
struct Quantised {
    const int16_t *q;
    int64_t stride;
    const float *scale;
    const uint8_t *formed = nullptr;  // the rows as RowForm::write gives them, for layouts with a form of rows
};

// The form in which a set takes the rows that it multiplies by matrices of one layout.
struct RowForm {
    // Writes row number `row`, `columns` numbers, to memory of form_bytes(), once for all tiles that it is multiplied
    // by. nullptr for pairs: the set takes q itself; for quads: it has no byte products.
    void (*write)(const int16_t *q, int64_t columns, int64_t row, uint8_t *to) = nullptr;
    int64_t unit = 2;  // columns of matrices are padded to a multiple
    // Of quads:
    int64_t limit = 0;  // the largest magnitude of numbers in rows
    int64_t tiles = 1;  // that are interleaved
    int32_t bias = 0;   // packed weights are w + bias: 128, or 0
};

constexpr int64_t kPlaneColumns = 64;

// Rows of bytes are the low bytes of their numbers, q = byte + 256 * excess. Few numbers have an excess: 10 bits are
// for the largest number of a row, and most others are far smaller. So what would take as many products again is a
// list, of the quads of columns in which any number has one. A row is in memory
//
//     ByteRow, byte_stride(columns) bytes, ByteRow::spills times Spill
//
// A larger excess than 127, which only the weights of attention have, is the sum of several of the quad: at most eight
// more than there are quads, since these weights add up to 2^16.
struct ByteRow {
    int32_t start;   // what all its sums begin with: -bias * (sum of q), modulo 2^32
    int32_t spills;  // the length of the list
    int32_t unused[14];
};

struct Spill {
    int32_t at;  // number of the quad
    int8_t excess[4];
};

constexpr int64_t kSome = 32;  // columns whose spills are listed at once

constexpr int64_t byte_stride(int64_t columns) { return rounded_up(columns, kPlaneColumns); }
constexpr int64_t kMoreSpills = 8 + 8;  // room: these, and what kernels may write beyond the end of a list
constexpr int64_t row_stride(int64_t columns) {
    return static_cast<int64_t>(sizeof(ByteRow) + kMoreSpills * sizeof(Spill)) +
           byte_stride(columns) / 4 * static_cast<int64_t>(4 + sizeof(Spill));
}

// For pairs: rows split into bytes, q = 256 * high + low with low in 0 .. 255:
// [row / 16][column / 64][low, high][16][64]. For quads: rows of bytes. Whole groups of 16 rows.
constexpr int64_t form_bytes(Layout layout, int64_t rows, int64_t columns) {
    return rounded_up(rows, 16) * (layout == Layout::kPairs ? 2 * byte_stride(columns) : row_stride(columns));
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
    const int8_t *k;  // a matrix of (slots, dim), packed as packing_of_keys says
    const int8_t *v;  // a matrix of (dim, slots), packed as packing_of_values says, and kPlaneColumns slots more
    const float *k_scale, *v_scale, *v_max;
    int64_t slots, dim;  // slots: a multiple of kTile
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
    uint8_t *formed;               // scratch of Kernels::attention_bytes(count, dim, width)
    float *out;                    // row i: out + (i / group) * out_stride + (i % group) * dim
    int64_t out_stride;
};

struct Kernels {
    const char *name;
    // Multiplies tiles begin .. end - 1 of `matrix` by `count` rows. Both are multiples of kMostTiles, or all tiles.
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

    // Multiplies numbers in registers by the instructions of one layout's products, about `rounds` times 1,000, and
    // nothing else: the most that the processor could do. Returns the number of products. nullptr where compilers
    // choose the instructions.
    int64_t (*bare)(Layout layout, int64_t rounds);

    RowForm pairs = {}, quads = {};

    const RowForm &form(Layout layout) const { return layout == Layout::kPairs ? pairs : quads; }
    Layout keys() const { return quads.write ? Layout::kQuads : Layout::kPairs; }
    // Bytes of Attention::formed: the queries, and then the weights of one block of rows for the sinks and the others.
    int64_t attention_bytes(int64_t count, int64_t dim, int64_t width) const {
        if (!quads.write) return 0;
        const int64_t weights = form_bytes(Layout::kQuads, kMostRows, kTile) + form_bytes(Layout::kQuads, kMostRows, width);
        const int64_t queries = form_bytes(Layout::kQuads, count, dim);
        return queries > weights ? queries : weights;
    }
};

// A build has the sets of its processor family; see variants.cpp.
const Kernels &portable_kernels();
const Kernels &avx2_kernels();
const Kernels &avxvnni_kernels();
const Kernels &avx512_kernels();
const Kernels &amx_kernels();
const Kernels &neon_kernels();
const Kernels &neondot_kernels();
const Kernels &neonmm_kernels();

}  // namespace nacrith
