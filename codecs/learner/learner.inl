// The learner: contexts, mixers and corrections joined to a probability for each bit. formats/learner-v1.md.
//
// Compiled once for each set of instructions, with NACRITH_LEARNER_SET as the name of its namespace; all sets
// give the same integers.
#include <algorithm>

#include "bias.hpp"
#include "ends.hpp"
#include "learner.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

TUNE(kRateEnd, 8); TUNE(kRateStart, 60); TUNE(kRateHalf, 11); TUNE(kFinalRate, 12); TUNE(kSeenMost, 1023);
TUNE(kFirstWeight, 450); TUNE(kLinear, 4); TUNE(kAS,5);TUNE(kBiasIn,0);TUNE(kBiasWeight,1000);TUNE(kWithModel,100);TUNE(kModelWeight,1200);TUNE(kMRateEnd,3);TUNE(kMRateStart,20);TUNE(kMFinalRate,6);TUNE(kMRateHalf,11);

// What a learner begins with, fitted once and part of the format.
struct Prior {
    static constexpr int kMaps = 26, kInputs = 72;
    int16_t rows[8][kInputs], finals[2][16], ends[2][16];  // first weights, in 1 / 4,096
    uint16_t maps[kMaps][256], trust[3][480], end_trust[3][64];  // first probabilities, of 16 bits
};

// A text of any kind: 26 contexts of histories, order 0 to 2 direct, three match models.
template <bool kModel>
class Full {
public:
    static constexpr int kBiases = 3;
    static constexpr int kContexts = 26, kMatches = 3, kSets = kModel ? 8 : 7;
    static constexpr int kInputs = (2 * kContexts + 6 + 2 * kMatches + 1 + (2 + kBiases) * kModel + 7) / 8 * 8;

    Full(int bits, const Prior &prior)
        : ends_(tables(), prior.ends), t_(tables()), histories_(bits),
          matches_{Match(t_, 4, 16), Match(t_, 7, 18), Match(t_, 20, 18)},
          mixers_{{1024, prior.rows[0]}, {256, prior.rows[1]}, {256, prior.rows[2]}, {576, prior.rows[3]}, {1024, prior.rows[4]}, {256, prior.rows[5]}, {1536, prior.rows[6]}, {1024, prior.rows[7]}},
          final_{{512, prior.finals[0]}, {512, prior.finals[1]}},
          corrections_{Correction(t_, 512), Correction(t_, 1 << 14), Correction(t_, 1 << 14), Correction(t_, 512)} {
        for (int i = 0; i < kContexts; i++)
            for (int state = 0; state < 256; state++) maps_[i][state] = static_cast<uint32_t>(prior.maps[i][state]) << 16;
        for (int i = 0; i < kMatches; i++) matches_[i].believe(prior.trust[i]);
        ends_.believe(prior.end_trust);
        std::fill(order0_, order0_ + 512, uint16_t{1 << 15});
        std::fill(order1_.get(), order1_.get() + (2 << 16), uint16_t{1 << 15});
        std::fill(order2_.get(), order2_.get() + (2 << kOrder2Bits), uint16_t{1 << 15});
    }

    // text: of which Match::kMargin zero bytes and everything before `at` may be read.
    void start(const uint8_t *text) { cursor_.text = text; }

    void begin_byte() {
        const Cursor &c = cursor_;
        int n = 0;
        const auto put = [&](uint32_t a, uint32_t b) {
            hashes_[n] = hash(a + static_cast<uint32_t>(n) * 0x9e3779b1u, b ^ static_cast<uint32_t>(n) << 24);
            n++;
        };
        const uint32_t c4 = c.last4, c1 = c4 & 0xff, older = static_cast<uint32_t>(c.last8 >> 32);
        put(0, 0);
        put(c1, 0);
        put(c4 & 0xffff, 0);
        put(c4 & 0xffffff, 0);
        put(c4, 0);
        put(c4, (older & 0xff) + 1);
        put(c4, (older & 0xffff) + 1);
        put(c4, older * 3 + 7);
        put(c.word, 0);
        put(c.word, c.word1);
        put(hash(c.word, c.word1), c.word2);
        put(c.word, c1 | c.punctuation << 8);
        put(c.word, c.word2);
        put(c.above | c.column << 8, 0);
        put(c.above | c1 << 8 | c.above_next << 16, 0);
        put(c.field | c.above << 16, c.field_hash);
        put(c.field, c.word);
        put(c.above | c.above2 << 8 | c1 << 16, 0);
        put(c4 & 0xffff00, 0);
        put(c4 & 0xff0000ff, 0);
        put(c4 & 0xf8f8f8f8, older & 0xf8);
        put(c.kinds, 0);
        put(after1_[c1], c1);
        put(after2_[c4 & 0xffff] & 0xffff, c4 & 0xffff);
        put(hash(c.first, c.indent), c.word);
        put(c.number, c.kinds & 0xfff);
        for (const uint32_t h : hashes_) histories_.prefetch(h);
        for (auto &m : matches_) m.begin(c.text, c.at);
        partial_ = 1;
        left_ = 7;
        take_buckets(0);
    }

