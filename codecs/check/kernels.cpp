// Compares every set of kernels that this processor can run with the portable set, in one process, without
// Python and a model: for sanitizers, and for emulators of other processors.
//
//     nacrith_check [QUESTIONS]
//
// Prints a line for each set; the exit status is 1 if a result differs, if the portable kernels give other
// results than on every other processor, or if the check at load would not detect a wrong kernel.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/variants.hpp"

namespace {

using nacrith::Kernels;

const Kernels &right() { return nacrith::portable_kernels(); }

// A set with byte products, made of the portable kernels: it takes matrices in interleaved quads and keys in quads, with
// a bias, and turns them back into pairs, and rows of bytes with spills back into numbers.
constexpr int64_t kUnit = 8, kQuad = 4 * nacrith::kTile;
constexpr int32_t kBias = 128;

std::vector<int8_t> in_pairs(const int8_t *quads, int64_t tiles, int64_t columns, int64_t interleaved) {
    std::vector<int8_t> pairs(static_cast<size_t>(tiles * nacrith::kTile * columns));
    for (int64_t i = 0; i < tiles * nacrith::kTile * columns; i++) {
        const int64_t tile = i / (nacrith::kTile * columns), row = i / columns % nacrith::kTile, column = i % columns;
        const int64_t group = tile / interleaved * interleaved * nacrith::kTile * columns;
        const int64_t quad = (column / 4 * interleaved + tile % interleaved) * kQuad + row * 4 + column % 4;
        const int64_t pair = (tile * columns / 2 + column / 2) * 2 * nacrith::kTile + row * 2 + column % 2;
        pairs[static_cast<size_t>(pair)] = static_cast<int8_t>(quads[group + quad] - kBias);
    }
    return pairs;
}

void read_row(const uint8_t *from, int64_t columns, int16_t *q) {
    nacrith::ByteRow head;
    std::memcpy(&head, from, sizeof head);
    from += sizeof head;
    for (int64_t i = 0; i < columns; i++) q[i] = static_cast<int8_t>(from[i]);
    from += nacrith::byte_stride(columns);
    for (int32_t n = 0; n < head.spills; n++, from += sizeof(nacrith::Spill)) {
        nacrith::Spill spill;
        std::memcpy(&spill, from, sizeof spill);
        for (int i = 0; i < 4; i++) q[4 * spill.at + i] = static_cast<int16_t>(q[4 * spill.at + i] + 256 * spill.excess[i]);
    }
}

void linear_of_quads(const nacrith::Matrix &matrix, int64_t begin, int64_t end, nacrith::Quantised x, int64_t count,
                     const nacrith::Output &out) {
    if (matrix.layout == nacrith::Layout::kPairs) return right().linear(matrix, begin, end, x, count, out);
    std::vector<int16_t> q(static_cast<size_t>(count * matrix.columns));
    for (int64_t r = 0; r < count; r++)
        read_row(x.formed + r * nacrith::row_stride(matrix.columns), matrix.columns, q.data() + r * matrix.columns);
    const int64_t tiles = nacrith::rounded_up(matrix.rows, nacrith::kMostTiles * nacrith::kTile) / nacrith::kTile;
    const std::vector<int8_t> pairs = in_pairs(matrix.packed, tiles, matrix.columns, nacrith::kMostTiles);
    nacrith::Matrix same = matrix;
    same.packed = pairs.data();
    right().linear(same, begin, end, {q.data(), matrix.columns, x.scale}, count, out);
}

void attend_to_quads(const nacrith::Attention &task) {
    const int64_t dim = task.cache.dim, columns = nacrith::rounded_up(dim, kUnit);
    const std::vector<int8_t> pairs = in_pairs(task.cache.k, task.cache.slots / nacrith::kTile, columns, 1);
    std::vector<int8_t> k;
    for (int64_t tile = 0; tile < task.cache.slots / nacrith::kTile; tile++) {
        const int8_t *from = pairs.data() + tile * nacrith::kTile * columns;
        k.insert(k.end(), from, from + nacrith::kTile * dim);
    }
    const int64_t bands = nacrith::rounded_up(dim, nacrith::kMostTiles * nacrith::kTile) / nacrith::kTile;
    const std::vector<int8_t> v = in_pairs(task.cache.v, bands, task.cache.slots, nacrith::kMostTiles);
    nacrith::Attention same = task;
    same.cache.k = k.data();
    same.cache.v = v.data();
    right().attend(same);
}

Kernels of_quads() {
    Kernels kernels = right();
    kernels.linear = linear_of_quads;
    kernels.attend = attend_to_quads;
    kernels.quads.write = [](const int16_t *q, int64_t columns, int64_t row, uint8_t *to) {
        const int64_t bytes = nacrith::byte_stride(columns);
        to += row * nacrith::row_stride(columns);
        nacrith::ByteRow head = {};
        uint8_t *spills = to + sizeof head + bytes;
        for (int64_t at = 0; at < bytes; at += 4) {
            nacrith::Spill spill = {static_cast<int32_t>(at / 4), {}};
            for (int64_t i = at; i < at + 4; i++) {
                const int number = i < columns ? q[i] : 0, low = static_cast<int8_t>(number);
                to[static_cast<int64_t>(sizeof head) + i] = static_cast<uint8_t>(low);
                spill.excess[i - at] = static_cast<int8_t>((number - low) / 256);
            }
            if (std::memcmp(spill.excess, "\0\0\0\0", 4) == 0) continue;
            std::memcpy(spills + head.spills++ * sizeof spill, &spill, sizeof spill);
        }
        std::memcpy(to, &head, sizeof head);
    };
    kernels.quads.unit = kUnit;
    kernels.quads.limit = 511;
    kernels.quads.tiles = nacrith::kMostTiles;
    kernels.quads.bias = kBias;
    return kernels;
}

// The portable kernels with `linear` wrong, in one result, for one number of rows, or for wide sums (0); or the set
// above with it wrong for matrices of quads.
int64_t wrong_rows, wrong_tiles;

void wrong_linear(const nacrith::Matrix &matrix, int64_t begin, int64_t end, nacrith::Quantised x, int64_t count,
                  const nacrith::Output &out) {
    right().linear(matrix, begin, end, x, count, out);
    if (begin == end || out.mode != nacrith::Store::kWrite) return;
    if (wrong_rows ? count != wrong_rows : !matrix.wide) return;
    float &last = out.values[(count - 1) * out.stride + begin * nacrith::kTile];
    last += last * 0x1p-22f;
}

void wrong_linear_of_quads(const nacrith::Matrix &matrix, int64_t begin, int64_t end, nacrith::Quantised x,
                           int64_t count, const nacrith::Output &out) {
    linear_of_quads(matrix, begin, end, x, count, out);
    if (begin == end || out.mode != nacrith::Store::kWrite || count != wrong_rows) return;
    if (matrix.layout != nacrith::Layout::kQuads || end - begin != wrong_tiles) return;
    float &last = out.values[(count - 1) * out.stride + begin * nacrith::kTile];
    last += last * 0x1p-22f;
}

// The portable kernels with another kernel wrong, in one bit of one result.
struct Wrong {
    const char *name;
    void (*spoil)(Kernels &kernels);
};

constexpr Wrong kWrong[] = {
    {"logits", [](Kernels &k) {
         k.linear = [](const nacrith::Matrix &matrix, int64_t begin, int64_t end, nacrith::Quantised x,
                       int64_t count, const nacrith::Output &out) {
             right().linear(matrix, begin, end, x, count, out);
             if (begin < end && out.mode == nacrith::Store::kLogits) out.rows[0][begin * nacrith::kTile] ^= 1;
         };
     }},
    {"quantise", [](Kernels &k) {
         k.quantise = [](const float *x, int64_t n, int32_t limit, int16_t *q, float *scale) {
             right().quantise(x, n, limit, q, scale);
             q[n - 1] ^= 1;
         };
     }},
    {"norm", [](Kernels &k) {
         k.norm = [](const float *x, const float *gain, int64_t n, double eps, int32_t limit, float *scratch,
                     int16_t *q, float *scale) {
             right().norm(x, gain, n, eps, limit, scratch, q, scale);
             *scale *= 1.0f + 0x1p-23f;
         };
     }},
    {"silu", [](Kernels &k) {
         k.silu = [](const float *gate, const float *up, int64_t n, int32_t limit, float *scratch, int16_t *q,
                     float *scale) {
             right().silu(gate, up, n, limit, scratch, q, scale);
             q[0] ^= 1;
         };
     }},
    {"rotate", [](Kernels &k) {
         k.rotate = [](const float *x, const float *cos, const float *sin, int64_t half, float *out) {
             right().rotate(x, cos, sin, half, out);
             out[2 * half - 1] *= 1.0f + 0x1p-23f;
         };
     }},
    {"attend", [](Kernels &k) {
         k.attend = [](const nacrith::Attention &task) {
             right().attend(task);
             task.out[task.cache.dim - 1] += 0x1p-16f;
         };
     }},
    {"shift", [](Kernels &k) {
         k.shift = [](const int32_t *row, const int32_t *shift, int64_t n, int32_t *x) {
             const int64_t top = right().shift(row, shift, n, x);
             x[n / 2] ^= 1;
             return top;
         };
     }},
    {"weigh", [](Kernels &k) {
         k.weigh = [](const int32_t *x, int32_t top, int64_t n, float *w) {
             return right().weigh(x, top, n, w) + 1;
         };
     }},
    {"portion", [](Kernels &k) {
         k.portion = [](const float *w, float share, int64_t n, float *c) {
             const int64_t sum = right().portion(w, share, n, c);
             c[n - 1] += 1.0f;
             return sum;
         };
     }},
    {"above", [](Kernels &k) {
         k.above = [](const float *w, float bound, int64_t n, int32_t *index) {
             const int64_t found = right().above(w, bound, n, index);
             return found ? found - 1 : 0;
         };
     }},
};

constexpr int64_t kSizes[] = {8, 40, 130};

// The first test case whose result differs, and the kernel that computed it; nullptr if there is none.
const char *first_difference(const Kernels &kernels, uint64_t questions, uint64_t &seed) {
    for (seed = 0; seed < questions; seed++)
        if (const char *name = nacrith::difference(kernels, right(), seed, kSizes[seed % 3])) return name;
    return nullptr;
}

// FNV-1a of the portable kernels' results for the first test cases: the same on every processor.
constexpr uint64_t kDigest = 0x61d1836717d1a220;

uint64_t digest() {
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint64_t seed = 0; seed < 30; seed++)
        for (const char c : nacrith::answers(right(), seed, kSizes[seed % 3]))
            hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    return hash;
}

}  // namespace

