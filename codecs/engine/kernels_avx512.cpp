// The kernels for x86-64 with AVX-512 (F, BW, DQ, VL) and VNNI; compiled with these flags and run only if the
// processor and the operating system support them.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

constexpr int64_t kByteUnit = 4;

#include "engine/block_vnni.inl"
#include "engine/block_bytes.inl"
#include "engine/kernels.inl"
#include "engine/bytes.inl"

}  // namespace

const Kernels &avx512_kernels() {
    static const Kernels table = {"avx512", linear_of_bytes, quantise, norm,    silu,  rotate, attend_to_bytes,
                                  shift,    weigh,           portion,  above, bare,  {},     kBytes};
    return table;
}

}  // namespace nacrith
