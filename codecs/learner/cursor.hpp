// The position of the learner in its text, and what the text before it says about the next byte.
//
// A cursor depends only on the bytes before it, so encoder and decoder hold equal ones. formats/learner-v1.md
// defines every field.
#pragma once

#include <algorithm>
#include <cstdint>

#include "learner/parts.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

inline bool is_letter(uint32_t c) { return (c | 32) - 'a' < 26; }
inline bool is_digit(uint32_t c) { return c - '0' < 10; }

// Classes of bytes, in 4 bits, for contexts that see only the shape of a text.
inline uint32_t class_of(uint32_t c) {
    if (is_letter(c)) return c >= 'a' ? 1 : 2;
    if (is_digit(c)) return 3;
    if (c >= 128) return 6;
    switch (c) {
        case ' ': return 4;
        case '\n': return 5;
        case ',': case '.': case ';': return 7;
        case '"': case '\'': return 8;
        case '<': case '>': return 9;
        default: return 10;
    }
}

// Finds the length of fixed-length records, and that of rows of them: distances at which bytes often recur twice in a
// row. Zeros between small numbers recur at every short distance, so a longer one counts for more.
class Records {
public:
    static constexpr uint32_t kLongest = 4096;

    uint32_t width() const { return width_; }  // 0: none found
    uint32_t row() const { return row_; }      // more than two records; 0: none found

    void push(uint32_t c, uint32_t at) {
        const uint32_t distance = at - last_[c];
        if (distance == distance_[c] && distance > 1 && distance < kLongest) votes_[distance]++;
        distance_[c] = distance;
        last_[c] = at;
        if (at % kPeriod) return;
        width_ = most(2, 16, kLeast);
        row_ = most(2 * width_ + 2, 64, kLeast / 2);
        for (auto &v : votes_) v /= 2;
    }

private:
    static constexpr uint32_t kPeriod = 512, kLeast = 24;

    // The shortest of the distances from `from` on with the most votes, each times the distance or `limit`; 0 if none
    // has `least` votes.
    uint32_t most(uint32_t from, uint32_t limit, uint32_t least) const {
        uint32_t best = 0, weight = 0;
        for (uint32_t d = from; d < kLongest; d++) {
            const uint32_t counted = votes_[d] * std::min(d, limit);
            if (votes_[d] >= least && counted > weight) best = d, weight = counted;
        }
        return best;
    }

    uint32_t last_[256] = {}, distance_[256] = {};
    uint16_t votes_[kLongest] = {};
    uint32_t width_ = 0, row_ = 0;
};

struct Cursor {
    const uint8_t *text = nullptr;  // positions count from kMargin zero bytes in front
    uint32_t at = kMargin;

    uint64_t last8 = 0;  // the last eight bytes, the newest lowest
    uint32_t last4 = 0;
    uint32_t word = 0, word1 = 0, word2 = 0;  // hashes of the present word and of the two before it
    uint32_t word_start = kMargin;
    uint32_t punctuation = 0;  // the last byte after a word that is neither letter nor blank
    uint32_t digits = 0;       // of the present number
    uint32_t classes = 0;      // of the last eight bytes
    uint32_t line = kMargin, line1 = kMargin;  // starts of this line and of the one before
    uint32_t field = 0, field_hash = 0;  // of a line: number of the field, hash of its bytes so far
    uint32_t indent = 0, first = 0;      // of a line: leading blanks, and the first byte after them
    uint32_t column = 0, above = 0;      // of the line, and the byte of the line before in that column
    Records records;
    uint32_t back1 = 0, back2 = 0, row1 = 0;  // bytes one and two records before, and one row
    uint32_t lately = 0;  // of the last three bytes, which were back1, row1 and foreseen, 3 bits each
    // What the last and the first of the match models that expect a byte do, under a leading 1; 0: none. Data's only.
    uint32_t foreseen = 0, foreseen_short = 0;
    Parts parts;  // beside a model; others have none

    void push(uint32_t c) {
        last8 = last8 << 8 | c;
        last4 = static_cast<uint32_t>(last8);
        at++;
        push_word(c);
        push_line(c);
        push_record(c);
    }

private:
    void push_record(uint32_t c) {
        const uint32_t right = (c == back1) | (c == row1) << 3 | ((c | 256) == foreseen) << 6;
        lately = (lately << 1 & 0666) | right;
        records.push(c, at);
        back1 = back(records.width());
        back2 = back(2 * records.width());
        row1 = back(records.row());
    }

    uint32_t back(uint32_t distance) const { return distance && at >= kMargin + distance ? text[at - distance] : 0; }

    void push_word(uint32_t c) {
        if (is_letter(c) || c >= 128 || (c == '\'' && word)) {
            if (!word) word_start = at;
            word = hash(word, c - 'A' < 26 ? c + 32 : c);
            punctuation = 0;
        } else {
            if (word) word2 = word1, word1 = word, word = 0, word_start = at;
            if (c != ' ') punctuation = c;
        }
        digits = is_digit(c) ? digits + 1 : 0;
        classes = classes << 4 | class_of(c);
    }

    void push_line(uint32_t c) {
        if (c == '\n') {
            line1 = line, line = at;
            field = field_hash = first = indent = 0;
        } else {
            if (c == ',' || c == '\t' || c == '|' || c == ';')
                field++, field_hash = 0;
            else
                field_hash = hash(field_hash, c);
            if (!first) {
                if (c == ' ' || c == '\t') indent++;
                else first = c;
            }
        }
        column = at - line;
        above = line1 + column < line ? text[line1 + column] : 0;
    }
};

// What followed bytes and pairs of bytes before: contexts that point at the past indirectly.
struct Followers {
    uint32_t after1[256] = {};  // the last three bytes that followed a byte
    std::unique_ptr<uint32_t[]> after2{new uint32_t[1 << 16]()};  // the last four that followed a pair

    void push(uint32_t last4, uint32_t c) {
        uint32_t &one = after1[last4 & 0xff], &two = after2[last4 & 0xffff];
        one = (one << 8 | c) & 0xffffff;
        two = two << 8 | c;
    }
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
