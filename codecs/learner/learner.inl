// The learner: histories, matches, mixers and corrections joined to a probability for each bit of a text.
//
// Compiled once for each set of instructions, with NACRITH_LEARNER_SET as the name of its namespace; all sets give
// the same integers. formats/learner-v1.md specifies it, nacrith/learner is the reference in Python.
#include <array>

#include "learner/history.hpp"
#include "learner/shapes.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

constexpr int kRateEnd = 10;     // of the mixers, in 1 / 1,024: the rate that is left when the text is long,
constexpr int kRateStart = 80;   // and what is added at its start,
constexpr int kRateHalf = 11;    // half of which is gone after 2^11 bytes
constexpr int kFinalRate = 16;   // of the mixers of the second layer
constexpr int kMapMost = 1023;   // uses of a map's entry after which its rate falls no more
constexpr int kFirstWeight = 450;  // of the histories' and matches' stretched predictions, in 1 / 4,096
constexpr int kShift = 5;        // of the corrections: 2^-5 of the error
constexpr int kLinear = 4;       // a probability of 16 bits becomes an input of 12

template <class Shape>
class Learner {
public:
    static constexpr int kContexts = Shape::kContexts, kMatches = Shape::kMatches, kSets = Shape::kSets;
    static constexpr int kDirect = 6;  // fast and slow probabilities of orders 0, 1 and 2
    static constexpr int kInputs = (2 * kContexts + kDirect + 2 * kMatches + 1 + 7) / 8 * 8;

    // 2^bits bytes of histories.
    explicit Learner(int bits)
        : t_(tables()),
          histories_(bits),
          final_{{256, first_final()}, {512, first_final()}},
          corrections_{{t_, 512}, {t_, 1 << kHashBits}, {t_, 1 << kHashBits}, {t_, 512}} {
        for (int i = 0; i < kSets; i++) mixers_[i] = {Shape::kRows[i], first_row()};
        for (int i = 0; i < kMatches; i++) matches_[i] = {Shape::kLeast[i], kPlaceBits};
        for (auto &map : maps_)
            for (size_t s = 0; s < 256; s++) {
                const uint32_t zeros = t_.count[s][0], ones = t_.count[s][1];
                map[s] = 65535 * (2 * ones + 1) / (2 * (zeros + ones + 1)) << 16;
            }
        std::fill_n(order0_, 2 << 8, kHalf);
        std::fill_n(order1_.get(), 2 << 16, kHalf);
        std::fill_n(order2_.get(), 2 << kOrder2Bits, kHalf);
    }

    // text: Match::kMargin zero bytes and then the text, of which only what has been learnt is read.
    void start(const uint8_t *text) {
        cursor_.text = text;
        look_ahead();
        take_buckets();
    }

    // The probability of a 1 as the next bit, of 16 bits, 1..65535.
    int32_t predict() {
        const uint32_t c1 = cursor_.last4 & 0xff;
        const uint32_t near = hash(c1, partial_) >> (32 - kHashBits);
        const uint32_t far = hash(cursor_.last4 & 0xffffff, partial_) >> (32 - kHashBits);
        corrections_[1].prefetch(near);
        corrections_[2].prefetch(far);
        Selectors s{partial_, 7u - static_cast<uint32_t>(left_), 0, 0, 0};
        int16_t *x = predict_histories(inputs_, s);
        x = predict_direct(x, c1);
        uint32_t step = 0;
        x = predict_matches(x, s, step);
        *x = 256;
        uint32_t rows[kSets];
        Shape::sets(cursor_, s, rows);
        for (int i = 0; i < kSets; i++) mixed_[i] = static_cast<int16_t>(mixers_[i].mix(t_, inputs_, rows[i]));
        mixed_[kSets] = 256;
        const int32_t joined = (final_[0].mix(t_, mixed_, partial_) +
                                final_[1].mix(t_, mixed_, (s.expected * 5 + s.match) * 8 + s.hits)) >> 1;
        const int32_t p = squash(t_, joined);
        const int32_t r0 = corrections_[0].refine(joined, partial_ + 256 * (s.expected != 0));
        const int32_t r1 = corrections_[1].refine(joined, near);
        const int32_t r2 = corrections_[2].refine(joined, far);
        const int32_t r3 = corrections_[3].refine(joined, step * 8 + s.gone);
        return std::clamp((2 * p + r0 + 2 * r1 + 2 * r2 + r3) >> 3, 1, kOne - 1);
    }

    void learn(int bit) {
        const uint32_t node = node_;
        const auto at = cursor_.at;
        for (auto &m : matches_) m.learn(t_, bit);
        partial_ = partial_ << 1 | static_cast<uint32_t>(bit);
        left_--;
        // The buckets of what follows are fetched while this bit is learnt.
        if (left_ == 3) look_up(partial_);
        if (left_ < 0) end_byte(partial_ & 0xff);
        const int rate = kRateEnd + kRateStart / static_cast<int>(1 + (at >> kRateHalf));
        for (auto &m : mixers_) m.learn(inputs_, bit, rate);
        for (auto &m : final_) m.learn(mixed_, bit, kFinalRate);
        for (auto &c : corrections_) c.learn(bit, kShift);
        for (int i = 0; i < kContexts; i++) {
            adapt(t_, *entries_[i], bit, kMapMost);
            uint8_t &state = buckets_[i][node];
            state = t_.next[state][static_cast<size_t>(bit)];
        }
        static constexpr int kShifts[kDirect] = {4, 6, 3, 5, 2, 4};
        for (int i = 0; i < kDirect; i++) {
            uint16_t &p = direct_[i / 2][i % 2];
            p = static_cast<uint16_t>(p + (((bit ? kOne - 1 : 0) - p) >> kShifts[i]));
        }
        if (left_ == 3 || left_ == 7) take_buckets();
    }

private:
    static constexpr int kOrder2Bits = 18, kHashBits = 14, kPlaceBits = 18;
    static constexpr uint16_t kHalf = 1 << 15;

