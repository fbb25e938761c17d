// Packs matrices; see packing.hpp.
#include "engine/packing.hpp"

#include <cstring>

namespace nacrith {
namespace {

// A group of columns as one number. `step`: from group to group. `flip` adds the bias, 128 or 0, to each byte.
template <class Group>
void pack_groups(const int8_t *from, int64_t columns, int64_t valid, int64_t step, Group flip, int8_t *to) {
    constexpr int64_t size = sizeof(Group);
    for (int64_t c = 0; c < columns; c += size, to += step) {
        const auto some = static_cast<size_t>(c + size < columns ? size : columns - c);
        for (int64_t n = 0; n < valid; n++) {
            Group group = 0;
            std::memcpy(&group, from + n * columns + c, some);
            group ^= flip;
            std::memcpy(to + n * size, &group, size);
        }
    }
}

}  // namespace

Packing packing_in(Layout layout, const Kernels &kernels, int64_t columns) {
    const RowForm &form = kernels.form(layout);
    return {layout, rounded_up(columns, form.unit), form.tiles, form.bias};
}

Packing packing_for(const Kernels &kernels, int64_t columns, int64_t limit) {
    // So that the sums of q * w fit 32 bits. What comes in between, of bytes and biased weights, is taken modulo 2^32.
    const bool fits = limit * 128 * columns <= INT32_MAX;
    const bool quads = kernels.quads.write && limit <= kernels.quads.limit && fits;
    return packing_in(quads ? Layout::kQuads : Layout::kPairs, kernels, columns);
}

Packing packing_of_keys(const Kernels &kernels, int64_t dim) {
    Packing packing = packing_in(kernels.keys(), kernels, dim);
    packing.tiles = 1;
    return packing;
}

Packing packing_of_values(const Kernels &kernels, int64_t slots) {
    Packing packing = packing_in(kernels.keys(), kernels, slots);
    packing.columns = slots;
    return packing;
}

int64_t packed_rows(const Packing &packing, int64_t rows) { return rounded_up(rows, packing.tiles * kTile); }

void pack_tile(const Packing &packing, const int8_t *q, int64_t rows, int64_t columns, int64_t tile, int8_t *packed) {
    const int64_t first = tile * kTile, valid = first + kTile < rows ? kTile : rows - first;
    const int8_t *from = q + first * columns;
    const bool pairs = packing.layout == Layout::kPairs;
    const int64_t group = kTile * (pairs ? 2 : 4), part = tile % packing.tiles;
    int8_t *to = packed + (tile - part) * kTile * packing.columns + part * group;
    if (pairs) return pack_groups<uint16_t>(from, columns, valid, group, 0, to);
    const uint32_t flip = packing.bias ? 0x80808080u : 0;
    pack_groups<uint32_t>(from, columns, valid, packing.tiles * group, flip, to);
}

}  // namespace nacrith
