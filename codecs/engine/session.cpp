// The forward pass over a batch of rows, one for each token, of any lanes.
//
// Each step is one parallel part over rows, tiles of output columns, or (lane, head, rows). Section 4 of
// formats/arithmetic-v1.md specifies the computation.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "engine/session.hpp"

namespace nacrith {
namespace {

constexpr int64_t kStep = 8;                // most rows of one elementwise task
constexpr int64_t kMostHead = 1040;         // largest head_dim
constexpr int64_t kScoreMemory = 32768;     // scores of one attention task, to stay in the L2 cache
constexpr int64_t kAttentionRows = 64;
constexpr float kLog2e = 1.4426950408889634f;

int64_t even(int64_t n) { return (n + 1) / 2 * 2; }

}  // namespace

Session::Session(std::shared_ptr<Engine> engine, int64_t lanes, int64_t window, int64_t rollback, int64_t batch)
    : engine_(std::move(engine)), window_(window), batch_(batch) {
    const nacrith_config &c = engine_->config;
    lanes_.reserve(static_cast<size_t>(lanes));
    for (int64_t i = 0; i < lanes; i++) lanes_.emplace_back(c, engine_->kernels, window, rollback, batch);
    const int64_t queries = c.heads * c.head_dim, half = c.head_dim / 2;
    const int64_t qkv = queries + 2 * c.kv_heads * c.head_dim;
    const int64_t widest = even(std::max(c.width, std::max(queries, c.ffn)));
    x_ = Buffer<float>(batch * c.width);
    wide_ = Buffer<float>(batch * std::max(qkv, 2 * c.ffn));
    mixed_ = Buffer<float>(batch * queries);
    q_ = Buffer<int16_t>(batch * widest);
    int64_t formed = 0;
    for (const Layout layout : {Layout::kPairs, Layout::kQuads})
        if (engine_->kernels.form(layout).write) formed = std::max(formed, form_bytes(layout, batch, widest));
    formed_ = Buffer<uint8_t>(formed);
    scale_ = Buffer<float>(batch);
    cos_ = Buffer<float>(batch * half);
    sin_ = Buffer<float>(batch * half);
    edge_cos_ = Buffer<float>(half);
    edge_sin_ = Buffer<float>(half);
    if (window - 1 < engine_->limit()) engine_->rotation(window - 1, edge_cos_.data(), edge_sin_.data());
    query_ = Buffer<int16_t>(batch * queries);
    sink_query_ = Buffer<int16_t>(batch * queries);
    factor_ = Buffer<float>(batch * c.heads);
    sink_factor_ = Buffer<float>(batch * c.heads);
    scratch_.resize(static_cast<size_t>(engine_->threads));
    for (Scratch &s : scratch_) s.row = Buffer<float>(widest);
}

Lane &Session::lane_at(int64_t index) {
    if (index < 0 || index >= static_cast<int64_t>(lanes_.size()))
        throw std::invalid_argument("there is no lane " + std::to_string(index));
    return lanes_[static_cast<size_t>(index)];
}

// A call that does not complete, because of an error or because this process was forked during it, leaves the
// lanes in an unknown state: they must not be used again. Argument errors are raised before any change.
template <class Body>
void Session::whole(const Body &body) {
    if (halfway_)
        throw std::runtime_error("an earlier call of this session did not end: it failed, or the process was"
                                 " forked while it ran");
    halfway_ = true;
    try {
        body();
    } catch (const std::invalid_argument &) {
        halfway_ = false;
        throw;
    }
    halfway_ = false;
}

void Session::rollback(int64_t lane, int64_t length) {
    whole([&] { lane_at(lane).truncate(lane, length); });
}

void Session::keep(int64_t lane, const int64_t *path, int64_t count) {
    whole([&] { lane_at(lane).keep(path, count); });
}

void Session::extend(const int64_t *counts, const int32_t *ids, const int64_t *depths, int32_t *rows) {
    const auto turn = engine_->turn();
    whole([&] {
        check(counts, ids, depths);
        std::vector<int64_t> next;  // next token of each lane
        int64_t total = 0;
        for (size_t i = 0; i < lanes_.size(); i++) {
            next.push_back(total);
            total += counts[i];
        }
        const std::vector<int64_t> first = next;
        for (;;) {
            int64_t active = 0;
            for (size_t i = 0; i < lanes_.size(); i++) active += next[i] < first[i] + counts[i];
            if (active == 0) return;
            const int64_t share = std::max<int64_t>(1, batch_ / active);
            std::vector<Piece> pieces;
            begin_pass();
            for (size_t i = 0; i < lanes_.size() && rows_ < batch_; i++) {
                const int64_t count = std::min(share, first[i] + counts[i] - next[i]);
                if (count) gather(static_cast<int64_t>(i), next[i], count, first[i], ids, depths, rows, pieces);
                next[i] += count;
            }
            pass(pieces);
            for (const Piece &piece : pieces)
                if (!depths) lanes_[piece.lane].advance(piece.count);
        }
    });
}

// Checks the arguments (std::invalid_argument) and, if there are depths, makes room for the trees.
void Session::check(const int64_t *counts, const int32_t *ids, const int64_t *depths) {
    const int64_t vocab = engine_->config.vocab, limit = engine_->limit();
    std::vector<int64_t> levels(lanes_.size());
    int64_t total = 0;
    for (size_t i = 0; i < lanes_.size(); i++) {
        if (counts[i] < 0) throw std::invalid_argument("a negative number of tokens");
        const int64_t first = total;
        total += counts[i];
        levels[i] = depths ? 0 : counts[i];
        for (int64_t t = first; depths && t < total; t++) {
            if (depths[t] < 0 || depths[t] > (t == first ? 0 : depths[t - 1] + 1))
                throw std::invalid_argument("the depths of lane " + std::to_string(i) + " are those of no tree");
            levels[i] = std::max(levels[i], depths[t] + 1);
        }
        if (levels[i] > limit - lanes_[i].length())
            throw std::invalid_argument("a lane holds at most " + std::to_string(limit) + " tokens");
    }
    for (int64_t i = 0; i < total; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            throw std::invalid_argument("token " + std::to_string(ids[i]) + " is outside the vocabulary");
    for (size_t i = 0; depths && i < lanes_.size(); i++)
        if (counts[i]) lanes_[i].plant(counts[i], levels[i]);
}

void Session::begin_pass() {
    rows_ = 0;
    ids_.clear();
    out_.clear();
    lane_of_.clear();
    position_.clear();
    slot_.clear();
    home_.clear();
}

// Adds rows for tokens begin .. begin + count - 1 of lane `index`, whose tokens begin at `first`, to the pass.
void Session::gather(int64_t index, int64_t begin, int64_t count, int64_t first, const int32_t *ids,
                     const int64_t *depths, int32_t *rows, std::vector<Piece> &pieces) {
    Lane &lane = lanes_[index];
    if (!depths) lane.reserve(count);
    for (int64_t t = begin; t < begin + count; t++) {
        const int64_t position = lane.length() + (depths ? depths[t] : t - begin);
        if (t == begin || position != position_.back() + 1) pieces.push_back({index, 0, rows_, position});
        pieces.back().count++;
        ids_.push_back(ids[t]);
        out_.push_back(rows + t * engine_->config.vocab);
        lane_of_.push_back(index);
        position_.push_back(position);
        slot_.push_back(lane.slot(position));
        home_.push_back(depths ? lane.home(t - first, position) : slot_.back());
        rows_++;
    }
}

// Prepares what all layers of a pass share: rotations, and the division of attention into tasks. In a tree with
// branches, all tasks of a head form one run, since each row changes the slots that the next one reads.
void Session::plan(const std::vector<Piece> &pieces) {
    tasks_.clear();
    runs_.clear();
    const int64_t half = engine_->config.head_dim / 2, group = engine_->group();
    int64_t most = 0, most_formed = 0;
    for (size_t i = 0, end; i < pieces.size(); i = end) {
        for (end = i; end < pieces.size() && pieces[end].lane == pieces[i].lane;) end++;
        for (int64_t head = 0; head < engine_->config.kv_heads; head++) {
            const size_t before = runs_.size();
            for (size_t n = i; n < end; n++) {
                const Piece &piece = pieces[n];
                const auto [begin, stop] = visible(piece, {0, 0, piece.row, piece.count});
                const int64_t width = (kTile + stop - begin) * group;
                const int64_t step = std::max<int64_t>(1, std::min(kAttentionRows, kScoreMemory / width));
                most = std::max(most, step * width);
                const int64_t formed =
                    engine_->kernels.attention_bytes(step * group, engine_->config.head_dim, width / group);
                most_formed = std::max(most_formed, formed);
                for (int64_t r = 0; r < piece.count; r += step) {
                    const int64_t task = static_cast<int64_t>(tasks_.size());
                    const int64_t count = std::min(step, piece.count - r);
                    tasks_.push_back({static_cast<int64_t>(n), head, piece.row + r, count});
                    if (moves(piece) && runs_.size() > before)
                        runs_.back().second = task + 1;
                    else
                        runs_.push_back({task, task + 1});
                }
            }
        }
    }
    if (most > scratch_scores_) {
        scratch_scores_ = most + most / 2;
        for (Scratch &s : scratch_) {
            s.scores = Buffer<float>(scratch_scores_);
            s.weights = Buffer<int16_t>(scratch_scores_);
        }
    }
    if (most_formed > scratch_formed_) {
        scratch_formed_ = most_formed + most_formed / 2;
        for (Scratch &s : scratch_) s.formed = Buffer<uint8_t>(scratch_formed_);
    }
    engine_->pool().pieces(rows_, 4 * kStep, [&](int64_t begin, int64_t stop, int) {
        for (int64_t r = begin; r < stop; r++)
            engine_->rotation(position_[r], cos_.data() + r * half, sin_.data() + r * half);
    });
}

// Slots beyond the sinks that any row of a task attends to, in whole tiles.
std::pair<int64_t, int64_t> Session::visible(const Piece &piece, const Task &task) const {
    const Lane &lane = lanes_[piece.lane];
    const int64_t first = piece.first + task.first - piece.row, last = first + task.count - 1;
    if (last < kSinks) return {kTile, kTile};
    const int64_t oldest = std::max(kSinks, first - (window_ - kSinks) + 1);
    return {lane.slot(oldest) / kTile * kTile, lane.slot(last) / kTile * kTile + kTile};
}

// Rows of one elementwise task: few rows too are shared by all threads.
int64_t Session::step() const {
    const int64_t threads = engine_->pool().threads();
    return std::min(kStep, (rows_ + threads - 1) / threads);
}

// Computes and quantises rows of `width` numbers by make(row, scratch, q, scale), as input of a product with `by`.
template <class Make>
Quantised Session::quantised(int64_t width, const Weights &by, const Make &make) {
    const int64_t stride = even(width);
    const RowForm &form = engine_->kernels.form(by.matrix.layout);
    engine_->pool().pieces(rows_, step(), [&](int64_t begin, int64_t end, int thread) {
        for (int64_t r = begin; r < end; r++) {
            int16_t *q = q_.data() + r * stride;
            q[stride - 1] = 0;  // padding of an odd width
            make(r, scratch_[thread].row.data(), q, scale_.data() + r);
            if (form.write) form.write(q, stride, r, formed_.data());
        }
    });
    return {q_.data(), stride, scale_.data(), formed_.data()};
}

void Session::embed() {
    const nacrith_config &c = engine_->config;
    engine_->pool().pieces(rows_, 4 * kStep, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; r++) {
            const int64_t id = ids_[r];
            const int8_t *q = engine_->embed_q + id * c.width;
            for (int64_t i = 0; i < c.width; i++)
                x_[r * c.width + i] = static_cast<float>(q[i]) * engine_->embed_s[id];
        }
    });
}

