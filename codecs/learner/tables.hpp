// Constants of the learner's arithmetic: the logistic function, bit histories, rates. formats/learner-v1.md.
//
// Every entry is computed from integers, so each machine makes the same tables. The Python reference,
// nacrith/learner/tables.py, computes them anew; a test compares all entries.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nacrith::learner {

// Probabilities have 16 bits. Their logistic counterpart, stretch(p) = ln(p / (1 - p)), is in units of 1/256.
constexpr int32_t kOne = 1 << 16;
constexpr int32_t kReach = 3072;  // squash is tabulated for [-kReach, kReach)

struct Tables {
    std::array<uint16_t, 2 * kReach> squash;  // of x at [x + kReach]
    std::array<int16_t, 4096 + 2> stretch;    // of p at [p >> 4]; the rest is read and not used
    std::array<std::array<uint8_t, 2>, 256> next;  // state after a bit
    std::array<std::array<uint8_t, 2>, 256> count;  // zeros and ones that a state stands for
    int states;                                     // of bit histories, at most 256
    std::array<uint32_t, 1024> rate;                // 2^16 / (n + 3/2), of an adaptive probability seen n times
};

const Tables &tables();

inline int32_t clamp(int32_t x, int32_t limit) { return x > limit ? limit : x < -limit ? -limit : x; }

inline int32_t squash(const Tables &t, int32_t x) {
    return t.squash[static_cast<size_t>(clamp(x, kReach - 1) + kReach)];
}

// Inputs and outputs of mixers keep within this; the stretch of a tabulated probability is within 2,340, since
// the middle of the last of 4,096 steps is 8 / 65,536.
constexpr int32_t kMostStretch = kReach - 1;
inline int16_t stretch(const Tables &t, int32_t p) { return t.stretch[static_cast<size_t>(p >> 4)]; }

// Mixes two words; every bit of the result depends on every bit of both.
inline uint32_t hash(uint32_t a, uint32_t b) {
    uint32_t h = a * 0x2c1b3c6du + b * 0x297a2d39u + 0x12345u;
    h ^= h >> 15;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ h >> 16;
}

}  // namespace nacrith::learner
