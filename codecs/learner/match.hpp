// Match models: what followed the longest earlier occurrence of the last bytes is expected to follow again.
//
// A pointer that was wrong is kept for a while and moves on: tables and logs continue alike after a number that
// differs. How far an expectation is trusted is learnt for each length and number of recent misses.
#pragma once

#include <memory>

#include "learner/mixer.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

class Match {
public:
    static constexpr uint32_t kMargin = 32;  // zero bytes in front of a text

    Match() = default;
    // least: bytes that must agree, at most kMargin. bits: log2 of the table of positions.
    Match(uint32_t least, int bits) : least_(least), bits_(bits), places_(new uint32_t[size_t{1} << bits]()) {
        for (uint32_t i = 0; i < kSteps * kMisses; i++)
            trust_[i] = (65536 - 65536 / (i / kMisses / 2 + 2)) << 16;
    }

    // Before the byte at `at`: which byte is expected, if any.
    void begin(const uint8_t *text, uint32_t at) {
        expected_ = pointer_ && pointer_ < at ? text[pointer_] | 256u : 0;
    }

    // Before a bit: whether one is expected. partial: the bits of the byte so far under a leading 1. left: bits
    // of the byte after the next one.
    bool predict(uint32_t partial, int left) {
        entry_ = nullptr;
        if (!expected_ || expected_ >> (left + 1) != partial) return false;
        bit_ = static_cast<int>(expected_ >> left & 1);
        entry_ = &trust_[step() * kMisses + std::min(misses_, kMisses - 1)];
        return true;
    }

    int bit() const { return bit_; }                             // the expected one
    int32_t trust() const { return probability(*entry_); }       // the probability of it, of 16 bits
    uint32_t step() const {                                      // of the length, 0..59
        const uint32_t n = length_;
        if (n < 16) return n;
        if (n < 32) return 8 + n / 2;
        if (n < 64) return 16 + n / 4;
        if (n < 256) return 28 + n / 16;
        return n < 4096 ? 43 + n / 256 : 59;
    }

    void learn(const Tables &t, int bit) {
        if (!entry_) return;
        adapt(t, *entry_, bit_ == bit, 1023);
        if (bit_ != bit) length_ = 0, misses_++;
    }

    // After the byte at `at` - 1.
    void end(const uint8_t *text, uint32_t at) {
        if (pointer_) {
            const bool right = expected_ && (expected_ & 255) == text[at - 1];
            length_ = right ? std::min(length_ + 1, 65535u) : 0;
            pointer_++;
            if (length_ > 16) misses_ = 0;
            if (misses_ > kMisses) pointer_ = 0;
        }
        uint32_t h = 0;
        for (uint32_t i = 1; i <= least_; i++) h = (h + text[at - i] + 1) * 0x2f0b4c47u;
        uint32_t &place = places_[(h ^ h >> 13) * 0x9e3779b1u >> (32 - bits_)];
        if (length_ < least_ && place) {
            uint32_t length = 0;
            while (length < kLook && length + kMargin < place && text[place - 1 - length] == text[at - 1 - length])
                length++;
            if (length >= least_ && length > length_) pointer_ = place, length_ = length, misses_ = 0;
        }
        place = at;
    }

private:
    static constexpr uint32_t kSteps = 60, kMisses = 8, kLook = 400;

    uint32_t least_ = 0;
    int bits_ = 0;
    std::unique_ptr<uint32_t[]> places_;  // by hash of the last `least_` bytes: the position after them
    uint32_t trust_[kSteps * kMisses];
    uint32_t *entry_ = nullptr;  // of trust_, used for the present bit
    uint32_t pointer_ = 0, length_ = 0, misses_ = 0, expected_ = 0;
    int bit_ = 0;
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
