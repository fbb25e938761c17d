// The kernels for 64-bit Arm, little-endian, with instructions that every such processor has.
#include <arm_neon.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/kernels.hpp"

namespace nacrith {
namespace {

#include "engine/block_neon.inl"
#include "engine/kernels.inl"

int64_t bare(Layout, int64_t rounds) { return bare_pairs(rounds); }

}  // namespace

const Kernels &neon_kernels() {
    static const Kernels table = {"neon", linear, quantise, norm,    silu,  rotate,
                                  attend, shift,  weigh,    portion, above, bare};
    return table;
}

}  // namespace nacrith
