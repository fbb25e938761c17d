// What an ensemble has learnt of its group of lanes and asks about the next token: nacrith/predictors/cascade.py,
// match.py and mixer.py. Nothing here touches the whole vocabulary; ensemble.hpp does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "learner/fixed.hpp"
#include "learner/ngram.hpp"

namespace nacrith {

constexpr int kQuestions = 4;
constexpr int kMaps = kOrders + 1;     // the n-grams', the match model's
constexpr int kOpinions = 2 + kMaps;   // the model's, the maps', a constant
constexpr int kMixers = 3;             // tables of weights
constexpr int kCorrections = 2;

// The token that followed the longest earlier occurrence of the end of a lane, in any lane.
class TokenMatch {
public:
    static constexpr int32_t kLongest = 32;

    int32_t length() const { return length_; }
    // What should come now; -1: nothing in particular.
    int32_t token(const NGram &ngram) const {
        return pointer_ < 0 ? -1 : ngram.history()[static_cast<size_t>(pointer_)];
    }
    // Before a token, when the n-grams look at the lane.
    void look(const NGram &ngram);
    // `token` came, which the n-grams do not know yet.
    void update(const NGram &ngram, int32_t token);

private:
    int64_t pointer_ = -1;
    int32_t length_ = 0;
};

class Cascade {
public:
    struct Answer {
        int32_t token;
        int32_t count;
    };
    struct Answers {
        std::array<Answer, kQuestions> answers;
        size_t size;
        int64_t rest, left;  // counts and weights that remain for the other tokens
    };

    // prior: as Prior.to_bytes gives it. lengths: tokens of each lane.
    Cascade(int64_t vocab, int64_t capacity, const Fixed &fixed, const uint8_t *prior, int64_t prior_bytes,
            const std::vector<int64_t> &lengths);

    // The lane whose next token is asked about.
    void look(size_t lane);

    // weights: of all tokens, their sum `total`, the likeliest one `top`. counts: to be shared out.
    Answers ask(const float *weights, int64_t total, int32_t top, int64_t counts);
    // The token that came after the questions asked last.
    void update(int32_t token);

private:
    struct Question {
        int32_t token;
        std::array<int32_t, kOpinions> opinions;
        std::array<int32_t, kMaps> states;  // -1: no opinion
        std::array<size_t, kMixers> sets;
        std::array<int32_t, kCorrections> contexts;
        int32_t mixed;
    };
    using Weights = std::array<int64_t, kOpinions>;  // in 2^-16, below 2^40

    size_t candidates(const float *weights, int64_t total, int32_t top, int32_t *out) const;
    Question question(int32_t token, int32_t model, bool is_top, size_t rank) const;
    int32_t mix(const Question &q) const;
    int32_t probability(const Question &q) const;
    int32_t refine(const StateMap &map, int32_t context, int32_t mixed) const;
    void learn(const Question &q, bool yes);

    Fixed fixed_;
    NGram ngram_;
    std::vector<TokenMatch> matches_;  // one of each lane
    TokenMatch *match_ = nullptr;      // the present lane's
    std::array<StateMap, kMaps> maps_;
    std::array<StateMap, kCorrections> corrections_;
    std::array<std::vector<Weights>, kMixers> mixers_;
    std::array<Question, kQuestions> questions_;
    size_t asked_ = 0;
};

}  // namespace nacrith
