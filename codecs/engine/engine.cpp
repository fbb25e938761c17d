// Loads a model: checks tensors against the configuration and packs them for the kernels.
#include "engine/engine.hpp"

#include <atomic>
#include <cfloat>
#include <cstdlib>
#include <cstring>
#include <string>

#include "engine/fork.hpp"
#include "engine/packing.hpp"

static_assert(FLT_EVAL_METHOD == 0, "float operations must round to float");

namespace nacrith {
namespace {

// Finds the tensor `name`, which must have exactly `bytes` bytes.
const void *find(const nacrith_tensor *tensors, int64_t count, const std::string &name, int64_t bytes) {
    for (int64_t i = 0; i < count; i++)
        if (name == tensors[i].name) {
            if (tensors[i].bytes != bytes)
                throw ModelError("tensor " + name + " has " + std::to_string(tensors[i].bytes) +
                                 " bytes, not " + std::to_string(bytes));
            return tensors[i].data;
        }
    throw ModelError("the model has no tensor " + name);
}

int64_t size_of(const nacrith_tensor *tensors, int64_t count, const std::string &name) {
    for (int64_t i = 0; i < count; i++)
        if (name == tensors[i].name) return tensors[i].bytes;
    throw ModelError("the model has no tensor " + name);
}

void check(const nacrith_config &c) {
    constexpr int64_t kMost = 1 << 20;
    for (const int64_t n : {c.layers, c.width, c.heads, c.kv_heads, c.head_dim, c.ffn, c.vocab})
        if (n < 1 || n > kMost) throw ModelError("model hyper-parameters are out of range");
    for (const int64_t n : {c.limit_qkv, c.limit_o, c.limit_mlp, c.limit_down, c.limit_head})
        if (n < 1 || n > 16383) throw ModelError("activation limits are out of range");
    if (c.heads % c.kv_heads || c.head_dim % 2 || c.head_dim > 1040)
        throw ModelError("unsupported attention shape");
}

}  // namespace

Engine::Engine(const nacrith_config &c, const nacrith_tensor *tensors, int64_t count, const Kernels &k, int most)
    : config((check(c), c)), kernels(k), threads(most), crew_(std::make_unique<Crew>(most)), generation_(generation()) {
    const auto get = [&](const std::string &name, int64_t bytes) { return find(tensors, count, name, bytes); };
    const auto floats = [&](const std::string &name, int64_t n) {
        return static_cast<const float *>(get(name, n * 4));
    };
    const auto weights = [&](const std::string &name, int64_t rows, int64_t columns, int64_t limit) {
        return pack(get(name + ".q", rows * columns), get(name + ".s", rows * 4), rows, columns, limit);
    };
    const int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim;
    embed_q = static_cast<const int8_t *>(get("embed.q", c.vocab * c.width));
    embed_s = floats("embed.s", c.vocab);
    final_norm = floats("final_norm", c.width);
    const int64_t step = 8 * c.head_dim;  // bytes of one position's cos and sin
    coarse_count = size_of(tensors, count, "rope.coarse") / step;
    fine = static_cast<const double *>(get("rope.fine", kFine * step));
    coarse = static_cast<const double *>(get("rope.coarse", coarse_count * step));
    for (int64_t i = 0; i < c.layers; i++) {
        const std::string at = "layers." + std::to_string(i) + ".";
        layers.push_back({floats(at + "attn_norm", c.width), floats(at + "mlp_norm", c.width),
                          weights(at + "qkv", queries + 2 * keys, c.width, c.limit_qkv),
                          weights(at + "o", c.width, queries, c.limit_o),
                          weights(at + "mlp", 2 * c.ffn, c.width, c.limit_mlp),
                          weights(at + "down", c.width, c.ffn, c.limit_down)});
    }
    head = weights(c.tied_head ? "embed" : "head", c.vocab, c.width, c.limit_head);
}

Engine::~Engine() {
    if (generation_ != generation()) static_cast<void>(crew_.release());  // its threads do not exist in this process
}

std::unique_lock<std::mutex> Engine::turn() {
    {
        const std::lock_guard<std::mutex> lock(fork_lock());
        if (generation_ != generation()) {
            static_cast<void>(crew_.release());  // leaked: no thread could unlock or join it
            crew_ = std::make_unique<Crew>(threads);
            generation_ = generation();
        }
    }
    return std::unique_lock<std::mutex>(crew_->busy);
}

Weights Engine::pack(const void *q, const void *s, int64_t rows, int64_t columns, int64_t limit) {
    const Packing packing = packing_for(kernels, columns, limit);
    const int64_t tiles = (rows + kTile - 1) / kTile, padded = packed_rows(packing, rows);
    const auto *from = static_cast<const int8_t *>(q);
    Weights w;
    w.limit = static_cast<int32_t>(limit);
    int8_t *const packed = packed_.take(padded * packing.columns);
    w.scales = Buffer<float>(padded);
    std::memcpy(w.scales.data(), s, static_cast<size_t>(rows) * 4);
    std::atomic<bool> wide{false};
    pool().pieces(tiles, 64, [&](int64_t begin, int64_t end, int) {
        for (int64_t tile = begin; tile < end; tile++)
            pack_tile(packing, from, rows, columns, tile, packed);
        for (int64_t n = begin * kTile; packing.layout == Layout::kPairs && n < end * kTile && n < rows; n++) {
            int32_t magnitude = 0;  // at most 128 * 2^20
            for (int64_t c = 0; c < columns; c++) magnitude += std::abs(int32_t{from[n * columns + c]});
            if (magnitude * limit > INT32_MAX) wide = true;
        }
    });
    w.matrix = {packed, w.scales.data(), rows, packing.columns, packing.layout, wide};
    return w;
}

void Engine::rotation(int64_t position, float *cos, float *sin) const {
    const int64_t half = config.head_dim / 2;
    const double *fc = fine + position % kFine * half, *fs = fc + kFine * half;
    const double *cc = coarse + position / kFine * half, *cs = cc + coarse_count * half;
    for (int64_t j = 0; j < half; j++) {
        cos[j] = static_cast<float>(cc[j] * fc[j] - cs[j] * fs[j]);
        sin[j] = static_cast<float>(cs[j] * fc[j] + cc[j] * fs[j]);
    }
}

void Engine::linear(const Weights &weights, Quantised x, int64_t count, const Output &out) {
    const Matrix &m = weights.matrix;
    const int64_t tiles = (m.rows + kTile - 1) / kTile;
    const int64_t parts = pool().threads() == 1 ? 1 : 4 * pool().threads();
    pool().pieces(tiles, rounded_up((tiles + parts - 1) / parts, kMostTiles), [&](int64_t begin, int64_t end, int) {
        kernels.linear(m, begin, end, x, count, out);
    });
}

}  // namespace nacrith
