// Shapes for samples on a grid: sound, pictures of 8 and 16 bits a sample, and pictures of 1 bit.
//
// Where samples lie is given, as a Layout. What is like them predicts a number; a *cell* tells, for each bit of a
// sample, how far that prediction lies from the number at which the bit changes, so that all that is learnt
// of differences holds wherever the samples lie. formats/learner-v1.md.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "learner/shapes.hpp"

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

inline uint32_t log2_floor(uint32_t m) { return 31 - static_cast<uint32_t>(__builtin_clz(m | 1)); }

// A size on a logarithmic scale with 2^kPart steps to the octave.
template <uint32_t kPart>
uint32_t scale(uint32_t m) {
    if (m < 1u << kPart) return m;
    const uint32_t e = log2_floor(m);
    return ((e - kPart + 1) << kPart) + ((m >> (e - kPart)) & ((1u << kPart) - 1));
}

// A linear prediction from kTaps numbers, whose weights follow the error (normalised LMS; the norm is a power of 2).
template <int kTaps, int kRate>
class Linear {
public:
    // The prediction, in units of the numbers.
    int32_t predict(const int32_t *x) {
        int64_t sum = 0, energy = 1;
        for (int i = 0; i < kTaps; i++) {
            x_[i] = x[i];
            sum += int64_t{weights_[i]} * x[i];
            energy += int64_t{x[i]} * x[i];
        }
        norm_ = 63 - __builtin_clzll(static_cast<uint64_t>(energy));
        return static_cast<int32_t>(std::clamp<int64_t>(sum >> 16, -kMost, kMost));
    }
    void learn(int32_t error) {
        for (int i = 0; i < kTaps; i++) {
            const int64_t step = (int64_t{error} * x_[i] * (1 << 16)) >> (norm_ + kRate);
            weights_[i] = static_cast<int32_t>(std::clamp<int64_t>(weights_[i] + step, -kMost, kMost));
        }
    }

private:
    static constexpr int64_t kMost = 1 << 20;
    int32_t x_[kTaps] = {}, weights_[kTaps] = {};
    int norm_ = 0;
};

template <int kBytes>
class Grid : public Alone {
public:
    static constexpr int kContexts = 12, kMatches = 2, kSets = 6, kCells = 16;
    static constexpr int kFirstHit = 1;  // of six
    static constexpr int kRows[kSets] = {1024, 256, 256, 1024, 2048, 64};
    static constexpr uint32_t kLeast[kMatches] = {6, 16};
    static constexpr int kCellBits = 16;

    explicit Grid(Layout layout) : step_(layout.step), row_(layout.row) {}

    template <class Put>
    void contexts(const Cursor &c, const Followers &, const Put &put) {
        phase_ = (c.at - kMargin) % kBytes;
        if (phase_ == 0) begin(c);
        prefix_ = phase_ ? c.last4 & 0xff : 0;
        const auto p = [&](int i, int shift) { return static_cast<uint32_t>(near_[i]) >> (kFine + shift); };
        const uint32_t head = phase_ ? prefix_ << 8 | 0x10000 : 0;
        constexpr int kCut = kBytes == 1 ? 0 : 4;
        put(head, channel_);
        put(c.last4 & 0xff, head);
        put(c.last4 & 0xffff, phase_);
        put(c.last4, phase_);
        put(p(0, 0), head);
        put(p(1, 0), head);
        put(p(0, kCut), p(1, kCut) | head << 8);
        put(p(2, kCut), level_ | head << 8);
        put(p(2, kCut), p(3, kCut + 2) | head << 8);
        put(p(8, kCut), head);
        put(p(kSlow, kCut), head);
        put(p(kSlow, kCut), p(4, kCut + 2) | head << 8);
    }

