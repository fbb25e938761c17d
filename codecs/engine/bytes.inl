// Products of rows of bytes by tiles of quads; sets that have such instructions include it behind kernels.inl, after
//
//     template <int M, int T> void byte_block(const int8_t *w, const int8_t *next, int64_t columns, const uint8_t *x,
//                                             int64_t stride, int32_t *acc);
//     template <int T> void add_spills(const int8_t *w, const Spill *spill, int64_t count, int32_t *acc);
//     Spill *append(const int16_t *excess, int64_t at, Spill *to);
//
// The first sets acc[m][n] (m < M, n < 16 * T) to the sum over the columns of byte(m) * w(n), w being T interleaved
// tiles, beginning with ByteRow::start; x points to the first of M rows (ByteRow), `stride` apart. The second adds
// 256 * excess * w(n) of one row to acc[n]. The third appends the quads in which there is an excess, of the columns at ..
// at + kSome - 1, to a list that ends at `to`; each fits a byte. It returns the new end, and may write eight spills from
// `to` on in any case. All arithmetic is modulo 2^32, and the complete sum fits 32 bits (packing_for). M is at most
// kByteRows, T is 1 or kByteTiles; columns are a multiple of kByteUnit.

inline Spill *spills_of(uint8_t *row, int64_t columns) {
    return reinterpret_cast<Spill *>(row + sizeof(ByteRow) + byte_stride(columns));
}

// Completes a row whose numbers add up to `sum`.
inline void write_head(uint8_t *row, int64_t columns, uint32_t sum, const Spill *end) {
    const ByteRow head = {static_cast<int32_t>(-kByteBias * sum), static_cast<int32_t>(end - spills_of(row, columns)), {}};
    std::memcpy(row, &head, 2 * sizeof head.start);
}

void write_bytes(const int16_t *__restrict q, int64_t columns, int64_t row, uint8_t *__restrict to) {
    to += row * row_stride(columns);
    uint8_t *__restrict bytes = to + sizeof(ByteRow);
    int32_t sum = 0;
    for (int64_t i = 0; i < columns; i++) bytes[i] = static_cast<uint8_t>(q[i]);
    std::memset(bytes + columns, 0, static_cast<size_t>(byte_stride(columns) - columns));
    for (int64_t i = 0; kByteBias && i < columns; i++) sum += q[i];
    Spill *spill = spills_of(to, columns);
    for (int64_t at = 0; at < columns; at += kSome) {
        int16_t excess[kSome] = {};
        if (at + kSome <= columns)
            for (int64_t i = 0; i < kSome; i++) excess[i] = static_cast<int16_t>((q[at + i] + 128) >> 8);
        else
            for (int64_t i = at; i < columns; i++) excess[i - at] = static_cast<int16_t>((q[i] + 128) >> 8);
        spill = append(excess, at, spill);
    }
    write_head(to, columns, static_cast<uint32_t>(sum), spill);
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
    static constexpr int64_t kMost = kByteRows, kUnit = 1, kTiles = T;
    const uint8_t *rows;
    int64_t columns, stride;

    ByteRows(const Quantised &x, int64_t matrix_columns)
        : rows(x.formed), columns(matrix_columns), stride(row_stride(matrix_columns)) {}
    ByteRows(const uint8_t *formed, int64_t row_columns)
        : rows(formed), columns(rounded_up(row_columns, kByteUnit)), stride(row_stride(row_columns)) {}
    ByteRows(const Attention &a, const int16_t *q, int64_t count, int64_t row_columns, int64_t row_step)
        : rows(a.formed), columns(rounded_up(row_columns, kByteUnit)), stride(row_stride(row_columns)) {
        for (int64_t r = 0; r < count; r++) write_bytes(q + r * row_step, row_columns, r, a.formed);
    }
    void times(const int8_t *w, const int8_t *next, int64_t first, int64_t m, int32_t *acc) const {
        const uint8_t *x = rows + first * stride;
        byte_block_of<T>(m, w, next, columns, x, stride, acc);
        for (int64_t i = 0; i < m; i++) add_excess(w, x + i * stride, acc + i * T * kTile);
    }
    // Adds what row x has beyond its bytes.
    void add_excess(const int8_t *w, const uint8_t *x, int32_t *acc) const {
        ByteRow head;
        std::memcpy(&head, x, 2 * sizeof head.start);
        const auto *spill = reinterpret_cast<const Spill *>(x + sizeof head + byte_stride(columns));
        if (head.spills) add_spills<T>(w, spill, head.spills, acc);
    }
};

