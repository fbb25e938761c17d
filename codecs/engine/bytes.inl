// Products of rows of bytes by tiles of quads; sets that have such instructions include it behind kernels.inl, after
//
//     template <int M, int T> void byte_block(const int8_t *w, const int8_t *next, int64_t columns, const uint8_t *x,
//                                             int64_t stride, int32_t *acc);
//     template <int T> void add_spills(const int8_t *w, const Spill *spill, int64_t count, int32_t *acc);
//
// The first sets acc[m][n] (m < M, n < 16 * T) to the sum over the columns of byte(m) * w(n), w being T interleaved
// tiles, beginning with ByteRow::start; x points to the first of M rows (ByteRow), `stride` apart. The second adds
// 256 * excess * w(n) of one row to acc[n]. All arithmetic is modulo 2^32, and the complete sum fits 32 bits
// (packing_for). M is at most kByteRows, T is 1 or kByteTiles; columns are a multiple of kByteUnit.

void write_bytes(const int16_t *q, int64_t columns, int64_t row, uint8_t *to) {
    constexpr int64_t step = 32;
    to += row * row_stride(columns);
    uint8_t *bytes = to + sizeof(ByteRow);
    Spill *const list = reinterpret_cast<Spill *>(bytes + byte_stride(columns)), *spill = list;
    uint32_t sum = 0;
    for (int64_t at = 0; at < byte_stride(columns); at += step) {
        int16_t last[step] = {};
        const int16_t *some = q + at;
        if (at + step > columns) {
            for (int64_t i = at; i < columns; i++) last[i - at] = q[i];
            some = last;
        }
        int8_t excess[step];
        int32_t any = 0;
        for (int64_t i = 0; i < step; i++) {
            bytes[at + i] = static_cast<uint8_t>(some[i]);
            const int32_t more = (some[i] + 128) >> 8;
            any |= more;
            excess[i] = static_cast<int8_t>(more);
            if (kByteBias) sum += static_cast<uint32_t>(some[i]);
        }
        if (!any) continue;
        for (int64_t i = 0; i < step; i += 4) {
            uint32_t quad;
            std::memcpy(&quad, excess + i, 4);
            spill->at = static_cast<int32_t>((at + i) / 4);
            std::memcpy(spill->excess, &quad, 4);
            spill += quad != 0;
        }
    }
    const ByteRow head = {static_cast<int32_t>(-kByteBias * sum), static_cast<int32_t>(spill - list), {}};
    std::memcpy(to, &head, 2 * sizeof head.start);
}

constexpr RowForm kBytes = {write_bytes, kByteUnit, kSpillLimit, kByteTiles, kByteBias};

template <int T, int M = kByteRows>
void byte_block_of(int64_t m, const int8_t *w, const int8_t *next, int64_t columns, const uint8_t *x, int64_t stride,
                   int32_t *acc) {
    if constexpr (M > 1)
        if (m < M) return byte_block_of<T, M - 1>(m, w, next, columns, x, stride, acc);
    byte_block<M, T>(w, next, columns, x, stride, acc);
}

// By T tiles.
template <int T>
struct ByteRows {
    static constexpr int64_t kMost = kByteRows, kTiles = T;
    const uint8_t *rows;
    int64_t columns, stride;

    ByteRows(const Quantised &x, int64_t matrix_columns)
        : rows(x.formed), columns(matrix_columns), stride(row_stride(matrix_columns)) {}
    ByteRows(const Attention &a, const int16_t *q, int64_t count, int64_t row_columns, int64_t row_step)
        : rows(a.formed), columns(rounded_up(row_columns, kByteUnit)), stride(row_stride(row_columns)) {
        for (int64_t r = 0; r < count; r++) write_bytes(q + r * row_step, row_columns, r, a.formed);
    }
    void times(const int8_t *w, const int8_t *next, int64_t first, int64_t m, int32_t *acc) const {
        const uint8_t *x = rows + first * stride;
        byte_block_of<T>(m, w, next, columns, x, stride, acc);
        for (int64_t i = 0; i < m; i++, x += stride) {
            ByteRow head;
            std::memcpy(&head, x, 2 * sizeof head.start);
            const auto *spill = reinterpret_cast<const Spill *>(x + sizeof head + byte_stride(columns));
            if (head.spills) add_spills<T>(w, spill, head.spills, acc + i * T * kTile);
        }
    }
};

void linear_of_bytes(const Matrix &matrix, int64_t begin, int64_t end, Quantised x, int64_t count, const Output &out) {
    if (matrix.layout == Layout::kPairs) return linear(matrix, begin, end, x, count, out);
    products(ByteRows<kByteTiles>(x, matrix.columns), matrix, begin, end, x.scale, count, out);
}
