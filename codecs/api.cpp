// The C interface. It is the only place that converts exceptions to error codes. See nacrith.h.
#include <algorithm>
#include <memory>
#include <new>
#include <string>

#include "engine/session.hpp"
#include "engine/variants.hpp"
#include "learner/ensemble.hpp"
#include "learner/group.hpp"
#include "learner/learner.hpp"

using nacrith::Engine;
using nacrith::Ensemble;
using nacrith::Kernels;
using nacrith::Session;

struct nacrith_object {
    virtual ~nacrith_object() = default;
};

namespace {

// The object behind a handle.
template <class Value>
struct Holder : nacrith_object {
    explicit Holder(Value &&made) : value(std::move(made)) {}
    Value value;
};

using SharedEngine = std::shared_ptr<Engine>;  // sessions share the ownership

template <class Value>
Value &held(nacrith_object *object) {
    if (const auto holder = dynamic_cast<Holder<Value> *>(object)) return holder->value;
    throw std::invalid_argument("the object is of another kind");
}

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
    } catch (const std::length_error &e) {
        return fail(NACRITH_ERROR_DATA, e.what());
    } catch (const nacrith::DamagedError &e) {
        return fail(NACRITH_ERROR_DATA, e.what());
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

nacrith::learner::Layout layout_of(int32_t step, int32_t row) {
    return {static_cast<uint32_t>(step), static_cast<uint32_t>(row)};
}

// One text in the hands of a learner.
struct Coding {
    std::unique_ptr<nacrith::learner::Predictor> predictor;
    int64_t left;  // bytes of the text
    nacrith::RangeEncoder encoder;
    std::vector<uint8_t> payload;  // of a decoder from the start, of an encoder when it is finished
    std::unique_ptr<nacrith::RangeDecoder> decoder;
    bool finished = false;

    void take(int64_t size, bool decoding) {
        if (size < 0 || size > left || decoding != (decoder != nullptr) || finished)
            throw std::invalid_argument("more bytes than the text has, or the other way of coding");
        left -= size;
    }
};

using SharedVocabulary = std::shared_ptr<const nacrith::Vocabulary>;  // groups share the ownership

enum class Way { kEncode, kDecode, kEither };

// One group of lanes in the hands of its ensemble and its coder.
struct Group {
    Ensemble ensemble;
    std::unique_ptr<nacrith::TokenCoder> coder;
    std::vector<int64_t> left;  // tokens of each lane
    nacrith::Buffer<float> counts;
    int64_t vocab;
    nacrith::RangeEncoder encoder;
    std::vector<uint8_t> payload;  // of a decoder from the start, of an encoder when it is finished
    std::unique_ptr<nacrith::RangeDecoder> decoder;
    bool finished = false, broken = false;  // by an error halfway

    void begin(Way way) {
        if (broken) throw std::invalid_argument("an earlier call of this group failed");
        if (finished || (way != Way::kEither && (way == Way::kDecode) != (decoder != nullptr)))
            throw std::invalid_argument("the group codes the other way");
        broken = true;
    }
    size_t take(int32_t lane) {
        if (lane < 0 || static_cast<size_t>(lane) >= left.size() || left[static_cast<size_t>(lane)] == 0)
            throw std::invalid_argument("there is no such lane, or it is complete");
        left[static_cast<size_t>(lane)]--;
        return static_cast<size_t>(lane);
    }
    int32_t checked(int32_t token) const {
        if (token < 0 || token >= vocab) throw std::invalid_argument("a token outside the vocabulary");
        return token;
    }
    // The next n tokens. each: codes token i of a lane by `counts` and returns it.
    template <class Each>
    void code(Way way, int64_t n, const int32_t *lanes, const int64_t *at, const int32_t *rows, const Each &each) {
        begin(way);
        for (int64_t i = 0; i < n; i++) {
            const size_t lane = take(lanes[i]);
            ensemble.counts(lane, rows + at[i] * vocab, counts.data());
            ensemble.update(each(*this, i, lane));
        }
        broken = false;
    }
};

void hand_out(const std::vector<uint8_t> &made, void *payload, int64_t room, int64_t *size) {
    *size = static_cast<int64_t>(made.size());
    if (!payload) return;
    if (room < *size) throw std::invalid_argument("no room for the payload");
    std::copy(made.begin(), made.end(), static_cast<uint8_t *>(payload));
}

}  // namespace

