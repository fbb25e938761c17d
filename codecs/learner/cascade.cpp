// Questions and what is learnt from the answers; see cascade.hpp.
#include "learner/cascade.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace nacrith {
namespace {

constexpr int32_t kSure = 16;  // no question is answered with less than 2^-20 of doubt
constexpr int32_t kLengths[] = {6, 8, 12, 16, 24, 31};
constexpr int kWeightBits = 16, kRateShift = 27;
constexpr int32_t kBuckets = 33, kEdge = 16 * kUnit;
constexpr int32_t kMapStates = 6 * 6 * 2 * 2;
constexpr std::array<size_t, kMixers> kSets = {8 * 2, (kOrders + 1) * 3, 8 * 2};
constexpr std::array<size_t, kCorrections> kContexts = {(kOrders + 1) * 2 * 8, 4 * 2 * 4};
constexpr size_t kMostCandidates = 1 + kOrders * 3 + 1;

// Classes of a token's count and of the other tokens' count.
int32_t few(uint32_t n) { return n < 3 ? static_cast<int32_t>(n) : n < 5 ? 3 : n < 9 ? 4 : 5; }
int32_t many(uint32_t n) { return n < 3 ? static_cast<int32_t>(n) : n < 6 ? 3 : n < 16 ? 4 : 5; }

// The bucket below, and how far from there to the next in units.
std::pair<int32_t, int32_t> place(int32_t context, int32_t mixed) {
    const int32_t shifted = clamp(mixed + kEdge, 0, 2 * kEdge - 1);
    return {context * kBuckets + (shifted >> 10), shifted & (kUnit - 1)};
}

// At most two successors, the most frequent first, the older first among equals.
size_t likeliest(const Context &c, int32_t *out) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < c.size; i++)
        if (c.successors[i].count > c.successors[best].count) best = i;
    uint32_t next = best == 0;
    for (uint32_t i = next + 1; i < c.size; i++)
        if (i != best && c.successors[i].count > c.successors[next].count) next = i;
    out[0] = c.successors[best].token;
    if (c.size > 1) out[1] = c.successors[next].token;
    return c.size > 1 ? 2 : 1;
}

}  // namespace

void TokenMatch::look(const NGram &ngram) {
    const std::vector<int32_t> &history = ngram.history();
    if (pointer_ >= 0 && pointer_ < static_cast<int64_t>(history.size()) && token(ngram) >= 0) return;
    const Context &longest = ngram.context(kOrders);
    pointer_ = longest.size ? int64_t{longest.position} : -1;
    length_ = 0;
    if (pointer_ < 0) return;
    const int64_t own = static_cast<int64_t>(ngram.size());
    const auto most = static_cast<int32_t>(std::min({int64_t{kLongest - 1}, pointer_, own}));
    const int32_t *there = history.data() + pointer_, *now = history.data() + ngram.end();
    while (length_ < most && there[-1 - length_] == now[-1 - length_]) length_++;
}

void TokenMatch::update(const NGram &ngram, int32_t token) {
    if (pointer_ >= 0 && this->token(ngram) == token) {
        pointer_++;
        length_ = std::min(length_ + 1, kLongest - 1);
    } else {
        pointer_ = -1;
    }
}

