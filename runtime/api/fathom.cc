// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The C interface over Model, Session and Generate. No exception passes through here.
#include "runtime/api/fathom.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "runtime/api/chat.h"
#include "runtime/api/model.h"
#include "runtime/base/status.h"
#include "runtime/session/generate.h"

struct fathom_model {
  std::shared_ptr<const fathom::Model> model;
  std::string name, architecture, quantization, target;
};
struct fathom_session {
  std::shared_ptr<const fathom::Model> model;  // outlives the session's program
  std::unique_ptr<fathom::Session> session;
};
struct fathom_sampler {
  fathom::Sampler sampler;
};

namespace {

using fathom::InputError;

thread_local std::string last_error;

fathom_status Report(const absl::Status& status) {
  if (status.ok()) return FATHOM_OK;
  last_error.assign(status.message().data(), status.message().size());
  if (absl::IsCancelled(status)) return FATHOM_CANCELLED;
  return static_cast<fathom_status>(fathom::ExitCode(status));
}

// Runs `body`, which returns an absl::Status, and turns whatever happens into a status.
template <typename Body>
fathom_status Guard(Body&& body) {
  try {
    return Report(body());
  } catch (const std::bad_alloc&) {
    return Report(absl::ResourceExhaustedError("out of memory"));
  } catch (const std::exception& error) {
    return Report(absl::InternalError(error.what()));
  } catch (...) {
    return Report(absl::InternalError("an unknown exception"));
  }
}

// A caller built against an older header has a shorter struct: what it lacks keeps its default.
template <typename T>
absl::Status ReadSized(const char* what, const T* from, T* out) {
  if (from == nullptr) return absl::OkStatus();
  if (from->size < sizeof(size_t) || from->size > sizeof(T)) {
    return InputError(what, "size: call its _init function", absl::StrCat("at most ", sizeof(T)),
                      from->size);
  }
  std::memcpy(out, from, from->size);
  return absl::OkStatus();
}

template <typename T>
absl::Status WriteSized(const char* what, T value, T* out) {
  const size_t size = out->size;
  if (size < sizeof(size_t) || size > sizeof(T)) {
    return InputError(what, "size was not set", absl::StrCat("at most ", sizeof(T)), size);
  }
  value.size = size;
  std::memcpy(out, &value, size);
  return absl::OkStatus();
}

absl::Status RequireArguments(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (pointer == nullptr) return absl::InvalidArgumentError("an argument is NULL");
  }
  return absl::OkStatus();
}

template <typename T, typename Values>
absl::Status Deliver(const Values& values, T* out, size_t capacity, size_t* count) {
  *count = values.size();
  if (values.size() > capacity || values.empty()) return absl::OkStatus();
  if (out == nullptr) return absl::InvalidArgumentError("an argument is NULL");
  std::copy(values.begin(), values.end(), out);
  return absl::OkStatus();
}

fathom::SamplerOptions ToSamplerOptions(const fathom_sampler_options& from) {
  fathom::SamplerOptions options;
  options.temperature = from.temperature;
  options.top_k = from.top_k;
  options.top_p = from.top_p;
  options.min_p = from.min_p;
  options.seed = from.seed;
  return options;
}

absl::Status Extend(fathom_session* session, absl::Span<const fathom::Extension> extensions,
                    fathom_logits* out) {
  FATHOM_ASSIGN_OR_RETURN(const fathom::Logits logits, session->session->Extend(extensions));
  if (out != nullptr) {
    *out = {logits.data, static_cast<size_t>(logits.rows), static_cast<size_t>(logits.stride),
            session->session->vocab_size()};
  }
  return absl::OkStatus();
}

absl::StatusOr<fathom::LoadMode> ToLoadMode(int32_t load) {
  switch (load) {
    case FATHOM_LOAD_AUTO:
      return fathom::LoadMode::automatic;
    case FATHOM_LOAD_MAP:
      return fathom::LoadMode::map;
    case FATHOM_LOAD_COPY:
      return fathom::LoadMode::copy;
  }
  return InputError("load", "unknown mode", "0 to 2", load);
}

}  // namespace

