// Which instructions the processor has and the operating system lets this process use, beyond the base of its
// family. Sets of kernels need them (variants.cpp).
#pragma once

namespace nacrith {

bool has_avx2();
bool has_avx_vnni();     // vpdpbusd and vpdpwssd for 256 bits, without AVX-512
bool has_avx512_vnni();  // with F, BW, DQ and VL
bool has_amx_int8();     // asks the system for it
bool has_arm_dot();      // sdot
bool has_arm_i8mm();     // smmla, and sdot

}  // namespace nacrith
