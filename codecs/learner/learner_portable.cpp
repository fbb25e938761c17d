// The learner for every processor; see learner.hpp.
#define NACRITH_LEARNER_SET portable
#include "learner/predictor.inl"

namespace nacrith::learner {

std::unique_ptr<Predictor> make_portable(int shape, int bits, size_t length) { return portable::make_here(shape, bits, length); }

}  // namespace nacrith::learner
