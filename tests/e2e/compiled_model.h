// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A checkpoint compiled by the real program and opened through the C interface: what end-to-end tests use.
#ifndef FATHOM_TESTS_E2E_COMPILED_MODEL_H_
#define FATHOM_TESTS_E2E_COMPILED_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/api/fathom.h"

namespace fathom::e2e {

// Runs bin/fathom-compile with `arguments`; returns its exit code. *errors, if given, gets what it printed.
// `before` is shell text that runs first, such as a limit.
int RunCompiler(const std::vector<std::string>& arguments, std::string* errors = nullptr,
                const std::string& before = "");

// An open model and one session. Every failure throws std::runtime_error with the library's message.
class CompiledModel {
 public:
  // Compiles `checkpoint` to a temporary artifact, which lives as long as this object, and opens it
  // on `device`.
  CompiledModel(const std::string& checkpoint, const std::string& quantize,
                const std::string& target = "cpu:native", int threads = 0,
                const std::string& device = "cpu");
  ~CompiledModel();
  CompiledModel(const CompiledModel&) = delete;
  CompiledModel& operator=(const CompiledModel&) = delete;

  struct SessionOptions {
    int max_sequences = 4;
    int chunk = 512;
    int64_t context = 0;
  };
  // Replaces the session: all sequences are forgotten.
  void NewSession(const SessionOptions& options);
  int32_t AddSequence();
  // Appends tokens; the logits after the last one, vocab_size values.
  std::vector<float> Prefill(int32_t sequence, const std::vector<int32_t>& tokens);
  // One token for each of several sequences.
  std::vector<std::vector<float>> Decode(const std::vector<int32_t>& sequences,
                                         const std::vector<int32_t>& tokens);
  // Prefill, then argmax and decode `count` times.
  std::vector<int32_t> Greedy(const std::vector<int32_t>& prompt, int count);

  const std::string& path() const { return path_; }
  fathom_model* model() { return model_; }

 private:
  std::string path_;
  fathom_model* model_ = nullptr;
  fathom_session* session_ = nullptr;
};

int32_t ArgMax(const std::vector<float>& logits);

}  // namespace fathom::e2e

#endif  // FATHOM_TESTS_E2E_COMPILED_MODEL_H_