int main(int argc, char **argv) {
    const uint64_t questions = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300;
    const uint64_t found = digest();
    bool good = found == kDigest;
    std::printf("portable: %s, digest %016llx\n", good ? "OK" : "FAILED", static_cast<unsigned long long>(found));
    for (const Kernels *kernels : nacrith::runnable_kernels()) {
        if (kernels == &right()) continue;
        uint64_t seed;
        const char *name = first_difference(*kernels, questions, seed);
        if (name) std::printf("%s: FAILED: %s answers question %llu otherwise than the portable kernels\n",
                              kernels->name, name, static_cast<unsigned long long>(seed));
        else
            std::printf("%s: OK, %llu questions\n", kernels->name, static_cast<unsigned long long>(questions));
        good = good && !name;
    }
    const auto must_be_seen = [&good](const Kernels &kernels, const char *name, long long rows) {
        if (!nacrith::faithful(kernels)) return;
        std::printf("check at load: FAILED: it does not see that %s is wrong (%lld rows)\n", name, rows);
        good = false;
    };
    for (const Wrong &wrong : kWrong) {
        Kernels kernels = right();
        wrong.spoil(kernels);
        must_be_seen(kernels, wrong.name, 1);
    }
    for (wrong_rows = 0; wrong_rows <= 12; wrong_rows++) {
        Kernels kernels = right();
        kernels.linear = wrong_linear;
        must_be_seen(kernels, "linear", wrong_rows);
    }
    const Kernels quads = of_quads();
    uint64_t seed;
    if (const char *name = first_difference(quads, questions, seed)) {
        std::printf("quads: FAILED: %s answers question %llu otherwise\n", name, static_cast<unsigned long long>(seed));
        good = false;
    }
    for (wrong_tiles = 1; wrong_tiles <= 2; wrong_tiles++)
        for (wrong_rows = 1; wrong_rows <= 12; wrong_rows++) {
            Kernels kernels = quads;
            kernels.linear = wrong_linear_of_quads;
            must_be_seen(kernels, wrong_tiles == 1 ? "linear of quads" : "linear of two tiles of quads", wrong_rows);
        }
    Kernels other = quads;
    other.quads.write = [](const int16_t *q, int64_t columns, int64_t row, uint8_t *to) {
        of_quads().quads.write(q, columns, row, to);
        to[row * nacrith::row_stride(columns) + static_cast<int64_t>(sizeof(nacrith::ByteRow))]++;
    };
    must_be_seen(other, "a byte of a row", 1);
    other.quads.write = [](const int16_t *q, int64_t columns, int64_t row, uint8_t *to) {
        of_quads().quads.write(q, columns, row, to);
        auto *head = reinterpret_cast<nacrith::ByteRow *>(to + row * nacrith::row_stride(columns));
        if (head->spills) head->spills--;
    };
    must_be_seen(other, "the last spill of a row", 1);
    const auto begin = std::chrono::steady_clock::now();
    for (const Kernels *kernels : nacrith::trusted_kernels()) std::printf("%s ", kernels->name);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
    std::printf("are trusted, after %.2f ms\n%s\n", taken.count(), good ? "OK" : "FAILED");
    return !good;
}
