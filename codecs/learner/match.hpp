// Match models: what followed the longest earlier occurrence of the last bytes is expected to follow again.
//
// A pointer that was wrong is kept for a while and moves on: tables and logs go on alike after a number that
// differs. How much an expectation is believed is learnt for each length and number of recent misses.
#pragma once

#include <memory>

#include "mixer.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

class Match {
public:
    // least: bytes that must agree. bits: of the table of positions.
    Match(const Tables &t, uint32_t least, int bits)
        : t_(t), least_(least), bits_(bits), places_(new uint32_t[size_t{1} << bits]()) {}

    // first: probabilities of 16 bits, by length and misses.
    void believe(const uint16_t *first) {
        for (uint32_t i = 0; i < kLengths * kMisses; i++) trust_[i] = static_cast<uint32_t>(first[i]) << 16;
    }

    // Before a byte at `at`: which byte is expected, if any.
    void begin(const uint8_t *text, uint32_t at) {
        expected_ = pointer_ && pointer_ < at ? text[pointer_] | 256 : 0;
    }

    // Before a bit, with the bits of the byte so far under a leading 1: whether something is expected.
    bool predict(uint32_t partial, int left) {
        entry_ = nullptr;
        if (!expected_ || expected_ >> (left + 1) != partial) return false;
        bit_ = static_cast<int>(expected_ >> left & 1);
        entry_ = &trust_[step() * kMisses + (misses_ < kMisses ? misses_ : kMisses - 1)];
        return true;
    }

    // Where the text that is followed goes on, 0 for none; only while it agrees.
    uint32_t place() const { return length_ ? pointer_ : 0; }
    int bit() const { return bit_; }
    int32_t trust() const { return probability(*entry_); }
    uint32_t step() const {  // of the length, 0..62
        const uint32_t n = length_;
        return n < 16 ? n : n < 32 ? 8 + n / 2 : n < 64 ? 16 + n / 4 : n < 256 ? 28 + n / 16 : n < 4096 ? 43 + n / 256 : 59;
    }

    void learn(int bit) {
        if (!entry_) return;
        adapt(t_, *entry_, bit_ == bit, 1023);
        if (bit_ != bit) length_ = 0, misses_++;
    }

    // After the byte at `at` - 1.
    void end(const uint8_t *text, uint32_t at) {
        if (pointer_) {
            const bool right = expected_ && (expected_ & 255) == text[at - 1];
            length_ = right ? length_ + (length_ < 65535) : 0;
            pointer_++;
            if (length_ > 16) misses_ = 0;
            if (misses_ > kMisses) pointer_ = 0;
        }
        uint32_t h = 0;
        for (uint32_t i = 1; i <= least_; i++) h = (h + text[at - i] + 1) * 0x2f0b4c47u;
        uint32_t &place = places_[(h ^ h >> 13) * 0x9e3779b1u >> (32 - bits_)];
        if (length_ < least_ && place) {
            uint32_t length = 0;
            while (length < kLook && length + kMargin < place && text[place - 1 - length] == text[at - 1 - length]) length++;
            if (length >= least_ && length > length_) pointer_ = place, length_ = length, misses_ = 0;
        }
        place = at;
    }

    static constexpr uint32_t kMargin = 32;  // zero bytes in front of a text

#ifndef NACRITH_FIT
private:
#endif
    static constexpr uint32_t kLengths = 60, kMisses = 8, kLook = 400;

    const Tables &t_;
    uint32_t least_;
    int bits_;
    std::unique_ptr<uint32_t[]> places_;  // positions in the text, behind what was hashed
    uint32_t trust_[kLengths * kMisses];
    uint32_t *entry_ = nullptr;
    uint32_t pointer_ = 0, length_ = 0, misses_ = 0, expected_ = 0;
    int bit_ = 0;
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
