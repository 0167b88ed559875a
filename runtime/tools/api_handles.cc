// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls of the C interface, with statuses.
#include "runtime/tools/api_handles.h"

#include <cstdio>
#include <random>

#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/tools/console.h"

namespace fathom::tools {
namespace {

struct OpenProgress {
  ProgressLine loading, building;
};

bool OnToken(void* user, int32_t token, const char* text, size_t length) {
  auto* answer = static_cast<Answer*>(user);
  if (token >= 0) answer->tokens.push_back(token);
  answer->text.append(text, length);
  if (answer->print && length != 0) {
    std::fwrite(text, 1, length, stdout);
    std::fflush(stdout);
  }
  return !Interrupted();
}

bool OnProgress(void* user, uint64_t done, uint64_t total) {
  return static_cast<OpenProgress*>(user)->loading.Update(done, total);
}

bool OnBuild(void* user, uint64_t done, uint64_t total) {
  static_cast<OpenProgress*>(user)->building.Show(absl::StrFormat("%u of %u", done, total));
  return !Interrupted();
}

}  // namespace

absl::Status FromApi(fathom_status status) {
  switch (status) {
    case FATHOM_OK:
      return absl::OkStatus();
    case FATHOM_BAD_INPUT:
      return absl::InvalidArgumentError(fathom_last_error());
    case FATHOM_UNSUPPORTED:
      return absl::UnimplementedError(fathom_last_error());
    case FATHOM_CANCELLED:
      return absl::CancelledError(fathom_last_error());
    case FATHOM_INTERNAL:
      break;
  }
  return absl::InternalError(fathom_last_error());
}

absl::StatusOr<ModelHandle> OpenModel(const ModelFlags& flags) {
  OpenProgress progress{{"loading", flags.quiet}, {"building kernels", flags.quiet}};
  fathom_model_options options;
  fathom_model_options_init(&options);
  options.load = flags.load == "map"    ? FATHOM_LOAD_MAP
                 : flags.load == "copy" ? FATHOM_LOAD_COPY
                                        : FATHOM_LOAD_AUTO;
  options.threads = flags.threads;
  options.device = flags.device.c_str();
  options.check_full = flags.check == "full";
  options.progress = OnProgress;
  options.build_progress = OnBuild;
  if (!flags.code_cache.empty()) options.code_cache = flags.code_cache.c_str();
  options.user = &progress;
  fathom_model* model = nullptr;
  FATHOM_RETURN_IF_ERROR(FromApi(fathom_model_open(flags.model.c_str(), &options, &model)));
  ModelHandle handle(model);
  fathom_model_info info;
  info.size = sizeof(info);
  FATHOM_RETURN_IF_ERROR(FromApi(fathom_model_get_info(model, &info)));
  if (info.device_reason[0] != 0) std::fprintf(stderr, "device: %s\n", info.device_reason);
  return handle;
}

absl::StatusOr<SessionHandle> OpenSession(fathom_model* model, const GenerateFlags& flags) {
  fathom_session_options options;
  fathom_session_options_init(&options);
  options.context_size = flags.context_size;
  options.chunk = flags.chunk;
  options.deterministic = flags.deterministic;
  fathom_session* session = nullptr;
  FATHOM_RETURN_IF_ERROR(FromApi(fathom_session_create(model, &options, &session)));
  return SessionHandle(session);
}

absl::StatusOr<std::vector<int32_t>> Tokenize(const fathom_model* model, const std::string& text) {
  size_t count = 0;
  std::vector<int32_t> tokens(text.size() + 16);
  for (int attempt = 0; attempt < 2; ++attempt) {
    FATHOM_RETURN_IF_ERROR(FromApi(fathom_tokenize(model, text.data(), text.size(), true, false,
                                                   tokens.data(), tokens.size(), &count)));
    const bool fits = count <= tokens.size();
    tokens.resize(count);
    if (fits) break;
  }
  return tokens;
}

Generator::Generator(const GenerateFlags& flags) {
  fathom_sampler_options_init(&sampler_);
  sampler_.temperature = flags.temperature;
  sampler_.top_k = flags.top_k;
  sampler_.top_p = flags.top_p;
  sampler_.min_p = flags.min_p;
  // 32 random bits: a seed that can be typed again.
  sampler_.seed = flags.seed < 0 ? std::random_device{}() : static_cast<uint64_t>(flags.seed);
  fathom_generate_options_init(&options_);
  options_.sampler = &sampler_;
  options_.max_tokens = flags.predict;
  options_.ignore_eos = flags.ignore_eos;
  for (const std::string& stop : flags.stop) stop_.push_back(stop.c_str());
  options_.stop = stop_.data();
  options_.stop_count = stop_.size();
}

absl::Status Generator::Run(fathom_session* session, int32_t sequence,
                            const std::vector<int32_t>& prompt, Answer* answer,
                            fathom_generation* result) {
  options_.callback = OnToken;
  options_.user = answer;
  result->size = sizeof(*result);
  return FromApi(
      fathom_generate(session, sequence, prompt.data(), prompt.size(), &options_, result));
}

double PerSecond(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

std::string FormatSpeed(const fathom_generation& result) {
  return absl::StrFormat(
      "prompt %d tokens, %.1f tok/s; generated %d tokens, %.1f tok/s", result.prompt_tokens,
      PerSecond(result.prompt_tokens, result.prompt_seconds), result.generated_tokens,
      PerSecond(result.decoded_tokens, result.decode_seconds));
}

}  // namespace fathom::tools
