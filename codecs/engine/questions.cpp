// Test cases ("questions") on which sets of kernels are compared; see variants.hpp.
//
// Each function below makes one test case from random numbers, within the bounds of kernels.hpp and
// formats/arithmetic-v1.md, and returns the bytes that a set computes. Arrays have no spare room, so that a
// sanitizer detects every access out of bounds.
#include <algorithm>
#include <cmath>
#include <string>

#include "engine/packing.hpp"
#include "engine/variants.hpp"

namespace nacrith {
namespace {

// splitmix64 (Steele, Lea, Flood 2014).
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t bits() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    // low <= result <= high
    int64_t within(int64_t low, int64_t high) {
        return low + static_cast<int64_t>(bits() % static_cast<uint64_t>(high - low + 1));
    }
    bool one_in(int64_t n) { return within(1, n) == 1; }
    float unit() { return static_cast<float>(within(-(1 << 23), 1 << 23)) * 0x1p-23f; }

    // Values between low and high, or only one or both of these two.
    template <class T>
    std::vector<T> integers(int64_t n, int64_t low, int64_t high) {
        std::vector<T> all(static_cast<size_t>(n));
        const int64_t kind = within(0, 5);
        for (T &x : all)
            x = static_cast<T>(kind == 0 ? low : kind == 1 ? high : kind == 2 ? (one_in(2) ? low : high)
                                                                          : within(low, high));
        return all;
    }
    // Values of about `size`, some zero, much smaller or larger.
    std::vector<float> floats(int64_t n, float size) {
        std::vector<float> all(static_cast<size_t>(n));
        const bool outliers = one_in(3), zeros = one_in(8);
        for (float &x : all) {
            x = zeros || one_in(16) ? 0.0f : unit() * size;
            if (one_in(16)) x *= 0x1p-60f;
            if (outliers && one_in(16)) x *= 4096.0f;
        }
        return all;
    }
    std::vector<float> scales(int64_t n) {
        std::vector<float> all(static_cast<size_t>(n));
        for (float &x : all) x = (std::fabs(unit()) + 0x1p-20f) * 0x1p-7f;
        return all;
    }
    float magnitude() { return std::ldexp(1.0f, static_cast<int>(within(-30, 30))); }
    int32_t limit(bool bytes = false) {
        constexpr int32_t all[] = {1, 127, 511, 16383};
        return all[within(bytes ? 1 : 0, bytes ? 2 : 3)];
    }

private:
    uint64_t state_;
};

constexpr int64_t kBlock = 12;  // most rows of a block in any set; each number of rows has code of its own
constexpr int64_t kMany = 40;   // more rows than AMX tiles multiply at once

template <class T>
void put(std::string &answer, const std::vector<T> &values, int64_t count = -1) {
    const size_t n = count < 0 ? values.size() : static_cast<size_t>(count);
    answer.append(reinterpret_cast<const char *>(values.data()), n * sizeof(T));
}

template <class T>
void put_one(std::string &answer, T value) {
    put(answer, std::vector<T>{value});
}

// A matrix as a set wants it.
struct Packed {
    std::vector<int8_t> packed;
    Packing packing;