    void cells(const Selectors &s, uint32_t *out) {
        bit_ = 8 * (kBytes - 1 - phase_) + 7 - s.gone;  // its weight is 2^bit_
        const uint32_t known = prefix_ << (s.gone) | (s.partial - (1u << s.gone));
        const auto middle = static_cast<int32_t>((2 * known + 1) << bit_ << kFine);
        for (int i = 0; i < kNear; i++) {
            const int32_t d = 2 * (near_[i] - middle) + (1 << kFine);
            const uint32_t side = d < 0, far = scale<2>(static_cast<uint32_t>(std::abs(d)));
            far_[i] = far * 2 + side;
            out[i] = (bit_ * 16 + (i & 1 ? missed_ : level_)) * 160 + far_[i];
        }
        out[kNear] = bit_ << 12 | far_[kSlow] / 4 << 6 | far_[2] / 4;
        out[kNear + 1] = bit_ << 12 | far_[kSlow] / 4 << 6 | far_[8] / 4;
        out[kNear + 2] = bit_ << 12 | far_[10] / 4 << 6 | far_[0] / 4;
    }

    void sets(const Cursor &c, const Selectors &s, uint32_t *rows) const {
        rows[0] = s.partial + 256 * (s.match <= 2 ? s.match > 0 : s.match - 1);
        rows[1] = bit_ * 16 + level_;
        rows[2] = bit_ * 16 + missed_;
        rows[3] = far_[kSlow] * 6 + s.expected * 2 + phase_;
        rows[4] = (c.last4 & 0xff) * 8 + s.gone;
        rows[5] = std::min(channel_, 7u) * 8 + s.gone;
    }

private:
    static constexpr int kFine = kBytes == 1 ? 3 : 0;  // bits behind the point
    static constexpr int32_t kMost = (1 << (8 * kBytes) << kFine) - 1;
    static constexpr int kSlow = 11, kFast = 12, kNear = 13, kTaps = 16;

    // The sample that begins `back` bytes before the present one; 0 before the first.
    int32_t sample(const Cursor &c, uint32_t back) const {
        if (c.at < kMargin + back) return 0;
        const uint8_t *from = c.text + (c.at - back);
        return (kBytes == 1 ? from[0] : from[0] << 8 | from[1]) << kFine;
    }

    static uint32_t size(int32_t x) { return static_cast<uint32_t>(std::abs(x)); }

    // Learns the sample that has ended, and predicts the one that begins.
    void begin(const Cursor &c) {
        if (c.at > kMargin) {
            const int32_t last = sample(c, kBytes);
            slow_.learn(last - base_ - slow_out_);
            fast_.learn(last - base_ - fast_out_);
            int32_t &error = errors_[channel_];
            error += (std::abs(last - near_[kSlow]) * 16 - error) >> 3;
        }
        channel_ = ((c.at - kMargin) % step_) / kBytes;
        int32_t w[11], o[6], x[kTaps];  // of this channel, at w[0] nothing; of the one before; the taps
        for (uint32_t i = 1; i < 11; i++) w[i] = sample(c, i * step_);
        for (uint32_t i = 0; i < 6; i++) o[i] = sample(c, kBytes + i * step_);
        base_ = w[1];
        const uint32_t rough = row_ ? in_plane(c, w, o, x) : in_line(w, o, x);
        level_ = std::min(scale<1>((rough >> kFine) / 4), 15u);
        for (auto &tap : x) tap -= base_;
        slow_out_ = slow_.predict(x);
        fast_out_ = fast_.predict(x);
        near_[kSlow] = base_ + slow_out_;
        near_[kFast] = base_ + fast_out_;
        for (auto &guess : near_) guess = std::clamp(guess, 0, kMost);
        missed_ = std::min(scale<1>(static_cast<uint32_t>(errors_[channel_]) >> (kFine + 2)), 15u);
    }

