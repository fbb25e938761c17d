// The learner for processors with AVX2; see learner.hpp.
#define NACRITH_LEARNER_SET avx2
#include "learner/predictor.inl"
#include "learner/tokens.inl"

namespace nacrith::learner {

std::unique_ptr<Predictor> make_avx2(int shape, int bits, size_t length, Layout layout) {
    return avx2::make_here(shape, bits, length, layout);
}

}  // namespace nacrith::learner

namespace nacrith {

std::unique_ptr<TokenCoder> make_coder_avx2(std::shared_ptr<const Vocabulary> vocabulary, const Fixed &fixed, int bits,
                                             size_t lanes) {
    return learner::avx2::make_coder_here(std::move(vocabulary), fixed, bits, lanes);
}

}  // namespace nacrith
