// The learner for processors with AVX2; see learner.hpp.
#define NACRITH_LEARNER_SET avx2
#include "learner/predictor.inl"

namespace nacrith::learner {

std::unique_ptr<Predictor> make_avx2(int shape, int bits, size_t length) { return avx2::make_here(shape, bits, length); }

}  // namespace nacrith::learner