    // The probability of a 1, of 16 bits, 1..65535.
    // model: stretch of the language model's, if there is one.
    int32_t predict(int32_t model = 0) {
        const Cursor &c = cursor_;
        const uint32_t c1 = c.last4 & 0xff;
        const int contexts[4] = {0, static_cast<int>(hash(c1, partial_) & 0x3fff),
                                 static_cast<int>(hash(c.last4 & 0xffffff, partial_) & 0x3fff), 0};
        corrections_[1].prefetch(contexts[1]);
        corrections_[2].prefetch(contexts[2]);
        node_ = left_ > 3 ? partial_ - 1 : (partial_ & ((1u << (3 - left_)) - 1)) + (1u << (3 - left_)) - 1;
        int16_t *x = inputs_;
        int hits = 0;
        for (int i = 0; i < kContexts; i++) {
            const uint8_t state = buckets_[i][node_];
            uint32_t &entry = maps_[i][state];
            entries_[i] = &entry;
            const int32_t p = probability(entry);
            x[0] = state ? stretch(t_, p) : int16_t{0};
            x[1] = state ? static_cast<int16_t>((p - (kOne >> 1)) >> kLinear) : int16_t{0};
            if (i >= 1 && i <= 7) hits += state != 0;
            x += 2;
        }
        direct_[0] = order0_ + 2 * partial_;
        direct_[1] = order1_.get() + 2 * (c1 << 8 | partial_);
        direct_[2] = order2_.get() + 2 * ((hash(c.last4 & 0xffff, 0) + partial_ * 0x9e3779b1u) >> (32 - kOrder2Bits));
        for (const uint16_t *d : direct_) *x++ = stretch(t_, d[0]), *x++ = stretch(t_, d[1]);
        uint32_t length = 0;
        int expected = 0;  // 0: nothing, 1: a 0, 2: a 1
        for (auto &m : matches_) {
            int32_t p = kOne >> 1;
            if (m.predict(partial_, left_)) {
                p = m.bit() ? m.trust() : kOne - m.trust();
                length = std::max(length, m.step() + 1);
                expected = m.bit() + 1;
            }
            p = std::min(p, kOne - 1);
            *x++ = stretch(t_, p);
            *x++ = static_cast<int16_t>((p - (kOne >> 1)) >> kLinear);
        }
        *x++ = 256;
        if (kModel) {
            const uint32_t node = hash(token, partial_), hs[kBiases] = {node, hash(node, token1), hash(node, hash(token1, token2))};
            for (int i = 0; i < kBiases; i++) { const int b = biases_[i].predict(t_, hs[i], model); *x++ = kBiasIn==0? static_cast<int16_t>(b) : static_cast<int16_t>(clamp(biases_[i].bias(),2047)); }
            *x++ = static_cast<int16_t>(model);
            *x++ = static_cast<int16_t>((squash(t_, model) - (kOne >> 1)) >> kLinear);
        }
        const int match = length == 0 ? 0 : length < 8 ? 1 : length < 16 ? 2 : length < 24 ? 3 : 4;
        const int gone = 7 - left_;
        const int sets[8] = {
            static_cast<int>(partial_) + 256 * (match <= 2 ? match > 0 : match - 1),
            static_cast<int>(c1),
            static_cast<int>(c.last4 >> 8 & 0xff),
            (hits * 8 + gone) * 9 + (match ? match * 2 - 2 + expected : 0),
            static_cast<int>((std::min(c.column, 63u) * 8 + static_cast<uint32_t>(gone)) * 2 + (c.above != 0)),
            static_cast<int>(c.kinds & 0xff),
            static_cast<int>((std::min(c.at - c.word_start, 15u) * 8 + static_cast<uint32_t>(gone)) * 12) +
                ((c.punctuation != 0) + 2 * (c.first != 0)) * 3 + expected,
            std::clamp((model + 2304) >> 7, 0, 35) * 15 + match * 3 + expected};
        for (int i = 0; i < kSets; i++) mixed_[i] = static_cast<int16_t>(mixers_[i].mix(t_, inputs_, sets[i]));
        mixed_[kSets] = 256;
        if (kModel) mixed_[kSets + 1] = static_cast<int16_t>(model);
        const int32_t joined = (final_[0].mix(t_, mixed_, static_cast<int>(partial_)) +
                                final_[1].mix(t_, mixed_, (expected * 5 + match) * 8 + hits)) >> 1;
        const int32_t p = squash(t_, joined);
        const int32_t r0 = corrections_[0].refine(joined, static_cast<int>(partial_) + 256 * (expected != 0));
        const int32_t r1 = corrections_[1].refine(joined, contexts[1]);
        const int32_t r2 = corrections_[2].refine(joined, contexts[2]);
        const int32_t r3 = corrections_[3].refine(joined, static_cast<int>(length * 8) + gone);
        return std::clamp((2 * p + r0 + 2 * r1 + 2 * r2 + r3) >> 3, 1, kOne - 1);
    }

