// The learner: histories, matches, mixers and corrections joined to a probability for each bit of a text.
//
// Compiled once for each set of instructions, with NACRITH_LEARNER_SET as the name of its namespace; all sets give
// the same integers. formats/learner-v1.md specifies it, nacrith/learner is the reference in Python.
#pragma once

#include <array>

#include "learner/grid.hpp"
#include "learner/history.hpp"
#include "learner/maps.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

constexpr int kRateHalf = 11;    // what is added to the mixers' rate at the start halves within 2^11 bytes
constexpr int kShift = 5;        // of the corrections: 2^-5 of the error

// One learner for the texts of all lanes. `begin` chooses the lane whose bytes follow; each of their bits takes one
// call of `predict` or `skip`, then one of `learn` or `record`.
template <class Shape>
class Learner {
public:
    static constexpr int kContexts = Shape::kContexts, kMatches = Shape::kMatches, kSets = Shape::kSets, kCells = Shape::kCells;
    static constexpr int kDirect = Shape::kLight ? 4 : 6;  // fast and slow probabilities of orders 0, 1 and 2
    static constexpr int kModelAt = 2 * kContexts + kDirect + 2 * kMatches + 2 * kCells + 1;
    static constexpr int kInputs = (kModelAt + 2 * Shape::kModel + 7) / 8 * 8;
    static constexpr int kMixed = Shape::kModel ? 16 : 8;  // the sets', a constant, the model's
    static_assert(kSets + 1 + Shape::kModel <= kMixed && 2 * Maps<kContexts>::kPadded <= kInputs);

    // 2^bits bytes of histories.
    Learner(int bits, size_t lanes, Layout layout = {})
        : t_(tables()),
          maps_(t_),
          shape_(layout),
          histories_(bits),
          mixers_(Shape::kRows, first_row()),
          final_({256, 512}, first_final()),
          corrections_{{t_, 512}, {t_, 1 << kHashBits}, {t_, 1 << kHashBits}, {t_, 512}},
          texts_(lanes),
          lanes_(lanes) {
        for (int i = 0; i < kCells; i++) cell_tables_[i].assign(size_t{1} << Shape::kCellBits, uint32_t{kHalf} << 16);
        for (int i = 0; i < kMatches; i++) matches_[i] = {Shape::kLeast[i], kPlaceBits};
        inputs_[kModelAt - 1] = 256;
        std::fill_n(order0_, 2 << 8, kHalf);
        std::fill_n(order1_.get(), 2 << 16, kHalf);
        std::fill_n(&order2_[0][0], 32 * kPairs, kHalf);
    }

    // Where the text of a lane lies: kMargin zero bytes and then the text, of which only what has been learnt is
    // read. May be called again when the text has moved.
    void place(size_t lane, const uint8_t *text) { lanes_[lane].cursor.text = texts_[lane].bytes = text; }

    // The following bytes are the next ones of `lane`. Beside a model a token begins with the first of them.
    void begin(size_t lane) {
        lane_ = lane;
        token_ = Shape::kModel ? kTokenBegins : 0;
        at_ = &lanes_[lane];
        look_ahead();
        seek_corrections();
    }

    const Cursor &cursor() const { return at_->cursor; }
    const Pointer (&pointers() const)[kMatches] { return at_->pointers; }
    uint32_t taught() const { return taught_; }

