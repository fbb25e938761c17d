// Where in a text the learner stands, and the contexts that follow from it. formats/learner-v1.md lists them.
//
// A cursor knows only what lies before it, so encoder and decoder hold the same one.
#pragma once

#include <cstdint>

#include "history.hpp"
#include "match.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

inline bool is_letter(uint32_t c) { return (c | 32) - 'a' < 26; }
inline bool is_digit(uint32_t c) { return c - '0' < 10; }

// Kinds of bytes in 4 bits, for contexts that see only the shape of a text.
inline uint32_t kind_of(uint32_t c) {
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

struct Cursor {
    const uint8_t *text = nullptr;  // positions count from kMargin zero bytes in front
    uint32_t at = Match::kMargin;

    uint64_t last8 = 0;  // the last bytes, the newest lowest
    uint32_t last4 = 0;
    uint32_t word = 0, word1 = 0, word2 = 0;  // hashes of this word and the two before
    uint32_t word_start = Match::kMargin;
    uint32_t punctuation = 0;  // last byte since a word that is neither letter nor blank
    uint32_t number = 0;       // digits of this number so far, by count only
    uint32_t kinds = 0;        // of the last 8 bytes
    uint32_t line = Match::kMargin, line1 = Match::kMargin, line2 = Match::kMargin;  // where lines begin
    uint32_t field = 0, field_hash = 0;  // number and bytes so far of a field of a table
    uint32_t indent = 0, first = 0;      // of the line: blanks, and the first byte after them
    uint32_t column = 0, above = 0, above_next = 0, above2 = 0;  // bytes above in the one and two lines before

    void push(uint32_t c) {
        last8 = last8 << 8 | c;
        last4 = static_cast<uint32_t>(last8);
        at++;
        if (is_letter(c) || c >= 128 || (c == '\'' && word)) {
            if (!word) word_start = at;
            word = hash(word, c - 'A' < 26 ? c + 32 : c);
            punctuation = 0;
        } else {
            if (word) word2 = word1, word1 = word, word = 0, word_start = at;
            if (c != ' ') punctuation = c;
        }
        number = is_digit(c) ? number + 1 : 0;
        kinds = kinds << 4 | kind_of(c);
        if (c == '\n') {
            line2 = line1, line1 = line, line = at;
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
        above_next = line1 + column + 1 < line ? text[line1 + column + 1] : 0;
        above2 = line2 + column < line1 ? text[line2 + column] : 0;
    }
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