    void learn(int bit, bool certain = false) {
        const int rate = kModel ? kMRateEnd + static_cast<int>(static_cast<uint32_t>(kMRateStart) / (1 + (cursor_.at >> kMRateHalf))) : kRateEnd + static_cast<int>(static_cast<uint32_t>(kRateStart) / (1 + (cursor_.at >> kRateHalf)));
        if (kModel && !certain) for (auto &b : biases_) b.learn(bit);
        if (!certain) {
        for (int i = 0; i < kSets; i++) mixers_[i].learn(inputs_, bit, rate);
        for (auto &m : final_) m.learn(mixed_, bit, kModel ? kMFinalRate : kFinalRate);
        for (auto &c : corrections_) c.learn(bit, kAS);
        }
        for (int i = 0; i < kContexts; i++) {
            adapt(t_, *entries_[i], bit, kSeenMost);
            uint8_t &state = buckets_[i][node_];
            state = t_.next[state][static_cast<size_t>(bit)];
        }
        static constexpr int kShift[3][2] = {{4, 6}, {3, 5}, {2, 4}};
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 2; j++) {
                uint16_t &p = direct_[i][j];
                p = static_cast<uint16_t>(p + (((bit ? 65535 : 0) - p) >> kShift[i][j]));
            }
        for (auto &m : matches_) m.learn(bit);
        partial_ = partial_ << 1 | static_cast<uint32_t>(bit);
        left_--;
        if (left_ == 3) take_buckets(partial_);
        if (left_ < 0) end_byte(partial_ & 0xff);
    }

public:
    Bias biases_[kBiases]; uint32_t token = 0, token1 = 0, token2 = 0;
    Ends ends_;
    const Cursor &cursor() const { return cursor_; }
    const Match (&matches() const)[kMatches] { return matches_; }
#ifndef NACRITH_FIT
private:
#endif
    static constexpr int kOrder2Bits = 18;
    using Inputs = Mixer<kInputs>;
    using Joined = Mixer<16>;


    // At the half bytes; nibble: 0, or the first four bits under a leading 1.
    void take_buckets(uint32_t nibble) {
        uint32_t h[kContexts];
        for (int i = 0; i < kContexts; i++) {
            h[i] = hashes_[i];
            if (nibble) {
                h[i] = h[i] * 0x2f0b4c47u + nibble * 0x6f4f2a35u;
                h[i] ^= h[i] >> 15;
                histories_.prefetch(h[i]);
            }
        }
        for (int i = 0; i < kContexts; i++) buckets_[i] = histories_.find(h[i]);
    }

    void end_byte(uint32_t c) {
        const uint32_t c1 = cursor_.last4 & 0xff, c2 = cursor_.last4 & 0xffff;
        cursor_.push(c);
        after1_[c1] = (after1_[c1] << 8 | c) & 0xffffff;
        after2_[c2] = after2_[c2] << 8 | c;
        for (auto &m : matches_) m.end(cursor_.text, cursor_.at);
    }

    const Tables &t_;
    Histories histories_;
    Match matches_[kMatches];
    Inputs mixers_[8];
    Joined final_[2];
    Correction corrections_[4];
    Cursor cursor_;
    uint32_t maps_[kContexts][256];
    uint16_t order0_[512];  // at 2 * partial: a fast and a slow probability
    std::unique_ptr<uint16_t[]> order1_{new uint16_t[2 << 16]}, order2_{new uint16_t[2 << kOrder2Bits]};
    uint32_t after1_[256] = {};  // the bytes that last followed a byte, and two
    std::unique_ptr<uint32_t[]> after2_{new uint32_t[1 << 16]()};
    uint32_t hashes_[kContexts];
    uint8_t *buckets_[kContexts];
    uint32_t *entries_[kContexts];
    uint16_t *direct_[3];
    alignas(32) int16_t inputs_[kInputs] = {};
    alignas(32) int16_t mixed_[16] = {};
    uint32_t partial_ = 1, node_ = 0;
    int left_ = 7;
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
