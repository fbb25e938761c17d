// Token n-grams of several orders: nacrith/predictors/ngram.py, in memory of some 40 bytes for a context.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nacrith {

constexpr int kOrders = 5;
constexpr uint32_t kSuccessors = 16;

struct Successor {
    int32_t token;
    uint32_t count;
};

// What followed one context. position: index of the token after its latest occurrence.
struct Context {
    uint32_t total = 0, position = 0, size = 0;  // size 0: the context is new
    Successor successors[kSuccessors];

    uint32_t count(int32_t token) const {
        for (uint32_t i = 0; i < size; i++)
            if (successors[i].token == token) return successors[i].count;
        return 0;
    }
};

// The contexts of one order and one generation.
//
// A context is stored as the place in the history where it came last, so its tokens need no memory and a
// table of indices finds it. A context with one successor is no more than that: the successor is the
// token at `position`, its count the total. Others have a block of 4 or of kSuccessors.
class Generation {
public:
    static constexpr uint32_t kNone = UINT32_MAX;

    explicit Generation(uint32_t order) : order_(order) {}

    uint32_t size() const { return static_cast<uint32_t>(nodes_.size()); }
    void clear();
    // The node of the `order` tokens before history[end], or kNone.
    uint32_t find(const int32_t *history, size_t end, uint64_t hash) const;
    // A new node with the content of `from`, to be followed by `add`.
    uint32_t insert(const int32_t *history, uint64_t hash, const Context &from);
    // `token` follows at index `position`.
    void add(uint32_t node, const int32_t *history, int32_t token, uint32_t position);
    void read(uint32_t node, const int32_t *history, Context &out) const;

private:
    static constexpr uint32_t kQuad = 4;
    struct Node {
        uint32_t total, position, size, block;
    };

    void grow(const int32_t *history);
    void place(uint64_t hash, uint32_t node);
    uint32_t new_quad();
    uint32_t new_full();
    Successor *successors(const Node &node);
    const Successor *successors(const Node &node) const;

    uint32_t order_;
    std::vector<Node> nodes_;
    std::vector<uint32_t> slots_;  // 0: free; else a node's index + 1. At most half are in use
    std::vector<Successor> quads_, fulls_;
    std::vector<uint32_t> free_quads_;
};

// The n-grams of several texts, the lanes, which share all tables. History is one array, in which each lane has a
// stretch of its own; an index into it is a position. A token that has not come yet is -1.
class NGram {
public:
    // lengths: tokens of each lane.
    NGram(int64_t vocab, int64_t capacity, const std::vector<int64_t> &lengths);

    const std::vector<int32_t> &history() const { return history_; }
    // Makes the contexts at the end of a lane the present ones, which `update` adds to.
    void look(size_t lane);
    size_t end() const { return lanes_[lane_].begin + lanes_[lane_].size; }  // of the present lane, so far
    size_t size() const { return lanes_[lane_].size; }
    // The present context of an order, 1 .. kOrders.
    const Context &context(int order) const { return orders_[static_cast<size_t>(order - 1)].context; }
    void update(int32_t token);
    // Of 2^22: discounted counts, the lower orders as the backing.
    int64_t probability(int32_t token) const;

private:
    struct Order {
        Generation young, old;
        Context context;  // a copy of its node
        uint64_t hash;
        uint32_t node;  // in `young`, or kNone
    };
    struct Lane {
        size_t begin, size, most;
    };

    int64_t capacity_, floor_;
    std::vector<int32_t> history_;
    std::vector<Lane> lanes_;
    size_t lane_ = 0;
    std::vector<Order> orders_;
};

}  // namespace nacrith
