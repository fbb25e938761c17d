// The learner for every processor; see learner.hpp.
#define NACRITH_LEARNER_SET portable
#include "learner/predictor.inl"
#include "learner/tokens.inl"

namespace nacrith::learner {

std::unique_ptr<Predictor> make_portable(int shape, int bits, size_t length, Layout layout) {
    return portable::make_here(shape, bits, length, layout);
}

}  // namespace nacrith::learner

namespace nacrith {

std::unique_ptr<TokenCoder> make_coder_portable(std::shared_ptr<const Vocabulary> vocabulary, const Fixed &fixed, int bits,
                                             size_t lanes) {
    return learner::portable::make_coder_here(std::move(vocabulary), fixed, bits, lanes);
}

}  // namespace nacrith
