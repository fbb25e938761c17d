// The KV cache of one lane; see lane.hpp.
#include "engine/lane.hpp"

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace nacrith {
namespace {

constexpr int64_t kFirstSlots = 256;

int64_t whole_tiles(int64_t slots) { return (slots + kTile - 1) / kTile * kTile; }

// Copies `count` blocks of `bytes` bytes, from_step and to_step apart.
void copy_blocks(void *to, int64_t to_step, const void *from, int64_t from_step, int64_t bytes, int64_t count) {
    if (bytes == 0) return;
    for (int64_t i = 0; i < count; i++)
        std::memmove(static_cast<char *>(to) + i * to_step, static_cast<const char *>(from) + i * from_step,
                     static_cast<size_t>(bytes));
}

}  // namespace

Lane::Lane(const nacrith_config &c, const Kernels &kernels, int64_t window, int64_t rollback, int64_t batch)
    : sections_(c.layers * c.kv_heads),
      dim_(c.head_dim),
      group_(kernels.keys() == Layout::kQuads ? 4 : 2),
      keys_(packing_of_keys(kernels, c.head_dim)),
      values_(packing_of_values(kernels, 0)),
      bands_(packed_rows(values_, c.head_dim) / v_slot()),
      window_(window),
      keep_(window + rollback),
      most_(kTile + whole_tiles(keep_ + kTile + 2 * batch)) {}

HeadCache Lane::head(int64_t section) const {
    return {k_.data() + section * k_bytes(),  v_.data() + section * v_bytes(),
            k_scale_.data() + section * slots_, v_scale_.data() + section * slots_,
            v_max_.data() + section * slots_, slots_, dim_};
}

void Lane::reserve(int64_t count) {
    if (slot(length_ + count - 1) >= most_) compact();
    const int64_t end = slot(length_ + count - 1) + 1;
    if (end <= slots_) return;
    int64_t slots = slots_ ? 2 * slots_ : kFirstSlots;
    slots = slots < most_ ? slots : most_;
    grow(whole_tiles(slots > end ? slots : end));
}

void Lane::truncate(int64_t index, int64_t length) {
    const std::string lane = "lane " + std::to_string(index);
    if (length < 0 || length > length_)
        throw std::invalid_argument(lane + " holds " + std::to_string(length_) + " tokens, not " +
                                    std::to_string(length));
    const int64_t oldest = base_ + kSinks;  // oldest position beyond the sinks that is still held
    if (length == 0)
        base_ = 0;
    else if (base_ && length < oldest + window_ - kSinks)
        throw std::invalid_argument(lane + " cannot go back to " + std::to_string(length) +
                                    " tokens: the window has moved on");
    length_ = length;
    tree_ = {};
}

void Lane::plant(int64_t rows, int64_t levels) {
    tree_ = {rows, levels};
    reserve(tree_.branches() ? levels + rows : levels);
}

int64_t Lane::home(int64_t row, int64_t position) const {
    return slot(tree_.branches() ? length_ + tree_.levels + row : position);
}

void Lane::keep(const int64_t *path, int64_t count) {
    if (count < 0 || count > tree_.levels)
        throw std::invalid_argument("a path of " + std::to_string(count) + " tokens in a tree of depth " +
                                    std::to_string(tree_.levels));
    for (int64_t i = 0; i < count; i++)
        if (path[i] < 0 || path[i] >= tree_.rows)
            throw std::invalid_argument("the tree has no row " + std::to_string(path[i]));
    for (int64_t section = 0; tree_.branches() && section < sections_; section++) {
        for (int64_t i = 0; i < count; i++) copy(section, home(path[i], 0), slot(length_ + i));
        carry_maximum(section, length_, count);
    }
    advance(count);
}

void Lane::store_key(int64_t section, int64_t slot, const int16_t *q, float scale) {
    int8_t *k = key(section, slot);
    for (int64_t d = 0; d < dim_; d++) k[d / group_ * group_ * kTile + d % group_] = stored(q[d]);
    k_scale_[section * slots_ + slot] = scale;
}

void Lane::store_value(int64_t section, int64_t slot, const int16_t *q, float scale) {
    for (int64_t first = 0; first < dim_; first += kTile) {
        int8_t *v = value(section, slot, first);
        for (int64_t d = first; d < first + kTile && d < dim_; d++, v += group_) *v = stored(q[d]);
    }
    v_scale_[section * slots_ + slot] = scale;
}

void Lane::copy(int64_t section, int64_t from, int64_t to) {
    const int8_t *k = key(section, from);
    int8_t *k_to = key(section, to);
    for (int64_t d = 0; d < keys_.columns; d += group_)
        std::memcpy(k_to + d * kTile, k + d * kTile, static_cast<size_t>(group_));
    for (int64_t d = 0; d < dim_; d++) *value(section, to, d) = *value(section, from, d);
    for (float *scales : {k_scale_.data() + section * slots_, v_scale_.data() + section * slots_})
        scales[to] = scales[from];
}

void Lane::carry_maximum(int64_t section, int64_t first, int64_t count) {
    const float *scale = v_scale_.data() + section * slots_;
    float *high = v_max_.data() + section * slots_;
    float before = first ? high[slot(first - 1)] : 0.0f;
    for (int64_t p = first; p < first + count; p++) {
        const int64_t s = slot(p);
        high[s] = before = scale[s] > before ? scale[s] : before;
    }
}

// Moves the slots from kTile on down by whole tiles, so that keep_ positions remain.
void Lane::compact() {
    const int64_t end = slot(length_ - 1) + 1;
    const int64_t shift = (end - kTile - keep_) / kTile * kTile, first = kTile + shift;
    if (shift <= 0) return;
    const int64_t slots = slots_ - first, band = slots_ * v_slot();
    copy_blocks(k_.data() + kTile * keys_.columns, k_bytes(), k_.data() + first * keys_.columns, k_bytes(),
                slots * keys_.columns, sections_);
    copy_blocks(v_.data() + kTile * v_slot(), band, v_.data() + first * v_slot(), band, slots * v_slot(),
                sections_ * bands_);
    for (const Buffer<float> *a : {&k_scale_, &v_scale_, &v_max_})
        copy_blocks(a->data() + kTile, slots_ * 4, a->data() + first, slots_ * 4, slots * 4, sections_);
    base_ += shift;
}

void Lane::grow(int64_t slots) {
    Buffer<int8_t> k(sections_ * slots * keys_.columns);
    Buffer<int8_t> v((sections_ * slots * bands_ + kPlaneColumns) * v_slot());
    Buffer<float> scales[3];
    copy_blocks(k.data(), slots * keys_.columns, k_.data(), k_bytes(), k_bytes(), sections_);
    copy_blocks(v.data(), slots * v_slot(), v_.data(), slots_ * v_slot(), slots_ * v_slot(), sections_ * bands_);
    Buffer<float> *old[3] = {&k_scale_, &v_scale_, &v_max_};
    for (int i = 0; i < 3; i++) {
        scales[i] = Buffer<float>(sections_ * slots);
        copy_blocks(scales[i].data(), slots * 4, old[i]->data(), slots_ * 4, slots_ * 4, sections_);
    }
    for (int i = 0; i < 3; i++) *old[i] = std::move(scales[i]);
    k_ = std::move(k);
    v_ = std::move(v);
    slots_ = slots;
}

}  // namespace nacrith
