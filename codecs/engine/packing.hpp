// How a matrix is packed for a set of kernels (Matrix in kernels.hpp).
#pragma once

#include <cstdint>

#include "engine/kernels.hpp"

namespace nacrith {

struct Packing {
    Layout layout;
    int64_t columns;  // of the packed matrix
    int64_t tiles;    // that are interleaved
    int32_t bias;     // of packed weights
};

Packing packing_in(Layout layout, const Kernels &kernels, int64_t columns);

// That of a matrix whose input has magnitudes up to `limit`.
Packing packing_for(const Kernels &kernels, int64_t columns, int64_t limit);

// Those of a head's keys, a matrix of (slots, dim) whose tiles are never interleaved, and of its values, a matrix of
// (dim, slots) whose columns are not padded.
Packing packing_of_keys(const Kernels &kernels, int64_t dim);
Packing packing_of_values(const Kernels &kernels, int64_t slots);

// Rows of a packed matrix of `rows` rows.
int64_t packed_rows(const Packing &packing, int64_t rows);

// Packs one tile of a matrix q of (rows, columns) into zeroed memory that begins at `packed` with tile 0.
void pack_tile(const Packing &packing, const int8_t *q, int64_t rows, int64_t columns, int64_t tile, int8_t *packed);

}  // namespace nacrith
