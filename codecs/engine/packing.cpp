// Packs matrices; see packing.hpp.
#include "engine/packing.hpp"

#include <cstring>

namespace nacrith {
namespace {

template <int64_t group>
void pack_groups(const int8_t *from, int64_t columns, int64_t valid, int8_t *to) {
    for (int64_t g = 0; g < columns / group; g++)
        for (int64_t n = 0; n < valid; n++)
            std::memcpy(to + (g * kTile + n) * group, from + n * columns + g * group, group);
    const int64_t last = columns / group, left = columns % group;
    for (int64_t n = 0; left && n < valid; n++)
        std::memcpy(to + (last * kTile + n) * group, from + n * columns + last * group, static_cast<size_t>(left));
}

}  // namespace

Packing packing_in(Layout layout, const Kernels &kernels, int64_t columns) {
    const RowForm &form = kernels.form(layout);
    return {layout, rounded_up(columns, form.unit), form.bias};
}

Packing packing_for(const Kernels &kernels, int64_t columns, int64_t limit) {
    // So that the sums of q * w fit 32 bits. What comes in between, of q + bias and the start, is taken modulo 2^32.
    const bool fits = kByteLimit * 128 * columns <= INT32_MAX;
    const bool quads = kernels.quads.write && limit <= kByteLimit && fits;
    return packing_in(quads ? Layout::kQuads : Layout::kPairs, kernels, columns);
}

void pack_tile(const Packing &packing, const int8_t *q, int64_t rows, int64_t columns, int64_t tile, int8_t *packed,
               int32_t *start) {
    const int64_t first = tile * kTile, valid = first + kTile < rows ? kTile : rows - first;
    const int8_t *from = q + first * columns;
    int8_t *to = packed + first * packing.columns;
    if (packing.layout == Layout::kPairs) return pack_groups<2>(from, columns, valid, to);
    pack_groups<4>(from, columns, valid, to);
    for (int64_t n = 0; start && n < valid; n++) {
        int32_t sum = 0;  // at most 128 * 132104
        for (int64_t c = 0; c < columns; c++) sum += from[n * columns + c];
        start[first + n] = -packing.bias * sum;
    }
}

}  // namespace nacrith
