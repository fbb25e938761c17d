// Inner loops of arithmetic version 1 (formats/arithmetic-v1.md), included by each variant after its
//
//     template <int M> void block(const int8_t *w, int64_t pairs, const int16_t *q, int64_t stride,
//                                 int32_t *acc);
//
// which sets acc[m][n] (m < M, n < 16) to the sum over 2 * pairs columns of q(m) * w(n), w one tile of pairs.
// Sums fit 32 bits in any order. M is at most kRows, which the variant also defines. Variants with byte products
// include bytes.inl behind this file.
// The including file opens an anonymous namespace, so that code compiled for one instruction set cannot be
// linked into another.
//
// Float operations are elementwise, one rounding each, in the specification's order: compile with
// -ffp-contract=off and never with -ffast-math. Reductions are of integers or of maxima, in any order.

constexpr float kTiny = 7.888609052210118e-31f;        // 2^-100
constexpr float kLog2e = 1.4426950408889634f;
constexpr float kRint = 12582912.0f;                   // 1.5 * 2^23
constexpr int32_t kRintBits = 0x4b400000;
constexpr float kLogitUnit = kLog2e * 65536.0f;
constexpr float kLogitMax = 1073741824.0f;             // 2^30
constexpr int64_t kPanel = 128 << 10;                  // bytes of weights that stay in the L2 cache
constexpr int64_t kAheadBytes = 8 << 10;               // of weights, where the rows are one block

inline uint32_t bits(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    return u;
}

inline float from_bits(uint32_t u) {
    float x;
    std::memcpy(&x, &u, 4);
    return x;
}

// rint for |x| <= 2^22, ties to even: the integer is in the low bits of the sum.
inline int32_t nearest(float x) {
    return static_cast<int32_t>(bits(x + kRint) - static_cast<uint32_t>(kRintBits));
}

inline float exp2_of(float t) {
    t = t > -100.0f ? t : -100.0f;
    const float y = t + kRint;
    const float f = t - (y - kRint);
    const float p = ((0.05517166f * f + 0.24261112f) * f + 0.69326099f) * f + 0.99992807f;
    return from_bits(bits(p) + (bits(y) << 23));
}

// The largest of the numbers order(x[i]), at least `best`. Sixteen independent maxima of integers: compilers vectorise
// them, and not those of floats.
template <class Order>
inline int32_t largest_of(const float *x, int64_t n, int32_t best, const Order &order) {
    int32_t m[16];
    for (int32_t &v : m) v = best;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) {
            const int32_t v = order(static_cast<int32_t>(bits(x[i + j])));
            m[j] = v > m[j] ? v : m[j];
        }
    for (; i < n; i++) {
        const int32_t v = order(static_cast<int32_t>(bits(x[i])));
        m[0] = v > m[0] ? v : m[0];
    }
    for (const int32_t v : m) best = v > best ? v : best;
    return best;
}

// The largest magnitude, at least 2^-100. Magnitudes are ordered as their bits are.
inline float absmax(const float *x, int64_t n) {
    const auto magnitude = [](int32_t b) { return b & 0x7fffffff; };
    const int32_t tiny = static_cast<int32_t>(bits(kTiny));
    return from_bits(static_cast<uint32_t>(largest_of(x, n, tiny, magnitude)));
}

// The largest number, at least `best`. The bits of negative numbers are ordered the other way round.
inline float largest(const float *x, int64_t n, float best) {
    const auto signed_order = [](int32_t b) { return b ^ (b >> 31 & 0x7fffffff); };
    const int32_t most = largest_of(x, n, signed_order(static_cast<int32_t>(bits(best))), signed_order);
    return from_bits(static_cast<uint32_t>(signed_order(most)));
}

void quantise(const float *__restrict x, int64_t n, int32_t limit, int16_t *__restrict q, float *scale) {
    const float a = absmax(x, n);
    const float f = static_cast<float>(limit) / a;
    for (int64_t i = 0; i < n; i++) q[i] = static_cast<int16_t>(nearest(x[i] * f));
    *scale = a / static_cast<float>(limit);
}

void norm(const float *__restrict x, const float *__restrict gain, int64_t n, double eps, int32_t limit,
          float *__restrict scratch, int16_t *q, float *scale) {
    const float b = 32767.0f / absmax(x, n);
    int64_t sum = 0;  // at most 32767^2 * 2^20 = 2^50
    for (int64_t i = 0; i < n; i++) {
        const int32_t v = nearest(x[i] * b);
        sum += static_cast<int64_t>(v) * v;
        scratch[i] = static_cast<float>(v);
    }
    const double d = b;
    const double mean = static_cast<double>(sum) / static_cast<double>(n);
    const float r = static_cast<float>(1.0 / std::sqrt(mean + d * d * eps));
    for (int64_t i = 0; i < n; i++) scratch[i] = scratch[i] * r * gain[i];
    quantise(scratch, n, limit, q, scale);
}

