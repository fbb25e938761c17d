// How a matrix is packed for a set of kernels (Matrix in kernels.hpp).
#pragma once

#include <cstdint>

#include "engine/kernels.hpp"

namespace nacrith {

struct Packing {
    Layout layout;
    int64_t columns;  // of the packed matrix
    int32_t bias;     // RowForm::bias
};

Packing packing_in(Layout layout, const Kernels &kernels, int64_t columns);

// That of a matrix whose input has magnitudes up to `limit`.
Packing packing_for(const Kernels &kernels, int64_t columns, int64_t limit);

// Packs one tile of a matrix q of (rows, columns) into zeroed memory that begins at `packed` with tile 0. For
// quads it also fills start[row] (Matrix), unless that is nullptr.
void pack_tile(const Packing &packing, const int8_t *q, int64_t rows, int64_t columns, int64_t tile, int8_t *packed,
               int32_t *start);

}  // namespace nacrith
