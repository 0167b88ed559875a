// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A checkpoint compiled by the real program and opened through the C interface: what end-to-end tests use.
#ifndef FATHOM_TESTS_E2E_COMPILED_MODEL_H_
#define FATHOM_TESTS_E2E_COMPILED_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/api/fathom.h"

namespace fathom::e2e {

// A temporary artifact made by bin/fathom-compile, removed with the object.
class CompiledFile {
 public:
  // Throws std::runtime_error with what the compiler printed. `target`: one, or several with commas.
  // `more`: further arguments.
  CompiledFile(const std::string& checkpoint, const std::string& quantize, const std::string& target,
               const std::vector<std::string>& more = {});
  ~CompiledFile();
  CompiledFile(const CompiledFile&) = delete;
  CompiledFile& operator=(const CompiledFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// An open model and one session. Every failure throws std::runtime_error with the library's message.
class CompiledModel {
 public:
  // Compiles `checkpoint` to a temporary artifact, which lives as long as this object, and opens it
  // on `device`.
  CompiledModel(const std::string& checkpoint, const std::string& quantize,
                const std::string& target = "cpu:native", int threads = 0,
                const std::string& device = "cpu");
  // Several of them may share a file.
  CompiledModel(std::shared_ptr<const CompiledFile> file, int threads, const std::string& device);
  ~CompiledModel();
  CompiledModel(const CompiledModel&) = delete;
  CompiledModel& operator=(const CompiledModel&) = delete;

  struct SessionOptions {
    int max_sequences = 4;
    int chunk = 512;
    int64_t context = 0;
    bool deterministic = false;
  };
  // Replaces the session: all sequences are forgotten.
  void NewSession(const SessionOptions& options);
  int32_t AddSequence();
  // Appends tokens; the logits after the last one, vocab_size values.
  std::vector<float> Prefill(int32_t sequence, const std::vector<int32_t>& tokens);
  // One token for each of several sequences.
  std::vector<std::vector<float>> Decode(const std::vector<int32_t>& sequences,
                                         const std::vector<int32_t>& tokens);
  // Tokens for several sequences in one call; the logits after the last one of each.
  std::vector<std::vector<float>> Extend(
      const std::vector<std::pair<int32_t, std::vector<int32_t>>>& extensions);
  // Prefill, then argmax and decode `count` times.
  std::vector<int32_t> Greedy(const std::vector<int32_t>& prompt, int count);

  const std::string& path() const { return file_->path(); }
  fathom_model* model() { return model_; }

 private:
  std::shared_ptr<const CompiledFile> file_;
  fathom_model* model_ = nullptr;
  fathom_session* session_ = nullptr;
};

int32_t ArgMax(const std::vector<float>& logits);

}  // namespace fathom::e2e

#endif  // FATHOM_TESTS_E2E_COMPILED_MODEL_H_
