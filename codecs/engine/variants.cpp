// Dispatch by processor; see variants.hpp.
#include "engine/variants.hpp"

#include <mutex>

#include "engine/fork.hpp"

#ifdef NACRITH_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace nacrith {

#ifdef NACRITH_AMX
// Whether the processor has int8 tiles (AMX) and the system saves them and permits this process to use them.
// Tiles need 8 KiB more in every thread that uses them and in alternate signal stacks, so Linux, from 5.16 on,
// requires a request, which is valid for all threads. It must only be called where AVX-512 exists (xgetbv).
static bool tiles_granted() {
    constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;  // CPUID.(7, 0).EDX
    constexpr unsigned kState = 3u << 17;                   // XCR0: configuration and data
    constexpr long kRequest = 0x1023, kTileData = 18;       // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTile) == 0 || (d & kInt8) == 0) return false;
    asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & kState) == kState && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}
#endif

std::vector<const Kernels *> runnable_kernels() {
    std::vector<const Kernels *> found;
#if defined(NACRITH_AVX512) || defined(NACRITH_AVX2)
    __builtin_cpu_init();  // it also tests whether the system saves the registers
#endif
#ifdef NACRITH_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
#ifdef NACRITH_AMX
        if (tiles_granted()) found.push_back(&amx_kernels());
#endif
        found.push_back(&avx512_kernels());
    }
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
