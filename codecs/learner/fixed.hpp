// Fixed point for mixing and adaptive probabilities: nacrith/predictors/fixed.py and statemap.py.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace nacrith {

constexpr int32_t kUnit = 1024;         // of the stretched domain: a bit
constexpr int32_t kLimit = 20 * kUnit;  // what is squashed lies within
constexpr int kPrecision = 24;
constexpr int32_t kOne = 1 << kPrecision;  // a probability of 1

inline int32_t clamp(int64_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : static_cast<int32_t>(x);
}

// log2 and its inverse by tables that the caller brings, so that there is one source of them.
class Fixed {
public:
    // lg: floor(1024 log2(1 + i / 1024)); exp: 2^(30 + i / 1024); 1,024 of each.
    Fixed(const int64_t *lg, const int64_t *exp) {
        for (size_t i = 0; i < kUnit; i++) {
            if (lg[i] < 0 || lg[i] >= kUnit || exp[i] < 1 << 30 || exp[i] >> 31)
                throw std::invalid_argument("the tables of log2 and exp2 are out of range");
            lg_[i] = static_cast<int32_t>(lg[i]);
            exp_[i] = exp[i];
        }
    }
    // log2(part / rest); each counts as 1 if it is less.
    int32_t stretch(int64_t part, int64_t rest) const { return lg(part) - lg(rest); }
    // 2^24 / (1 + 2^-s), s within kLimit.
    int32_t squash(int32_t s) const {
        const int32_t size = s < 0 ? -s : s, whole = (size + kUnit - 1) >> 10;
        const int64_t small = exp_[static_cast<size_t>((whole << 10) - size)] >> whole;  // 2^(30 - size)
        const auto p = static_cast<int32_t>((int64_t{1} << 54) / ((int64_t{1} << 30) + small));
        return s < 0 ? kOne - p : p;
    }

private:
    int32_t lg(int64_t n) const {
        if (n < 1) n = 1;
        const int exponent = 63 - __builtin_clzll(static_cast<uint64_t>(n));
        const int64_t mantissa = exponent >= 10 ? n >> (exponent - 10) : n << (10 - exponent);
        return (exponent << 10) + lg_[static_cast<size_t>(mantissa - kUnit)];
    }

    std::array<int32_t, kUnit> lg_;
    std::array<int64_t, kUnit> exp_;
};

// A table of states, each with the frequency of "yes" that it has seen.
struct StateMap {
    static constexpr int kBits = 22;
    static constexpr int32_t kSure = 1 << kBits;
    static constexpr int kMostUses = 127;  // after which a state's rate no longer falls

    std::vector<int32_t> p;
    std::vector<uint8_t> n;

    int32_t stretched(int32_t state, const Fixed &fixed) const {
        const int32_t value = p[static_cast<size_t>(state)];
        return fixed.stretch(value, kSure - value);
    }
    void update(int32_t state, bool yes) {
        const auto at = static_cast<size_t>(state);
        const int64_t rate = (1 << 17) / (2 * n[at] + 3);
        p[at] += static_cast<int32_t>(((yes ? kSure : 0) - p[at]) * rate >> 16);
        if (n[at] < kMostUses) n[at]++;
    }
};

}  // namespace nacrith
