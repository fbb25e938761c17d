// Predictors of texts for one set of instructions; see learner.hpp. Defines `make_here`.
#include <cstring>

#include "learner/learner.hpp"
#include "learner/learner.inl"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

template <class Shape>
class TextPredictor : public Predictor {
public:
    TextPredictor(int bits, size_t length, Layout layout) : learner_(bits, 1, layout), text_(new uint8_t[kMargin + length]) {
        std::memset(text_.get(), 0, kMargin);
        learner_.place(0, text_.get());
        learner_.begin(0);
    }

    void encode(const uint8_t *data, size_t size, RangeEncoder &out) override {
        for (size_t i = 0; i < size; i++) {
            // A learner reads a byte of the text when its last bit has been learnt.
            text_[kMargin + done_++] = data[i];
            for (int left = 7; left >= 0; left--) {
                const uint32_t ones = static_cast<uint32_t>(learner_.predict()) << kFine;
                const int bit = data[i] >> left & 1;
                if (bit) out.encode(0, ones);
                else out.encode(ones, kTotal - ones);
                learner_.learn(bit);
            }
        }
    }

    void decode(uint8_t *data, size_t size, RangeDecoder &in) override {
        for (size_t i = 0; i < size; i++) {
            uint32_t byte = 0;
            for (int left = 7; left >= 0; left--) {
                const uint32_t ones = static_cast<uint32_t>(learner_.predict()) << kFine;
                const int bit = in.below(ones);
                if (bit) in.skip(0, ones);
                else in.skip(ones, kTotal - ones);
                byte = byte << 1 | static_cast<uint32_t>(bit);
                if (left == 0) data[i] = text_[kMargin + done_++] = static_cast<uint8_t>(byte);
                learner_.learn(bit);
            }
        }
    }

private:
    static constexpr int kFine = 8;  // from 16 bits to the coder's 24
    static constexpr uint32_t kTotal = 1u << 24;

    Learner<Shape> learner_;
    std::unique_ptr<uint8_t[]> text_;  // the margin, and what has been coded
    size_t done_ = 0;
};

std::unique_ptr<Predictor> make_here(int shape, int bits, size_t length, Layout layout) {
    switch (shape) {
        case 0: return std::make_unique<TextPredictor<Text>>(bits, length, layout);
        case 1: return std::make_unique<TextPredictor<Data>>(bits, length, layout);
        case 2: return std::make_unique<TextPredictor<Fast>>(bits, length, layout);
        case 3: return std::make_unique<TextPredictor<Bitmap>>(bits, length, layout);
        case 4: return std::make_unique<TextPredictor<Grid<1>>>(bits, length, layout);
        default: return std::make_unique<TextPredictor<Grid<2>>>(bits, length, layout);
    }
}

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
