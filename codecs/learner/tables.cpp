// Makes the tables of the learner; see tables.hpp.
#include "learner/tables.hpp"

#include <algorithm>
#include <vector>

namespace nacrith::learner {
namespace {

// A bit history in 8 bits: numbers of zeros and ones, bounded together, and the last bit where both came.
struct State {
    int zeros, ones, last;
};

// The larger number is at most kMost[smaller]. What was seen often and only one way is worth most bits.
constexpr std::array<int, 6> kMost = {40, 22, 12, 8, 6, 5};

bool allowed(int zeros, int ones) {
    const int less = std::min(zeros, ones);
    return less < 6 && std::max(zeros, ones) <= kMost[static_cast<size_t>(less)];
}

std::vector<State> all_states() {
    std::vector<State> found;  // by total, so that a higher number is worth more in replacement
    for (int total = 0; total <= 40; total++)
        for (int zeros = 0; zeros <= total; zeros++) {
            const int ones = total - zeros;
            if (!allowed(zeros, ones)) continue;
            if (zeros && ones) found.push_back({zeros, ones, 0});
            found.push_back({zeros, ones, ones > 0});
        }
    return found;
}

// What is left of the opposite number once a bit contradicts it: recent bits count for more.
int discounted(int n) { return n > 25 ? 8 : n > 12 ? 6 : n > 6 ? 5 : n > 3 ? 3 : n > 2 ? 2 : n; }

uint8_t state_after(const std::vector<State> &states, const State &now, int bit) {
    int same = (bit ? now.ones : now.zeros) + 1;
    int other = discounted(bit ? now.zeros : now.ones);
    while (!allowed(same, other)) {
        const int less = std::min(std::min(same, other), 5);
        if (same >= other)
            same = std::min(same - 1, kMost[static_cast<size_t>(less)]);
        else
            other = std::min(other - 1, kMost[static_cast<size_t>(less)]);
    }
    const int zeros = bit ? other : same, ones = bit ? same : other;
    const auto found = std::find_if(states.begin(), states.end(), [&](const State &s) {
        return s.zeros == zeros && s.ones == ones && s.last == (zeros && ones ? bit : ones > 0);
    });
    return static_cast<uint8_t>(found - states.begin());
}

// e^(-k / 256) for k < kReach, in units of 2^-60: each the one before times e^(-1/256), rounded down.
std::array<uint64_t, kReach> falling() {
    constexpr uint64_t kStep = 1148426689630428643;  // floor(2^60 e^(-1/256))
    std::array<uint64_t, kReach> found{};
    uint64_t value = uint64_t{1} << 60;
    for (auto &entry : found) {
        entry = value;
        value = static_cast<uint64_t>(static_cast<unsigned __int128>(value) * kStep >> 60);
    }
    return found;
}

Tables make() {
    Tables t{};
    const auto powers = falling();
    for (int32_t x = -kReach; x < kReach; x++) {
        constexpr uint64_t kUnit = uint64_t{1} << 60;
        const uint64_t power = powers[static_cast<size_t>(std::min(std::abs(x), kReach - 1))];
        const uint64_t part = x < 0 ? power : kUnit;
        const auto p = static_cast<uint64_t>((static_cast<unsigned __int128>(part) << 16) / (kUnit + power));
        t.squash[static_cast<size_t>(x + kReach)] = static_cast<uint16_t>(std::clamp<uint64_t>(p, 1, kOne - 1));
    }
    int32_t x = -kReach;
    for (int32_t i = 0; i < 4096; i++) {  // the largest x with squash(x) <= the middle of the step
        while (x < kReach - 1 && t.squash[static_cast<size_t>(x + 1 + kReach)] <= 16 * i + 8) x++;
        t.stretch[static_cast<size_t>(i)] = static_cast<int16_t>(x);
    }
    const auto states = all_states();
    t.states = static_cast<int>(states.size());
    for (size_t i = 0; i < states.size(); i++) {
        t.count[i] = {static_cast<uint8_t>(states[i].zeros), static_cast<uint8_t>(states[i].ones)};
        for (int bit = 0; bit < 2; bit++) t.next[i][static_cast<size_t>(bit)] = state_after(states, states[i], bit);
    }
    for (uint32_t n = 0; n < 1024; n++) t.rate[n] = 2 * 65536 / (2 * n + 3);
    return t;
}

}  // namespace

const Tables &tables() {
    static const Tables made = make();
    return made;
}

}  // namespace nacrith::learner
