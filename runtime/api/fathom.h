/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The C interface of the runtime: open a model, tokenize, prefill, decode, sample, generate. C99
 * and later.
 *
 * Stability: functions are added, never changed or removed, within one FATHOM_API_VERSION. Structs
 * that may grow begin with `size`; fill them with their _init function, which sets every default.
 * Threads: a model may be used from any thread, also by several at once; a session or a sampler by
 * one thread at a time. A model stays alive until its sessions are destroyed, in any order of
 * closing. Errors: every function that can fail returns a fathom_status; fathom_last_error() then
 * has the message of the calling thread. On failure, output arguments are unchanged. Nothing
 * prints, throws or aborts. Trust: an artifact holds native code. Opening one checks it; running
 * one equals running a program. */
#ifndef FATHOM_RUNTIME_API_FATHOM_H_
#define FATHOM_RUNTIME_API_FATHOM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FATHOM_API_VERSION 1
#if defined(__GNUC__)
#define FATHOM_API __attribute__((visibility("default")))
#else
#define FATHOM_API
#endif

typedef enum fathom_status {
  FATHOM_OK = 0,
  FATHOM_BAD_INPUT = 1,   /* a file, argument or option of yours */
  FATHOM_UNSUPPORTED = 2, /* well-formed, but not on this device, build or amount of memory */
  FATHOM_INTERNAL = 3,    /* a fault of Fathom */
  FATHOM_CANCELLED = 4    /* a callback said stop */
} fathom_status;

/* FATHOM_API_VERSION of the library, and its version as text ("0.1.0"). */
FATHOM_API uint32_t fathom_api_version(void);
FATHOM_API const char* fathom_version(void);
/* The message of the last call of this thread that failed; "" before. Valid until this thread's
 * next call. */
FATHOM_API const char* fathom_last_error(void);

/* ---- Models ---- */

typedef struct fathom_model fathom_model;

typedef enum fathom_load {
  FATHOM_LOAD_AUTO = 0, /* copy when memory is plentiful, else map */
  FATHOM_LOAD_MAP = 1,  /* map the file: starts at once */
  FATHOM_LOAD_COPY = 2  /* copy into huge pages: decodes faster */
} fathom_load;

/* Bytes done and in all; false cancels. */
typedef bool (*fathom_progress)(void* user, uint64_t done, uint64_t total);

typedef struct fathom_model_options {
  size_t size;
  int32_t load;       /* a fathom_load */
  int32_t threads;    /* at most one per CPU that the process may use; 0: one per physical core */
  const char* device; /* "cpu", "vulkan:0", "auto" ...; NULL: "cpu" */
  bool check_full;    /* compare every hash before use */
  fathom_progress progress;
  void* user;
  /* Kernels done and in all, for devices that make machine code when a model is opened. From any
   * thread, one call at a time; also gets `user`. */
  fathom_progress build_progress;
  /* Folder that keeps such code for the next time; NULL: the user's cache folder, "off": none. */
  const char* code_cache;
} fathom_model_options;
FATHOM_API void fathom_model_options_init(fathom_model_options* options);

/* `options` may be NULL. */
FATHOM_API fathom_status fathom_model_open(const char* path, const fathom_model_options* options,
                                           fathom_model** out);
FATHOM_API void fathom_model_close(fathom_model* model); /* NULL does nothing */

typedef struct fathom_model_info {
  size_t size;
  const char* name; /* these live as long as the model */
  const char* architecture;
  const char* quantization;
  const char* target; /* of the program that was picked: "cpu:x86-64-v4" */
  uint64_t parameters;
  uint64_t context_length; /* tokens */
  uint64_t weight_bytes;
  uint32_t vocab_size;
  uint32_t layers;
  bool has_tokenizer;
  bool has_chat_template;
  bool weights_mapped;       /* mapped, not copied */
  const char* device;        /* "vulkan:0" */
  const char* device_reason; /* why "auto" chose it; "" when it was named */
} fathom_model_info;
/* Set `info->size` first. */
FATHOM_API fathom_status fathom_model_get_info(const fathom_model* model, fathom_model_info* info);

/* ---- Text ----
 * Functions that fill an array take its capacity in elements and always set *count to the number
 * needed; when that exceeds the capacity, nothing is written and the status is FATHOM_OK. So call
 * with 0 to measure. */

/* UTF-8 to ids. `add_special`: with what the model wants around a text (often a BOS). Control
 * tokens spelled in `text` stay plain text unless `parse_special`: set that for text no user wrote.
 */
FATHOM_API fathom_status fathom_tokenize(const fathom_model* model, const char* text, size_t length,
                                         bool add_special, bool parse_special, int32_t* tokens,
                                         size_t capacity, size_t* count);
/* Ids to UTF-8, not NUL-terminated. */
FATHOM_API fathom_status fathom_detokenize(const fathom_model* model, const int32_t* tokens,
                                           size_t token_count, bool skip_special, char* text,
                                           size_t capacity, size_t* count);
/* True for ids that end a generation. */
FATHOM_API bool fathom_token_is_end(const fathom_model* model, int32_t token);

typedef struct fathom_message {
  const char* role; /* "system", "user", "assistant" */
  const char* content;
} fathom_message;
/* Renders the conversation with the model's chat template and tokenizes it. Control tokens come
 * from the template only: spelled in a message they are letters. `add_generation_prompt` opens the
 * assistant's turn. */
FATHOM_API fathom_status fathom_apply_chat_template(const fathom_model* model,
                                                    const fathom_message* messages,
                                                    size_t message_count,
                                                    bool add_generation_prompt, int32_t* tokens,
                                                    size_t capacity, size_t* count);

/* ---- Sessions ---- */

typedef struct fathom_session fathom_session;

