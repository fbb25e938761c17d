// Token n-grams; see ngram.hpp.
#include "learner/ngram.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace nacrith {
namespace {

constexpr size_t kFirstSlots = 256;
constexpr size_t kMostTokens = size_t{1} << 27;  // of a block: indices and counts stay within 32 bits

// Tokens are taken in from the latest to the first, so that an order's hash is the start of the next one's.
uint64_t mix(uint64_t hash, int32_t token) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

}  // namespace

void Generation::clear() {
    nodes_.clear();
    std::fill(slots_.begin(), slots_.end(), 0);
    quads_.clear();
    fulls_.clear();
    free_quads_.clear();
}

uint32_t Generation::find(const int32_t *history, size_t end, uint64_t hash) const {
    if (slots_.empty()) return kNone;
    const size_t mask = slots_.size() - 1;
    const int32_t *key = history + end;
    for (size_t slot = hash & mask; slots_[slot]; slot = (slot + 1) & mask) {
        const uint32_t node = slots_[slot] - 1;
        const int32_t *there = history + nodes_[node].position;
        if (std::equal(key - order_, key, there - order_)) return node;
    }
    return kNone;
}

uint32_t Generation::insert(const int32_t *history, uint64_t hash, const Context &from) {
    if (2 * (nodes_.size() + 1) > slots_.size()) grow(history);
    Node node{from.total, from.position, from.size, 0};
    if (node.size > 1) {
        node.block = node.size > kQuad ? new_full() : new_quad();
        std::copy(from.successors, from.successors + from.size, successors(node));
    }
    nodes_.push_back(node);
    place(hash, size() - 1);
    return size() - 1;
}

void Generation::add(uint32_t index, const int32_t *history, int32_t token, uint32_t position) {
    Node &node = nodes_[index];
    if (node.size == 0) {
        node.size = 1;
    } else if (node.size == 1) {
        const int32_t only = history[node.position];
        if (only != token) {
            node.block = new_quad();
            node.size = 2;
            Successor *to = successors(node);
            to[0] = {only, node.total};
            to[1] = {token, 1};
        }
    } else {
        Successor *begin = successors(node), *end = begin + node.size;
        Successor *known = std::find_if(begin, end, [&](const Successor &s) { return s.token == token; });
        if (known != end) {
            known->count++;
        } else if (node.size == kSuccessors) {
            // the first of the rarest
            *std::min_element(begin, end, [](const Successor &a, const Successor &b) {
                return a.count < b.count;
            }) = {token, 1};
        } else {
            if (node.size == kQuad) {
                const uint32_t full = new_full(), quad = node.block;
                std::copy_n(&quads_[size_t{quad} * kQuad], kQuad, &fulls_[size_t{full} * kSuccessors]);
                free_quads_.push_back(quad);
                node.block = full;
            }
            node.size++;
            successors(node)[node.size - 1] = {token, 1};
        }
    }
    node.total++;
    node.position = position;
}

void Generation::read(uint32_t index, const int32_t *history, Context &out) const {
    const Node &node = nodes_[index];
    out.total = node.total;
    out.position = node.position;
    out.size = node.size;
    if (node.size == 1)
        out.successors[0] = {history[node.position], node.total};
    else if (node.size > 1)
        std::copy_n(successors(node), node.size, out.successors);
}

void Generation::grow(const int32_t *history) {
    slots_.assign(slots_.empty() ? kFirstSlots : 2 * slots_.size(), 0);
    for (uint32_t i = 0; i < size(); i++) {
        uint64_t hash = 0;
        for (uint32_t back = 1; back <= order_; back++) hash = mix(hash, history[nodes_[i].position - back]);
        place(hash, i);
    }
}

void Generation::place(uint64_t hash, uint32_t node) {
    const size_t mask = slots_.size() - 1;
    size_t slot = hash & mask;
    while (slots_[slot]) slot = (slot + 1) & mask;
    slots_[slot] = node + 1;
}

uint32_t Generation::new_quad() {
    if (!free_quads_.empty()) {
        const uint32_t block = free_quads_.back();
        free_quads_.pop_back();
        return block;
    }
    quads_.resize(quads_.size() + kQuad);
    return static_cast<uint32_t>(quads_.size() / kQuad - 1);
}

uint32_t Generation::new_full() {
    fulls_.resize(fulls_.size() + kSuccessors);
    return static_cast<uint32_t>(fulls_.size() / kSuccessors - 1);
}

const Successor *Generation::successors(const Node &node) const {
    return node.size > kQuad ? &fulls_[size_t{node.block} * kSuccessors] : &quads_[size_t{node.block} * kQuad];
}

Successor *Generation::successors(const Node &node) {
    return const_cast<Successor *>(std::as_const(*this).successors(node));
}

NGram::NGram(int64_t vocab, int64_t capacity, const std::vector<int64_t> &lengths)
    : capacity_(capacity), floor_((int64_t{1} << 22) / vocab) {
    size_t begin = 0;
    for (const int64_t length : lengths) {
        const auto most = static_cast<size_t>(length);
        if (length < 0 || most > kMostTokens - begin)
            throw std::invalid_argument("a group has more tokens than the n-grams can count");
        lanes_.push_back({begin, 0, most});
        begin += most;
    }
    history_.assign(begin, -1);
    for (uint32_t order = 1; order <= kOrders; order++)
        orders_.push_back({Generation(order), Generation(order), {}, 0, Generation::kNone});
}

void NGram::look(size_t lane) {
    lane_ = lane;
    const size_t n = size();
    uint64_t hash = 0;
    for (size_t i = 0; i < orders_.size(); i++) {
        Order &o = orders_[i];
        o.context.total = o.context.position = o.context.size = 0;
        o.node = Generation::kNone;
        if (i >= n) continue;
        o.hash = hash = mix(hash, history_[end() - 1 - i]);
        o.node = o.young.find(history_.data(), end(), hash);
        if (o.node != Generation::kNone) {
            o.young.read(o.node, history_.data(), o.context);
            continue;
        }
        const uint32_t before = o.old.find(history_.data(), end(), hash);
        if (before != Generation::kNone) o.old.read(before, history_.data(), o.context);
    }
}

void NGram::update(int32_t token) {
    Lane &lane = lanes_[lane_];
    if (lane.size == lane.most) throw std::invalid_argument("a lane has more tokens than it was made for");
    history_[end()] = token;
    for (size_t i = 0; i < orders_.size() && i < lane.size; i++) {
        Order &o = orders_[i];
        if (o.node == Generation::kNone) {
            if (o.young.size() == capacity_) {
                std::swap(o.young, o.old);
                o.young.clear();
            }
            // `context` is a copy: what moves to the young generation may just have been dropped
            o.node = o.young.insert(history_.data(), o.hash, o.context);
        }
        o.young.add(o.node, history_.data(), token, static_cast<uint32_t>(end()));
    }
    lane.size++;
}

int64_t NGram::probability(int32_t token) const {
    int64_t p = floor_;
    for (const Order &o : orders_) {
        const Context &c = o.context;
        if (c.size == 0) continue;
        const int64_t count = c.count(token), seen = count ? (4 * count - 3) << 22 : 0;
        p = (seen + (3 * int64_t{c.size} + 2) * p) / (4 * int64_t{c.total} + 2);
    }
    return p;
}

}  // namespace nacrith
