// The range coder: constriction's queue coder with words of 32 bits, a state of 64 and precision 24.
//
// nacrith/coder/range_coder.py does the same with the library itself; the bytes are equal. A stream is one
// number in the final interval, the shortest there is, its words big-endian, without zero bytes at the end
// (Martin 1979; Bamler, constriction, 2022).
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace nacrith {

constexpr int kPrecision24 = 24;

class RangeEncoder {
public:
    // The symbol's interval [low, low + count) of [0, 2^24); count >= 1.
    void encode(uint32_t low, uint32_t count);
    // A length that the finished stream has at least, whatever follows.
    size_t least() const;
    // Call once, at the end.
    std::vector<uint8_t> finish();

private:
    void carry();

    std::vector<uint8_t> out_;
    uint64_t low_ = 0, range_ = ~uint64_t{0};
};

// Coded data that no encoder writes.
struct DamagedError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Reads what RangeEncoder wrote. Other bytes are read as something too, or end in a DamagedError.
class RangeDecoder {
public:
    RangeDecoder(const uint8_t *data, size_t size);

    // Whether the next symbol's value is below `low`: the first of two symbols, [0, low) and [low, 2^24).
    bool below(uint32_t low) const {
        const uint64_t scale = range_ >> kPrecision24;
        if (offset_ >= scale << kPrecision24) throw DamagedError("the coded data is damaged");
        return offset_ < scale * low;
    }
    // Goes past the symbol with this interval.
    void skip(uint32_t low, uint32_t count);

private:
    uint32_t word();

    const uint8_t *data_, *end_;
    uint64_t offset_, range_ = ~uint64_t{0};  // of the number within the interval, and its width
};

}  // namespace nacrith
