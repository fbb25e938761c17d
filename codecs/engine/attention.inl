// Attention of arithmetic version 1 (formats/arithmetic-v1.md, section 6), included by kernels.inl: queries
// times tiles of keys, integer weights of the scores, these times tiles of values.

// Fetches the values of a tile of slots, which few rows would wait for.
inline void fetch_values(const HeadCache &cache, int64_t slot, int64_t band) {
    for (int64_t d = 0; d < cache.dim; d += band) {
        const int8_t *v = cache.v + d * cache.slots + slot * band;
        for (int64_t at = 0; at < kTile * band; at += 64) __builtin_prefetch(v + at);
    }
}

// Computes t = f32(q . k) * k_scale * factor for whole tiles of keys: `tiles` from slot 16 * first on, to t + at.
// band: dimensions of values that are stored together.
template <class Rows, int64_t band>
void scores(const Attention &a, const int16_t *q, const float *factor, int64_t first, int64_t tiles, int64_t width,
            int64_t at) {
    const Rows rows(a, q, a.count, a.cache.dim, a.cache.dim);
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int8_t *k = a.cache.k + (first + tile) * kTile * rows.columns;
        const float *k_scale = a.cache.k_scale + (first + tile) * kTile;
        if (a.count <= Rows::kMost) fetch_values(a.cache, (first + tile) * kTile, band);
        for (int64_t r = 0; r < a.count; r += Rows::kMost) {
            const int64_t m = r + Rows::kMost < a.count ? Rows::kMost : a.count - r;
            alignas(64) int32_t acc[Rows::kMost * kTile];
            rows.times(k, nullptr, r, m, acc);
            for (int64_t i = 0; i < m; i++) {
                float t[kTile];  // not the result itself, which might be the scales for all that a compiler knows
                for (int64_t n = 0; n < kTile; n++)
                    t[n] = static_cast<float>(acc[i * kTile + n]) * k_scale[n] * factor[r + i];
                std::memcpy(a.t + (r + i) * width + at + tile * kTile, t, sizeof t);
            }
        }
    }
}

constexpr float kUnseen = -1073741824.0f;  // a score that has no weight

// Sets the scores outside begin .. end - 1 of the tiles that hold them, so that whole tiles can be converted.
inline void hide(float *t, int64_t begin, int64_t end) {
    for (int64_t i = begin / kTile * kTile; i < begin; i++) t[i] = kUnseen;
    for (int64_t i = end; i < rounded_up(end, kTile); i++) t[i] = kUnseen;
}

// Converts whole tiles of scores to e = rint(2^(t - low)), in place; returns their sum, at most 2^29.
int32_t exponentials(float *__restrict t, int64_t n, float low) {
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t e = nearest(exp2_of(t[i] - low));
        sum += e;
        t[i] = static_cast<float>(e);
    }
    return sum;
}

// The weights of up to kMost rows, as int16 for products with tiles of pairs. The weight of a row is up to 2^16, so
// what exceeds 15 bits is added for itself.
//
// A class like this one is a way to multiply weights by values, for `attend`. set() takes row i's e in whole tiles: of
// the sinks in t[0 .. 15], and of slots first_slot + first .. last - 1 from t[16 + first] on; it sets
// w = rint(e * v_scale * u). times() sets acc[row][16 * kTiles] to the products with such a band of the values.
struct PlainWeights {
    static constexpr int64_t kMost = kRows, kTiles = 1;
    const Attention &a;
    int64_t span, width;
    struct Row {
        const float *high = nullptr;  // t, with w in place of e, if any exceeds 15 bits
        int64_t first = 0, last = 0;
    } row[kMost];

    PlainWeights(const Attention &task, int64_t slots) : a(task), span(slots), width(kTile + slots) {}

    // Returns the OR of all w, and stores their low 15 bits.
    static int32_t convert(float *__restrict t, const float *__restrict v_scale, int64_t n, float u,
                           int16_t *__restrict low) {
        int32_t any = 0;
        for (int64_t i = 0; i < n; i++) {
            const int32_t w = nearest(t[i] * v_scale[i] * u);
            any |= w;
            t[i] = static_cast<float>(w);
            low[i] = static_cast<int16_t>(w & 0x7fff);
        }
        return any;
    }

