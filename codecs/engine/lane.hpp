// The KV cache of one lane of a session.
#pragma once

#include <cstdint>

#include "engine/buffer.hpp"
#include "engine/kernels.hpp"
#include "engine/packing.hpp"
#include "nacrith.h"

namespace nacrith {

// The KV cache of one lane, packed for the kernels (HeadCache in kernels.hpp).
//
// Positions below kSinks stay in KV slots 0 .. 3; a later position p is in slot 16 + p - 4 - base. When the
// slots run out, the newest `keep` positions move to the front by whole tiles and base grows. Keys are stored
// rotated for their own position, so nothing has to be recomputed.
//
// The rows of a token tree share the slots of their positions, branch after branch. Each row is also stored in
// a slot of its own, its home, beyond the slots of all positions that the tree reaches (the reason is in
// nacrith/models/exact/tree.py). A tree without branches has no homes.
class Lane {
public:
    Lane(const nacrith_config &config, const Kernels &kernels, int64_t window, int64_t rollback, int64_t batch);

    int64_t length() const { return length_; }
    int64_t slot(int64_t position) const {
        return position < kSinks ? position : kTile + position - kSinks - base_;
    }
    HeadCache head(int64_t section) const;  // section = layer * kv_heads + head
    // Makes room for `count` further positions. Slots beyond the end may be lost.
    void reserve(int64_t count);
    void advance(int64_t count) {
        length_ += count;
        tree_ = {};
    }
    // Makes room for a tree of `rows` rows and `levels` positions, and discards any other tree.
    void plant(int64_t rows, int64_t levels);
    int64_t home(int64_t row, int64_t position) const;
    void keep(const int64_t *path, int64_t count);
    // Throws std::invalid_argument if that needs older tokens than the lane holds.
    void truncate(int64_t index, int64_t length);
    // Stores the key or value of one head: `dim` integers in [-127, 127].
    void store_key(int64_t section, int64_t slot, const int16_t *q, float scale);
    void store_value(int64_t section, int64_t slot, const int16_t *q, float scale);
    // Copies a key and value from slot to slot.
    void copy(int64_t section, int64_t from, int64_t to);
    // Computes v_max for `count` positions from `first` on. Their values must have been stored.
    void carry_maximum(int64_t section, int64_t first, int64_t count);

private:
    struct Tree {
        int64_t rows = 0, levels = 0;
        bool branches() const { return rows > levels; }
    };

    void compact();
    void grow(int64_t slots);
    int8_t *key(int64_t section, int64_t slot) const {  // in groups, kTile groups apart
        return k_.data() + section * k_bytes() + slot / kTile * keys_.columns * kTile + slot % kTile * group_;
    }
    // Values are in bands of v_slot() bytes for each slot, of interleaved tiles.
    int8_t *value(int64_t section, int64_t slot, int64_t d) const {
        const int64_t tile = d / kTile, part = tile % values_.tiles, band = tile / values_.tiles;
        return v_.data() + section * v_bytes() + band * slots_ * v_slot() + slot / group_ * group_ * v_slot() +
               (part * kTile + d % kTile) * group_ + slot % group_;
    }
    int64_t v_slot() const { return values_.tiles * kTile; }
    int64_t k_bytes() const { return slots_ * keys_.columns; }
    int64_t v_bytes() const { return slots_ * v_slot() * bands_; }
    int8_t stored(int16_t q) const { return static_cast<int8_t>(q + keys_.bias); }

    int64_t sections_, dim_, group_;  // group_: numbers that are packed together
    Packing keys_, values_;
    int64_t bands_, window_, keep_, most_;
    int64_t length_ = 0, base_ = 0, slots_ = 0;
    Tree tree_;
    Buffer<int8_t> k_, v_;
    Buffer<float> k_scale_, v_scale_, v_max_;
};

}  // namespace nacrith
