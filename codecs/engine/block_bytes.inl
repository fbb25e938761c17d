// The byte products of bytes.inl in vpdpbusd, for vectors of 16 or 8 sums; sets with it include this file before
// kernels.inl, after
//
//     Vector          of kLanes sums; a quad of columns of a tile has kTile / kLanes vectors
//     kByteRows, kByteTiles
//     load, store, same, add, high, plus_bytes
//
// The instruction multiplies unsigned bytes by signed ones, so weights are w + 128, and what this adds to a sum depends
// on the row only (ByteRow::start). It wraps instead of saturating. Rows come from memory as broadcasts, which need no
// arithmetic port, and each is used for two vectors of weights.

constexpr int32_t kByteBias = 128;
constexpr int64_t kSpillLimit = 511;

inline Vector quad_of(const void *x) {
    int32_t quad;
    std::memcpy(&quad, x, sizeof quad);
    return same(quad);
}

// Sum i is for vector i % V and row i / V % M, over every sets-th quad from i / (M * V) on: with few rows, several sums
// for each are needed to hide the instruction's latency of four or five cycles. Weight j is vector j % V of quad j / V.
template <int M, int V, int... i, int... j>
[[gnu::noinline]] void byte_rows(std::integer_sequence<int, i...>, std::integer_sequence<int, j...>, const int8_t *w,
                                 const int8_t *next, int64_t columns, const uint8_t *x, int64_t stride, int32_t *acc) {
    constexpr int sums = M * V, sets = sizeof...(j) / V;
    constexpr int64_t size = sizeof(Vector), bytes = V * size;  // of a quad in all tiles
    Vector sum[] = {(i < sums ? quad_of(x + i / V * stride) : same(0))...};
    static_assert(kByteRows <= 12);
    // Every fourth row has a pointer, and the others are at a distance from it: more pointers do not find registers. The
    // compiler may not make them of these.
    const uint8_t *fourth[] = {x + sizeof(ByteRow), x + sizeof(ByteRow) + 4 * stride, x + sizeof(ByteRow) + 8 * stride};
    const int64_t apart[] = {0, stride, 2 * stride, 3 * stride};
    int64_t p = 0;
    for (; p + sets <= columns / 4; p += sets) {
        for (int64_t at = 0; M >= 4 && at < bytes; at += 64) __builtin_prefetch(next + p * bytes + at, 0, 2);
        const Vector weights[] = {load(w + p * bytes + j * size)...};
        ((sum[i] = plus_bytes(sum[i], weights[i / sums * V + i % V],
                              quad_of(fourth[i / V % M / 4] + apart[i / V % M % 4] + 4 * (i / sums)))),
         ...);
        for (const uint8_t *&rows : fourth) rows += 4 * sets;
        asm("" : "+r"(fourth[0]), "+r"(fourth[1]), "+r"(fourth[2]));
    }
    for (; p < columns / 4; p++) {
        ((i < sums ? static_cast<void>(sum[i] = plus_bytes(sum[i], load(w + p * bytes + i % V * size),
                                                           quad_of(fourth[i / V % M / 4] + apart[i / V % M % 4])))
                   : void()),
         ...);
        for (const uint8_t *&rows : fourth) rows += 4;
    }
    ((i < sums ? void() : static_cast<void>(sum[i % sums] = add(sum[i % sums], sum[i]))), ...);
    ((i < sums ? store(acc + i * kLanes, sum[i]) : void()), ...);
}

template <int M, int T>
void byte_block(const int8_t *w, const int8_t *next, int64_t columns, const uint8_t *x, int64_t stride, int32_t *acc) {
    constexpr int V = T * kTile / kLanes, sums = M * V, sets = sums >= 8 ? 1 : sums >= 5 ? 2 : 4;
    byte_rows<M, V>(std::make_integer_sequence<int, sums * sets>(), std::make_integer_sequence<int, V * sets>(), w,
                    next ? next : w, columns, x, stride, acc);
}

// Two sums for each vector, for the latency.
template <int... v>
[[gnu::noinline]] void spill_rows(std::integer_sequence<int, v...>, const int8_t *w, const Spill *spill, int64_t count,
                                  int32_t *acc) {
    constexpr int64_t bytes = sizeof...(v) * static_cast<int64_t>(sizeof(Vector));
    Vector even[] = {(static_cast<void>(v), same(0))...}, odd[] = {(static_cast<void>(v), same(0))...};
    const auto plus = [w](Vector &sum, const Spill &from, int64_t part) {
        sum = plus_bytes(sum, load(w + from.at * bytes + part * static_cast<int64_t>(sizeof(Vector))), quad_of(from.excess));
    };
    int64_t n = 0;
    for (; n + 2 <= count; n += 2) ((plus(even[v], spill[n], v), plus(odd[v], spill[n + 1], v)), ...);
    if (n < count) (plus(even[v], spill[n], v), ...);
    (store(acc + v * kLanes, add(load(acc + v * kLanes), high(add(even[v], odd[v])))), ...);
}

template <int T>
void add_spills(const int8_t *w, const Spill *spill, int64_t count, int32_t *acc) {
    spill_rows(std::make_integer_sequence<int, T * kTile / kLanes>(), w, spill, count, acc);
}

inline int64_t bare_bytes(int64_t rounds) { return bare_products(rounds, 4 * kLanes, same(0x01010101), plus_bytes); }

inline int64_t bare(Layout layout, int64_t rounds) {
    return layout == Layout::kPairs ? bare_pairs(rounds) : bare_bytes(rounds);
}