void Session::pass(const std::vector<Piece> &pieces) {
    Engine &e = *engine_;
    const nacrith_config &c = e.config;
    const Kernels &kernel = e.kernels;
    const int64_t queries = c.heads * c.head_dim;
    const auto normalised = [&](const float *gain, const Weights &weights) {
        return quantised(c.width, weights, [&](int64_t r, float *scratch, int16_t *q, float *scale) {
            kernel.norm(x_.data() + r * c.width, gain, c.width, c.rms_eps, weights.limit, scratch, q, scale);
        });
    };
    const Output to_wide{Store::kWrite, wide_.data(), 0, nullptr};
    const Output to_x{Store::kAdd, x_.data(), c.width, nullptr};
    plan(pieces);
    embed();
    for (int64_t i = 0; i < c.layers; i++) {
        const Layer &layer = e.layers[i];
        Output out = to_wide;
        out.stride = layer.qkv.matrix.rows;
        e.linear(layer.qkv, normalised(layer.attn_norm, layer.qkv), rows_, out);
        attention(i, pieces);
        const Quantised mixed = quantised(queries, layer.o, [&](int64_t r, float *, int16_t *q, float *scale) {
            kernel.quantise(mixed_.data() + r * queries, queries, layer.o.limit, q, scale);
        });
        e.linear(layer.o, mixed, rows_, to_x);
        out.stride = layer.mlp.matrix.rows;
        e.linear(layer.mlp, normalised(layer.mlp_norm, layer.mlp), rows_, out);
        const Weights &down = layer.down;
        const Quantised activated = quantised(c.ffn, down, [&](int64_t r, float *scratch, int16_t *q, float *scale) {
            const float *gate = wide_.data() + r * 2 * c.ffn;
            kernel.silu(gate, gate + c.ffn, c.ffn, down.limit, scratch, q, scale);
        });
        e.linear(down, activated, rows_, to_x);
    }
    e.linear(e.head, normalised(e.final_norm, e.head), rows_, {Store::kLogits, nullptr, 0, out_.data()});
}

