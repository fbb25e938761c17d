// Dispatch by processor; see variants.hpp.
#include "variants.hpp"

namespace nacrith {

std::vector<const Kernels *> runnable_kernels() {
    std::vector<const Kernels *> found;
#if defined(NACRITH_AVX512) || defined(NACRITH_AVX2)
    __builtin_cpu_init();  // its answers include whether the system saves the registers
#endif
#ifdef NACRITH_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        found.push_back(&avx512_kernels());
#endif
#ifdef NACRITH_AVX2
    if (__builtin_cpu_supports("avx2")) found.push_back(&avx2_kernels());
#endif
#ifdef NACRITH_NEON
    found.push_back(&neon_kernels());
#endif
    found.push_back(&portable_kernels());
    return found;
}

bool faithful(const Kernels &kernels) {
    constexpr uint64_t kQuestions = 6;
    constexpr int64_t kSize = 40;
    if (&kernels == &portable_kernels()) return true;
    for (uint64_t seed = 0; seed < kQuestions; seed++)
        if (difference(kernels, portable_kernels(), seed, kSize)) return false;
    return true;
}

const std::vector<const Kernels *> &trusted_kernels() {
    static const std::vector<const Kernels *> trusted = [] {
        std::vector<const Kernels *> found;
        for (const Kernels *kernels : runnable_kernels())
            if (faithful(*kernels)) found.push_back(kernels);
        return found;
    }();
    return trusted;
}

}  // namespace nacrith