    void set(int64_t i, float *t, int64_t first, int64_t last, float u) {
        int16_t *w = a.w + i * width;
        const float *v_scale = a.cache.v_scale;
        std::memset(w + kTile, 0, static_cast<size_t>(first) * sizeof *w);
        std::memset(w + kTile + last, 0, static_cast<size_t>(span - last) * sizeof *w);
        int32_t any = convert(t, v_scale, kTile, u, w);
        any |= convert(t + kTile + first, v_scale + a.first_slot + first, last - first, u, w + kTile + first);
        row[i] = {any >= 32768 ? t : nullptr, first, last};
    }

    // Adds (w - w mod 2^15) * v for the few slots with w >= 2^15.
    void add_high(const float *t, int64_t n, const int8_t *v, int32_t *acc) const {
        for (int64_t j = 0; j < n; j++) {
            if (t[j] < 32768.0f) continue;
            const int32_t high = static_cast<int32_t>(t[j]) & ~0x7fff;
            for (int64_t d = 0; d < kTile; d++) acc[d] += high * v[j / 2 * 2 * kTile + 2 * d + j % 2];
        }
    }

    void times(int64_t band, int64_t m, int32_t *acc) const {
        alignas(64) int32_t more[kMost * kTile];
        const int8_t *sinks = a.cache.v + band * a.cache.slots * kTile, *v = sinks + a.first_slot * kTile;
        block_of(m, sinks, kSinks / 2, a.w, width, acc);
        block_of(m, v, span / 2, a.w + kTile, width, more);
        for (int64_t i = 0; i < m; i++, acc += kTile) {
            for (int64_t n = 0; n < kTile; n++) acc[n] += more[i * kTile + n];
            if (!row[i].high) continue;
            add_high(row[i].high, kSinks, sinks, acc);
            const int64_t first = row[i].first;
            add_high(row[i].high + kTile + first, row[i].last - first, v + first * kTile, acc);
        }
    }
};

// Keys: how queries are multiplied by keys. Weights: how weights are multiplied by values.
template <class Keys = PlainRows, class Weights = PlainWeights>
void attend(const Attention &a) {
    const HeadCache &c = a.cache;
    const int64_t span = a.end_slot - a.first_slot, width = kTile + span;
    constexpr int64_t dims = Weights::kTiles * kTile;
    scores<Keys, dims>(a, a.q_sink, a.sink_factor, 0, 1, width, 0);
    scores<Keys, dims>(a, a.q, a.factor, a.first_slot / kTile, span / kTile, width, kTile);
    const int64_t reach = a.window - kSinks;  // positions attended to beyond the sinks
    Weights weights(a, span);
    for (int64_t r0 = 0; r0 < a.count; r0 += Weights::kMost) {
        const int64_t m = r0 + Weights::kMost < a.count ? Weights::kMost : a.count - r0;
        for (int64_t i = 0; i < m; i++) {
            float *t = a.t + (r0 + i) * width, *tr = t + kTile;
            const int64_t slot = a.slot[(r0 + i) / a.group];
            const bool in_sinks = slot < kSinks;
            const int64_t sinks = in_sinks ? slot + 1 : kSinks;
            int64_t begin = 0, end = 0;  // slots that this row attends to, from first_slot on
            if (!in_sinks) {
                const int64_t oldest = slot - reach + 1;
                begin = (oldest > kTile ? oldest : kTile) - a.first_slot;
                end = slot + 1 - a.first_slot;
            }
            const float low = largest(tr + begin, end - begin, largest(t, sinks, t[0])) - 12.0f;
            hide(t, 0, sinks);
            hide(tr, begin, end);
            const int64_t first = begin / kTile * kTile, last = rounded_up(end, kTile);
            const int32_t sum = exponentials(t, kTile, low) + exponentials(tr + first, last - first, low);
            weights.set(i, t, first, last, 65536.0f / (static_cast<float>(sum) * c.v_max[slot]));
        }
        for (int64_t d0 = 0; d0 < c.dim; d0 += dims) {
            alignas(64) int32_t acc[Weights::kMost * dims];
            weights.times(d0 / dims, m, acc);
            for (int64_t i = 0; i < m; i++) {
                const int64_t row = r0 + i, valid = d0 + dims < c.dim ? dims : c.dim - d0;
                const float unit = c.v_max[a.slot[row / a.group]] * (1.0f / 65536.0f);
                float *out = a.out + row / a.group * a.out_stride + row % a.group * c.dim + d0;
                for (int64_t n = 0; n < valid; n++) out[n] = static_cast<float>(acc[i * dims + n]) * unit;
            }
        }
    }
}
