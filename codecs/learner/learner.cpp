// Checks what a predictor is asked for and chooses the set of instructions; see learner.hpp.
#include "learner/learner.hpp"

#include <stdexcept>

namespace nacrith::learner {

std::unique_ptr<Predictor> make(int shape, int bits, int64_t length, const std::string &kernels) {
    if (shape < 0 || shape >= kShapes || bits < kLeastBits || bits > kMostBits || length < 0 || length > kMostLength)
        throw std::invalid_argument("shape, bits or length of a learner is out of range");
    Make make_one = make_portable;
#ifdef NACRITH_AVX2
    if (kernels == "avx2" || kernels == "avx512" || kernels == "amx") make_one = make_avx2;
#else
    (void)kernels;
#endif
    return make_one(shape, bits, static_cast<size_t>(length));
}

}  // namespace nacrith::learner
