// The engine (weights of one model, packed) and the session (lanes over it). See nacrith.h.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "nacrith.h"
#include "pool.hpp"

namespace nacrith {

struct ModelError : std::runtime_error {
    using runtime_error::runtime_error;
};

// Zeroed memory at a multiple of 64 bytes.
template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(int64_t count) : memory_(std::calloc(static_cast<size_t>(count) * sizeof(T) + 64, 1)) {
        if (!memory_) throw std::bad_alloc();
        const auto address = reinterpret_cast<uintptr_t>(memory_.get());
        data_ = reinterpret_cast<T *>((address + 63) & ~uintptr_t{63});
    }
    T *data() const { return data_; }
    T &operator[](int64_t i) const { return data_[i]; }

private:
    struct Free {
        void operator()(void *p) const { std::free(p); }
    };
    std::unique_ptr<void, Free> memory_;
    T *data_ = nullptr;
};

struct Weights {
    Buffer<int8_t> packed;
    Buffer<float> scales;
    Matrix matrix{};
    int32_t limit = 0;  // of its quantised input
};

struct Layer {
    const float *attn_norm, *mlp_norm;
    Weights qkv, o, mlp, down;
};

constexpr int64_t kFine = 256;  // positions of the fine rotation table

struct Engine {
    Engine(const nacrith_config &config, const nacrith_tensor *tensors, int64_t count, const Kernels &kernels,
           int threads);

    nacrith_config config;
    const Kernels &kernels;
    Pool pool;
    std::mutex busy;  // held by the session that uses the pool
    const int8_t *embed_q;
    const float *embed_s, *final_norm;
    const double *fine, *coarse;  // (2, kFine, half), (2, coarse_count, half)
    int64_t coarse_count;
    std::vector<Layer> layers;
    Weights head;

    int64_t limit() const { return kFine * coarse_count; }  // most tokens of a lane
    int64_t group() const { return config.heads / config.kv_heads; }
    // cos and sin (head_dim / 2 each) of a position below limit()
    void rotation(int64_t position, float *cos, float *sin) const;
    // packed weights times rows, on all threads
    void linear(const Weights &weights, Quantised x, int64_t count, const Output &out);

private:
    Weights pack(const void *q, const void *s, int64_t rows, int64_t columns, int64_t limit);
};

// Keys and values of one lane, packed as the kernels want them (kernels.hpp, HeadCache).
//
// Positions below kSinks keep slots 0 .. 3 for ever; position p beyond them has slot 16 + p - 4 - base.
// When the slots run out, the newest `keep` positions move to the front by whole tiles and base grows;
// keys are stored as rotated for their own position, so nothing is computed anew.
//
// The rows of a tree behind the end take turns in the slots of their positions, branch by branch; what
// they put there is stored in a slot of their own as well, their home, behind those of all positions
// that the tree reaches (nacrith/models/exact/tree.py says why). A tree without branches has no homes.
class Lane {
public:
    Lane(const nacrith_config &config, int64_t window, int64_t rollback, int64_t batch);

    int64_t length() const { return length_; }
    int64_t slot(int64_t position) const {
        return position < kSinks ? position : kTile + position - kSinks - base_;
    }
    HeadCache head(int64_t section) const;  // section = layer * kv_heads + head
    // Room for `count` further positions; what lies behind the end may be lost.
    void reserve(int64_t count);
    void advance(int64_t count) {
        length_ += count;
        tree_ = {};
    }
    // Room for a tree of `rows` rows that reaches `levels` positions, in place of any other.
    void plant(int64_t rows, int64_t levels);
    int64_t home(int64_t row, int64_t position) const;
    void keep(const int64_t *path, int64_t count);
    // std::invalid_argument if older tokens would be needed than the lane holds.
    void truncate(int64_t index, int64_t length);
    // One head's key or value of `dim` integers in [-127, 127].
    void store_key(int64_t section, int64_t slot, const int16_t *q, float scale);
    void store_value(int64_t section, int64_t slot, const int16_t *q, float scale);
    // A key and value from slot to slot.
    void copy(int64_t section, int64_t from, int64_t to);
    // Fills v_max for `count` positions from `first` on, whose values are stored.
    void carry_maximum(int64_t section, int64_t first, int64_t count);

private:
    struct Tree {
        int64_t rows = 0, levels = 0;
        bool branches() const { return rows > levels; }
    };