void silu(const float *__restrict gate, const float *__restrict up, int64_t n, int32_t limit,
          float *__restrict scratch, int16_t *q, float *scale) {
    for (int64_t i = 0; i < n; i++) {
        const float g = gate[i];
        const float e = exp2_of(std::fabs(g) * -kLog2e);
        const float p = (g >= 0.0f ? 1.0f : e) / (e + 1.0f);
        scratch[i] = g * up[i] * p;
    }
    quantise(scratch, n, limit, q, scale);
}

void rotate(const float *__restrict x, const float *__restrict cos, const float *__restrict sin,
            int64_t half, float *__restrict out) {
    for (int64_t j = 0; j < half; j++) {
        const float a = x[j], b = x[j + half];
        out[j] = a * cos[j] - b * sin[j];
        out[j + half] = b * cos[j] + a * sin[j];
    }
}

template <int M = kRows>
void block_of(int64_t m, const int8_t *w, int64_t pairs, const int16_t *q, int64_t stride, int32_t *acc) {
    if constexpr (M > 1)
        if (m < M) return block_of<M - 1>(m, w, pairs, q, stride, acc);
    block<M>(w, pairs, q, stride, acc);
}

template <class T>
inline void copy_tile(const T *from, int64_t valid, T *to) {
    if (valid >= kTile)
        std::memcpy(to, from, kTile * sizeof *from);
    else
        std::memcpy(to, from, static_cast<size_t>(valid) * sizeof *from);
}

// Converts the sums of one row and one tile to the row's results n0 .. n0 + valid - 1.
template <Store mode, class Sum>
[[gnu::always_inline]] inline void finish(const Sum *__restrict acc, const float *__restrict scales, float scale,
                                          int64_t row, int64_t n0, int64_t valid, const Output &out) {
    float y[kTile];
    for (int64_t i = 0; i < kTile; i++) y[i] = static_cast<float>(acc[i]) * scales[n0 + i] * scale;
    if constexpr (mode == Store::kLogits) {
        int32_t z[kTile];
        for (int64_t i = 0; i < kTile; i++) {
            const float t = y[i] * kLogitUnit;
            const float big = from_bits((bits(t) & 0x80000000u) | 0x4b000000u);  // 2^23 with t's sign
            float r = std::fabs(t) < 8388608.0f ? (t + big) - big : t;           // rint(t)
            r = r < kLogitMax ? r : kLogitMax;
            r = r > -kLogitMax ? r : -kLogitMax;
            z[i] = static_cast<int32_t>(r);
        }
        copy_tile(z, valid, out.rows[row] + n0);
        return;
    }
    float *to = out.values + row * out.stride + n0;
    if constexpr (mode == Store::kAdd) {
        float before[kTile];
        copy_tile(to, valid, before);
        for (int64_t i = 0; i < kTile; i++) y[i] = before[i] + y[i];
    }
    copy_tile(y, valid, to);
}

// Calls work(mode) with the mode as a constant.
template <class Work>
void by_mode(Store mode, const Work &work) {
    if (mode == Store::kWrite) return work(std::integral_constant<Store, Store::kWrite>{});
    if (mode == Store::kAdd) return work(std::integral_constant<Store, Store::kAdd>{});
    work(std::integral_constant<Store, Store::kLogits>{});
}

// Rows of int16, which are multiplied by tiles of pairs as they are.
//
// A class like this one is a way to multiply rows by tiles, for `products` and `attend`. times() takes m <= kMost rows
// from `first` on, a multiple of kUnit, and kTiles interleaved tiles, and sets acc[row][16 * kTiles]. Unless nullptr,
// `next` are tiles that it may fetch meanwhile.
struct PlainRows {
    static constexpr int64_t kMost = kRows, kUnit = 1, kTiles = 1;
    const int16_t *q;
    int64_t columns, stride;

    PlainRows(const Quantised &x, int64_t matrix_columns) : q(x.q), columns(matrix_columns), stride(x.stride) {}
    PlainRows(const Attention &, const int16_t *rows, int64_t, int64_t row_columns, int64_t row_stride)
        : q(rows), columns(row_columns), stride(row_stride) {}
    void times(const int8_t *w, const int8_t *, int64_t first, int64_t m, int32_t *acc) const {
        block_of(m, w, columns / 2, q + first * stride, stride, acc);
    }
};

// Panels of tiles stay in the L2 cache while all rows are multiplied by them, in blocks of rows as equal as can be, and
// while the last block is, the next panel is fetched. A row's results of one panel are written one after another: were
// every tile multiplied by all rows in turn, writes would be so far apart that rows whose length is a multiple of a page
// displaced each other from the cache.
template <Store mode, class Rows>
void products_for(const Rows &rows, const Matrix &matrix, int64_t begin, int64_t end, const float *scale,
                  int64_t count, const Output &out) {
    constexpr int64_t tiles = Rows::kTiles;
    const int64_t tile_bytes = kTile * matrix.columns;
    const int64_t panel = std::max(kPanel / tile_bytes / tiles * tiles, tiles);
    const int64_t blocks = (count + Rows::kMost - 1) / Rows::kMost;
    const int64_t block = rounded_up((count + blocks - 1) / blocks, Rows::kUnit);
    const int64_t ahead = blocks > 1 ? panel * tile_bytes : kAheadBytes;
    for (int64_t first = begin; first < end; first += panel) {
        const int64_t last = std::min(first + panel, end);
        for (int64_t r = 0; r < count; r += block) {
            const int64_t m = std::min(block, count - r);
            for (int64_t tile = first; tile < last; tile += tiles) {
                alignas(64) int32_t acc[Rows::kMost * tiles * kTile];
                const int8_t *const w = matrix.packed + tile * tile_bytes;
                rows.times(w, r + m == count ? w + ahead : nullptr, r, m, acc);
                for (int64_t i = 0; i < m; i++)
                    for (int64_t n = 0; n < tiles && tile + n < last; n++) {
                        const int64_t at = (tile + n) * kTile;
                        finish<mode>(acc + (i * tiles + n) * kTile, matrix.scales, scale[r + i], r + i, at,
                                     matrix.rows - at, out);
                    }
            }
        }
    }
}

