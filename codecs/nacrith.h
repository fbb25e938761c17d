/* The C interface of the native core: arithmetic version 1 (formats/arithmetic-v1.md), one call per extend.
 *
 * Handles are opaque. Every function that can fail returns 0 or one of the codes below; the message is then in
 * nacrith_last_error(), for the calling thread. No exception crosses this interface. Sessions of one engine may
 * be used from several threads: their calls wait for each other. The caller must serialise calls for one
 * session, group or learner, and the destruction of any object. After a fork, the child may use every object that no
 * call was using.
 */
#ifndef NACRITH_H
#define NACRITH_H

#include <stdint.h>

#if defined(_WIN32)
#define NACRITH_API __declspec(dllexport)
#else
#define NACRITH_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    NACRITH_OK = 0,
    NACRITH_ERROR_ARGUMENT = 1, /* a value outside its range: ValueError */
    NACRITH_ERROR_MODEL = 2,    /* tensors and configuration do not fit together: ModelError */
    NACRITH_ERROR_MEMORY = 3,
    NACRITH_ERROR_INTERNAL = 4,
    NACRITH_ERROR_DATA = 5 /* coded data that cannot be right: CorruptError */
};

typedef struct nacrith_config {
    int64_t layers, width, heads, kv_heads, head_dim, ffn, vocab, tied_head;
    int64_t limit_qkv, limit_o, limit_mlp, limit_down, limit_head;
    double rms_eps;
} nacrith_config;

/* A contiguous tensor of the model file. Its data must outlive the engine. */
typedef struct nacrith_tensor {
    const char *name;
    const void *data;
    int64_t bytes;
} nacrith_tensor;

/* An object made by a create function. Each function checks that it gets the right kind. */
typedef struct nacrith_object nacrith_object;
typedef nacrith_object nacrith_engine, nacrith_session, nacrith_vocabulary, nacrith_group, nacrith_learner;

/* Incremented by every change of this header; nacrith/native/abi.py has the version that Python expects. */
NACRITH_API int32_t nacrith_abi_version(void);

/* A hash, in hexadecimal, of the sources that the library was built from (fingerprint.cmake). */
NACRITH_API const char *nacrith_sources(void);

/* The error of the last call of this thread that failed; valid until its next call. */
NACRITH_API const char *nacrith_last_error(void);

/* Name of the index-th set of kernels that this processor can run, best first; NULL past the last. Sets that
 * fail the check at first use are neither listed nor used. */
NACRITH_API const char *nacrith_kernels(int32_t index);

/* Computes about 1,000 products `rounds` times, in registers, by the instructions that a set has for products of
 * activations of two bytes or, with bytes, of one: to measure what the processor could do at most. products: their
 * number; 0 for a set without instructions of its own. */
NACRITH_API int32_t nacrith_bare(const char *kernels, int32_t bytes, int64_t rounds, int64_t *products);

/* Frees an object; NULL is allowed. An engine may be freed before its sessions. */
NACRITH_API void nacrith_destroy(nacrith_object *object);

/* kernels: a name from nacrith_kernels, or NULL for the best. threads >= 1: at most this many run; fewer if the
 * system does not grant them. */
NACRITH_API int32_t nacrith_engine_create(const nacrith_config *config, const nacrith_tensor *tensors,
                                          int64_t tensor_count, const char *kernels, int32_t threads,
                                          nacrith_engine **out);

/* rollback: number of tokens that can always be removed; batch: most rows of one pass through the layers. */
NACRITH_API int32_t nacrith_session_create(nacrith_engine *engine, int64_t lanes, int64_t window,
                                           int64_t rollback, int64_t batch, nacrith_session **out);

/* Appends counts[i] tokens to lane i. ids: the tokens of all lanes, lane by lane; rows: one row of
 * `vocab` integers for each token, in the same order. After an argument error no lane has changed;
 * after any other error the session must not be used again.
 *
 * With depths (else NULL) the tokens of a lane are a tree behind its end, in preorder, and the lane
 * does not grow: depth 0 follows the lane's last token, depth d the latest token of depth d - 1. The
 * tree is held until its lane is extended, rolled back, or given another tree. */
NACRITH_API int32_t nacrith_session_extend(nacrith_session *session, const int64_t *counts,
                                           const int32_t *ids, const int64_t *depths, int32_t *rows);

/* Appends `count` tokens of the lane's tree and discards the rest. path: their indices within the tree; the
 * first has depth 0, and each must be the parent of the next, which is not checked. */
