// The engine: the weights of one model, packed for the kernels, and the threads of its sessions. See nacrith.h.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/kernels.hpp"
#include "engine/pool.hpp"
#include "nacrith.h"

namespace nacrith {

struct ModelError : std::runtime_error {
    using runtime_error::runtime_error;
};

struct Weights {
    Buffer<float> scales;
    Matrix matrix{};
    int32_t limit = 0;  // largest magnitude of the quantised input
};

struct Layer {
    const float *attn_norm, *mlp_norm;
    Weights qkv, o, mlp, down;
};

constexpr int64_t kFine = 256;  // positions of the fine rotation table

// The threads of an engine, and the lock that a session holds while it uses them.
struct Crew {
    explicit Crew(int threads) : pool(threads) {}

    std::mutex busy;
    Pool pool;
};

struct Engine {
    Engine(const nacrith_config &config, const nacrith_tensor *tensors, int64_t count, const Kernels &kernels,
           int threads);
    ~Engine();
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    nacrith_config config;
    const Kernels &kernels;
    const int threads;  // at most; the pool has as many as the system grants
    const int8_t *embed_q;
    const float *embed_s, *final_norm;
    const double *fine, *coarse;  // (2, kFine, half), (2, coarse_count, half)
    int64_t coarse_count;
    std::vector<Layer> layers;
    Weights head;

    int64_t limit() const { return kFine * coarse_count; }  // maximum number of tokens in a lane
    int64_t group() const { return config.heads / config.kv_heads; }
    // Computes cos and sin (head_dim / 2 each) of a position below limit().
    void rotation(int64_t position, float *cos, float *sin) const;
    // Multiplies packed weights by rows, on all threads.
    void linear(const Weights &weights, Quantised x, int64_t count, const Output &out);

    // Waits until no other session uses the threads. The caller may use pool() while it holds the lock.
    std::unique_lock<std::mutex> turn();
    Pool &pool() { return crew_->pool; }

private:
    Arena packed_;  // all matrices
    std::unique_ptr<Crew> crew_;
    uint64_t generation_;  // of the process that made the crew (fork.hpp)

    Weights pack(const void *q, const void *s, int64_t rows, int64_t columns, int64_t limit);
};

}  // namespace nacrith
