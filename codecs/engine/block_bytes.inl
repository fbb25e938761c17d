// The `byte_block` of bytes.inl in vpdpbusd, for vectors of 16 or 8 sums; sets with it include this file before
// kernels.inl, after
//
//     Vector          of kLanes sums; a quad of columns of a tile has kTile / kLanes vectors
//     kByteRows, kByteTiles
//     load, store, none, plus, quad_of, plus_bytes
//
// The instruction multiplies unsigned bytes by signed ones, so rows are q + 128. It wraps instead of saturating.
// Rows come from memory as broadcasts, which need no arithmetic port, and each is used for two vectors of weights.

constexpr int32_t kByteBias = 128;
constexpr int64_t kQuadBytes = 4 * kTile;

// Sum i is for vector i % V and row i / V % M, over every sets-th quad from i / (V * M) on: with few rows, several sums
// are needed to hide the instruction's latency of four or five cycles.
template <int M, int V, int... i>
inline void byte_rows(std::integer_sequence<int, i...>, const int8_t *w, int64_t columns, const uint8_t *x,
                      int64_t stride, const int32_t *start, int32_t *acc) {
    constexpr int64_t sums = M * V, sets = sizeof...(i) / sums, parts = kTile / kLanes;
    Vector sum[] = {(i < sums ? load(start + i % V * kLanes) : none())...};
    const uint8_t *const row[] = {(x + i / V % M * stride)...};
    const int8_t *const from[] = {(w + i % V / parts * columns * kTile + i % V % parts * (kQuadBytes / parts))...};
    const auto add_quad = [](Vector &to, const uint8_t *bytes, const int8_t *weights, int64_t p) {
        to = plus_bytes(to, quad_of(bytes + 4 * p), load(weights + p * kQuadBytes));
    };
    const int64_t quads = columns / 4;
    int64_t p = 0;
    for (; p + sets <= quads; p += sets) (add_quad(sum[i], row[i], from[i], p + i / sums), ...);
    for (; p < quads; p++) ((i < sums ? add_quad(sum[i], row[i], from[i], p) : void()), ...);
    const auto join = [](Vector &to, Vector more) { to = plus(to, more); };
    ((i < sums ? void() : join(sum[i % sums], sum[i])), ...);
    ((i < sums ? store(acc + i * kLanes, sum[i]) : void()), ...);
}

template <int M, int T>
void byte_block(const int8_t *w, int64_t columns, const uint8_t *x, int64_t stride, const int32_t *start,
                int32_t *acc) {
    constexpr int V = T * kTile / kLanes, sets = M * V >= 12 ? 1 : M * V < 4 ? 4 : (11 + M * V) / (M * V);
    byte_rows<M, V>(std::make_integer_sequence<int, M * V * sets>(), w, columns, x, stride, start, acc);
}

inline int64_t bare_bytes(int64_t rounds) { return bare_products(rounds, 4 * kLanes, quad_of("\1\1\1\1"), plus_bytes); }

inline int64_t bare(Layout layout, int64_t rounds) {
    return layout == Layout::kPairs ? bare_pairs(rounds) : bare_bytes(rounds);
}