    // The probability of a 1 as the next bit, of 16 bits, 1..65535. model: the stretch of the language model's.
    int32_t predict(int32_t model = 0) {
        const Cursor &c = at_->cursor;
        Selectors s{partial_, 7u - static_cast<uint32_t>(left_), 0, 0, 0, model};
        if (Shape::kModel) {
            inputs_[kModelAt] = static_cast<int16_t>(model);
            inputs_[kModelAt + 1] = linear(squash(t_, model));
        }
        const uint32_t step = consider(s);
        uint32_t rows[kSets];
        shape_.sets(c, s, rows);
        alignas(16) int32_t mixed[8], two[4];
        mixers_.mix(t_, inputs_, rows, mixed);
        if constexpr (Shape::kLight) {
            const int32_t joined = (mixed[0] + mixed[1]) >> 1;
            const int32_t r1 = corrections_[1].refine(joined, near_);
            return std::clamp((squash(t_, joined) + r1) >> 1, 1, kOne - 1);
        }
        if (Shape::kModel) mixed_[kSets + 1] = static_cast<int16_t>(model);
        narrow<kSets>(mixed, 256, mixed_);
        const uint32_t chosen[2] = {partial_, (s.expected * 5 + s.match) * 8 + s.hits};
        final_.mix(t_, mixed_, chosen, two);
        const int32_t joined = (two[0] + two[1]) >> 1;
        const int32_t p = squash(t_, joined);
        const int32_t r0 = corrections_[0].refine(joined, partial_ + 256 * (s.expected != 0));
        const int32_t r1 = corrections_[1].refine(joined, near_);
        const int32_t r2 = corrections_[2].refine(joined, far_);
        const int32_t r3 = corrections_[3].refine(joined, step * 8 + s.gone);
        const int32_t q = std::clamp((2 * p + r0 + 2 * r1 + 2 * r2 + r3) >> 3, 1, kOne - 1);
        return Shape::kModel ? gate_.join(q, squash(t_, model)) : q;
    }

    // Before a bit that is certain, and not predicted.
    void skip() {
        Selectors s{};
        consider(s);
    }

    // Learns a bit that was predicted.
    void learn(int bit) {
        const int rate = rate_;
        advance(bit);
        mixers_.learn(inputs_, bit, rate);
        if constexpr (Shape::kLight) {
            corrections_[1].learn(bit, kShift);
            return;
        }
        final_.learn(mixed_, bit, Shape::kRates.last);
        for (auto &c : corrections_) c.learn(bit, kShift);
        if (Shape::kModel) gate_.learn(bit);
    }

    // Learns a bit that was certain: what it says of the text, not of the predictions.
    void record(int bit) { advance(bit); }

private:
    static constexpr int kPairBits = 14, kHashBits = 14, kPlaceBits = 18;
    static constexpr int kPairs = Shape::kLight ? 1 : 1 << kPairBits;
    static constexpr uint16_t kHalf = 1 << 15;
    static constexpr uint32_t kTokenBegins = 0x5bd1e995;  // makes all contexts others

    static const int16_t *first_row() {
        static const auto row = [] {
            std::array<int16_t, kInputs> made{};
            for (int i = 0; i < kContexts; i++) made[2 * i] = Shape::kFirst.seen;
            for (int i = 0; i < kMatches; i++) made[2 * kContexts + kDirect + 2 * i] = Shape::kFirst.seen;
            for (int i = 0; i < kCells; i++) made[2 * (kContexts + kMatches + i) + kDirect] = Shape::kFirst.seen;
            if (Shape::kModel) made[kModelAt] = Shape::kFirst.model;
            return made;
        }();
        return row.data();
    }
    static const int16_t *first_final() {
        static const auto row = [] {
            std::array<int16_t, kMixed> made{};
            for (int i = 0; i < kSets; i++) made[i] = kWeightOne / kSets >> 16;
            return made;
        }();
        return row.data();
    }

    // What histories, direct probabilities and matches say of the next bit, as inputs and selectors. Returns the
    // longest match's step plus 1, or 0.
    uint32_t consider(Selectors &s) {
        if (left_ == 7 && !Shape::kForesees)  // there `foresee` has done it
            for (auto &p : at_->pointers) Match::begin(texts_, p);
        if (left_ == 7 || left_ == 3)
            for (int i = 0; i < kContexts; i++) buckets_[i] = histories_.find(places_[i]);
        // What is stored one by one comes first, and the vectors that are loaded with it last.
        node_ = left_ > 3 ? partial_ - 1 : (partial_ & ((1u << (3 - left_)) - 1)) + (1u << (3 - left_)) - 1;
        int16_t *x = consider_direct(inputs_ + 2 * kContexts);
        const uint32_t step = consider_matches(x, s);
        if (kCells) consider_cells(x + 2 * kMatches, s);
        const uint32_t seen = maps_.consider(buckets_, node_, inputs_);
        s.hits = static_cast<uint32_t>(__builtin_popcount(seen >> Shape::kFirstHit & 63));
        return step;
    }