Cascade::Cascade(int64_t vocab, int64_t capacity, const Fixed &fixed, const uint8_t *prior, int64_t prior_bytes,
                 const std::vector<int64_t> &lengths)
    : fixed_(fixed), ngram_(vocab, capacity, lengths), matches_(lengths.size()) {
    std::vector<std::pair<StateMap *, size_t>> tables;
    for (StateMap &map : maps_) tables.push_back({&map, kMapStates});
    tables[kOrders].second = TokenMatch::kLongest * 2;
    for (size_t i = 0; i < kCorrections; i++) tables.push_back({&corrections_[i], kContexts[i] * kBuckets});
    size_t states = 0, sets = 0;
    for (const auto &table : tables) states += table.second;
    for (const size_t n : kSets) sets += n;
    const size_t bytes = 3 * states + 4 * sets * kOpinions;
    if (prior_bytes < 0 || static_cast<size_t>(prior_bytes) != bytes)
        throw std::invalid_argument("the prior has " + std::to_string(prior_bytes) + " bytes, not " +
                                    std::to_string(bytes));
    const uint8_t *p = prior, *n = prior + 2 * states, *w = prior + 3 * states;  // little-endian
    for (const auto &[map, size] : tables)
        for (size_t i = 0; i < size; i++, p += 2, n++) {
            if (*n > StateMap::kMostUses) throw std::invalid_argument("the prior claims too many observations");
            map->p.push_back((p[0] | p[1] << 8) << (StateMap::kBits - 16));
            map->n.push_back(*n);
        }
    for (size_t t = 0; t < kMixers; t++) {
        mixers_[t].resize(kSets[t]);
        for (Weights &set : mixers_[t])
            for (int64_t &weight : set) {
                weight = static_cast<int32_t>(w[0] | w[1] << 8 | w[2] << 16 | static_cast<uint32_t>(w[3]) << 24);
                w += 4;
            }
    }
}

void Cascade::look(size_t lane) {
    ngram_.look(lane);
    match_ = &matches_[lane];
    match_->look(ngram_);
}

Cascade::Answers Cascade::ask(const float *weights, int64_t total, int32_t top, int64_t counts) {
    int32_t tokens[kMostCandidates];
    Answers out{{}, candidates(weights, total, top, tokens), counts, total};
    for (size_t rank = 0; rank < out.size; rank++) {
        const int32_t token = tokens[rank];
        const auto weight = static_cast<int64_t>(weights[token]);
        Question &q = questions_[rank];
        q = question(token, fixed_.stretch(weight, out.left - weight), token == top, rank);
        const int64_t count = out.rest * probability(q) >> kPrecision;
        out.answers[rank] = {token, static_cast<int32_t>(count)};
        out.rest -= count;
        out.left -= weight;
    }
    asked_ = out.size;
    return out;
}

void Cascade::update(int32_t token) {
    for (size_t i = 0; i < asked_; i++) {
        const bool yes = questions_[i].token == token;
        learn(questions_[i], yes);
        if (yes) break;
    }
    match_->update(ngram_, token);
    ngram_.update(token);
}

// Likeliest first, by a rough mixture of model and n-grams (in 2^-22 / 5). Returns how many are asked about.
size_t Cascade::candidates(const float *weights, int64_t total, int32_t top, int32_t *out) const {
    size_t size = 0;
    const int32_t match = match_->token(ngram_);
    if (match >= 0) out[size++] = match;
    for (int order = kOrders; order > 0; order--) {
        const Context &c = ngram_.context(order);
        if (c.size == 0) continue;
        out[size++] = ngram_.history()[c.position];
        size += likeliest(c, out + size);
    }
    out[size++] = top;
    std::pair<int64_t, int32_t> marks[kMostCandidates];  // negative mark, token
    size_t marked = 0;
    for (size_t i = 0; i < size; i++) {
        const int32_t token = out[i];
        if (std::find(out, out + i, token) != out + i) continue;
        const int64_t model = (static_cast<int64_t>(weights[token]) << 22) / total;
        int64_t mark = 3 * model + 2 * ngram_.probability(token);
        if (token == match) mark += int64_t{std::min(match_->length(), 20)} << 19;
        marks[marked++] = {-mark, token};
    }
    std::sort(marks, marks + marked);
    const size_t asked = std::min<size_t>(marked, kQuestions);
    for (size_t i = 0; i < asked; i++) out[i] = marks[i].second;
    return asked;
}

