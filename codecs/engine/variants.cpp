// Dispatch by processor; see variants.hpp.
#include "engine/variants.hpp"

#include <mutex>

#include "engine/fork.hpp"
#include "engine/processor.hpp"

namespace nacrith {

std::vector<const Kernels *> runnable_kernels() {
    std::vector<const Kernels *> found;
#ifdef NACRITH_AMX
    if (has_amx_int8()) found.push_back(&amx_kernels());
#endif
#ifdef NACRITH_AVX512
    if (has_avx512_vnni()) found.push_back(&avx512_kernels());
#endif
#ifdef NACRITH_AVXVNNI
    if (has_avx_vnni()) found.push_back(&avxvnni_kernels());
#endif
#ifdef NACRITH_AVX2
    if (has_avx2()) found.push_back(&avx2_kernels());
#endif
#ifdef NACRITH_NEONMM
    if (has_arm_i8mm()) found.push_back(&neonmm_kernels());
#endif
#ifdef NACRITH_NEONDOT
    if (has_arm_dot()) found.push_back(&neondot_kernels());
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
    const std::lock_guard<std::mutex> lock(fork_lock());
    static const std::vector<const Kernels *> trusted = [] {
        std::vector<const Kernels *> found;
        for (const Kernels *kernels : runnable_kernels())
            if (faithful(*kernels)) found.push_back(kernels);
        return found;
    }();
    return trusted;
}

}  // namespace nacrith
