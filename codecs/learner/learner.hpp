// The learner's face: texts to range-coded bytes and back, for each shape and set of instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "learner/range_coder.hpp"

namespace nacrith::learner {

// Where samples lie, for the shapes that have them: bytes from a sample to the next one of its channel, and bytes of a
// row, 0 if there are no rows.
struct Layout {
    uint32_t step = 1, row = 0;
};

// Predicts one text from its beginning on. Each call goes on where the last one ended.
class Predictor {
public:
    virtual ~Predictor() = default;
    // Codes `size` further bytes of the text.
    virtual void encode(const uint8_t *data, size_t size, RangeEncoder &out) = 0;
    // Decodes `size` further bytes to `data`. Damaged input gives wrong bytes.
    virtual void decode(uint8_t *data, size_t size, RangeDecoder &in) = 0;
};

// shape: 0 Text, 1 Data, 2 Fast, 3 Bitmap, 4 Bytes, 5 Words. bits: log2 of the bytes of histories, kLeastBits..
// kMostBits. length: of the text. layout: {1, 0} for shapes without one, see `fits`. Throws std::invalid_argument for other values.
constexpr int kBitmap = 3, kWords = 5;  // by number
constexpr uint32_t kMostStep = 255, kMostRow = 65535;
constexpr int kShapes = 6, kLeastBits = 16, kMostBits = 28;
constexpr int64_t kMostLength = (int64_t{1} << 26) - 64;  // a place of a byte has 26 bits
using Make = std::unique_ptr<Predictor> (*)(int shape, int bits, size_t length, Layout layout);

std::unique_ptr<Predictor> make_portable(int shape, int bits, size_t length, Layout layout);
#ifdef NACRITH_AVX2
std::unique_ptr<Predictor> make_avx2(int shape, int bits, size_t length, Layout layout);
#endif

// For a set of kernels of the engine, by its name.
std::unique_ptr<Predictor> make(int shape, int bits, int64_t length, Layout layout, const std::string &kernels);

}  // namespace nacrith::learner