extern "C" {

uint32_t fathom_api_version(void) { return FATHOM_API_VERSION; }
const char* fathom_version(void) { return FATHOM_VERSION; }
const char* fathom_last_error(void) { return last_error.c_str(); }

void fathom_model_options_init(fathom_model_options* options) {
  *options = {};
  options->size = sizeof(*options);
}

fathom_status fathom_model_open(const char* path, const fathom_model_options* options,
                                fathom_model** out) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({path, out}));
    fathom_model_options given;
    fathom_model_options_init(&given);
    FATHOM_RETURN_IF_ERROR(ReadSized("fathom_model_options", options, &given));
    fathom::ModelOptions open;
    FATHOM_ASSIGN_OR_RETURN(open.load, ToLoadMode(given.load));
    open.threads = given.threads;
    if (given.device != nullptr) open.device = given.device;
    if (given.code_cache != nullptr) open.code_cache = given.code_cache;
    if (given.build_progress != nullptr) {
      open.build_progress = [given](uint64_t done, uint64_t total) {
        return given.build_progress(given.user, done, total);
      };
    }
    open.check_full = given.check_full;
    if (given.progress != nullptr) {
      open.progress = [given](uint64_t done, uint64_t total) {
        return given.progress(given.user, done, total);
      };
    }
    auto handle = std::make_unique<fathom_model>();
    FATHOM_ASSIGN_OR_RETURN(handle->model, fathom::Model::Open(path, open));
    handle->name = handle->model->header().name()->str();
    handle->architecture = handle->model->header().architecture()->str();
    handle->quantization = handle->model->header().quantization()->str();
    handle->target = handle->model->program()->header().target()->str();
    *out = handle.release();
    return absl::OkStatus();
  });
}

void fathom_model_close(fathom_model* model) { delete model; }

fathom_status fathom_model_get_info(const fathom_model* model, fathom_model_info* info) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({model, info}));
    const fathom::Model& m = *model->model;
    fathom_model_info value = {};
    value.name = model->name.c_str();
    value.architecture = model->architecture.c_str();
    value.quantization = model->quantization.c_str();
    value.target = model->target.c_str();
    value.parameters = m.header().parameters();
    value.context_length = m.header().context_length();
    value.weight_bytes = m.program()->weights().bytes();
    value.vocab_size = m.header().vocab_size();
    value.layers = m.header().layers();
    value.has_tokenizer = m.tokenizer() != nullptr;
    value.has_chat_template = m.tokenizer() != nullptr && m.tokenizer()->ChatTemplate().has_value();
    value.weights_mapped = m.program()->weights().mode() == fathom::LoadMode::map;
    value.device = m.device().info().id.c_str();
    value.device_reason = m.device_reason().c_str();
    return WriteSized("fathom_model_info", value, info);
  });
}

fathom_status fathom_tokenize(const fathom_model* model, const char* text, size_t length,
                              bool add_special, bool parse_special, int32_t* tokens,
                              size_t capacity, size_t* count) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({model, text, count}));
    FATHOM_ASSIGN_OR_RETURN(const auto* tokenizer, model->model->RequireTokenizer());
    FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                            tokenizer->Encode({text, length}, {.add_special = add_special,
                                                               .parse_special = parse_special}));
    return Deliver(ids, tokens, capacity, count);
  });
}

fathom_status fathom_detokenize(const fathom_model* model, const int32_t* tokens,
                                size_t token_count, bool skip_special, char* text, size_t capacity,
                                size_t* count) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({model, count}));
    if (token_count != 0) FATHOM_RETURN_IF_ERROR(RequireArguments({tokens}));
    FATHOM_ASSIGN_OR_RETURN(const auto* tokenizer, model->model->RequireTokenizer());
    FATHOM_ASSIGN_OR_RETURN(const std::string decoded,
                            tokenizer->Decode({tokens, token_count}, skip_special));
    return Deliver(decoded, text, capacity, count);
  });
}

