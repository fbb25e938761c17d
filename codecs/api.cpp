// The C face: exceptions become error codes here and nowhere else. See nacrith.h.
#include <new>
#include <string>

#include "engine.hpp"
#include "ensemble.hpp"
#include "variants.hpp"

using nacrith::Engine;
using nacrith::Ensemble;
using nacrith::Kernels;
using nacrith::Session;

struct nacrith_engine {
    std::shared_ptr<Engine> engine;
};

struct nacrith_session {
    Session session;
};

struct nacrith_ensemble {
    Ensemble ensemble;
};

namespace {

thread_local std::string last_error;

int32_t fail(int32_t code, const char *why) noexcept {
    try {
        last_error = why;
    } catch (...) {
        last_error.clear();
    }
    return code;
}

template <class Body>
int32_t guarded(const Body &body) noexcept {
    try {
        body();
        return NACRITH_OK;
    } catch (const std::invalid_argument &e) {
        return fail(NACRITH_ERROR_ARGUMENT, e.what());
    } catch (const nacrith::ModelError &e) {
        return fail(NACRITH_ERROR_MODEL, e.what());
    } catch (const std::bad_alloc &) {
        return fail(NACRITH_ERROR_MEMORY, "out of memory");
    } catch (const std::exception &e) {
        return fail(NACRITH_ERROR_INTERNAL, e.what());
    } catch (...) {
        return fail(NACRITH_ERROR_INTERNAL, "unknown error");
    }
}

const Kernels &named(const char *name) {
    for (const Kernels *k : nacrith::trusted_kernels())
        if (!name || std::string(name) == k->name) return *k;
    throw std::invalid_argument(std::string("this processor has no kernels called ") + name);
}

}  // namespace

int32_t nacrith_abi_version(void) { return 3; }

const char *nacrith_last_error(void) { return last_error.c_str(); }

const char *nacrith_kernels(int32_t index) {
    const char *name = nullptr;
    guarded([&] {
        const auto &all = nacrith::trusted_kernels();
        if (index >= 0 && static_cast<size_t>(index) < all.size()) name = all[static_cast<size_t>(index)]->name;
    });
    return name;
}

int32_t nacrith_engine_create(const nacrith_config *config, const nacrith_tensor *tensors, int64_t tensor_count,
                              const char *kernels, int32_t threads, nacrith_engine **out) {
    return guarded([&] {
        if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be within 1..1024");
        auto engine = std::make_shared<Engine>(*config, tensors, tensor_count, named(kernels), threads);
        *out = new nacrith_engine{std::move(engine)};
    });
}

void nacrith_engine_destroy(nacrith_engine *engine) { delete engine; }

int32_t nacrith_session_create(nacrith_engine *engine, int64_t lanes, int64_t window, int64_t rollback,
                               int64_t batch, nacrith_session **out) {
    return guarded([&] {
        constexpr int64_t kMost = 1 << 17;
        if (lanes < 0 || lanes > kMost || window < 2 * nacrith::kSinks || window > kMost || rollback < 0 ||
            rollback > kMost || batch < 1 || batch > 4096)
            throw std::invalid_argument("lanes, window, rollback or batch is out of range");
        *out = new nacrith_session{Session(engine->engine, lanes, window, rollback, batch)};
    });
}

void nacrith_session_destroy(nacrith_session *session) { delete session; }

int32_t nacrith_session_extend(nacrith_session *session, const int64_t *counts, const int32_t *ids,
                               const int64_t *depths, int32_t *rows) {
    return guarded([&] { session->session.extend(counts, ids, depths, rows); });
}

int32_t nacrith_session_keep(nacrith_session *session, int64_t lane, const int64_t *path, int64_t count) {
    return guarded([&] { session->session.keep(lane, path, count); });
}

int32_t nacrith_session_rollback(nacrith_session *session, int64_t lane, int64_t length) {
    return guarded([&] { session->session.rollback(lane, length); });
}

int32_t nacrith_session_lengths(const nacrith_session *session, int64_t *lengths) {
    return guarded([&] { session->session.lengths(lengths); });
}

int32_t nacrith_ensemble_create(int32_t set, int64_t vocab, int64_t capacity, const int64_t *lg,
                                const int64_t *exp, const void *prior, int64_t prior_bytes,
                                const char *kernels, nacrith_ensemble **out) {
    return guarded([&] {
        *out = new nacrith_ensemble{Ensemble(set, vocab, capacity, lg, exp, static_cast<const uint8_t *>(prior),
                                             prior_bytes, named(kernels))};
    });
}

void nacrith_ensemble_destroy(nacrith_ensemble *ensemble) { delete ensemble; }

int32_t nacrith_ensemble_counts(nacrith_ensemble *ensemble, int32_t previous, const int32_t *row,
                                float *counts) {
    return guarded([&] { ensemble->ensemble.counts(previous, row, counts); });
}

int32_t nacrith_ensemble_encode(nacrith_ensemble *ensemble, int64_t n, const int32_t *rows,
                                const int32_t *tokens, uint32_t *low, uint32_t *count) {
    return guarded([&] { ensemble->ensemble.encode(n, rows, tokens, low, count); });
}