typedef struct fathom_session_options {
  size_t size;
  int64_t context_size;  /* tokens per sequence; 0: the model's */
  int32_t max_sequences; /* default 1 */
  int32_t chunk;         /* most tokens of one pass of a prefill; default 1024 */
  /* A sequence's logits then depend on its own tokens alone, byte for byte, and on which of them
   * were appended one at a time: not on other sequences, whatever is done with them in the same
   * call or beside it, not on `chunk`, nor on the number of threads. Without it all this holds
   * too, except that a last token that `chunk` leaves over, or on some targets few tokens of a
   * call, may be computed as decode steps are: the same numbers to rounding.
   * Default false. */
  bool deterministic;
} fathom_session_options;
FATHOM_API void fathom_session_options_init(fathom_session_options* options);
FATHOM_API fathom_status fathom_session_create(fathom_model* model,
                                               const fathom_session_options* options,
                                               fathom_session** out);
FATHOM_API void fathom_session_destroy(fathom_session* session); /* NULL does nothing */
FATHOM_API int64_t fathom_session_context_size(const fathom_session* session);

/* A sequence is a number from 0 to max_sequences - 1. */
FATHOM_API fathom_status fathom_sequence_add(fathom_session* session, int32_t* sequence);
FATHOM_API fathom_status fathom_sequence_remove(fathom_session* session, int32_t sequence);
FATHOM_API fathom_status fathom_sequence_length(const fathom_session* session, int32_t sequence,
                                                int64_t* length);
/* Forgets the tokens from `length` on. */
FATHOM_API fathom_status fathom_sequence_truncate(fathom_session* session, int32_t sequence,
                                                  int64_t length);

/* Logits, (rows, stride) float32; the first vocab_size of a row count. Valid until the session's
 * next call. */
typedef struct fathom_logits {
  const float* data;
  size_t rows;
  size_t stride;
  size_t vocab_size;
} fathom_logits;

/* `count` tokens to append to `sequence`. */
typedef struct fathom_extension {
  int32_t sequence;
  const int32_t* tokens;
  size_t count;
} fathom_extension;

/* Appends to `extension_count` different sequences at once; row i of the logits is that after the
 * last token of extensions[i]. Single tokens beside longer prompts are computed first, in passes of
 * their own, unless all tokens are few enough for one of decode steps. Everything is checked
 * first: an error of kind FATHOM_BAD_INPUT has changed nothing. */
FATHOM_API fathom_status fathom_prefill(fathom_session* session, const fathom_extension* extensions,
                                        size_t extension_count, fathom_logits* logits);
/* The same with one token for each of `count` sequences. */
FATHOM_API fathom_status fathom_decode(fathom_session* session, const int32_t* sequences,
                                       const int32_t* tokens, size_t count, fathom_logits* logits);

/* ---- Sampling and generation ---- */

typedef struct fathom_sampler_options {
  size_t size;
  float temperature; /* 0: the most likely token. Default 0.8 */
  int32_t top_k;     /* 0: all. Default 40 */
  float top_p;       /* 1: all. Default 0.95 */
  float min_p;       /* 0: all. Default 0.05 */
  uint64_t seed;     /* default 0; the same seed gives the same tokens */
} fathom_sampler_options;
FATHOM_API void fathom_sampler_options_init(fathom_sampler_options* options);

typedef struct fathom_sampler fathom_sampler;
FATHOM_API fathom_status fathom_sampler_create(const fathom_sampler_options* options,
                                               fathom_sampler** out);
FATHOM_API void fathom_sampler_destroy(fathom_sampler* sampler); /* NULL does nothing */
FATHOM_API fathom_status fathom_sample(fathom_sampler* sampler, const float* logits,
                                       size_t vocab_size, int32_t* token);

typedef enum fathom_stop_reason {
  FATHOM_STOP_END_OF_TEXT = 0,
  FATHOM_STOP_MAX_TOKENS = 1,
  FATHOM_STOP_STRING = 2,
  FATHOM_STOP_CONTEXT_FULL = 3,
  FATHOM_STOP_CANCELLED = 4
} fathom_stop_reason;

/* A sampled token and the text that can be shown because of it: whole characters, `length` bytes,
 * never a part of a stop string, often empty. A last call may have token -1 and the rest. False
 * ends generation. */
typedef bool (*fathom_token_callback)(void* user, int32_t token, const char* text, size_t length);

typedef struct fathom_generate_options {
  size_t size;
  const fathom_sampler_options* sampler; /* NULL: the defaults */
  int64_t max_tokens;                    /* -1: until the model or the context ends. Default -1 */
  bool ignore_eos;
  const char* const* stop; /* stop_count strings */
  size_t stop_count;
  fathom_token_callback callback; /* may be NULL */
  void* user;
} fathom_generate_options;
FATHOM_API void fathom_generate_options_init(fathom_generate_options* options);

typedef struct fathom_generation {
  size_t size;
  fathom_stop_reason reason;
  int64_t prompt_tokens;
  int64_t generated_tokens;
  double prompt_seconds;
  double decode_seconds;
  int64_t decoded_tokens; /* what decode_seconds counts: the last token sampled is not decoded */
} fathom_generation;

/* Appends the prompt (at least one token) to `sequence` and generates. `options` may be NULL;
 * `result` too, otherwise set its size first. The last sampled token is not part of the sequence
 * afterwards. */
FATHOM_API fathom_status fathom_generate(fathom_session* session, int32_t sequence,
                                         const int32_t* prompt, size_t prompt_count,
                                         const fathom_generate_options* options,
                                         fathom_generation* result);

#ifdef __cplusplus
}
#endif

#endif /* FATHOM_RUNTIME_API_FATHOM_H_ */
