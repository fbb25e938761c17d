// The kernels for x86-64 with AVX-512 (F, BW, DQ, VL) and VNNI; compiled with these and run only where the
// processor and the operating system have them.
#include <immintrin.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

#include "engine/block_vnni.inl"
#include "engine/kernels.inl"

}  // namespace

const Kernels &avx512_kernels() {
    static const Kernels table = {"avx512", linear, quantise, norm,    silu, rotate,
                                  attend,   shift,  weigh,    portion, above};
    return table;
}

}  // namespace nacrith
