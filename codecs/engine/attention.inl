// Attention of arithmetic version 1 (formats/arithmetic-v1.md, section 6), included by kernels.inl: queries
// times tiles of keys, integer weights of the scores, these times tiles of values.

// Any number of rows.
void blocks(int64_t count, const int8_t *w, int64_t pairs, const int16_t *q, int64_t stride, int32_t *acc) {
    for (int64_t r = 0; r < count; r += kRows)
        block_of(r + kRows < count ? kRows : count - r, w, pairs, q + r * stride, stride, acc + r * kTile);
}

// Computes t = f32(q . k) * k_scale * factor for whole tiles of keys: `tiles` from slot 16 * first on, to t + at.
template <class Rows>
void scores(const Attention &a, const int16_t *q, const float *factor, int64_t first, int64_t tiles, int64_t width,
            int64_t at) {
    const Rows rows(a, q, a.count, a.cache.dim, a.cache.dim);
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int8_t *k = a.cache.k + (first + tile) * kTile * rows.columns;
        const float *k_scale = a.cache.k_scale + (first + tile) * kTile;
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

// Converts scores to e = rint(2^(t - low)), in place; returns their sum, at most 2^29.
int32_t exponentials(float *__restrict t, int64_t n, float low) {
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t e = nearest(exp2_of(t[i] - low));
        sum += e;
        t[i] = static_cast<float>(e);
    }
    return sum;
}

// Converts e to w = rint(e * v_scale * u), in place, and stores its low 15 bits in `low`. Returns the OR of all w.
int32_t fractions(float *__restrict t, const float *__restrict v_scale, int64_t n, float u,
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

// Adds what `fractions` cut off, (w - w mod 2^15) * v, for the few keys with w >= 2^15, one row.
void add_high_part(const HeadCache &cache, const float *t, int64_t slot, int64_t n, int64_t tile,
                   int32_t *acc) {
    for (int64_t j = 0; j < n; j++) {
        if (t[j] < 32768.0f) continue;
        const int32_t high = static_cast<int32_t>(t[j]) & ~0x7fff;
        const int64_t pair = tile * (cache.slots / 2) + (slot + j) / 2;
        const int8_t *v = cache.v + pair * 2 * kTile + (slot + j) % 2;
        for (int64_t d = 0; d < kTile; d++) acc[d] += high * v[2 * d];
    }
}

// Keys and Rows: how queries are multiplied by keys, and weights by values.
template <class Keys = PlainRows, class Rows = PlainRows>
void attend(const Attention &a) {
    const HeadCache &c = a.cache;
    const int64_t span = a.end_slot - a.first_slot, width = kTile + span;
    scores<Keys>(a, a.q_sink, a.sink_factor, 0, 1, width, 0);
    scores<Keys>(a, a.q, a.factor, a.first_slot / kTile, span / kTile, width, kTile);
    const int64_t reach = a.window - kSinks;  // positions attended to beyond the sinks
    bool high[Rows::kMost];                    // of the rows of one block: w >= 2^15 somewhere
    for (int64_t r0 = 0; r0 < a.count; r0 += Rows::kMost) {
        const int64_t m = r0 + Rows::kMost < a.count ? Rows::kMost : a.count - r0;
        for (int64_t i = 0; i < m; i++) {
            float *t = a.t + (r0 + i) * width;
            int16_t *w = a.w + (r0 + i) * width;
            const int64_t slot = a.slot[(r0 + i) / a.group];
            const bool in_sinks = slot < kSinks;
            const int64_t sinks = in_sinks ? slot + 1 : kSinks;
            int64_t begin = 0, end = 0;  // slots that this row attends to, from first_slot on
            if (!in_sinks) {
                const int64_t oldest = slot - reach + 1;
                begin = (oldest > kTile ? oldest : kTile) - a.first_slot;
                end = slot + 1 - a.first_slot;
            }
            const int64_t seen = end - begin;
            float *tr = t + kTile + begin;
            const float low = largest(tr, seen, largest(t, sinks, t[0])) - 12.0f;
            const int32_t sum = exponentials(t, sinks, low) + exponentials(tr, seen, low);
            const float u = 65536.0f / (static_cast<float>(sum) * c.v_max[slot]);
            std::memset(w, 0, static_cast<size_t>(kTile + begin) * sizeof *w);
            std::memset(w + kTile + end, 0, static_cast<size_t>(span - end) * sizeof *w);
            int32_t any = fractions(t, c.v_scale, sinks, u, w);
            any |= fractions(tr, c.v_scale + a.first_slot + begin, seen, u, w + kTile + begin);
            high[i] = any >= 32768;
        }
        const int16_t *w = a.w + r0 * width;
        const Rows rows(a, w + kTile, m, span, width);
        for (int64_t d0 = 0; d0 < c.dim; d0 += kTile) {
            const int64_t tile = d0 / kTile, valid = d0 + kTile < c.dim ? kTile : c.dim - d0;
            const int8_t *v = c.v + tile * (c.slots / 2) * 2 * kTile;
            alignas(64) int32_t acc[Rows::kMost * kTile], more[Rows::kMost * kTile];
            blocks(m, v, kSinks / 2, w, width, acc);
            rows.times(v + a.first_slot * kTile, nullptr, 0, m, more);
            for (int64_t i = 0; i < m; i++) {
                const int64_t row = r0 + i, slot = a.slot[row / a.group];
                int32_t *sum = acc + i * kTile;
                for (int64_t n = 0; n < kTile; n++) sum[n] += more[i * kTile + n];
                if (high[i]) {
                    const float *t = a.t + row * width;
                    const int64_t sinks = slot < kSinks ? slot + 1 : kSinks;
                    add_high_part(c, t, 0, sinks, tile, sum);
                    if (slot >= kSinks) {
                        const int64_t oldest = slot - reach + 1;
                        const int64_t from = oldest > kTile ? oldest : kTile;
                        add_high_part(c, t + kTile + from - a.first_slot, from, slot + 1 - from, tile, sum);
                    }
                }
                const float unit = c.v_max[slot] * (1.0f / 65536.0f);
                float *out = a.out + row / a.group * a.out_stride + row % a.group * c.dim + d0;
                for (int64_t n = 0; n < valid; n++) out[n] = static_cast<float>(sum[n]) * unit;
            }
        }
    }
}
