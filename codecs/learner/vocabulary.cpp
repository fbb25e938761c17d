// See vocabulary.hpp.
#include "learner/vocabulary.hpp"

#include <stdexcept>

namespace nacrith {

Vocabulary::Vocabulary(int64_t size, int64_t spelled, const int32_t *order, const uint8_t *text,
                       const int32_t *offsets)
    : spelled_(static_cast<int32_t>(spelled)) {
    const auto wrong = [] { throw std::invalid_argument("a sorted vocabulary is not one"); };
    if (size < 1 || size > 1 << 20 || spelled < 0 || spelled > size || offsets[0] != 0) wrong();
    order_.assign(order, order + size);
    offsets_.assign(offsets, offsets + size + 1);
    rank_.assign(order_.size(), -1);
    for (int32_t r = 0; r < size; r++) {
        const int32_t id = order[r];
        if (id < 0 || id >= size || rank_[static_cast<size_t>(id)] >= 0) wrong();
        if (r < spelled ? offset(r) >= offset(r + 1) : offset(r) != offset(r + 1)) wrong();
        rank_[static_cast<size_t>(id)] = r;
    }
    text_.assign(text, text + offsets_.back());
    for (int32_t r = 1; r < spelled_; r++) {
        const auto begin = text_.begin();
        if (std::lexicographical_compare(begin + offset(r), begin + offset(r + 1), begin + offset(r - 1), begin + offset(r)))
            wrong();
    }
    int32_t r = 0;
    for (uint32_t least = 0; least <= 256; least++) {
        while (r < spelled_ && byte(r, 0) < least) r++;
        roots_[least] = r;
    }
}

}  // namespace nacrith
