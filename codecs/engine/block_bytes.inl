// The `byte_block` of bytes.inl in vpdpbusd, for vectors of 16 or 8 sums; sets with it include this file before
// kernels.inl, after
//
//     Vector          of kLanes sums; a quad of columns of a tile has kTile / kLanes vectors
//     kByteRows, kByteTiles
//     load, store, quad_of, plus_bytes
//
// The instruction multiplies unsigned bytes by signed ones, so rows are q + 128. It wraps instead of saturating.
// Rows come from memory as broadcasts, which need no arithmetic port, and each is used for two vectors of weights.

constexpr int32_t kByteBias = 128;
constexpr int64_t kQuadBytes = 4 * kTile;

// Sum i is for vector i % V and row i / V. With few rows the sums do not hide the instruction's latency of four or five
// cycles; but then two vectors in that time are as many weights as the memory gives. A function of its own, not
// inlined, so that the pointers to the rows find registers too.
template <int V, int... i>
[[gnu::noinline]] void byte_rows(std::integer_sequence<int, i...>, const int8_t *w, int64_t columns, const uint8_t *x,
                                 int64_t stride, const int32_t *start, int32_t *acc) {
    constexpr int64_t parts = kTile / kLanes;
    Vector sum[] = {load(start + i % V * kLanes)...};
    const uint8_t *const row[] = {(x + i / V * stride)...};
    const int8_t *const from[] = {(w + i % V / parts * columns * kTile + i % V % parts * (kQuadBytes / parts))...};
    for (int64_t p = 0; p < columns / 4; p++)
        ((sum[i] = plus_bytes(sum[i], quad_of(row[i] + 4 * p), load(from[i] + p * kQuadBytes))), ...);
    (store(acc + i * kLanes, sum[i]), ...);
}

template <int M, int T>
void byte_block(const int8_t *w, int64_t columns, const uint8_t *x, int64_t stride, const int32_t *start,
                int32_t *acc) {
    constexpr int V = T * kTile / kLanes;
    byte_rows<V>(std::make_integer_sequence<int, M * V>(), w, columns, x, stride, start, acc);
}

inline int64_t bare_bytes(int64_t rounds) { return bare_products(rounds, 4 * kLanes, quad_of("\1\1\1\1"), plus_bytes); }

inline int64_t bare(Layout layout, int64_t rounds) {
    return layout == Layout::kPairs ? bare_pairs(rounds) : bare_bytes(rounds);
}
