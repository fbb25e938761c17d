// Whether a token ends here: the decisions of a tokenised text that are no bits of its bytes.
//
// A tokenizer cuts the same bytes in the same way where the same bytes follow, so what the text shows of that is
// learnt from: the token so far with the one before, bytes, the word, and where the matches' tokens ended.
#pragma once

#include "cursor.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

#ifndef TUNE
#define TUNE(name, value) constexpr int name = value
#endif
TUNE(kEndRate, 6); TUNE(kEndStart, 40); TUNE(kEndModelWeight, 3000);TUNE(kEndWeight, 600);TUNE(kEndMost, 127);

class Ends {
public:
    static constexpr int kContexts = 7, kMatches = 3, kInputs = 16;

    Ends(const Tables &t, const int16_t (&first)[2][kInputs]) : t_(t), mixers_{{36 * 4, first[0]}, {256, first[1]}} {
        for (size_t i = 0; i < size_t{kContexts} << kBits; i++) seen_[i] = 1u << 31;
    }

    void believe(const uint16_t (&first)[kMatches][64]) {
        for (int i = 0; i < kMatches; i++) for (int j = 0; j < 64; j++) trust_[i][j] = static_cast<uint32_t>(first[i][j]) << 16;
    }

    void put(const Cursor &c, uint32_t token, uint32_t token1, int32_t model, const Match (&matches)[kMatches], const uint8_t *ends) {
        const uint32_t h[kContexts] = {token, hash(token, token1), hash(token, c.last4 & 0xffff), hash(c.last4, 1), hash(c.last4, static_cast<uint32_t>(c.last8 >> 32) & 0xffff),
                                       hash(c.word, c.word1), hash(c.kinds & 0xffff, 3)};
        int16_t *x = inputs_;
        for (int i = 0; i < kContexts; i++) {
            entries_[i] = &seen_[(static_cast<size_t>(i) << kBits) + (h[i] * 0x9e3779b1u >> (32 - kBits))];
            *x++ = *entries_[i] & 1023 ? stretch(t_, probability(*entries_[i])) : int16_t{0};
        }
        int agreed = 0;
        for (int i = 0; i < kMatches; i++) {
            const uint32_t place = matches_place(matches[i]);
            trusts_[i] = nullptr;
            *x = 0;
            if (place) {
                end_[i] = ends[place - 1];
                trusts_[i] = &trust_[i][matches[i].step()];
                const int32_t p = probability(*trusts_[i]);
                *x = stretch(t_, end_[i] ? kOne - 1 - p : p);
                agreed = 1 + end_[i];
            }
            x++;
        }
        *x++ = static_cast<int16_t>(model);
        *x++ = 256;
        (void)0;
        const int32_t a = mixers_[0].mix(t_, inputs_, std::clamp((model + 2304) >> 7, 0, 35) * 4 + agreed), b = mixers_[1].mix(t_, inputs_, static_cast<int>(c.last4 & 255));
        mixed_ = (a + b) >> 1;
    }
    // Of going on: 1..65535.
    int32_t p() const { return std::clamp(squash(t_, mixed_), 1, kOne - 1); }

    void learn(int bit, bool certain, int rate) {
        if (!certain) for (auto &m : mixers_) m.learn(inputs_, bit, rate);
        for (auto *e : entries_) adapt(t_, *e, bit, kEndMost);
        for (int i = 0; i < kMatches; i++) if (trusts_[i]) adapt(t_, *trusts_[i], end_[i] != bit, 1023);
    }

#ifndef NACRITH_FIT
private:
#endif
    static constexpr int kBits = 16;
    static uint32_t matches_place(const Match &m) { return m.place(); }
    const Tables &t_;
    Mixer<kInputs> mixers_[2];
    uint32_t trust_[kMatches][64];
    std::unique_ptr<uint32_t[]> seen_{new uint32_t[size_t{kContexts} << kBits]};
    uint32_t *entries_[kContexts], *trusts_[kMatches];
    int end_[kMatches];
    int32_t mixed_ = 0;
    alignas(32) int16_t inputs_[kInputs] = {};
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
