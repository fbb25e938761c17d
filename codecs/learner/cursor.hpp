// The position of the learner in its text, and what the text before it says about the next byte.
//
// A cursor depends only on the bytes before it, so encoder and decoder hold equal ones. formats/learner-v1.md
// defines every field.
#pragma once

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

// Finds the length of fixed-length records: the distance at which bytes most often recur twice in a row.
class Records {
public:
    static constexpr uint32_t kLongest = 2048;

    uint32_t width() const { return width_; }  // 0: none found

    void push(uint32_t c, uint32_t at) {
        const uint32_t distance = at - last_[c];
        if (distance == distance_[c] && distance > 1 && distance < kLongest) votes_[distance]++;
        distance_[c] = distance;
        last_[c] = at;
        if (at % kPeriod) return;
        uint32_t best = 0;
        for (uint32_t d = 2; d < kLongest; d++)
            if (votes_[d] > votes_[best]) best = d;
        width_ = votes_[best] >= kLeast ? best : 0;
        for (auto &v : votes_) v /= 2;
    }

private:
    static constexpr uint32_t kPeriod = 512, kLeast = 24;

    uint32_t last_[256] = {}, distance_[256] = {};
    uint16_t votes_[kLongest] = {};
    uint32_t width_ = 0;
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
    uint32_t back1 = 0, back2 = 0;  // bytes one and two records before
    Parts parts;                    // beside a model; others have none

    void push(uint32_t c) {
        last8 = last8 << 8 | c;
        last4 = static_cast<uint32_t>(last8);
        at++;
        push_word(c);
        push_line(c);
        records.push(c, at);
        const uint32_t width = records.width();
        back1 = width && at >= kMargin + width ? text[at - width] : 0;
        back2 = width && at >= kMargin + 2 * width ? text[at - 2 * width] : 0;
    }

private:
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