Cascade::Question Cascade::question(int32_t token, int32_t model, bool is_top, size_t rank) const {
    const int32_t late = rank > 0, favourite = is_top;
    Question q;
    q.token = token;
    q.states.fill(-1);
    uint32_t count = 0, others = 0;
    int32_t highest = 0;
    for (int order = 1; order <= kOrders; order++) {
        const Context &c = ngram_.context(order);
        if (c.size == 0) continue;
        const uint32_t n = c.count(token);
        const int32_t recent = ngram_.history()[c.position] == token;
        q.states[static_cast<size_t>(order - 1)] = ((few(n) * 6 + many(c.total - n)) * 2 + recent) * 2 + late;
        if (n) {
            highest = order;
            count = n;
            others = c.total - n;
        }
    }
    int32_t length = 0;
    if (token == match_->token(ngram_)) {
        q.states[kOrders] = match_->length() * 2 + late;
        length = 1;
        for (const int32_t bound : kLengths) length += match_->length() >= bound;
    }
    q.opinions[0] = model;
    for (size_t i = 0; i < kMaps; i++)
        q.opinions[i + 1] = q.states[i] < 0 ? 0 : maps_[i].stretched(q.states[i], fixed_);
    q.opinions[kOpinions - 1] = kUnit / 4;
    const int32_t odds = clamp((model >> 10) + 8, 0, 15);
    const int32_t purity = others == 0 ? 0 : others < 3 ? 1 : 2;
    q.sets = {static_cast<size_t>(length * 2 + late), static_cast<size_t>(highest * 3 + purity),
              static_cast<size_t>(odds / 2 * 2 + favourite)};
    const auto turn = static_cast<int32_t>(std::min<size_t>(rank, 3));
    const auto known = static_cast<int32_t>(std::min<uint32_t>(count, 3));
    q.contexts = {(highest * 2 + favourite) * 8 + length, (turn * 2 + favourite) * 4 + known};
    q.mixed = mix(q);
    return q;
}

// Weights below 2^40 times opinions below 2^16: the sum stays below 2^61.
int32_t Cascade::mix(const Question &q) const {
    int64_t sum = 0;
    for (size_t t = 0; t < kMixers; t++)
        for (size_t i = 0; i < kOpinions; i++) sum += mixers_[t][q.sets[t]][i] * q.opinions[i];
    return clamp(sum >> kWeightBits, -kLimit, kLimit);
}

// Of 2^24.
int32_t Cascade::probability(const Question &q) const {
    int32_t s = 2 * q.mixed;
    for (size_t i = 0; i < kCorrections; i++) s += refine(corrections_[i], q.contexts[i], q.mixed);
    return clamp(fixed_.squash(clamp(s >> 2, -kLimit, kLimit)), kSure, kOne - kSure);
}

// By interpolation between the two buckets around.
int32_t Cascade::refine(const StateMap &map, int32_t context, int32_t mixed) const {
    const auto [at, part] = place(context, mixed);
    const int64_t low = map.p[static_cast<size_t>(at)], high = map.p[static_cast<size_t>(at + 1)];
    const int64_t q = (low * (kUnit - part) + high * part) >> 10;
    return fixed_.stretch(q, StateMap::kSure - q);
}

void Cascade::learn(const Question &q, bool yes) {
    const int64_t error = (yes ? kOne : 0) - fixed_.squash(q.mixed);
    for (size_t i = 0; i < kOpinions; i++) {
        // at most 2^13, so that a block of 2^27 tokens at most keeps the weights below 2^40
        const int64_t step = (q.opinions[i] * error + (1 << (kRateShift - 1))) >> kRateShift;
        for (size_t t = 0; t < kMixers; t++) mixers_[t][q.sets[t]][i] += step;
    }
    for (size_t i = 0; i < kMaps; i++)
        if (q.states[i] >= 0) maps_[i].update(q.states[i], yes);
    for (size_t i = 0; i < kCorrections; i++) {
        const auto [at, part] = place(q.contexts[i], q.mixed);  // the nearer bucket learns
        corrections_[i].update(at + (2 * part >= kUnit), yes);
    }
}

}  // namespace nacrith