template <class Rows>
void products(const Rows &rows, const Matrix &matrix, int64_t begin, int64_t end, const float *scale, int64_t count,
              const Output &out) {
    by_mode(out.mode, [&](auto mode) { products_for<mode.value>(rows, matrix, begin, end, scale, count, out); });
}

// The same with 64-bit sums, for matrices of pairs whose sums may exceed 32 bits.
void wide_products(const Matrix &matrix, int64_t begin, int64_t end, Quantised x, int64_t count, const Output &out) {
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t n0 = tile * kTile;
        for (int64_t r = 0; r < count; r++) {
            const int8_t *w = matrix.packed + n0 * matrix.columns;
            const int16_t *q = x.q + r * x.stride;
            int64_t acc[kTile] = {};
            for (int64_t c = 0; c < matrix.columns; c += 2, w += 2 * kTile)
                for (int64_t n = 0; n < kTile; n++)
                    acc[n] += int32_t{q[c]} * w[2 * n] + int32_t{q[c + 1]} * w[2 * n + 1];
            by_mode(out.mode, [&](auto mode) {
                finish<mode.value>(acc, matrix.scales, x.scale[r], r, n0, matrix.rows - n0, out);
            });
        }
    }
}

void linear(const Matrix &matrix, int64_t begin, int64_t end, Quantised x, int64_t count, const Output &out) {
    if (matrix.wide) return wide_products(matrix, begin, end, x, count, out);
    products(PlainRows(x, matrix.columns), matrix, begin, end, x.scale, count, out);
}

#include "engine/attention.inl"

constexpr int64_t kSpan = 96;  // number of elements of at most 2^24 whose sum fits 31 bits

int64_t shift(const int32_t *__restrict row, const int32_t *__restrict by, int64_t n, int32_t *__restrict x) {
    constexpr int32_t most = 1 << 30;
    int32_t best = INT32_MIN, low = 0, high = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i += kSpan) {
        const int64_t end = i + kSpan < n ? i + kSpan : n;
        int32_t top = -most;
        for (int64_t j = i; j < end; j++) {
            low = row[j] < low ? row[j] : low;
            high = row[j] > high ? row[j] : high;
            int32_t v = row[j] + by[j];
            v = v < most ? v : most;
            v = v > -most ? v : -most;
            top = v > top ? v : top;
            x[j] = v;
        }
        if (top > best) {
            best = top;
            at = i;
        }
    }
    if (low < -most || high > most) return -1;
    while (x[at] != best) at++;
    return at;
}

int64_t weigh(const int32_t *__restrict x, int32_t top, int64_t n, float *__restrict w) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i += kSpan) {
        const int64_t end = i + kSpan < n ? i + kSpan : n;
        int32_t part = 0;
        for (int64_t j = i; j < end; j++) {
            const float v = exp2_of(static_cast<float>(x[j] - top) * (1.0f / 65536.0f)) * 8388608.0f;
            const float r = (v + 8388608.0f) - 8388608.0f;  // rint(v): exp2_of stays below 1 here
            part += static_cast<int32_t>(r);
            w[j] = r;
        }
        sum += part;
    }
    return sum;
}

int64_t portion(const float *__restrict w, float share, int64_t n, float *__restrict c) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i += kSpan) {
        const int64_t end = i + kSpan < n ? i + kSpan : n;
        int32_t part = 0;
        for (int64_t j = i; j < end; j++) {
            float v = w[j] * share;
            v = v < 16777215.0f ? v : 16777215.0f;
            const int32_t count = static_cast<int32_t>(v) + 1;  // v >= 0
            part += count;
            c[j] = static_cast<float>(count);
        }
        sum += part;
    }
    return sum;
}

int64_t above(const float *w, float bound, int64_t n, int32_t *index) {
    constexpr int64_t step = 32;  // most have none
    int64_t found = 0;
    for (int64_t i = 0; i < n; i += step) {
        const int64_t end = i + step < n ? i + step : n;
        int32_t any = 0;
        for (int64_t j = i; j < end; j++) any |= w[j] > bound;
        if (!any) continue;
        for (int64_t j = i; j < end; j++) {
            index[found] = static_cast<int32_t>(j);
            found += w[j] > bound;
        }
    }
    return found;
}
