// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An artifact ready to run: device, weights, program, tokenizer.
#ifndef FATHOM_RUNTIME_API_MODEL_H_
#define FATHOM_RUNTIME_API_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/artifact/artifact.h"
#include "runtime/artifact/weights.h"
#include "runtime/exec/program.h"
#include "runtime/hal/driver_registry.h"
#include "runtime/text/tokenizer.h"

namespace fathom {

struct ModelOptions {
  LoadMode load = LoadMode::automatic;
  int threads = 0;
  std::string device = "cpu";  // or "auto"
  bool check_full = false;
  ProgressFunction progress;        // bytes
  ProgressFunction build_progress;  // kernels, on devices that make machine code when loading
  std::string code_cache;           // as hal::DeviceOptions
};

class Model {
 public:
  static absl::StatusOr<std::shared_ptr<const Model>> Open(const std::string& path,
                                                           const ModelOptions& options);

  const Artifact& artifact() const { return program_->artifact(); }
  const schema::Model& header() const { return *artifact().header().model(); }
  hal::Device& device() const { return *device_; }
  // Why "auto" chose the device; "" when the caller named it.
  const std::string& device_reason() const { return device_reason_; }
  const std::shared_ptr<const Program>& program() const { return program_; }
  // Null when the artifact has none.
  const text::Tokenizer* tokenizer() const { return tokenizer_.get(); }
  // The tokenizer, or an error that says the model has none.
  absl::StatusOr<const text::Tokenizer*> RequireTokenizer() const;

 private:
  Model() = default;

  std::unique_ptr<hal::Device> device_;
  std::string device_reason_;
  std::shared_ptr<const Program> program_;
  std::vector<uint8_t> tokenizer_bytes_;  // tokenizer_ points into it
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_API_MODEL_H_