bool fathom_token_is_end(const fathom_model* model, int32_t token) {
  return model != nullptr && model->model->tokenizer() != nullptr &&
         model->model->tokenizer()->IsEos(token);
}

fathom_status fathom_apply_chat_template(const fathom_model* model, const fathom_message* messages,
                                         size_t message_count, bool add_generation_prompt,
                                         int32_t* tokens, size_t capacity, size_t* count) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({model, count}));
    if (message_count != 0) FATHOM_RETURN_IF_ERROR(RequireArguments({messages}));
    std::vector<fathom::ChatMessage> list;
    for (size_t i = 0; i < message_count; ++i) {
      FATHOM_RETURN_IF_ERROR(RequireArguments({messages[i].role, messages[i].content}));
      list.push_back({messages[i].role, messages[i].content});
    }
    FATHOM_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                            fathom::TokenizeChat(*model->model, list, add_generation_prompt));
    return Deliver(ids, tokens, capacity, count);
  });
}

void fathom_session_options_init(fathom_session_options* options) {
  const fathom::SessionOptions defaults;
  *options = {sizeof(*options), defaults.context_size, defaults.max_sequences, defaults.chunk,
              defaults.deterministic};
}

fathom_status fathom_session_create(fathom_model* model, const fathom_session_options* options,
                                    fathom_session** out) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({model, out}));
    fathom_session_options given;
    fathom_session_options_init(&given);
    FATHOM_RETURN_IF_ERROR(ReadSized("fathom_session_options", options, &given));
    auto handle = std::make_unique<fathom_session>();
    handle->model = model->model;
    FATHOM_ASSIGN_OR_RETURN(
        handle->session,
        fathom::Session::Create(model->model->program(),
                                {given.context_size, given.max_sequences, given.chunk,
                                 given.deterministic}));
    *out = handle.release();
    return absl::OkStatus();
  });
}

void fathom_session_destroy(fathom_session* session) { delete session; }

int64_t fathom_session_context_size(const fathom_session* session) {
  return session == nullptr ? 0 : session->session->context_size();
}

fathom_status fathom_sequence_add(fathom_session* session, int32_t* sequence) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({session, sequence}));
    FATHOM_ASSIGN_OR_RETURN(*sequence, session->session->AddSequence());
    return absl::OkStatus();
  });
}

fathom_status fathom_sequence_remove(fathom_session* session, int32_t sequence) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({session}));
    return session->session->RemoveSequence(sequence);
  });
}

fathom_status fathom_sequence_length(const fathom_session* session, int32_t sequence,
                                     int64_t* length) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({session, length}));
    FATHOM_ASSIGN_OR_RETURN(const auto tokens, session->session->Tokens(sequence));
    *length = static_cast<int64_t>(tokens.size());
    return absl::OkStatus();
  });
}

fathom_status fathom_sequence_truncate(fathom_session* session, int32_t sequence, int64_t length) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({session}));
    return session->session->Truncate(sequence, length);
  });
}

fathom_status fathom_prefill(fathom_session* session, const fathom_extension* extensions,
                             size_t extension_count, fathom_logits* logits) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({session, extensions}));
    std::vector<fathom::Extension> list;
    for (size_t i = 0; i < extension_count; ++i) {
      if (extensions[i].count != 0)
        FATHOM_RETURN_IF_ERROR(RequireArguments({extensions[i].tokens}));
      list.push_back({extensions[i].sequence, {extensions[i].tokens, extensions[i].count}});
    }
    return Extend(session, list, logits);
  });
}

