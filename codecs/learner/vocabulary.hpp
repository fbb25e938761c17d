// A vocabulary sorted by the bytes of its tokens: nacrith/models/tokenizer/sorted_vocabulary.py.
//
// The tokens that begin with given bytes are an interval of ranks; those that are no longer come first in it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace nacrith {

class Vocabulary {
public:
    // order: the id at each of `size` ranks, all different. text, offsets: the bytes of rank r are
    // text[offsets[r]] .. text[offsets[r + 1]]; empty from rank `spelled` on, and only there. All is copied.
    // Throws std::invalid_argument for anything else.
    Vocabulary(int64_t size, int64_t spelled, const int32_t *order, const uint8_t *text, const int32_t *offsets);

    int32_t size() const { return static_cast<int32_t>(order_.size()); }
    int32_t spelled() const { return spelled_; }
    const int32_t *order() const { return order_.data(); }
    int32_t rank(int32_t id) const { return rank_[static_cast<size_t>(id)]; }
    int32_t length(int32_t rank) const { return offset(rank + 1) - offset(rank); }
    uint8_t byte(int32_t rank, int32_t depth) const { return text_[static_cast<size_t>(offset(rank) + depth)]; }

    // The first rank of [lo, hi) that is longer than `depth` bytes. All of them begin with the same `depth` bytes.
    int32_t longer(int32_t lo, int32_t hi, int32_t depth) const {
        while (lo < hi && length(lo) == depth) lo++;
        return lo;
    }
    // The first rank of [lo, hi) whose byte at `depth` is `least` or more, hi if there is none.
    int32_t split(int32_t lo, int32_t hi, int32_t depth, uint32_t least) const {
        if (depth == 0) return std::clamp(roots_[least], lo, hi);
        while (lo < hi) {
            const int32_t middle = lo + (hi - lo) / 2;
            if (byte(middle, depth) < least) lo = middle + 1;
            else hi = middle;
        }
        return lo;
    }

private:
    int32_t offset(int32_t rank) const { return offsets_[static_cast<size_t>(rank)]; }

    int32_t spelled_;
    std::vector<int32_t> order_, rank_, offsets_;
    std::vector<uint8_t> text_;
    int32_t roots_[257];  // the first rank whose first byte is this or more
};

}  // namespace nacrith