    Packed(const Packing &how, const std::vector<int8_t> &q, int64_t rows, int64_t columns) : packing(how) {
        const int64_t tiles = (rows + kTile - 1) / kTile;
        packed.resize(static_cast<size_t>(packed_rows(how, rows) * how.columns));
        for (int64_t tile = 0; tile < tiles; tile++) pack_tile(how, q.data(), rows, columns, tile, packed.data());
    }
};

void linear_with(bool bytes, const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    const bool longest = random.one_in(2);  // sums reach 2^31 - 1 at 1023 columns; more columns need wide sums
    const int64_t rows = random.within(1, longest ? 17 : size), columns = random.within(1, longest ? 1200 : size);
    const int64_t pairs = (columns + 1) / 2, tiles = (rows + kTile - 1) / kTile;
    const int64_t count = longest ? random.within(1, kMany) : random.within(kBlock, kBlock + size);
    const int64_t stride = 2 * (pairs + random.within(0, 3));
    const int32_t limit = random.limit(bytes);
    const auto weights = random.integers<int8_t>(rows * columns, -128, 127);
    auto q = random.integers<int16_t>((count - 1) * stride + 2 * pairs, -limit, limit);
    if (bytes && random.one_in(2))  // few spills, as in models
        for (int16_t &x : q) x = static_cast<int16_t>(random.one_in(30) ? x : x % 128);
    const auto row_scales = random.floats(rounded_up(tiles, kMostTiles) * kTile, random.magnitude());
    const auto scales = random.scales(count);
    const bool wide = 2 * pairs * 128 * limit > INT32_MAX || (!bytes && !longest && random.one_in(2));
    const Packed matrix(wide ? packing_in(Layout::kPairs, kernels, columns) : packing_for(kernels, columns, limit),
                        weights, rows, columns);
    const auto [layout, padded, interleaved, bias] = matrix.packing;
    std::vector<uint8_t> formed;
    if (const auto write = kernels.form(layout).write) {
        formed.resize(static_cast<size_t>(form_bytes(layout, count, 2 * pairs)), 0xa5);
        for (int64_t r = 0; r < count; r++) write(q.data() + r * stride, 2 * pairs, r, formed.data());
    }
    const Quantised x{q.data(), stride, scales.data(), formed.data()};
    const auto matrix_of = [&, layout = layout, padded = padded](bool is_wide) -> Matrix {
        return {matrix.packed.data(), row_scales.data(), rows, padded, layout, is_wide};
    };
    const int64_t most_groups = (tiles - 1) / kMostTiles, group = random.within(0, most_groups);
    const int64_t begin = group * kMostTiles;
    const int64_t end = longest ? tiles : std::min(tiles, random.within(group + 1, most_groups + 1) * kMostTiles);
    for (const Store mode : {Store::kWrite, Store::kAdd, Store::kLogits}) {
        auto out = random.floats(count * rows, 1.0f);
        std::vector<int32_t> logits(static_cast<size_t>(count * rows));
        std::vector<int32_t *> to;
        for (int64_t r = 0; r < count; r++) to.push_back(logits.data() + r * rows);
        kernels.linear(matrix_of(wide), begin, end, x, count, {mode, out.data(), rows, to.data()});
        put(answer, out);
        put(answer, logits);
    }
    std::vector<float> out(static_cast<size_t>(kBlock * rows));
    for (int64_t last = 1; last <= 2 && last <= tiles && !longest; last++)
        for (int64_t n = 1; n <= kBlock; n++) {
            kernels.linear(matrix_of(false), 0, last, x, n, {Store::kWrite, out.data(), rows, nullptr});
            put(answer, out);
        }
}

void linear(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    linear_with(false, kernels, random, size, answer);
}

void linear_of_bytes(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    linear_with(true, kernels, random, size, answer);
}

void quantise(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    const int64_t n = random.within(1, 8 * size);
    const auto x = random.floats(n, random.magnitude());
    std::vector<int16_t> q(x.size());
    float scale;
    kernels.quantise(x.data(), n, random.limit(), q.data(), &scale);
    put(answer, q);
    put_one(answer, scale);
}

void norm(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    const int64_t n = random.within(1, 8 * size);
    const auto x = random.floats(n, random.magnitude()), gain = random.floats(n, 2.0f);
    std::vector<int16_t> q(x.size());
    std::vector<float> scratch(x.size());
    float scale;
    kernels.norm(x.data(), gain.data(), n, 1e-5, random.limit(), scratch.data(), q.data(), &scale);
    put(answer, q);
    put_one(answer, scale);
}

void silu(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    const int64_t n = random.within(1, 8 * size);
    const auto gate = random.floats(n, random.one_in(2) ? 16.0f : 300.0f), up = random.floats(n, random.magnitude());
    std::vector<int16_t> q(gate.size());
    std::vector<float> scratch(gate.size());
    float scale;
    kernels.silu(gate.data(), up.data(), n, random.limit(), scratch.data(), q.data(), &scale);
    put(answer, q);
    put_one(answer, scale);
}

void rotate(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    const int64_t half = random.within(1, size);
    const auto x = random.floats(2 * half, random.magnitude());
    const auto cos = random.floats(half, 1.0f), sin = random.floats(half, 1.0f);
    std::vector<float> out(x.size());
    kernels.rotate(x.data(), cos.data(), sin.data(), half, out.data());
    put(answer, out);
}

void attend(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    const int64_t dim = 2 * random.within(1, size / 2 + 1), group = random.within(1, 4);
    const int64_t tokens = random.within(1, kMany / 2), count = tokens * group;
    const int64_t window = random.within(2 * kSinks, 3 * size);
    const int64_t first = random.one_in(3) ? random.within(0, 6) : random.within(kSinks, 4 * size);
    std::vector<int64_t> slot;  // of positions first, first + 1, ..., without any move
    for (int64_t p = first; p < first + tokens; p++) slot.push_back(p < kSinks ? p : kTile + p - kSinks);
    const int64_t slots = slot.back() / kTile * kTile + kTile;
    int64_t begin = kTile, end = kTile;
    if (slot.back() >= kTile) {
        const int64_t oldest = std::max(kTile, slot.front() - (window - kSinks) + 1);
        begin = oldest / kTile * kTile;
        end = slots;
    }
    const auto keys = random.integers<int8_t>(slots * dim, -127, 127);
    const Packed k(packing_of_keys(kernels, dim), keys, slots, dim);
    const auto values = random.integers<int8_t>(dim * slots, -127, 127);
    Packed v(packing_of_values(kernels, slots), values, dim, slots);
    v.packed.resize(v.packed.size() + static_cast<size_t>(kPlaneColumns * v.packing.tiles * kTile));
    const auto k_scale = random.scales(slots), v_scale = random.scales(slots);
    std::vector<float> v_max;
    for (const float scale : v_scale) v_max.push_back(std::max(scale, v_max.empty() ? 0.0f : v_max.back()));
    const auto q = random.integers<int16_t>(count * dim, -127, 127), q_sink = q;
    auto factor = random.scales(count), sink_factor = random.scales(count);
    const int64_t width = kTile + end - begin;
    std::vector<float> t(static_cast<size_t>(count * width)), out(static_cast<size_t>(count * dim));
    std::vector<int16_t> w(t.size());
    std::vector<uint8_t> formed(static_cast<size_t>(kernels.attention_bytes(count, dim, width)), 0xa5);
    kernels.attend({{k.packed.data(), v.packed.data(), k_scale.data(), v_scale.data(), v_max.data(), slots, dim},
                    q.data(), q_sink.data(), factor.data(), sink_factor.data(), count, group, slot.data(),
                    window, begin, end, t.data(), w.data(), formed.data(), out.data(), group * dim});
    put(answer, out);
}

// Runs the four kernels that convert a row over the vocabulary to counts.
void counts(const Kernels &kernels, Random &random, int64_t size, std::string &answer) {
    constexpr int64_t kMost = 1 << 30;
    const int64_t n = random.within(1, 10 * size), span = random.one_in(3) ? kMost : random.within(0, 1 << 21);
    auto row = random.integers<int32_t>(n, -span, span);
    const auto by = random.integers<int32_t>(n, -span, span);
    if (random.one_in(8)) row[static_cast<size_t>(n / 2)] = random.one_in(2) ? INT32_MIN : INT32_MAX;
    std::vector<int32_t> x(row.size()), index(row.size() + 1);
    const int64_t top = kernels.shift(row.data(), by.data(), n, x.data());
    put_one(answer, top);
    if (top < 0) return;
    put(answer, x);
    std::vector<float> w(row.size()), c(row.size());
    const int64_t sum = kernels.weigh(x.data(), x[static_cast<size_t>(top)], n, w.data());
    put_one(answer, sum);
    put(answer, w);
    const float share = random.one_in(4) ? 4.0f : 16777216.0f / static_cast<float>(sum);
    put_one(answer, kernels.portion(w.data(), share, n, c.data()));
    put(answer, c);
    const int64_t found = kernels.above(w.data(), static_cast<float>(sum) / 64.0f, n, index.data());
    put_one(answer, found);
    put(answer, index, found);
}

using Question = void (*)(const Kernels &, Random &, int64_t, std::string &);
constexpr struct {
    const char *name;
    Question ask;
} kAll[] = {{"linear", linear}, {"linear of bytes", linear_of_bytes}, {"quantise", quantise}, {"norm", norm},
            {"silu", silu},     {"rotate", rotate},                   {"attend", attend},     {"counts", counts}};

}  // namespace

std::string answers(const Kernels &kernels, uint64_t seed, int64_t size) {
    std::string all;
    for (const auto &question : kAll) {
        Random random(seed);
        question.ask(kernels, random, size, all);
    }
    return all;
}

const char *difference(const Kernels &a, const Kernels &b, uint64_t seed, int64_t size) {
    for (const auto &question : kAll) {
        std::string answers[2];
        for (int i = 0; i < 2; i++) {
            Random random(seed);
            question.ask(i ? b : a, random, size, answers[i]);
        }
        if (answers[0] != answers[1]) return question.name;
    }
    return nullptr;
}

}  // namespace nacrith
