// The kernels for x86-64 with AVX-512 (F, BW, DQ, VL) and VNNI; compiled with these flags and run only if the
// processor and the operating system support them.
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
