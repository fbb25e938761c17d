// The shapes of a learner: which contexts it has, and what chooses the rows of its mixers.
//
// Text is for any text, Data for executables, tables of records and other binaries, Fast for speed; Beside is for
// text that a language model predicts too. A shape's `contexts` calls put(a, b) once for each context, `sets` fills
// in the row of each mixer. formats/learner-v1.md.
#pragma once

#include <algorithm>

#include "learner/cursor.hpp"
#include "learner/learner.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

// What a row of weights may be chosen by.
struct Selectors {
    uint32_t partial;   // the bits of the byte so far under a leading 1
    uint32_t gone;      // how many bits they are
    uint32_t hits;      // of the six contexts from kFirstHit on, how many have been seen before, 0..6
    uint32_t expected;  // by the match models: 0 nothing, 1 a 0, 2 a 1
    uint32_t match;     // length of the longest match, in 5 steps
    int32_t model;      // the stretch of the language model's probability of a 1
};

// How fast the mixers learn, in 1 / 1,024: the rate that is left when the text is long, what is added at its start,
// half of which is gone after 2^11 bytes, and the rate of the second layer.
struct Rates {
    int end, start, last;
};

// The weights that all rows begin with, in 1 / 4,096: of stretched histories and matches, and of the model.
struct FirstWeights {
    int16_t seen, model;
};

struct Alone {
    static constexpr int kCells = 0, kCellBits = 0;  // see grid.hpp

    Alone() = default;
    explicit Alone(Layout) {}
    static void cells(const Selectors &, uint32_t *) {}

    // kLight: no second layer, no probabilities of order 2, and one correction instead of four. kForesees: contexts may
    // use `foreseen`; with one lane only, since the byte that a place in another lane is for may come later.
    static constexpr bool kModel = false, kLight = false, kForesees = false;
    static constexpr Rates kRates = {10, 80, 16};
    static constexpr FirstWeights kFirst = {450, 0};
};

struct Text : Alone {
    using Alone::Alone;
    static constexpr int kContexts = 20, kMatches = 3, kSets = 7;
    static constexpr int kFirstHit = 0;  // of the six contexts counted as `hits`
    static constexpr int kRows[kSets] = {1024, 256, 256, 576, 1024, 256, 1536};
    static constexpr uint32_t kLeast[kMatches] = {4, 7, 20};

    template <class Put>
    static void contexts(const Cursor &c, const Followers &f, const Put &put) {
        const uint32_t c4 = c.last4, c1 = c4 & 0xff, older = static_cast<uint32_t>(c.last8 >> 32);
        put(c1, 0);
        put(c4 & 0xffff, 0);
        put(c4 & 0xffffff, 0);
        put(c4, 0);
        put(c4, (older & 0xffff) + 1);
        put(c4, older * 3 + 7);
        put(c.word, 0);
        put(c.word, c.word1);
        put(c.word, c1 | c.punctuation << 8);
        put(c.word, c.word2);
        put(c.above | c.column << 8, 0);
        put(c.field | c.above << 16, c.field_hash);
        put(c.field, c.word);
        put(c4 & 0xff0000ff, 0);
        put(c4 & 0xf8f8f8f8, older & 0xf8);
        put(c.classes, 0);
        put(f.after1[c1], c1);
        put(f.after2[c4 & 0xffff] & 0xffff, c4 & 0xffff);
        put(hash(c.first, c.indent), c.word);
        put(c.digits, c.classes & 0xfff);
    }

    static void sets(const Cursor &c, const Selectors &s, uint32_t *rows) {
        rows[0] = s.partial + 256 * (s.match <= 2 ? s.match > 0 : s.match - 1);
        rows[1] = c.last4 & 0xff;
        rows[2] = c.last4 >> 8 & 0xff;
        rows[3] = (s.hits * 8 + s.gone) * 9 + (s.match ? s.match * 2 - 2 + s.expected : 0);
        rows[4] = (std::min(c.column, 63u) * 8 + s.gone) * 2 + (c.above != 0);
        rows[5] = c.classes & 0xff;
        rows[6] = (std::min(c.at - c.word_start, 15u) * 8 + s.gone) * 12 +
                  ((c.punctuation != 0) + 2 * (c.first != 0)) * 3 + s.expected;
    }
};

struct Beside : Text {
    using Text::Text;
    static constexpr bool kModel = true;
    static constexpr Rates kRates = {8, 60, 28};
    static constexpr FirstWeights kFirst = {150, 2000};
    static constexpr int kContexts = 23, kSets = 8;
    static constexpr int kRows[kSets] = {1024, 256, 256, 576, 1024, 256, 1536, 540};

