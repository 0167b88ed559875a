// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles with the program a user would run, then uses the C interface.
#include "tests/e2e/compiled_model.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "tests/e2e/programs.h"

namespace fathom::e2e {
namespace {

void Check(fathom_status status, const char* what) {
  if (status != FATHOM_OK) throw std::runtime_error(std::string(what) + ": " + fathom_last_error());
}

std::vector<float> Row(const fathom_logits& logits, size_t row) {
  const float* begin = logits.data + row * logits.stride;
  return std::vector<float>(begin, begin + logits.vocab_size);
}

}  // namespace

CompiledFile::CompiledFile(const std::string& checkpoint, const std::string& quantize,
                           const std::string& target, const std::vector<std::string>& more)
    : path_(TemporaryPath(".fathom")) {
  std::string errors;
  std::vector<std::string> arguments = {checkpoint, "--quantize=" + quantize,
                                        "--target=" + target, "-o", path_};
  arguments.insert(arguments.end(), more.begin(), more.end());
  // Without ptxas: the interpreter reads PTX.
  const int code = RunCompiler(arguments, &errors, "PATH=/usr/bin:/bin");
  if (code != 0)
    throw std::runtime_error(checkpoint + ": compiler exit " + std::to_string(code) + ": " + errors);
}

CompiledFile::~CompiledFile() { std::filesystem::remove(path_); }

CompiledModel::CompiledModel(const std::string& checkpoint, const std::string& quantize,
                             const std::string& target, int threads, const std::string& device)
    : CompiledModel(std::make_shared<CompiledFile>(checkpoint, quantize, target), threads, device) {}

CompiledModel::CompiledModel(std::shared_ptr<const CompiledFile> file, int threads,
                             const std::string& device)
    : file_(std::move(file)) {
  fathom_model_options options;
  fathom_model_options_init(&options);
  options.threads = threads;
  if (device == "cpu") options.load = FATHOM_LOAD_MAP;
  options.device = device.c_str();
  options.check_full = true;
  Check(fathom_model_open(path().c_str(), &options, &model_), "open");
  NewSession({});
}

CompiledModel::~CompiledModel() {
  fathom_session_destroy(session_);
  fathom_model_close(model_);
}

void CompiledModel::NewSession(const SessionOptions& options) {
  fathom_session_destroy(session_);
  session_ = nullptr;
  fathom_session_options session;
  fathom_session_options_init(&session);
  session.context_size = options.context;
  session.max_sequences = options.max_sequences;
  session.chunk = options.chunk;
  session.deterministic = options.deterministic;
  Check(fathom_session_create(model_, &session, &session_), "session");
}

int32_t CompiledModel::AddSequence() {
  int32_t sequence = -1;
  Check(fathom_sequence_add(session_, &sequence), "sequence");
  return sequence;
}

std::vector<float> CompiledModel::Prefill(int32_t sequence, const std::vector<int32_t>& tokens) {
  return Extend({{sequence, tokens}})[0];
}

std::vector<std::vector<float>> CompiledModel::Extend(
    const std::vector<std::pair<int32_t, std::vector<int32_t>>>& extensions) {
  std::vector<fathom_extension> list;
  for (const auto& [sequence, tokens] : extensions)
    list.push_back({sequence, tokens.data(), tokens.size()});
  fathom_logits logits;
  Check(fathom_prefill(session_, list.data(), list.size(), &logits), "prefill");
  std::vector<std::vector<float>> rows;
  for (size_t i = 0; i < list.size(); ++i) rows.push_back(Row(logits, i));
  return rows;
}

std::vector<std::vector<float>> CompiledModel::Decode(const std::vector<int32_t>& sequences,
                                                      const std::vector<int32_t>& tokens) {
  fathom_logits logits;
  Check(fathom_decode(session_, sequences.data(), tokens.data(), tokens.size(), &logits), "decode");
  std::vector<std::vector<float>> rows;
  for (size_t i = 0; i < tokens.size(); ++i) rows.push_back(Row(logits, i));
  return rows;
}

std::vector<int32_t> CompiledModel::Greedy(const std::vector<int32_t>& prompt, int count) {
  const int32_t sequence = AddSequence();
  std::vector<int32_t> tokens{ArgMax(Prefill(sequence, prompt))};
  while (static_cast<int>(tokens.size()) < count)
    tokens.push_back(ArgMax(Decode({sequence}, {tokens.back()})[0]));
  Check(fathom_sequence_remove(session_, sequence), "remove");
  return tokens;
}

int32_t ArgMax(const std::vector<float>& logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace fathom::e2e
