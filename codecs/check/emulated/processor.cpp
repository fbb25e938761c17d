// The processor that NACRITH_EMULATE pretends to have: see immintrin.h.
#include "engine/processor.hpp"

namespace nacrith {

bool has_avx2() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");  // this set is not emulated
}
bool has_avx_vnni() { return true; }
bool has_avx512_vnni() { return true; }
bool has_amx_int8() { return true; }
bool has_arm_dot() { return false; }
bool has_arm_i8mm() { return false; }

}  // namespace nacrith
