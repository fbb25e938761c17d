// The parts of a line, which other bytes than those of words and numbers divide, and the part above in the line before.
//
// Tables and logs repeat part by part where their columns are not aligned. formats/learner-v1.md, section 9.
#pragma once

#include "learner/match.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

// Depends only on the bytes of its lane, as the cursor does.
struct Parts {
    uint32_t number = 0;           // of the present part, in its line
    uint32_t bytes = 0, left = 0;  // hashes: of its bytes so far, of the part on its left
    uint32_t above = 0, next = 0;  // the byte in its place of the part above, and the one after it; 0 for none

    // After the byte c; `at` is the next one's position.
    void push(const uint8_t *text, uint32_t at, uint32_t c) {
        if (c == '\n') {
            starts_[now_][number + 1] = at;
            above_count_ = number + 1;
            now_ ^= 1;
            starts_[now_][0] = at;
            number = bytes = left = 0;
        } else if (is_inside(c) || number + 1 == kMost) {
            bytes = hash(bytes, c);
        } else {
            starts_[now_][++number] = at;
            left = bytes, bytes = c;
        }
        above = next = 0;
        if (number >= above_count_) return;
        const uint32_t *line = starts_[now_ ^ 1];
        const uint32_t place = line[number] + at - starts_[now_][number], end = line[number + 1];
        if (place < end) above = text[place];
        if (place + 1 < end) next = text[place + 1];
    }

private:
    static constexpr uint32_t kMost = 256;  // parts of a line; the last one has all that follows

    static bool is_inside(uint32_t c) {
        return (c | 32) - 'a' < 26 || c - '0' < 10 || c >= 128 || c == '.' || c == '-' || c == '_';
    }

    uint32_t starts_[2][kMost + 1] = {{kMargin}, {}};  // of the parts of two lines; behind them the line's end
    uint32_t above_count_ = 0, now_ = 0;               // parts of the line before; which line is the present one
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
