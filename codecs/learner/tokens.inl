// The coder of tokens for one set of instructions; see group.hpp. Defines `make_coder_here`.
#include "learner/ends.hpp"
#include "learner/group.hpp"
#include "learner/learner.inl"

#include <stdexcept>

namespace nacrith::learner {
inline namespace NACRITH_LEARNER_SET {

constexpr uint32_t kTotal24 = 1u << 24;

// The ways of a decision. ones: of 2^24, the share of a 1, 1..2^24 - 1. bit: the answer, where it is known.
struct Writer {
    RangeEncoder &out;
    int operator()(uint32_t ones, bool bit) const {
        if (bit) out.encode(0, ones);
        else out.encode(ones, kTotal24 - ones);
        return bit;
    }
};
struct Reader {
    RangeDecoder &in;
    int operator()(uint32_t ones, bool) const {
        const int bit = in.below(ones);
        if (bit) in.skip(0, ones);
        else in.skip(ones, kTotal24 - ones);
        return bit;
    }
};

struct Known {  // on both sides: nothing is coded
    int operator()(uint32_t, bool bit) const { return bit; }
};

class TreeCoder : public TokenCoder {
public:
    TreeCoder(std::shared_ptr<const Vocabulary> vocabulary, const Fixed &fixed, int bits, size_t lanes)
        : vocabulary_(std::move(vocabulary)),
          v_(*vocabulary_),
          fixed_(fixed),
          below_(new int32_t[static_cast<size_t>(v_.size()) + 1]),
          learner_(bits, lanes),
          lanes_(lanes) {
        for (size_t i = 0; i < lanes; i++) {
            lanes_[i].text.assign(kMargin, 0);
            lanes_[i].ends.assign(kMargin, 0);
        }
    }

    void encode(size_t lane, int32_t token, const float *counts, RangeEncoder &out) override {
        code(lane, v_.rank(token), counts, Writer{out});
    }
    int32_t decode(size_t lane, const float *counts, RangeDecoder &in) override {
        return v_.order()[code(lane, -1, counts, Reader{in})];
    }
    void learn(size_t lane, int32_t token, const float *counts) override {
        code(lane, v_.rank(token), counts, Known{});
    }

private:
    struct Lane {
        std::vector<uint8_t> text, ends;  // kMargin bytes and the text; whether a token ended with a byte
        uint32_t token = 0, before = 0;   // hashes of the token so far and of the one before
    };

    int32_t sum(int32_t lo, int32_t hi) const { return below_[hi] - below_[lo]; }

    // A decision by the counts alone. zeros, ones: counts.
    template <class Port>
    static int plain(int64_t zeros, int64_t ones, bool bit, const Port &port) {
        const int64_t share = (ones << 24) / (zeros + ones);
        return port(static_cast<uint32_t>(std::clamp<int64_t>(share, 1, kTotal24 - 1)), bit);
    }
    // One of the ranks [lo, hi), by halves.
    template <class Port>
    int32_t halve(int32_t lo, int32_t hi, int32_t rank, const Port &port) const {
        while (hi - lo > 1) {
            const int32_t m = (lo + hi) / 2;
            if (plain(sum(lo, m), sum(m, hi), rank >= m, port)) lo = m;
            else hi = m;
        }
        return lo;
    }
    int32_t stretched(int64_t zeros, int64_t ones) const {
        return clamp(fixed_.stretch(ones, zeros) * kNats >> 16, kMostStretch);
    }

    // Codes a token. rank: the token's, or -1 if it is to be read. Returns the rank.
    template <class Port>
    int32_t code(size_t at, int32_t rank, const float *counts, const Port &port) {
        const int32_t *order = v_.order();
        below_[0] = 0;
        for (int32_t i = 0; i < v_.size(); i++) below_[i + 1] = below_[i] + static_cast<int32_t>(counts[order[i]]);
        Lane &lane = lanes_[at];
        const int32_t spelled = v_.spelled();
        if (spelled < v_.size() &&
            (spelled == 0 || !plain(sum(spelled, v_.size()), sum(0, spelled), rank < spelled, port))) {
            const int32_t found = halve(spelled, v_.size(), rank, port);
            finish(lane);
            return found;
        }
        learner_.place(at, lane.text.data());
        learner_.begin(at);
        int32_t lo = 0, hi = spelled;
        for (int32_t depth = 0;; depth++) {
            if (depth) {
                const int32_t longer = v_.longer(lo, hi, depth);
                if (longer > lo && (longer == hi || !goes_on(lane, lo, longer, hi, rank, port))) {
                    const int32_t found = halve(lo, longer, rank, port);
                    lane.ends.back() = 1;
                    finish(lane);
                    return found;
                }
                lo = longer;
            }
            code_byte(at, lane, depth, lo, hi, rank, port);
        }
    }

    // After a token: of no bytes, or of those whose hash is lane.token.
    static void finish(Lane &lane) {
        lane.before = lane.token;
        lane.token = 0;
    }

    template <class Port>
    bool goes_on(Lane &lane, int32_t lo, int32_t longer, int32_t hi, int32_t rank, const Port &port) {
        int ended[3];
        for (size_t i = 0; i < 3; i++) {
            const Place place = learner_.pointers()[i].followed();
            ended[i] = place ? lanes_[place.lane()].ends[place.offset() - 1] : -1;
        }
        const int32_t model = stretched(sum(lo, longer), sum(longer, hi));
        const int32_t p = ends_.predict(learner_.cursor(), lane.token, lane.before, model, learner_.pointers(), ended);
        const int bit = port(static_cast<uint32_t>(p) << 8, rank >= longer);
        ends_.learn(bit, learner_.taught());
        return bit;
    }

    // The next byte of the token; lo and hi become the ranks that go on with it.
    template <class Port>
    void code_byte(size_t at, Lane &lane, int32_t depth, int32_t &lo, int32_t &hi, int32_t rank, const Port &port) {
        lane.text.push_back(0);  // the learner reads it when its last bit has been learnt
        lane.ends.push_back(0);
        if (lane.text.size() >= size_t{1} << Place::kOffsetBits) throw std::length_error("a lane's text is too long");
        learner_.place(at, lane.text.data());
        uint32_t byte = 0;
        for (int left = 7; left >= 0; left--) {
            const int32_t m = v_.split(lo, hi, depth, (byte * 2 + 1) << left);
            const bool certain = m == lo || m == hi;
            int bit = m == lo;
            if (certain) {
                learner_.skip();
            } else {
                const int32_t p = learner_.predict(stretched(sum(lo, m), sum(m, hi)));
                bit = port(static_cast<uint32_t>(p) << 8, rank >= m);
            }
            if (bit) lo = m;
            else hi = m;
            byte = byte * 2 + static_cast<uint32_t>(bit);
            if (left == 0) lane.text.back() = static_cast<uint8_t>(byte);
            if (certain) learner_.record(bit);
            else learner_.learn(bit);
        }
        lane.token = hash(lane.token, byte);
    }

    static constexpr int32_t kNats = 11357;  // 2^16 times 256 nats in 1,024 bits: from Fixed's units to stretch's

    const std::shared_ptr<const Vocabulary> vocabulary_;
    const Vocabulary &v_;
    const Fixed fixed_;
    const std::unique_ptr<int32_t[]> below_;  // at a rank: the counts of all ranks before it
    Learner<Beside> learner_;
    Ends ends_;
    std::vector<Lane> lanes_;
};

std::unique_ptr<TokenCoder> make_coder_here(std::shared_ptr<const Vocabulary> vocabulary, const Fixed &fixed, int bits,
                                            size_t lanes) {
    return std::make_unique<TreeCoder>(std::move(vocabulary), fixed, bits, lanes);
}

}  // namespace NACRITH_LEARNER_SET
}  // namespace nacrith::learner
