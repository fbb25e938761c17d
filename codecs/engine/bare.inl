// The multiply instruction of a set, in registers alone, for Kernels::bare: the most that its products could reach.

constexpr int kBareSums = 12;  // enough to hide the latency of any processor

// sum[i] = multiply(sum[i], sum[i - 1], one), the last first: no product is invariant, to be computed once,
// and no sum waits for another of the same round.
template <class Vector, class Multiply, int... i>
inline void bare_round(std::integer_sequence<int, i...>, Vector *sum, Vector one, const Multiply &multiply) {
    constexpr int last = kBareSums - 1;
    ((sum[last - i] = multiply(sum[last - i], sum[last - 1 - i], one)), ...);
    sum[0] = multiply(sum[0], one, one);
}

// products: of one instruction. Returns those of all.
template <class Vector, class Multiply>
int64_t bare_products(int64_t rounds, int64_t products, Vector one, const Multiply &multiply) {
    const int64_t count = rounds * 1000 / (kBareSums * products) + 1;
    Vector sum[kBareSums];
    for (Vector &s : sum) s = one;
    for (int64_t n = 0; n < count; n++)
        bare_round(std::make_integer_sequence<int, kBareSums - 1>(), sum, one, multiply);
    char result[sizeof(Vector)];
    std::memcpy(result, &sum[kBareSums - 1], sizeof result);
    [[maybe_unused]] volatile char sink = result[0];
    return count * kBareSums * products;
}
