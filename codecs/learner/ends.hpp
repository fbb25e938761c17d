// Whether a token goes on: the decisions of a tokenised text that are no bits of its bytes.
//
// A tokenizer cuts equal bytes equally, so what the text has shown of its cuts says where the next one is: after
// the token so far and the one before it, after bytes and words, in fields, columns and below the line before, and
// where the tokens ended that a match follows.
// formats/coding-v2.md.
#pragma once

#include "learner/cursor.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

class Ends {
public:
    Ends() : t_(tables()), mixers_({kSteps * 3, 256}, first()) {
        std::fill_n(seen_.get(), size_t{kContexts} << kBits, uint32_t{1} << 31);
        for (auto &row : trust_) std::fill_n(row, kLengths, uint32_t{3} << 30);
    }

    // The probability that the token goes on, of 16 bits, 1..65535. token: hash of its bytes so far; before: of the
    // token before it. model: stretch of the model's probability. ended: of each pointer, whether a token ended in
    // front of the byte that it expects; -1 if it follows nothing.
    int32_t predict(const Cursor &c, uint32_t token, uint32_t before, int32_t model, const Pointer *pointers,
                    const int *ended) {
        const uint32_t older = static_cast<uint32_t>(c.last8 >> 32) & 0xffff;
        const uint32_t contexts[kContexts] = {token,
                                              hash(token, before),
                                              hash(token, c.last4 & 0xffff),
                                              hash(c.last4, 1),
                                              hash(c.last4, older),
                                              hash(c.word, c.word1),
                                              hash(c.classes & 0xffff, 3),
                                              hash(c.field | c.parts.above << 8, token),
                                              hash(hash(c.parts.above | c.parts.next << 8, c.last4 & 0xff), 5),
                                              hash(c.column, token)};
        int16_t *x = inputs_;
        for (size_t i = 0; i < kContexts; i++) {
            entries_[i] = &seen_[(i << kBits) + (contexts[i] * 0x9e3779b1u >> (32 - kBits))];
            *x++ = *entries_[i] & 1023 ? stretch(t_, probability(*entries_[i])) : int16_t{0};
        }
        uint32_t agreed = 0;  // by the last match that follows something: 1 the token goes on, 2 it ends
        for (size_t i = 0; i < kMatches; i++) {
            ended_[i] = ended[i];
            *x = 0;
            if (ended[i] >= 0) {
                trusts_[i] = &trust_[i][pointers[i].step()];
                const int32_t p = probability(*trusts_[i]);
                *x = stretch(t_, ended[i] ? kOne - 1 - p : p);
                agreed = 1 + static_cast<uint32_t>(ended[i]);
            }
            x++;
        }
        *x++ = static_cast<int16_t>(model);
        *x = 256;
        const auto sure = static_cast<uint32_t>(std::clamp((model + 2304) >> 7, 0, kSteps - 1));
        const uint32_t rows[2] = {sure * 3 + agreed, c.last4 & 0xff};
        alignas(16) int32_t two[4];
        mixers_.mix(t_, inputs_, rows, two);
        const int32_t joined = (two[0] + two[1]) >> 1;
        return gate_.join(std::clamp(squash(t_, joined), 1, kOne - 1), squash(t_, model));
    }

    // bit: 1 if the token goes on. taught: bytes of all lanes so far, and a margin.
    void learn(int bit, uint32_t taught) {
        const int rate = kRateEnd + kRateStart / static_cast<int>(1 + (taught >> 11));
        mixers_.learn(inputs_, bit, rate);
        for (auto *e : entries_) adapt(t_, *e, bit, kMost);
        for (size_t i = 0; i < kMatches; i++)
            if (ended_[i] >= 0) adapt(t_, *trusts_[i], ended_[i] != bit, 1023);
        gate_.learn(bit);
    }

private:
    static constexpr size_t kContexts = 10, kMatches = 3;
    static constexpr int kInputs = 16, kBits = 16, kLengths = 60, kSteps = 36;
    static constexpr int kRateEnd = 14, kRateStart = 120;  // as the learner's rates
    static constexpr uint32_t kMost = 127;               // uses after which an entry's rate falls no more

    static const int16_t *first() {
        static const auto row = [] {
            std::array<int16_t, kInputs> made{};
            std::fill_n(made.begin(), kContexts + kMatches, int16_t{300});
            made[kContexts + kMatches] = 2000;
            return made;
        }();
        return row.data();
    }

    const Tables &t_;
    Layer<kInputs, 2> mixers_;
    Gate gate_;
    std::unique_ptr<uint32_t[]> seen_{new uint32_t[kContexts << kBits]};
    uint32_t trust_[kMatches][kLengths];  // that a match's cut is the text's, by its length
    uint32_t *entries_[kContexts], *trusts_[kMatches];
    int ended_[kMatches];
    alignas(32) int16_t inputs_[kInputs] = {};
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