    static const int16_t *first_row() {
        static const auto row = [] {
            std::array<int16_t, kInputs> made{};
            for (int i = 0; i < kContexts; i++) made[2 * i] = kFirstWeight;
            for (int i = 0; i < kMatches; i++) made[2 * kContexts + kDirect + 2 * i] = kFirstWeight;
            return made;
        }();
        return row.data();
    }
    static const int16_t *first_final() {
        static const auto row = [] {
            std::array<int16_t, 8> made{};
            for (int i = 0; i < kSets; i++) made[i] = kWeightOne / kSets >> 16;
            return made;
        }();
        return row.data();
    }

    int16_t linear(int32_t p) const { return static_cast<int16_t>((p - kHalf) >> kLinear); }

    int16_t *predict_histories(int16_t *x, Selectors &s) {
        node_ = left_ > 3 ? partial_ - 1 : (partial_ & ((1u << (3 - left_)) - 1)) + (1u << (3 - left_)) - 1;
        for (int i = 0; i < kContexts; i++) {
            const uint8_t state = buckets_[i][node_];
            entries_[i] = &maps_[i][state];
            const int32_t p = probability(*entries_[i]);
            x[0] = state ? stretch(t_, p) : int16_t{0};
            x[1] = state ? linear(p) : int16_t{0};
            x += 2;
            if (i >= Shape::kFirstHit && i <= Shape::kLastHit) s.hits += state != 0;
        }
        return x;
    }

    int16_t *predict_direct(int16_t *x, uint32_t c1) {
        const uint32_t pair = hash(cursor_.last4 & 0xffff, 0) + partial_ * 0x9e3779b1u;
        direct_[0] = order0_ + 2 * partial_;
        direct_[1] = order1_.get() + 2 * (c1 << 8 | partial_);
        direct_[2] = order2_.get() + 2 * (pair >> (32 - kOrder2Bits));
        for (const uint16_t *d : direct_) *x++ = stretch(t_, d[0]), *x++ = stretch(t_, d[1]);
        return x;
    }

    int16_t *predict_matches(int16_t *x, Selectors &s, uint32_t &step) {
        for (auto &m : matches_) {
            int32_t p = kHalf;
            if (m.predict(partial_, left_)) {
                p = m.bit() ? m.trust() : std::min(kOne - m.trust(), kOne - 1);
                step = std::max(step, m.step() + 1);
                s.expected = static_cast<uint32_t>(m.bit()) + 1;
            }
            *x++ = stretch(t_, p);
            *x++ = linear(p);
        }
        s.match = step == 0 ? 0 : step < 8 ? 1 : step < 16 ? 2 : step < 24 ? 3 : 4;
        return x;
    }

    void end_byte(uint32_t c) {
        followers_.push(cursor_.last4, c);
        cursor_.push(c);
        for (auto &m : matches_) m.end(cursor_.text, cursor_.at);
        partial_ = 1;
        left_ = 7;
        look_ahead();
    }

    // Before a byte: hashes of all contexts, and what the matches expect.
    void look_ahead() {
        uint32_t n = 0;
        Shape::contexts(cursor_, followers_, [&](uint32_t a, uint32_t b) {
            hashes_[n] = hash(a + n * 0x9e3779b1u, b ^ n << 24);
            n++;
        });
        look_up(0);
        for (auto &m : matches_) m.begin(cursor_.text, cursor_.at);
    }

    // Where the buckets of a half byte lie. half: 0, or the first four bits under a leading 1.
    void look_up(uint32_t half) {
        for (int i = 0; i < kContexts; i++) {
            places_[i] = hashes_[i];
            if (half) {
                places_[i] = places_[i] * 0x2f0b4c47u + half * 0x6f4f2a35u;
                places_[i] ^= places_[i] >> 15;
            }
            histories_.prefetch(places_[i]);
        }
    }

    void take_buckets() {
        for (int i = 0; i < kContexts; i++) buckets_[i] = histories_.find(places_[i]);
    }

    const Tables &t_;
    Histories histories_;
    Match matches_[kMatches];
    Mixer<kInputs> mixers_[kSets];
    Mixer<8> final_[2];
    Correction corrections_[4];
    Cursor cursor_;
    Followers followers_;
    uint32_t maps_[kContexts][256];  // from a history to a probability, for each context
    uint16_t order0_[2 << 8];        // at 2 * context: a fast and a slow probability
    std::unique_ptr<uint16_t[]> order1_{new uint16_t[2 << 16]}, order2_{new uint16_t[2 << kOrder2Bits]};
    uint32_t hashes_[kContexts], places_[kContexts];
    uint8_t *buckets_[kContexts];
    uint32_t *entries_[kContexts];
    uint16_t *direct_[3];
    alignas(32) int16_t inputs_[kInputs] = {};
    alignas(16) int16_t mixed_[8] = {};
    uint32_t partial_ = 1, node_ = 0;
    int left_ = 7;  // bits of the byte after the next one
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
