// See range_coder.hpp.
#include "learner/range_coder.hpp"

#include <algorithm>

namespace nacrith {

void RangeEncoder::carry() {
    for (size_t i = out_.size(); i-- > 0;)
        if (++out_[i]) return;
}

void RangeEncoder::encode(uint32_t low, uint32_t count) {
    const uint64_t scale = range_ >> kPrecision24, add = scale * low;
    low_ += add;
    if (low_ < add) carry();
    range_ = scale * count;
    if (range_ >> 32) return;
    for (int shift = 56; shift >= 32; shift -= 8) out_.push_back(static_cast<uint8_t>(low_ >> shift));
    low_ <<= 32;
    range_ <<= 32;
}

size_t RangeEncoder::least() const {
    // Zero bytes at the end may be dropped, and so may bytes of 255, which a carry turns into zero bytes.
    size_t zeros = out_.size(), full = zeros;
    while (zeros && out_[zeros - 1] == 0) zeros--;
    while (full && out_[full - 1] == 255) full--;
    return std::min(zeros, full);
}

std::vector<uint8_t> RangeEncoder::finish() {
    // The shortest of low, low + 1, ... low + range - 1, taken as a fraction after out_.
    for (int kept = 0; kept <= 64; kept += 8) {
        const uint64_t rest = kept == 64 ? 0 : ~uint64_t{0} >> kept;  // what may be rounded away
        const uint64_t up = low_ & rest ? (rest - (low_ & rest)) + 1 : 0;
        if (up >= range_) continue;
        const uint64_t number = low_ + up;
        if (number < low_) carry();
        for (int i = 0; i < kept; i += 8) out_.push_back(static_cast<uint8_t>(number >> (56 - i)));
        break;
    }
    while (!out_.empty() && out_.back() == 0) out_.pop_back();
    return std::move(out_);
}

RangeDecoder::RangeDecoder(const uint8_t *data, size_t size) : data_(data), end_(data + size) {
    offset_ = uint64_t{word()} << 32;
    offset_ |= word();
}

uint32_t RangeDecoder::word() {
    uint32_t found = 0;
    for (int i = 0; i < 4; i++) found = found << 8 | (data_ < end_ ? *data_++ : 0u);
    return found;
}

void RangeDecoder::skip(uint32_t low, uint32_t count) {
    const uint64_t scale = range_ >> kPrecision24;
    offset_ -= scale * low;
    range_ = scale * count;
    if (range_ >> 32) return;
    offset_ = offset_ << 32 | word();
    range_ <<= 32;
}

}  // namespace nacrith