    void compact();
    void grow(int64_t slots);
    int8_t *key(int64_t section, int64_t slot) const {  // of pairs, 2 * kTile apart
        return k_.data() + section * k_bytes() + slot / kTile * dim_ * kTile + slot % kTile * 2;
    }
    int8_t *value(int64_t section, int64_t slot, int64_t d) const {
        return v_.data() + section * v_bytes() + d / kTile * slots_ * kTile + slot / 2 * 2 * kTile +
               d % kTile * 2 + slot % 2;
    }
    int64_t k_bytes() const { return slots_ * dim_; }
    int64_t v_bytes() const { return slots_ * kTile * dim_tiles_; }

    int64_t sections_, dim_, dim_tiles_, window_, keep_, most_;
    int64_t length_ = 0, base_ = 0, slots_ = 0;
    Tree tree_;
    Buffer<int8_t> k_, v_;
    Buffer<float> k_scale_, v_scale_, v_max_;
};

class Session {
public:
    Session(std::shared_ptr<Engine> engine, int64_t lanes, int64_t window, int64_t rollback, int64_t batch);

    // depths: NULL, or those of the rows of trees.
    void extend(const int64_t *counts, const int32_t *ids, const int64_t *depths, int32_t *rows);
    void keep(int64_t lane, const int64_t *path, int64_t count);
    void rollback(int64_t lane, int64_t length);

private:
    struct Piece {  // rows at consecutive positions of a lane
        int64_t lane, count, row, first;  // row: its first row within the pass; first: that one's position
    };
    struct Task {
        int64_t piece, kv_head, first, count;  // rows first .. first + count - 1 of the pass
    };
    struct Scratch {  // of one thread
        Buffer<float> row, scores;
        Buffer<int16_t> weights;
        Buffer<uint8_t> planes;
    };

    Lane &lane_at(int64_t index);
    void pass(const std::vector<Piece> &pieces);
    void plan(const std::vector<Piece> &pieces);
    void embed();
    void attention(int64_t layer, const std::vector<Piece> &pieces);
    void store(int64_t layer, int64_t row);
    bool moves(const Piece &piece) const { return home_[piece.row] != slot_[piece.row]; }
    void settle(int64_t layer, const Piece &piece, const Task &task);
    void attend(int64_t layer, const Piece &piece, const Task &task, Scratch &scratch);
    std::pair<int64_t, int64_t> visible(const Piece &piece, const Task &task) const;
    template <class Make>
    Quantised quantised(int64_t width, const Make &make);

    std::shared_ptr<Engine> engine_;
    int64_t window_, batch_;
    std::vector<Lane> lanes_;

    // One pass: up to batch_ rows, one for each token.
    int64_t rows_ = 0;
    std::vector<int32_t> ids_;
    std::vector<int32_t *> out_;
    std::vector<int64_t> lane_of_, position_, slot_, home_;  // home_: the slot to store at
    std::vector<Task> tasks_;
    std::vector<std::pair<int64_t, int64_t>> runs_;  // tasks begin .. end - 1, one after the other
    Buffer<float> x_, wide_, mixed_, scale_, cos_, sin_, edge_cos_, edge_sin_, factor_, sink_factor_;
    Buffer<int16_t> q_, query_, sink_query_;
    Buffer<uint8_t> planes_;  // of q_
    std::vector<Scratch> scratch_;
    int64_t scratch_scores_ = 0, scratch_planes_ = 0;
};

}  // namespace nacrith