NACRITH_API int32_t nacrith_session_keep(nacrith_session *session, int64_t lane, const int64_t *path,
                                         int64_t count);

/* Removes all of the lane's tokens but the first `length`. */
NACRITH_API int32_t nacrith_session_rollback(nacrith_session *session, int64_t lane, int64_t length);

/* A vocabulary sorted by the bytes of its tokens (formats/coding-v2.md). order: the id at each of `size` ranks; text,
 * offsets: rank r has the bytes text[offsets[r]] .. text[offsets[r + 1]]; the first `spelled` ranks, and only they, have
 * any. All data is copied. */
NACRITH_API int32_t nacrith_vocabulary_create(int64_t size, int64_t spelled, const int32_t *order, const void *text,
                                              const int32_t *offsets, nacrith_vocabulary **out);

/* A group of lanes that is coded in one stream (formats/coding-v2.md).
 *
 * set: of the ensemble: 0, the model alone, for which prior and capacity mean nothing; or 1, the cascade. capacity:
 * contexts of an order in one generation of the n-grams. lg, exp: 1,024 values each; prior: the tables of the set.
 * bits: log2 of the bytes that the learner remembers in, 16..28. lengths: tokens of each of the `lanes`, 1..64.
 * payload: NULL to encode; else what is to be decoded. All data is copied. */
NACRITH_API int32_t nacrith_group_create(nacrith_vocabulary *vocabulary, int32_t set, int64_t capacity,
                                         const int64_t *lg, const int64_t *exp, const void *prior,
                                         int64_t prior_bytes, int32_t bits, const int64_t *lengths, int64_t lanes,
                                         const char *kernels, const void *payload, int64_t payload_bytes,
                                         nacrith_group **out);

/* Codes the next tokens of lanes, n in all, in the order given: the i-th is the next one of lane lanes[i], for which
 * the model's row (log2 weights of magnitude at most 2^30, one for each id) is rows + at[i] * size of the vocabulary.
 * tokens: to be encoded, or filled in. After any error the group must not be used again. */
NACRITH_API int32_t nacrith_group_encode(nacrith_group *group, int64_t n, const int32_t *lanes, const int64_t *at,
                                         const int32_t *rows, const int32_t *tokens);
NACRITH_API int32_t nacrith_group_decode(nacrith_group *group, int64_t n, const int32_t *lanes, const int64_t *at,
                                         const int32_t *rows, int32_t *tokens);

/* The same for tokens of a known prefix, in either direction: they are learnt, and nothing is coded. */
NACRITH_API int32_t nacrith_group_learn(nacrith_group *group, int64_t n, const int32_t *lanes, const int64_t *at,
                                        const int32_t *rows, const int32_t *tokens);

/* The payload, when all tokens of all lanes are encoded; as nacrith_learner_finish. */
NACRITH_API int32_t nacrith_group_finish(nacrith_group *group, void *payload, int64_t room, int64_t *size);

/* A text that a learner codes without a model (formats/learner-v1.md). shape: 0 text, 1 data, 2 fast, 3
 * bitmap, 4 bytes, 5 words. bits: log2 of the bytes that it remembers in, 16..28. length: of the text, at most 2^26 - 64.
 * step, row: bytes from a sample to the next of its channel, and bytes of a row or 0; 1 and 0 for shapes below 3. Encoding takes the text in pieces, then
 * `finish` gives the payload; decoding takes the whole payload first, then gives the text in pieces. */
NACRITH_API int32_t nacrith_learner_encoder(int32_t shape, int32_t bits, int64_t length, int32_t step, int32_t row,
                                            const char *kernels, nacrith_learner **out);
NACRITH_API int32_t nacrith_learner_decoder(int32_t shape, int32_t bits, int64_t length, int32_t step, int32_t row,
                                            const char *kernels, const void *payload, int64_t payload_bytes,
                                            nacrith_learner **out);

/* The next `size` bytes of the text. More than its length is an error of argument. least: a length that
 * the payload has at least, whatever follows. */
NACRITH_API int32_t nacrith_learner_encode(nacrith_learner *learner, const void *data, int64_t size, int64_t *least);
NACRITH_API int32_t nacrith_learner_decode(nacrith_learner *learner, void *data, int64_t size);

/* The payload: its length, and its bytes if `payload` has room for `room` of them, else an error of argument. A
 * first call with room 0 and NULL asks for the length alone. */
NACRITH_API int32_t nacrith_learner_finish(nacrith_learner *learner, void *payload, int64_t room, int64_t *size);

#ifdef __cplusplus
}
#endif
#endif