    // Guesses from the samples around, of rows above too; returns how rough it is there.
    uint32_t in_plane(const Cursor &c, const int32_t *w, const int32_t *o, int32_t *x) {
        const int32_t n = sample(c, row_), nw = sample(c, row_ + step_), ne = sample(c, row_ - step_);
        const int32_t nn = sample(c, 2 * row_), nne = sample(c, 2 * row_ - step_), on = sample(c, row_ + kBytes);
        const int32_t low = std::min(w[1], n), high = std::max(w[1], n), plane = w[1] + n - nw;
        const int32_t guesses[] = {w[1], n, plane, nw >= high ? low : nw <= low ? high : plane, n + ne - nne,
                                   2 * w[1] - w[2], 2 * n - nn, (w[1] + ne) >> 1, w[1] + o[0] - o[1],
                                   n + o[0] - on, w[1] + ne - n};
        const int32_t taps[kTaps] = {n, nw, ne, nn, w[2], o[0], o[1], on, nne, sample(c, row_ - 2 * step_),
                                     sample(c, row_ + 2 * step_), w[3], o[2], sample(c, 2 * row_ + step_),
                                     sample(c, 2 * kBytes), sample(c, row_ + 2 * kBytes)};
        std::copy_n(guesses, kSlow, near_);
        std::copy_n(taps, kTaps, x);
        return size(w[1] - w[2]) + size(n - nw) + size(ne - n) + size(w[1] - nw) + size(n - nn);
    }

    uint32_t in_line(const int32_t *w, const int32_t *o, int32_t *x) {
        const int32_t guesses[] = {w[1], 2 * w[1] - w[2], 3 * (w[1] - w[2]) + w[3],
                                   4 * (w[1] + w[3]) - 6 * w[2] - w[4], w[1] + o[0] - o[1],
                                   2 * w[1] - w[2] + o[0] - 2 * o[1] + o[2], o[0], (w[1] + w[2]) >> 1,
                                   w[2], w[4], 2 * w[1] - w[3]};
        std::copy_n(guesses, kSlow, near_);
        std::copy_n(w + 2, 9, x);
        std::copy_n(o, 6, x + 9);
        x[15] = (kMost + 1) / 2;
        uint32_t rough = 0;
        for (int i = 1; i < 5; i++) rough += size(w[i] - 2 * w[i + 1] + w[i + 2]);
        return rough;
    }

    const uint32_t step_, row_;
    Linear<kTaps, 8> slow_;
    Linear<kTaps, 5> fast_;
    int32_t near_[kNear] = {}, base_ = 0, slow_out_ = 0, fast_out_ = 0;
    int32_t errors_[kMostStep] = {};  // of each channel: the mean of 16 times the distance of near_[11]
    uint32_t far_[kNear] = {};
    uint32_t phase_ = 0, prefix_ = 0, channel_ = 0, level_ = 0, missed_ = 0, bit_ = 0;
};

// One bit a pixel, the leftmost highest, rows of whole bytes.
class Bitmap : public Alone {
public:
    static constexpr int kContexts = 8, kMatches = 2, kSets = 6, kCells = 14;
    static constexpr int kFirstHit = 1;  // of six
    static constexpr int kRows[kSets] = {1024, 256, 2048, 2048, 576, 2048};
    static constexpr uint32_t kLeast[kMatches] = {6, 20};
    static constexpr int kCellBits = 18;

    explicit Bitmap(Layout layout) : row_(layout.row) {}

    template <class Put>
    void contexts(const Cursor &c, const Followers &, const Put &put) {
        for (uint32_t k = 0; k < kAbove; k++) {
            wide_[k] = 0;
            for (uint32_t back = (k + 1) * row_ + 3, i = 0; i < 5; i++, back--)
                wide_[k] = wide_[k] << 8 | (back && c.at >= kMargin + back ? c.text[c.at - back] : 0);
        }
        last_ = c.last4;
        const auto above = [&](uint32_t k) { return static_cast<uint32_t>(wide_[k] >> 8) & 0xff; };
        put(0, 0);
        put(c.last4 & 0xff, 0);
        put(c.last4 & 0xffff, 0);
        put(above(0), c.last4 & 0xff);
        put(above(0), above(1));
        put(static_cast<uint32_t>(wide_[0]) & 0xffffff, 1);
        put(static_cast<uint32_t>(wide_[0]) & 0xffffff, c.last4 & 0xff);
        put(above(0) | above(1) << 8 | above(2) << 16, c.last4 & 0xff);
    }