// Rotates, quantises and stores the queries, keys and values of one row (in wide_).
void Session::store(int64_t layer, int64_t row) {
    const Engine &e = *engine_;
    const nacrith_config &c = e.config;
    const Kernels &kernel = e.kernels;
    const int64_t dim = c.head_dim, half = dim / 2, group = e.group();
    const float *from = wide_.data() + row * (c.heads + 2 * c.kv_heads) * dim;
    const float *cos = cos_.data() + row * half, *sin = sin_.data() + row * half;
    const float unit = kLog2e / std::sqrt(static_cast<float>(dim));
    const bool beyond = position_[row] > window_ - 1;
    float rotated[kMostHead], scale;
    int16_t q[kMostHead];
    for (int64_t head = 0; head < c.heads; head++, from += dim) {
        const int64_t at = (head / group * rows_ + row) * group + head % group;
        int16_t *query = query_.data() + at * dim, *sink = sink_query_.data() + at * dim;
        kernel.rotate(from, cos, sin, half, rotated);
        kernel.quantise(rotated, dim, 127, query, &scale);
        factor_[at] = scale * unit;
        if (beyond) {
            kernel.rotate(from, edge_cos_.data(), edge_sin_.data(), half, rotated);
            kernel.quantise(rotated, dim, 127, sink, &scale);
        } else {
            std::copy(query, query + dim, sink);
        }
        sink_factor_[at] = scale * unit;
    }
    Lane &lane = lanes_[lane_of_[row]];
    const int64_t section = layer * c.kv_heads;
    for (int64_t head = 0; head < c.kv_heads; head++, from += dim) {
        kernel.rotate(from, cos, sin, half, rotated);
        kernel.quantise(rotated, dim, 127, q, &scale);
        lane.store_key(section + head, home_[row], q, scale);
    }
    for (int64_t head = 0; head < c.kv_heads; head++, from += dim) {
        kernel.quantise(from, dim, 127, q, &scale);
        lane.store_value(section + head, home_[row], q, scale);
    }
}

