// A session: lanes of one engine, and the working memory of one pass through the layers. See nacrith.h.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/engine.hpp"
#include "engine/lane.hpp"

namespace nacrith {

class Session {
public:
    Session(std::shared_ptr<Engine> engine, int64_t lanes, int64_t window, int64_t rollback, int64_t batch);

    // depths: of the rows of trees; else NULL.
    void extend(const int64_t *counts, const int32_t *ids, const int64_t *depths, int32_t *rows);
    void keep(int64_t lane, const int64_t *path, int64_t count);
    void rollback(int64_t lane, int64_t length);

private:
    struct Piece {  // rows of consecutive positions in a lane
        int64_t lane, count, row, first;  // row: first row in the pass; first: its position
    };
    struct Task {
        int64_t piece, kv_head, first, count;  // rows first .. first + count - 1 of the pass
    };
    struct Scratch {  // for one thread
        Buffer<float> row, scores;
        Buffer<int16_t> weights;
        Buffer<uint8_t> formed;
    };

    Lane &lane_at(int64_t index);
    template <class Body>
    void whole(const Body &body);
    void check(const int64_t *counts, const int32_t *ids, const int64_t *depths);
    void begin_pass();
    void gather(int64_t index, int64_t begin, int64_t count, int64_t first, const int32_t *ids,
                const int64_t *depths, int32_t *rows, std::vector<Piece> &pieces);
    void pass(const std::vector<Piece> &pieces);
    void plan(const std::vector<Piece> &pieces);
    void embed();
    void attention(int64_t layer, const std::vector<Piece> &pieces);
    void store(int64_t layer, int64_t row);
    bool moves(const Piece &piece) const { return home_[piece.row] != slot_[piece.row]; }
    void settle(int64_t layer, const Piece &piece, const Task &task);
    void attend(int64_t layer, const Piece &piece, const Task &task, Scratch &scratch);
    std::pair<int64_t, int64_t> visible(const Piece &piece, const Task &task) const;
    int64_t step() const;
    template <class Make>
    Quantised quantised(int64_t width, const Weights &by, const Make &make);

    std::shared_ptr<Engine> engine_;
    int64_t window_, batch_;
    std::vector<Lane> lanes_;
    bool halfway_ = false;  // whether a call did not complete

    // One pass: at most batch_ rows, one for each token.
    int64_t rows_ = 0;
    std::vector<int32_t> ids_;
    std::vector<int32_t *> out_;
    std::vector<int64_t> lane_of_, position_, slot_, home_;  // home_: the slot to store to
    std::vector<Task> tasks_;
    std::vector<std::pair<int64_t, int64_t>> runs_;  // tasks begin .. end - 1, in sequence
    Buffer<float> x_, wide_, mixed_, scale_, cos_, sin_, edge_cos_, edge_sin_, factor_, sink_factor_;
    Buffer<int16_t> q_, query_, sink_query_;
    Buffer<uint8_t> formed_;  // of q_
    std::vector<Scratch> scratch_;
    int64_t scratch_scores_ = 0, scratch_formed_ = 0;
};

}  // namespace nacrith