    int16_t *consider_direct(int16_t *x) {
        const uint32_t last4 = at_->cursor.last4;
        direct_[0] = order0_ + 2 * partial_;
        direct_[1] = order1_.get() + 2 * ((last4 & 0xff) << 8 | partial_);
        if (!Shape::kLight) direct_[2] = pair_ + 2 * node_;
        for (int i = 0; i < kDirect / 2; i++) *x++ = stretch(t_, direct_[i][0]), *x++ = stretch(t_, direct_[i][1]);
        return x;
    }

    uint32_t consider_matches(int16_t *x, Selectors &s) {
        uint32_t step = 0;
        for (int i = 0; i < kMatches; i++) {
            Pointer &m = at_->pointers[i];
            int32_t p = kHalf;
            if (matches_[i].predict(m, partial_, left_)) {
                const int32_t trust = probability(*m.entry);
                p = m.bit ? trust : std::min(kOne - trust, kOne - 1);
                step = std::max(step, m.step() + 1);
                s.expected = static_cast<uint32_t>(m.bit) + 1;
            }
            *x++ = stretch(t_, p);
            *x++ = linear(p);
        }
        s.match = step == 0 ? 0 : step < 8 ? 1 : step < 16 ? 2 : step < 24 ? 3 : 4;
        return step;
    }

    void consider_cells(int16_t *x, const Selectors &s) {
        uint32_t places[kCells + 1];
        shape_.cells(s, places);
        for (int i = 0; i < kCells; i++) {
            cells_[i] = &cell_tables_[i][places[i]];
            const int32_t p = probability(*cells_[i]);
            *x++ = stretch(t_, p);
            *x++ = linear(p);
        }
    }

    // What the text has shown is learnt, and the position moves on by a bit.
    void advance(int bit) {
        const uint32_t node = node_;
        for (auto &p : at_->pointers) Match::learn(t_, p, bit);
        partial_ = partial_ << 1 | static_cast<uint32_t>(bit);
        left_--;
        // The buckets of what follows are fetched while this bit is learnt.
        if (left_ == 3) look_up(partial_);
        if (left_ < 0) end_byte(partial_ & 0xff);
        seek_corrections();
        maps_.learn(bit);
        for (int i = 0; i < kContexts; i++) {
            uint8_t &state = buckets_[i][node];
            state = t_.next[state][static_cast<size_t>(bit)];
        }
        for (int i = 0; i < kCells; i++) adapt(t_, *cells_[i], bit, kMapMost);
        static constexpr int kShifts[] = {4, 6, 3, 5, 2, 4};
        for (int i = 0; i < kDirect; i++) {
            uint16_t &p = direct_[i / 2][i % 2];
            p = static_cast<uint16_t>(p + (((bit ? kOne - 1 : 0) - p) >> kShifts[i]));
        }
    }

    // Which contexts of corrections the next bit has.
    void seek_corrections() {
        const uint32_t last4 = at_->cursor.last4;
        near_ = hash(last4 & (Shape::kLight ? 0xffff : 0xff), partial_) >> (32 - kHashBits);
        corrections_[1].prefetch(near_);
        if (Shape::kLight) return;
        far_ = hash(last4 & 0xffffff, partial_) >> (32 - kHashBits);
        corrections_[2].prefetch(far_);
    }