// Weights of attention as rows of bytes (PlainWeights says what it does).
template <class Rows>
struct ByteWeights {
    static constexpr int64_t kMost = Rows::kMost, kTiles = Rows::kTiles;
    static_assert(kMost <= kMostRows);
    const Attention &a;
    int64_t span;
    uint8_t *sinks, *others;  // rows

    ByteWeights(const Attention &task, int64_t slots)
        : a(task), span(slots), sinks(task.formed), others(task.formed + form_bytes(Layout::kQuads, kMostRows, kTile)) {}

    // Whole tiles of slots: their bytes, and the excesses in scratch memory, whose OR is added to `any`. Returns the sum
    // of w.
    static int32_t convert(const float *__restrict t, const float *__restrict v_scale, int64_t n, float u,
                           uint8_t *__restrict bytes, int16_t *__restrict excess, int16_t &any) {
        int32_t sum = 0;
        int16_t all = 0;
        for (int64_t i = 0; i < n; i++) {
            const int32_t w = nearest(t[i] * v_scale[i] * u);
            const auto more = static_cast<int16_t>((w + 128) >> 8);
            sum += w;
            all |= more;
            bytes[i] = static_cast<uint8_t>(w);
            excess[i] = more;
        }
        any = all;
        return sum;
    }

    // Of `n` slots. Their numbers are at most 256: `append` takes them in parts.
    static_assert(kSome <= 2 * kTile);
    static Spill *list(int16_t *excess, int64_t n, int64_t at, int16_t any, Spill *to) {
        std::memset(excess + n, 0, kTile * sizeof *excess);
        for (int64_t i = 0; i < n; i += kSome) {
            if (any <= 127) {
                to = append(excess + i, at + i, to);
                continue;
            }
            for (int part = 0; part < 3; part++) {
                int16_t some[kSome];
                for (int64_t j = 0; j < kSome; j++) {
                    some[j] = excess[i + j] < 127 ? excess[i + j] : int16_t{127};
                    excess[i + j] = static_cast<int16_t>(excess[i + j] - some[j]);
                }
                to = append(some, at + i, to);
            }
        }
        return to;
    }

    // Columns first .. last - 1 of a row, the others being zero. excess: scratch for kTile numbers more than these.
    static void write(const float *t, const float *v_scale, int64_t first, int64_t last, float u, int64_t columns,
                      int16_t *excess, uint8_t *row) {
        uint8_t *bytes = row + sizeof(ByteRow);
        std::memset(bytes, 0, static_cast<size_t>(first));
        std::memset(bytes + last, 0, static_cast<size_t>(byte_stride(columns) - last));
        int16_t any;
        const int32_t sum = convert(t, v_scale, last - first, u, bytes + first, excess, any);
        Spill *const end = list(excess, last - first, first, any, spills_of(row, columns));
        write_head(row, columns, static_cast<uint32_t>(sum), end);
    }

    void set(int64_t i, const float *t, int64_t first, int64_t last, float u) {
        int16_t excess[2 * kTile];
        write(t, a.cache.v_scale, 0, kTile, u, kTile, excess, sinks + i * row_stride(kTile));
        const float *v_scale = a.cache.v_scale + a.first_slot + first;
        write(t + kTile + first, v_scale, first, last, u, span, a.w, others + i * row_stride(span));
    }

    void times(int64_t band, int64_t m, int32_t *acc) const {
        constexpr int64_t slot = kTiles * kTile;
        alignas(64) int32_t more[kMost * slot];
        const int8_t *v = a.cache.v + band * a.cache.slots * slot;
        Rows(sinks, kSinks).times(v, nullptr, 0, m, acc);
        Rows(others, span).times(v + a.first_slot * slot, nullptr, 0, m, more);
        for (int64_t n = 0; n < m * slot; n++) acc[n] += more[n];
    }
};

void linear_of_bytes(const Matrix &matrix, int64_t begin, int64_t end, Quantised x, int64_t count, const Output &out) {
    if (matrix.layout == Layout::kPairs) return linear(matrix, begin, end, x, count, out);
    products(ByteRows<kByteTiles>(x, matrix.columns), matrix, begin, end, x.scale, count, out);
}

void attend_to_bytes(const Attention &a) { attend<ByteRows<1>, ByteWeights<ByteRows<kByteTiles>>>(a); }