    void cells(const Selectors &s, uint32_t *out) {
        const uint32_t left = last_ << s.gone | (s.partial - (1u << s.gone));  // the newest pixel lowest
        uint32_t a[kAbove];  // rows above: bit 8 is straight above, lower bits to its right
        for (uint32_t k = 0; k < kAbove; k++) a[k] = static_cast<uint32_t>(wide_[k] >> (7 - s.gone));
        const auto of = [](uint32_t row, uint32_t right, uint32_t count) { return row >> (8 - right) & ((1u << count) - 1); };
        const uint32_t c = left;
        near_ = (c & 3) | of(a[0], 1, 3) << 2 | of(a[1], 1, 3) << 5;
        put(out, 0, near_, s.gone);
        put(out, 1, (c & 15) | of(a[0], 2, 5) << 4, of(a[1], 1, 3));
        put(out, 2, (c & 15) | of(a[0], 3, 7) << 4, of(a[1], 2, 5));
        put(out, 3, (c & 63) | of(a[0], 4, 9) << 6, of(a[1], 3, 7) | of(a[2], 1, 3) << 8);
        put(out, 4, (c & 255) | of(a[0], 5, 11) << 8, of(a[1], 4, 9) | of(a[2], 3, 7) << 9);
        put(out, 5, (c & 1) | of(a[0], 1, 3) << 1 | of(a[1], 1, 3) << 4, of(a[2], 1, 3) | of(a[3], 1, 3) << 3);
        put(out, 6, c & 0xffff, of(a[0], 1, 3));
        put(out, 7, c & 7, of(a[0], 8, 16));
        put(out, 8, c & 0xfff, of(a[0], 6, 12));
        put(out, 9, (c & 3) | of(a[0], 6, 12) << 2, of(a[1], 6, 12));
        put(out, 10, c & 0x7fffffff, 0);
        put(out, 11, (c & 3) | of(a[0], 2, 5) << 2, of(a[1], 2, 5) | of(a[2], 2, 5) << 5 | of(a[3], 2, 5) << 10);
        put(out, 12, (c & 0xf) | of(a[0], 3, 6) << 4, of(a[1], 0, 1) | of(a[2], 0, 1) << 1 | s.gone << 2);
        put(out, 13, (c & 0xff) | of(a[0], 8, 20) << 8, of(a[1], 8, 16) | of(a[2], 6, 12) << 16);
        wider_ = (c & 7) | of(a[0], 2, 5) << 3 | of(a[1], 1, 3) << 8;
    }

    void sets(const Cursor &, const Selectors &s, uint32_t *rows) const {
        rows[0] = s.partial + 256 * (s.match <= 2 ? s.match > 0 : s.match - 1);
        rows[1] = near_;
        rows[2] = wider_;
        rows[3] = (static_cast<uint32_t>(wide_[0] >> 8) & 0xff) * 8 + s.gone;
        rows[4] = (s.hits * 8 + s.gone) * 9 + (s.match ? s.match * 2 - 2 + s.expected : 0);
        rows[5] = (last_ & 0xff) * 8 + s.gone;
    }

private:
    static constexpr uint32_t kAbove = 4;

    static void put(uint32_t *out, uint32_t n, uint32_t a, uint32_t b) {
        out[n] = hash(a + n * 0x9e3779b1u, b) >> (32 - kCellBits);
    }

    const uint32_t row_;
    uint64_t wide_[kAbove] = {};  // of each row above five bytes, of which the fourth is straight above
    uint32_t last_ = 0, near_ = 0, wider_ = 0;
};

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