int32_t nacrith_abi_version(void) { return 9; }

const char *nacrith_last_error(void) { return last_error.c_str(); }

const char *nacrith_kernels(int32_t index) {
    const char *name = nullptr;
    guarded([&] {
        const auto &all = nacrith::trusted_kernels();
        if (index >= 0 && static_cast<size_t>(index) < all.size()) name = all[static_cast<size_t>(index)]->name;
    });
    return name;
}

int32_t nacrith_bare(const char *kernels, int32_t bytes, int64_t rounds, int64_t *products) {
    return guarded([&] {
        const Kernels &k = named(kernels);
        const nacrith::Layout layout = bytes && k.quads.write ? nacrith::Layout::kQuads : nacrith::Layout::kPairs;
        if (rounds < 0) throw std::invalid_argument("a negative number of rounds");
        *products = k.bare ? k.bare(layout, rounds) : 0;
    });
}

void nacrith_destroy(nacrith_object *object) { delete object; }

int32_t nacrith_engine_create(const nacrith_config *config, const nacrith_tensor *tensors, int64_t tensor_count,
                              const char *kernels, int32_t threads, nacrith_engine **out) {
    return guarded([&] {
        if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be within 1..1024");
        *out = new Holder(std::make_shared<Engine>(*config, tensors, tensor_count, named(kernels), threads));
    });
}

int32_t nacrith_session_create(nacrith_engine *engine, int64_t lanes, int64_t window, int64_t rollback,
                               int64_t batch, nacrith_session **out) {
    return guarded([&] {
        constexpr int64_t kMost = 1 << 17;
        if (lanes < 0 || lanes > kMost || window < 2 * nacrith::kSinks || window > kMost || rollback < 0 ||
            rollback > kMost || batch < 1 || batch > 4096)
            throw std::invalid_argument("lanes, window, rollback or batch is out of range");
        *out = new Holder(Session(held<SharedEngine>(engine), lanes, window, rollback, batch));
    });
}

int32_t nacrith_session_extend(nacrith_session *session, const int64_t *counts, const int32_t *ids,
                               const int64_t *depths, int32_t *rows) {
    return guarded([&] { held<Session>(session).extend(counts, ids, depths, rows); });
}

int32_t nacrith_session_keep(nacrith_session *session, int64_t lane, const int64_t *path, int64_t count) {
    return guarded([&] { held<Session>(session).keep(lane, path, count); });
}

int32_t nacrith_session_rollback(nacrith_session *session, int64_t lane, int64_t length) {
    return guarded([&] { held<Session>(session).rollback(lane, length); });
}

int32_t nacrith_vocabulary_create(int64_t size, int64_t spelled, const int32_t *order, const void *text,
                                  const int32_t *offsets, nacrith_vocabulary **out) {
    return guarded([&] {
        const auto bytes = static_cast<const uint8_t *>(text);
        *out = new Holder(SharedVocabulary(std::make_shared<nacrith::Vocabulary>(size, spelled, order, bytes, offsets)));
    });
}

int32_t nacrith_group_create(nacrith_vocabulary *vocabulary, int32_t set, int64_t capacity, const int64_t *lg,
                             const int64_t *exp, const void *prior, int64_t prior_bytes, int32_t bits,
                             const int64_t *lengths, int64_t lanes, const char *kernels, const void *payload,
                             int64_t payload_bytes, nacrith_group **out) {
    return guarded([&] {
        if (lanes < 1 || payload_bytes < 0) throw std::invalid_argument("a group without lanes, or a negative length");
        const auto &words = held<SharedVocabulary>(vocabulary);
        const Kernels &set_of = named(kernels);
        const std::vector<int64_t> tokens(lengths, lengths + lanes);
        nacrith::Fixed fixed(lg, exp);
        Group made{Ensemble(set, words->size(), capacity, lg, exp, static_cast<const uint8_t *>(prior), prior_bytes,
                            tokens, set_of),
                   nacrith::make_coder(words, fixed, bits, tokens.size(), set_of.name),
                   tokens,
                   nacrith::Buffer<float>(words->size()),
                   words->size(),
                   {},
                   {},
                   {}};
        if (payload) {
            const auto bytes = static_cast<const uint8_t *>(payload);
            made.payload.assign(bytes, bytes + payload_bytes);
            made.decoder = std::make_unique<nacrith::RangeDecoder>(made.payload.data(), made.payload.size());
        }
        *out = new Holder(std::move(made));
    });
}