    void end_byte(uint32_t c) {
        Cursor &cursor = at_->cursor;
        followers_.push(cursor.last4, c);
        cursor.push(c);
        if (Shape::kModel) cursor.parts.push(cursor.text, cursor.at, c);
        token_ = 0;
        taught_++;
        texts_[lane_].at = cursor.at;
        uint32_t places[kMatches];
        for (int i = 0; i < kMatches; i++) places[i] = matches_[i].seek(texts_[lane_]);
        if (!Shape::kForesees) look_ahead();  // its buckets are fetched while the matches are sought
        for (int i = 0; i < kMatches; i++)
            matches_[i].end(texts_, static_cast<uint32_t>(lane_), at_->pointers[i], places[i]);
        if (Shape::kForesees) look_ahead();  // it asks what the matches expect
    }

    // Before a byte: hashes of all contexts, and the mixers' rate.
    void look_ahead() {
        if constexpr (Shape::kForesees) foresee();
        partial_ = 1;
        left_ = 7;
        rate_ = Shape::kRates.end + Shape::kRates.start / static_cast<int>(1 + (taught_ >> kRateHalf));
        uint32_t n = 0;
        shape_.contexts(at_->cursor, followers_, [&](uint32_t a, uint32_t b) {
            hashes_[n] = hash(a + n * 0x9e3779b1u, b ^ n << 24 ^ token_);
            n++;
        });
        look_up(0);
    }

    // What the matches expect next becomes a part of contexts.
    void foresee() {
        Cursor &cursor = at_->cursor;
        cursor.foreseen = cursor.foreseen_short = 0;
        for (auto &p : at_->pointers) {
            Match::begin(texts_, p);
            if (!p.expected) continue;
            if (!cursor.foreseen_short) cursor.foreseen_short = p.expected;
            cursor.foreseen = p.expected;
        }
    }

    // Where what a half byte needs lies. half: 0, or the first four bits under a leading 1.
    void look_up(uint32_t half) {
        for (int i = 0; i < kContexts; i++) {
            places_[i] = hashes_[i];
            if (half) {
                places_[i] = places_[i] * 0x2f0b4c47u + half * 0x6f4f2a35u;
                places_[i] ^= places_[i] >> 15;
            }
            histories_.prefetch(places_[i]);
        }
        if (Shape::kLight) return;
        pair_ = order2_[hash(at_->cursor.last4 & 0xffff, half) >> (32 - kPairBits)];
        __builtin_prefetch(pair_);
    }

    struct Free {
        void operator()(uint16_t (*pairs)[32]) const { ::operator delete[](pairs, std::align_val_t{64}); }
    };
    using Pairs = std::unique_ptr<uint16_t[][32], Free>;

    struct Lane {
        Cursor cursor;
        Pointer pointers[kMatches];
    };

    const Tables &t_;
    Maps<kContexts> maps_;
    Shape shape_;
    Histories histories_;
    Match matches_[kMatches];
    Layer<kInputs, kSets> mixers_;
    Layer<kMixed, 2> final_;
    Correction corrections_[4];
    Gate gate_;
    Texts texts_;
    std::vector<Lane> lanes_;
    size_t lane_ = 0;
    Lane *at_ = nullptr;      // the present one
    uint32_t taught_ = kMargin;  // bytes of all lanes, and a margin
    Followers followers_;
    uint16_t order0_[2 << 8];        // at 2 * context: a fast and a slow probability
    std::unique_ptr<uint16_t[]> order1_{new uint16_t[2 << 16]};
    Pairs order2_{new (std::align_val_t{64}) uint16_t[kPairs][32]};  // a cache line serves a half byte
    uint16_t *pair_ = nullptr;                                               // the present one
    uint32_t hashes_[kContexts], places_[kContexts];
    uint8_t *buckets_[kContexts];
    uint16_t *direct_[3];
    std::vector<uint32_t> cell_tables_[kCells + 1];  // of each an adaptive probability
    uint32_t *cells_[kCells + 1];
    alignas(32) int16_t inputs_[kInputs] = {};
    alignas(32) int16_t mixed_[kMixed] = {};
    uint32_t partial_ = 1, node_ = 0, near_ = 0, far_ = 0;
    int left_ = 7;  // bits of the byte after the next one
    int rate_ = 0;  // of the first layer, for this byte
    uint32_t token_ = 0;  // kTokenBegins if a token begins with the present byte
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
