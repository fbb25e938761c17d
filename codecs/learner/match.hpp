// Match models: what followed the longest earlier occurrence of the last bytes is expected to follow again.
//
// A pointer that was wrong is kept for a while and moves on: tables and logs continue alike after a number that
// differs. How far an expectation is trusted is learnt for each length and number of recent misses. Several texts,
// the lanes, share one table of places; each lane has a pointer of its own, which may lead into any lane.
#pragma once

#include <memory>
#include <vector>

#include "learner/mixer.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

constexpr uint32_t kMargin = 32;  // zero bytes in front of a text

// The text of one lane: kMargin zero bytes, and what has come of it.
struct LaneText {
    const uint8_t *bytes = nullptr;
    uint32_t at = kMargin;  // where the next byte will be
};
using Texts = std::vector<LaneText>;

// A byte of a lane, in 32 bits; 0 for none.
class Place {
public:
    static constexpr int kOffsetBits = 26;

    Place() = default;
    Place(uint32_t lane, uint32_t offset) : packed_(lane << kOffsetBits | offset) {}
    explicit operator bool() const { return packed_ != 0; }
    uint32_t lane() const { return packed_ >> kOffsetBits; }
    uint32_t offset() const { return packed_ & ((1u << kOffsetBits) - 1); }
    void advance() { packed_++; }

private:
    uint32_t packed_ = 0;
};

// What one lane follows.
struct Pointer {
    Place place;  // of the byte that is expected next
    uint32_t length = 0, misses = 0, expected = 0;
    int bit = 0;                // the expected one
    uint32_t *entry = nullptr;  // of the model's trust, used for the present bit; null: no bit is expected

    uint32_t step() const {  // of the length, 0..59
        const uint32_t n = length;
        if (n < 16) return n;
        if (n < 32) return 8 + n / 2;
        if (n < 64) return 16 + n / 4;
        if (n < 256) return 28 + n / 16;
        return n < 4096 ? 43 + n / 256 : 59;
    }
    // The expected byte's place while the pointer has been right, else none.
    Place followed() const { return length ? place : Place(); }
};

class Match {
public:
    Match() = default;
    // least: bytes that must agree, at most kMargin. bits: log2 of the table of places.
    Match(uint32_t least, int bits) : least_(least), bits_(bits), places_(new Place[size_t{1} << bits]()) {
        for (uint32_t i = 0; i < kSteps * kMisses; i++)
            trust_[i] = (65536 - 65536 / (i / kMisses / 2 + 2)) << 16;
    }

    // Before a byte: which one is expected, if any. A place whose byte has not come yet is given up.
    static void begin(const Texts &texts, Pointer &p) {
        p.expected = 0;
        if (!p.place) return;
        const LaneText &text = texts[p.place.lane()];
        if (p.place.offset() < text.at)
            p.expected = text.bytes[p.place.offset()] | 256u;
        else
            p.place = Place(), p.length = 0;
    }

    // Before a bit: whether one is expected. partial: the bits of the byte so far under a leading 1. left: bits
    // of the byte after the next one.
    bool predict(Pointer &p, uint32_t partial, int left) {
        p.entry = nullptr;
        if (!p.expected || p.expected >> (left + 1) != partial) return false;
        p.bit = static_cast<int>(p.expected >> left & 1);
        p.entry = &trust_[p.step() * kMisses + std::min(p.misses, kMisses - 1)];
        return true;
    }

    static void learn(const Tables &t, Pointer &p, int bit) {
        if (!p.entry) return;
        adapt(t, *p.entry, p.bit == bit, 1023);
        if (p.bit != bit) p.length = 0, p.misses++;
    }

    // After a byte of a lane: where the table has what followed the same bytes before, which is fetched.
    uint32_t seek(const LaneText &text) const {
        uint32_t h = 0;
        for (uint32_t i = 1; i <= least_; i++) h = (h + text.bytes[text.at - i] + 1) * 0x2f0b4c47u;
        const uint32_t found = (h ^ h >> 13) * 0x9e3779b1u >> (32 - bits_);
        __builtin_prefetch(&places_[found], 1);
        return found;
    }

    // After a byte of `lane`. found: by `seek`.
    void end(const Texts &texts, uint32_t lane, Pointer &p, uint32_t found) {
        const uint8_t *text = texts[lane].bytes;
        const uint32_t at = texts[lane].at;
        if (p.place) {
            const bool right = p.expected && (p.expected & 255) == text[at - 1];
            p.length = right ? std::min(p.length + 1, 65535u) : 0;
            p.place.advance();
            if (p.length > 16) p.misses = 0;
            if (p.misses > kMisses) p.place = Place();
        }
        Place &place = places_[found];
        if (p.length < least_ && place) {
            const uint8_t *other = texts[place.lane()].bytes + place.offset();
            const uint32_t most = std::min({kLook, place.offset() - kMargin, at - kMargin});
            uint32_t length = 0;
            while (length < most && other[-1 - static_cast<int>(length)] == text[at - 1 - length]) length++;
            if (length >= least_ && length > p.length) p.place = place, p.length = length, p.misses = 0;
        }
        place = Place(lane, at);
    }

private:
    static constexpr uint32_t kSteps = 60, kMisses = 8, kLook = 400;

    uint32_t least_ = 0;
    int bits_ = 0;
    std::unique_ptr<Place[]> places_;  // by hash of the last `least_` bytes: the place after them
    uint32_t trust_[kSteps * kMisses];
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