int32_t nacrith_group_encode(nacrith_group *group, int64_t n, const int32_t *lanes, const int64_t *at,
                             const int32_t *rows, const int32_t *tokens) {
    return guarded([&] {
        held<Group>(group).code(Way::kEncode, n, lanes, at, rows, [&](Group &g, int64_t i, size_t lane) {
            g.coder->encode(lane, g.checked(tokens[i]), g.counts.data(), g.encoder);
            return tokens[i];
        });
    });
}

int32_t nacrith_group_decode(nacrith_group *group, int64_t n, const int32_t *lanes, const int64_t *at,
                             const int32_t *rows, int32_t *tokens) {
    return guarded([&] {
        held<Group>(group).code(Way::kDecode, n, lanes, at, rows, [&](Group &g, int64_t i, size_t lane) {
            return tokens[i] = g.coder->decode(lane, g.counts.data(), *g.decoder);
        });
    });
}

int32_t nacrith_group_learn(nacrith_group *group, int64_t n, const int32_t *lanes, const int64_t *at,
                            const int32_t *rows, const int32_t *tokens) {
    return guarded([&] {
        held<Group>(group).code(Way::kEither, n, lanes, at, rows, [&](Group &g, int64_t i, size_t lane) {
            g.coder->learn(lane, g.checked(tokens[i]), g.counts.data());
            return tokens[i];
        });
    });
}

int32_t nacrith_group_finish(nacrith_group *group, void *payload, int64_t room, int64_t *size) {
    return guarded([&] {
        auto &g = held<Group>(group);
        if (!g.finished) {
            g.begin(Way::kEncode);
            for (const int64_t left : g.left)
                if (left) throw std::invalid_argument("the group is not complete");
            g.payload = g.encoder.finish();
            g.finished = true;
            g.broken = false;
        }
        hand_out(g.payload, payload, room, size);
    });
}

int32_t nacrith_learner_encoder(int32_t shape, int32_t bits, int64_t length, int32_t step, int32_t row,
                                const char *kernels, nacrith_learner **out) {
    return guarded([&] {
        Coding made{nacrith::learner::make(shape, bits, length, layout_of(step, row), named(kernels).name), length, {}, {}, {}};
        *out = new Holder(std::move(made));
    });
}

int32_t nacrith_learner_decoder(int32_t shape, int32_t bits, int64_t length, int32_t step, int32_t row,
                                const char *kernels, const void *payload, int64_t payload_bytes,
                                nacrith_learner **out) {
    return guarded([&] {
        if (payload_bytes < 0) throw std::invalid_argument("a payload of negative length");
        const auto bytes = static_cast<const uint8_t *>(payload);
        Coding made{nacrith::learner::make(shape, bits, length, layout_of(step, row), named(kernels).name), length, {}, {}, {}};
        made.payload.assign(bytes, bytes + payload_bytes);
        made.decoder = std::make_unique<nacrith::RangeDecoder>(made.payload.data(), made.payload.size());
        *out = new Holder(std::move(made));
    });
}

int32_t nacrith_learner_encode(nacrith_learner *learner, const void *data, int64_t size, int64_t *least) {
    return guarded([&] {
        auto &coding = held<Coding>(learner);
        coding.take(size, false);
        coding.predictor->encode(static_cast<const uint8_t *>(data), static_cast<size_t>(size), coding.encoder);
        *least = static_cast<int64_t>(coding.encoder.least());
    });
}

int32_t nacrith_learner_decode(nacrith_learner *learner, void *data, int64_t size) {
    return guarded([&] {
        auto &coding = held<Coding>(learner);
        coding.take(size, true);
        coding.predictor->decode(static_cast<uint8_t *>(data), static_cast<size_t>(size), *coding.decoder);
    });
}

int32_t nacrith_learner_finish(nacrith_learner *learner, void *payload, int64_t room, int64_t *size) {
    return guarded([&] {
        auto &coding = held<Coding>(learner);
        if (!coding.finished) {
            coding.take(0, false);
            if (coding.left) throw std::invalid_argument("the text is not complete");
            coding.payload = coding.encoder.finish();
            coding.finished = true;
        }
        hand_out(coding.payload, payload, room, size);
    });
}