    template <class Put>
    static void contexts(const Cursor &c, const Followers &f, const Put &put) {
        Text::contexts(c, f, put);
        put(hash(c.parts.number, c.parts.bytes), c.parts.left);
        put(c.parts.above | c.parts.next << 8, c.parts.bytes);
        put(c.parts.above | (c.last4 & 0xff) << 8, c.parts.number);
    }

    static void sets(const Cursor &c, const Selectors &s, uint32_t *rows) {
        Text::sets(c, s, rows);
        rows[4] = (std::min(c.parts.number, 63u) * 8 + s.gone) * 2 + (c.parts.above != 0);
        const auto sure = static_cast<uint32_t>(std::clamp((s.model + 2304) >> 7, 0, 35));
        rows[7] = sure * 15 + s.match * 3 + s.expected;
    }
};

struct Data : Alone {
    using Alone::Alone;
    static constexpr bool kForesees = true;
    static constexpr int kContexts = 27, kMatches = 3, kSets = 6;
    static constexpr int kFirstHit = 1;
    static constexpr int kRows[kSets] = {1024, 256, 256, 576, 512, 1024};
    static constexpr uint32_t kLeast[kMatches] = {4, 8, 20};

    template <class Put>
    static void contexts(const Cursor &c, const Followers &f, const Put &put) {
        const uint32_t c4 = c.last4, c1 = c4 & 0xff, c2 = c4 >> 8 & 0xff, older = static_cast<uint32_t>(c.last8 >> 32);
        const uint32_t width = c.records.width(), phase = width ? c.at % width : 0;
        put(0, 0);
        put(c1, 0);
        put(c4 & 0xffff, 0);
        put(c4 & 0xffffff, 0);
        put(c4, 0);
        put(c4, (older & 0xff) + 1);
        put(c4, (older & 0xffff) + 1);
        put(c2, 0);
        put(c4 & 0xff0000, 0);
        put(c4 & 0xff000000, 0);
        put(c4 & 0xffff00, 0);
        put(c4 & 0xff00ff, 0);
        put(c4 & 0xffff0000, 0);
        put(c4 & 0xf0f0f0f0, older & 0xf0f0f0f0);
        put(c4 & 0xf8f8f8, c.at & 3);
        put(c1, c.at & 3);
        put(c4 & 0xff000000, older & 0xff000000);
        put(width | phase << 16, 0);
        put(c.back1 | phase << 8, 0);
        put(c.back1 | c1 << 8, width);
        put(c.back1 | c.back2 << 8, width);
        put(f.after1[c1] & 0xffff, c1);
        put(f.after2[c4 & 0xffff] & 0xffff, c4 & 0xffff);
        put(c.foreseen | c1 << 16, 0);
        put(c.foreseen_short | c1 << 16, c2 + 1);
        put(c.foreseen | c.back1 << 16, phase + 1);
        put(c.foreseen | c.row1 << 16, c.back1 + 1);
    }

    static void sets(const Cursor &c, const Selectors &s, uint32_t *rows) {
        rows[0] = s.partial + 256 * (s.match <= 2 ? s.match > 0 : s.match - 1);
        rows[1] = c.last4 & 0xff;
        rows[2] = c.last4 >> 8 & 0xff;
        rows[3] = (s.hits * 8 + s.gone) * 9 + (s.match ? s.match * 2 - 2 + s.expected : 0);
        rows[4] = c.lately;
        rows[5] = (c.records.width() ? c.at % c.records.width() % 127 + 1 : 0) * 8 + s.gone;
    }
};

struct Fast : Alone {
    using Alone::Alone;
    static constexpr bool kLight = true;
    static constexpr int kContexts = 6, kMatches = 1, kSets = 2;
    static constexpr int kFirstHit = 0;
    static constexpr int kRows[kSets] = {1024, 576};
    static constexpr uint32_t kLeast[kMatches] = {6};

    template <class Put>
    static void contexts(const Cursor &c, const Followers &, const Put &put) {
        put(c.last4 & 0xffff, 0);
        put(c.last4 & 0xffffff, 0);
        put(c.last4, 0);
        put(c.last4, (static_cast<uint32_t>(c.last8 >> 32) & 0xffff) + 1);
        put(c.word, c.last4 & 0xff);
        put(c.above | (c.last4 & 0xff) << 8, c.back1);
    }

    static void sets(const Cursor &, const Selectors &s, uint32_t *rows) {
        rows[0] = s.partial + 256 * (s.match <= 2 ? s.match > 0 : s.match - 1);
        rows[1] = (s.hits * 8 + s.gone) * 9 + (s.match ? s.match * 2 - 2 + s.expected : 0);
    }
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
