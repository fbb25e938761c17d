// Products of rows of bytes by tiles of quads; sets that have such instructions include it behind kernels.inl, after
//
//     template <int M, int T> void byte_block(const int8_t *w, int64_t columns, const uint8_t *x, int64_t stride,
//                                             const int32_t *start, int32_t *acc);
//
// which sets acc[m][n] (m < M, n < 16 * T) to the sum over the columns of x(m) * w(n), w being T tiles of quads.
// With kByteBias, which is what the bytes have more than the numbers they stand for, the sum begins with start[n].
// All arithmetic is modulo 2^32, and the complete sum, of numbers without the bias, fits 32 bits (packing_for).
// M is at most kByteRows, T at most kByteTiles; columns are a multiple of kByteUnit.

void write_bytes(const int16_t *q, int64_t columns, int64_t row, uint8_t *to) {
    const int64_t stride = byte_stride(columns);
    to += row * stride;
    for (int64_t i = 0; i < columns; i++) to[i] = static_cast<uint8_t>(q[i] + kByteBias);
    std::memset(to + columns, 0, static_cast<size_t>(stride - columns));
}

constexpr RowForm kBytes = {write_bytes, kByteUnit, kByteBias};

template <int T, int M = kByteRows>
void byte_block_of(int64_t m, const int8_t *w, int64_t columns, const uint8_t *x, int64_t stride, const int32_t *start,
                   int32_t *acc) {
    if constexpr (M > 1)
        if (m < M) return byte_block_of<T, M - 1>(m, w, columns, x, stride, start, acc);
    byte_block<M, T>(w, columns, x, stride, start, acc);
}

struct ByteRows {
    static constexpr int64_t kMost = kByteRows, kTiles = kByteTiles;
    const uint8_t *bytes;
    int64_t columns, stride;
    int64_t zero = 0;  // of attention: number of a row that stands for zeros

    ByteRows(const Quantised &x, int64_t matrix_columns)
        : bytes(x.formed), columns(matrix_columns), stride(byte_stride(matrix_columns)) {}
    ByteRows(const Attention &a, const int16_t *q, int64_t count, int64_t row_columns, int64_t row_stride)
        : bytes(a.formed), columns(rounded_up(row_columns, kByteUnit)), stride(byte_stride(row_columns)), zero(count) {
        for (int64_t r = 0; r < count; r++) write_bytes(q + r * row_stride, row_columns, r, a.formed);
        std::memset(a.formed + zero * stride, kByteBias, static_cast<size_t>(stride));
    }
    // The products of bytes that stand for zeros are what the bias adds to all sums.
    void starts(const int8_t *k, int64_t tiles, int32_t *start) const {
        for (int64_t n = 0; n < tiles * kTile; n++) start[n] = 0;
        if (kByteBias == 0) return;
        alignas(64) int32_t sums[kTiles * kTile];
        times(k, start, tiles, zero, 1, sums);
        for (int64_t n = 0; n < tiles * kTile; n++) start[n] = -sums[n];
    }
    void times(const int8_t *w, const int32_t *start, int64_t tiles, int64_t first, int64_t m, int32_t *acc) const {
        const uint8_t *x = bytes + first * stride;
        if constexpr (kTiles == 2)
            if (tiles == 2) return byte_block_of<2>(m, w, columns, x, stride, start, acc);
        byte_block_of<1>(m, w, columns, x, stride, start, acc);
    }
};

void linear_of_bytes(const Matrix &matrix, int64_t begin, int64_t end, Quantised x, int64_t count, const Output &out) {
    if (matrix.layout == Layout::kPairs) return linear(matrix, begin, end, x, count, out);
    products(ByteRows(x, matrix.columns), matrix, begin, end, x.scale, count, out);
}
