// Asks the processor and the system; see processor.hpp.
#include "engine/processor.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace nacrith {

#if defined(__x86_64__)

bool has_avx2() {
    __builtin_cpu_init();  // it also tests whether the system saves the registers
    return __builtin_cpu_supports("avx2");
}

bool has_avx_vnni() {
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4) != 0;
}

bool has_avx512_vnni() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

// Tiles need 8 KiB more in every thread that uses them and in alternate signal stacks, so Linux, from 5.16 on,
// requires a request, which is valid for all threads.
bool has_amx_int8() {
#if defined(__linux__)
    constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;  // CPUID.(7, 0).EDX
    constexpr unsigned kState = 3u << 17;                   // XCR0: configuration and data
    constexpr long kRequest = 0x1023, kTileData = 18;       // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
    if (!has_avx512_vnni()) return false;                   // so that there is xgetbv
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTile) == 0 || (d & kInt8) == 0) return false;
    asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & kState) == kState && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
    return false;
#endif
}

bool has_arm_dot() { return false; }
bool has_arm_i8mm() { return false; }

#else

bool has_avx2() { return false; }
bool has_avx_vnni() { return false; }
bool has_avx512_vnni() { return false; }
bool has_amx_int8() { return false; }

#if defined(__aarch64__) && defined(__linux__)

bool has_arm_dot() {
    constexpr unsigned long kDot = 1ul << 20;  // HWCAP_ASIMDDP
    return (getauxval(AT_HWCAP) & kDot) != 0;
}

bool has_arm_i8mm() {
    constexpr unsigned long kProducts = 1ul << 13;  // HWCAP2_I8MM
    return has_arm_dot() && (getauxval(AT_HWCAP2) & kProducts) != 0;
}

#elif defined(__aarch64__) && defined(__APPLE__)

static bool has(const char *feature) {
    int there = 0;
    size_t size = sizeof there;
    return sysctlbyname(feature, &there, &size, nullptr, 0) == 0 && there != 0;
}

bool has_arm_dot() { return has("hw.optional.arm.FEAT_DotProd"); }
bool has_arm_i8mm() { return has_arm_dot() && has("hw.optional.arm.FEAT_I8MM"); }

#else

bool has_arm_dot() { return false; }
bool has_arm_i8mm() { return false; }

#endif

#endif

}  // namespace nacrith
