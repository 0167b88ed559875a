// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The C interface with C++ ownership, for the commands built on it.
#ifndef FATHOM_RUNTIME_TOOLS_API_HANDLES_H_
#define FATHOM_RUNTIME_TOOLS_API_HANDLES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/api/fathom.h"
#include "runtime/tools/commands.h"

namespace fathom::tools {

struct CloseModel {
  void operator()(fathom_model* model) const { fathom_model_close(model); }
};
struct CloseSession {
  void operator()(fathom_session* session) const { fathom_session_destroy(session); }
};
using ModelHandle = std::unique_ptr<fathom_model, CloseModel>;
using SessionHandle = std::unique_ptr<fathom_session, CloseSession>;

// The status and message of a call that has just returned.
absl::Status FromApi(fathom_status status);

// Opens the model with a progress line.
absl::StatusOr<ModelHandle> OpenModel(const ModelFlags& flags);
absl::StatusOr<SessionHandle> OpenSession(fathom_model* model, const GenerateFlags& flags);
absl::StatusOr<std::vector<int32_t>> Tokenize(const fathom_model* model, const std::string& text);

// What a generation gives, token by token.
struct Answer {
  bool print = true;  // as it comes
  std::string text;
  std::vector<int32_t> tokens;
};

// The options of a generation, with the seed chosen when the user gave none.
class Generator {
 public:
  explicit Generator(const GenerateFlags& flags);
  Generator(const Generator&) = delete;  // options_ points into it
  Generator& operator=(const Generator&) = delete;
  uint64_t seed() const { return sampler_.seed; }
  // Until it ends or the user interrupts it.
  absl::Status Run(fathom_session* session, int32_t sequence, const std::vector<int32_t>& prompt,
                   Answer* answer, fathom_generation* result);

 private:
  fathom_sampler_options sampler_;
  fathom_generate_options options_;
  std::vector<const char*> stop_;
};

double PerSecond(int64_t count, double seconds);
// "prompt 12 tokens, 345.6 tok/s; generated 64 tokens, 78.9 tok/s"
std::string FormatSpeed(const fathom_generation& result);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_API_HANDLES_H_
