// Checks what a predictor is asked for and chooses the set of instructions; see learner.hpp.
#include "learner/learner.hpp"

#include <stdexcept>
#include <utility>

#include "learner/group.hpp"

namespace nacrith {
namespace {

// Whether a set of the engine's kernels means that the processor has AVX2.
[[maybe_unused]] bool has_avx2(const std::string &kernels) {
    return kernels == "avx2" || kernels == "avxvnni" || kernels == "avx512" || kernels == "amx";
}

}  // namespace

std::unique_ptr<TokenCoder> make_coder(std::shared_ptr<const Vocabulary> vocabulary, const Fixed &fixed, int bits,
                                       size_t lanes, const std::string &kernels) {
    if (bits < learner::kLeastBits || bits > learner::kMostBits || lanes < 1 || lanes > kMostLanes)
        throw std::invalid_argument("bits or lanes of a group are out of range");
    MakeCoder make_one = make_coder_portable;
#ifdef NACRITH_AVX2
    if (has_avx2(kernels)) make_one = make_coder_avx2;
#endif
    return make_one(std::move(vocabulary), fixed, bits, lanes);
}

namespace learner {

namespace {

// Samples of whole bytes, at most 255 bytes apart; rows longer than two of them, of at most 65,535 bytes.
bool fits(int shape, Layout layout) {
    const uint32_t step = layout.step, row = layout.row;
    if (shape < kBitmap) return step == 1 && row == 0;
    if (shape == kBitmap) return step == 1 && row > 0 && row <= kMostRow;
    const auto size = static_cast<uint32_t>(shape == kWords ? 2 : 1);
    return step > 0 && step <= kMostStep && step % size == 0 && row % size == 0 && row <= kMostRow &&
           (row == 0 || row > 2 * step);
}

}  // namespace

std::unique_ptr<Predictor> make(int shape, int bits, int64_t length, Layout layout, const std::string &kernels) {
    if (shape < 0 || shape >= kShapes || bits < kLeastBits || bits > kMostBits || length < 0 || length > kMostLength ||
        !fits(shape, layout))
        throw std::invalid_argument("shape, bits, length or layout of a learner is out of range");
    Make make_one = make_portable;
#ifdef NACRITH_AVX2
    if (has_avx2(kernels)) make_one = make_avx2;
#endif
    return make_one(shape, bits, static_cast<size_t>(length), layout);
}

}  // namespace learner
}  // namespace nacrith