fathom_status fathom_decode(fathom_session* session, const int32_t* sequences,
                            const int32_t* tokens, size_t count, fathom_logits* logits) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({session, sequences, tokens}));
    std::vector<fathom::Extension> list;
    for (size_t i = 0; i < count; ++i) list.push_back({sequences[i], {tokens + i, 1}});
    return Extend(session, list, logits);
  });
}

void fathom_sampler_options_init(fathom_sampler_options* options) {
  const fathom::SamplerOptions defaults;
  *options = {sizeof(*options), defaults.temperature, defaults.top_k,
              defaults.top_p,   defaults.min_p,       defaults.seed};
}

fathom_status fathom_sampler_create(const fathom_sampler_options* options, fathom_sampler** out) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({out}));
    fathom_sampler_options given;
    fathom_sampler_options_init(&given);
    FATHOM_RETURN_IF_ERROR(ReadSized("fathom_sampler_options", options, &given));
    FATHOM_ASSIGN_OR_RETURN(fathom::Sampler sampler,
                            fathom::Sampler::Create(ToSamplerOptions(given)));
    *out = new fathom_sampler{std::move(sampler)};
    return absl::OkStatus();
  });
}

void fathom_sampler_destroy(fathom_sampler* sampler) { delete sampler; }

fathom_status fathom_sample(fathom_sampler* sampler, const float* logits, size_t vocab_size,
                            int32_t* token) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({sampler, logits, token}));
    FATHOM_ASSIGN_OR_RETURN(*token, sampler->sampler.Sample({logits, vocab_size}));
    return absl::OkStatus();
  });
}

void fathom_generate_options_init(fathom_generate_options* options) {
  *options = {};
  options->size = sizeof(*options);
  options->max_tokens = -1;
}

fathom_status fathom_generate(fathom_session* session, int32_t sequence, const int32_t* prompt,
                              size_t prompt_count, const fathom_generate_options* options,
                              fathom_generation* result) {
  return Guard([&]() -> absl::Status {
    FATHOM_RETURN_IF_ERROR(RequireArguments({session, prompt}));
    fathom_generate_options given;
    fathom_generate_options_init(&given);
    FATHOM_RETURN_IF_ERROR(ReadSized("fathom_generate_options", options, &given));
    fathom::GenerateOptions generate;
    fathom_sampler_options sampler;
    fathom_sampler_options_init(&sampler);
    FATHOM_RETURN_IF_ERROR(ReadSized("fathom_sampler_options", given.sampler, &sampler));
    generate.sampler = ToSamplerOptions(sampler);
    generate.max_tokens = given.max_tokens;
    generate.ignore_eos = given.ignore_eos;
    if (given.stop_count != 0) FATHOM_RETURN_IF_ERROR(RequireArguments({given.stop}));
    for (size_t i = 0; i < given.stop_count; ++i) {
      FATHOM_RETURN_IF_ERROR(RequireArguments({given.stop[i]}));
      generate.stop.emplace_back(given.stop[i]);
    }
    fathom::TokenCallback callback;
    if (given.callback != nullptr) {
      callback = [&given](int32_t token, std::string_view text) {
        return given.callback(given.user, token, text.data(), text.size());
      };
    }
    FATHOM_ASSIGN_OR_RETURN(const fathom::Generation done,
                            fathom::Generate(*session->session, sequence, {prompt, prompt_count},
                                             session->model->tokenizer(), generate, callback));
    if (result == nullptr) return absl::OkStatus();
    fathom_generation value = {};
    value.reason = static_cast<fathom_stop_reason>(done.reason);
    value.prompt_tokens = done.prompt_tokens;
    value.generated_tokens = static_cast<int64_t>(done.tokens.size());
    value.prompt_seconds = done.prompt_seconds;
    value.decode_seconds = done.decode_seconds;
    value.decoded_tokens = done.decoded_tokens;
    return WriteSized("fathom_generation", value, result);
  });
}

}  // extern "C"
