/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* The C interface in one page: generate text, then decode two sequences at once by hand.
 *
 *     example MODEL.fathom "In the beginning"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/api/fathom.h"

static void check(fathom_status status, const char* what) {
  if (status == FATHOM_OK) return;
  fprintf(stderr, "%s: %s\n", what, fathom_last_error());
  exit((int)status);
}

static bool print_text(void* user, int32_t token, const char* text, size_t length) {
  (void)user;
  (void)token;
  fwrite(text, 1, length, stdout);
  fflush(stdout);
  return true; /* false would end the generation */
}

/* The prompt's tokens; the caller frees them. */
static int32_t* tokenize(const fathom_model* model, const char* text, size_t* count) {
  check(fathom_tokenize(model, text, strlen(text), true, false, NULL, 0, count), "tokenize");
  int32_t* tokens = malloc((*count + 1) * sizeof(*tokens));
  if (tokens == NULL) exit(1);
  check(fathom_tokenize(model, text, strlen(text), true, false, tokens, *count, count), "tokenize");
  return tokens;
}

/* The easy way: one call, text through a callback. */
static void generate(fathom_session* session, const int32_t* prompt, size_t count) {
  int32_t sequence;
  check(fathom_sequence_add(session, &sequence), "sequence");

  fathom_sampler_options sampler;
  fathom_sampler_options_init(&sampler);
  sampler.temperature = 0; /* the most likely token each time */
  fathom_generate_options options;
  fathom_generate_options_init(&options);
  options.sampler = &sampler;
  options.max_tokens = 32;
  options.callback = print_text;
  fathom_generation result = {.size = sizeof(result)};
  check(fathom_generate(session, sequence, prompt, count, &options, &result), "generate");
  printf("\n%lld tokens from a prompt of %lld\n", (long long)result.generated_tokens,
         (long long)result.prompt_tokens);
  check(fathom_sequence_remove(session, sequence), "remove");
}

/* The flexible way: logits of two sequences from one call, sampled here. */
static void decode_two(fathom_session* session, const int32_t* prompt, size_t count) {
  int32_t sequences[2], tokens[2];
  fathom_extension extensions[2];
  for (int i = 0; i < 2; ++i) {
    check(fathom_sequence_add(session, &sequences[i]), "sequence");
    /* The second sequence lacks the prompt's last token, when it can spare it. */
    const size_t length = i == 1 && count > 1 ? count - 1 : count;
    extensions[i] = (fathom_extension){sequences[i], prompt, length};
  }
  fathom_sampler_options options;
  fathom_sampler_options_init(&options);
  options.temperature = 0;
  fathom_sampler* sampler;
  check(fathom_sampler_create(&options, &sampler), "sampler");

  fathom_logits logits;
  check(fathom_prefill(session, extensions, 2, &logits), "prefill");
  for (int step = 0; step < 4; ++step) {
    for (size_t i = 0; i < 2; ++i) {
      const float* row = logits.data + i * logits.stride;
      check(fathom_sample(sampler, row, logits.vocab_size, &tokens[i]), "sample");
    }
    printf("step %d: tokens %d and %d\n", step, (int)tokens[0], (int)tokens[1]);
    check(fathom_decode(session, sequences, tokens, 2, &logits), "decode");
  }
  fathom_sampler_destroy(sampler);
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL.fathom PROMPT\n", argv[0]);
    return 1;
  }
  if (fathom_api_version() != FATHOM_API_VERSION) {
    fprintf(stderr, "the library is of another version: %s\n", fathom_version());
    return 1;
  }
  fathom_model* model;
  check(fathom_model_open(argv[1], NULL, &model), "open");
  fathom_model_info info = {.size = sizeof(info)};
  check(fathom_model_get_info(model, &info), "info");
  printf("%s: %s, %s, context of %llu tokens\n", info.name, info.architecture, info.quantization,
         (unsigned long long)info.context_length);

  fathom_session_options options;
  fathom_session_options_init(&options);
  options.max_sequences = 2;
  fathom_session* session;
  check(fathom_session_create(model, &options, &session), "session");
  size_t count = 0;
  int32_t* prompt = tokenize(model, argv[2], &count);
  generate(session, prompt, count);
  decode_two(session, prompt, count);
  free(prompt);
  fathom_session_destroy(session);
  fathom_model_close(model);
  return 0;
}