void Session::attention(int64_t layer, const std::vector<Piece> &pieces) {
    Engine &e = *engine_;
    const int64_t kv_heads = e.config.kv_heads;
    e.pool().pieces(rows_, step(), [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; r++) store(layer, r);
    });
    for (const Piece &piece : pieces)
        for (int64_t head = 0; !moves(piece) && head < kv_heads; head++)
            lanes_[piece.lane].carry_maximum(layer * kv_heads + head, piece.first, piece.count);
    e.pool().run(static_cast<int64_t>(runs_.size()), [&](int64_t i, int thread) {
        for (int64_t t = runs_[i].first; t < runs_[i].second; t++) {
            const Piece &piece = pieces[tasks_[t].piece];
            if (moves(piece)) settle(layer, piece, tasks_[t]);
            attend(layer, piece, tasks_[t], scratch_[thread]);
        }
    });
}

// Copies the rows of a branch to the slots of their positions, for one head.
void Session::settle(int64_t layer, const Piece &piece, const Task &task) {
    Lane &lane = lanes_[piece.lane];
    const int64_t section = layer * engine_->config.kv_heads + task.kv_head;
    for (int64_t r = task.first; r < task.first + task.count; r++) lane.copy(section, home_[r], slot_[r]);
    lane.carry_maximum(section, position_[task.first], task.count);
}

void Session::attend(int64_t layer, const Piece &piece, const Task &task, Scratch &scratch) {
    const Engine &e = *engine_;
    const nacrith_config &c = e.config;
    const int64_t group = e.group(), dim = c.head_dim, queries = c.heads * dim;
    const int64_t at = (task.kv_head * rows_ + task.first) * group;
    const auto [begin, end] = visible(piece, task);
    e.kernels.attend({lanes_[piece.lane].head(layer * c.kv_heads + task.kv_head),
                      query_.data() + at * dim, sink_query_.data() + at * dim,
                      factor_.data() + at, sink_factor_.data() + at, task.count * group, group,
                      slot_.data() + task.first, window_, begin, end, scratch.scores.data(),
                      scratch.weights.data(), scratch.formed.data(),
                      mixed_.data() + task.first * queries + task.kv_head * group * dim, queries});
}

}  // namespace nacrith
