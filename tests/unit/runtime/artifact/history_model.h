// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A whole artifact for tests: a "model" of two kernels whose logits depend on every token so far.
//
// Kernel `append` writes token id + 1 into the cache row of its position; `history` walks the pages
// of the row's sequence and folds the ids into a hash, h = h * 31 + id + 1 (mod 2^32), position by
// position; the logit of v is ((h * 2654435761 + v * 40503) mod 2^32 >> 16) / 65536 * gain[v]. So a
// wrong page, position, order or length changes the result, and ExpectedLogits below says what is
// right. Of several layers the last one counts; the others get positions instead of tokens, so that
// a layer that reaches into another changes the result as well.
#ifndef FATHOM_TESTS_UNIT_RUNTIME_ARTIFACT_HISTORY_MODEL_H_
#define FATHOM_TESTS_UNIT_RUNTIME_ARTIFACT_HISTORY_MODEL_H_

#include <fstream>
#include <iterator>

#include "tests/unit/runtime/artifact/artifact_builder.h"

namespace fathom::testing {

struct HistoryModelOptions {
  uint32_t vocab = 100;
  uint64_t context_length = 1024;
  uint32_t layers = 1;
  std::string target = "cpu:test";
  std::vector<std::string> features = {};
  Bytes code = {};       // empty: the test image
  Bytes tokenizer = {};  // empty: none
};

inline std::vector<float> HistoryGain(uint32_t vocab) {
  std::vector<float> gain(vocab);
  for (uint32_t v = 0; v < vocab; ++v) gain[v] = 1.0f + static_cast<float>(v % 7) / 8;
  return gain;
}

inline std::vector<float> ExpectedLogits(const std::vector<int32_t>& tokens, uint32_t vocab) {
  uint32_t hash = 0;
  for (int32_t token : tokens) hash = hash * 31 + static_cast<uint32_t>(token) + 1;
  const std::vector<float> gain = HistoryGain(vocab);
  std::vector<float> logits(vocab);
  for (uint32_t v = 0; v < vocab; ++v) {
    logits[v] = static_cast<float>((hash * 2654435761u + v * 40503u) >> 16) / 65536.0f * gain[v];
  }
  return logits;
}

// The greedy continuation of `prompt`, `count` tokens.
inline std::vector<int32_t> ExpectedGreedy(std::vector<int32_t> prompt, int count, uint32_t vocab) {
  std::vector<int32_t> generated;
  for (int i = 0; i < count; ++i) {
    const std::vector<float> logits = ExpectedLogits(prompt, vocab);
    const auto best = std::max_element(logits.begin(), logits.end());
    generated.push_back(static_cast<int32_t>(best - logits.begin()));
    prompt.push_back(generated.back());
  }
  return generated;
}

// The compiled tests/unit/backends/test_kernels.c.
inline Bytes TestImage() {
  std::ifstream file(FATHOM_TEST_IMAGE, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

inline std::unique_ptr<schema::EntryPointT> HistoryEntry(const std::string& name, uint32_t vocab,
                                                         uint32_t layers, int32_t gain) {
  constexpr int32_t kCache = 6;
  using schema::BufferKind;
  auto entry = std::make_unique<schema::EntryPointT>();
  entry->name = name;
  ExprBuilder e;
  const uint32_t one = e.Constant(1), zero = e.Constant(0);
  const uint32_t t = e.Symbol(0), b = e.Symbol(1), p = e.Symbol(2), r = e.Symbol(3);
  const uint32_t t4 = e.Mul(t, 4), b4 = e.Mul(b, 4), r4 = e.Mul(r, 4);
  const uint32_t bp4 = e.Mul(e.Op(schema::ExprOp::mul, b, p), 4);
  const uint32_t row = e.Constant(4 * static_cast<int64_t>(RoundUp(vocab, 16)));
  const uint32_t logits = e.Op(schema::ExprOp::mul, r, row);
  const uint32_t arena =
      e.Op(schema::ExprOp::mul, e.Op(schema::ExprOp::ceil_div, r4, e.Constant(64)), e.Constant(64));
  const uint32_t v = e.Constant(vocab);
  auto& buffers = entry->buffers;
  buffers.push_back(MakeBuffer("tokens", BufferKind::input, t4));
  buffers.push_back(MakeBuffer("positions", BufferKind::input, t4));
  buffers.push_back(MakeBuffer("sequence", BufferKind::input, t4));
  buffers.push_back(MakeBuffer("page_table", BufferKind::input, bp4));
  buffers.push_back(MakeBuffer("context_length", BufferKind::input, b4));
  buffers.push_back(MakeBuffer("logit_rows", BufferKind::input, r4));
  buffers.push_back(MakeBuffer("cache", BufferKind::kv_cache, zero));
  buffers.push_back(MakeBuffer("hashes", BufferKind::transient, r4, zero));
  buffers.push_back(MakeBuffer("logits", BufferKind::output, logits));
  const auto dispatch = [&](uint32_t kernel, std::vector<uint32_t> grid,
                            std::vector<int32_t> bindings, std::vector<uint32_t> push,
                            const std::string& label, int32_t layer = 0) {
    auto command = std::make_unique<schema::CommandT>();
    command->kernel = kernel;
    command->grid = std::move(grid);
    for (int32_t binding : bindings) {
      command->bindings.push_back(
          binding < 0 ? TensorBinding(gain, 4 * uint64_t{vocab})
                      : BufferBinding(binding, binding == kCache ? layer : -1));
    }
    command->push = std::move(push);
    command->label = label;
    entry->commands.push_back(std::move(command));
  };
  const auto barrier = [&] {
    entry->commands.push_back(std::make_unique<schema::CommandT>());
    entry->commands.back()->kind = schema::CommandKind::barrier;
  };
  const int32_t last = static_cast<int32_t>(layers) - 1;
  for (int32_t layer = 0; layer <= last; ++layer) {
    dispatch(0, {t, one, one}, {layer == last ? 0 : 1, 1, 2, 3, kCache}, {p},
             "layers." + std::to_string(layer) + "/append", layer);
  }
  barrier();
  dispatch(1, {r, one, one}, {1, 2, 3, 5, kCache, 7}, {p},
           "layers." + std::to_string(last) + "/history", last);
  barrier();
  dispatch(2, {r, one, one}, {7, -1, 8}, {v}, "head/logits");
  entry->exprs = e.nodes();
  entry->arena = arena;
  return entry;
}

inline ArtifactBuilder HistoryModel(const HistoryModelOptions& options = {}) {
  ArtifactBuilder builder;
  builder.header.model->vocab_size = options.vocab;
  builder.header.model->context_length = options.context_length;
  const uint32_t code = builder.AddSegment(schema::SegmentKind::code, "code",
                                           options.code.empty() ? TestImage() : options.code);
  const uint32_t weights = builder.AddSegment(schema::SegmentKind::weights, "weights", {});
  const std::vector<float> gain = HistoryGain(options.vocab);
  const auto* gain_bytes = reinterpret_cast<const uint8_t*>(gain.data());
  const uint32_t tensor =
      builder.AddTensor(weights, "gain", {options.vocab}, schema::Encoding::raw_f32,
                        Bytes(gain_bytes, gain_bytes + 4 * gain.size()));
  if (!options.tokenizer.empty()) {
    builder.header.tokenizer = static_cast<int32_t>(
        builder.AddSegment(schema::SegmentKind::tokenizer, "tokenizer", options.tokenizer));
  }
  auto program = std::make_unique<schema::ProgramT>();
  program->target = options.target;
  program->driver = "cpu";
  program->features = options.features;
  program->code = code;
  const std::pair<const char*, std::pair<uint32_t, uint32_t>> kernels[] = {
      {"append", {5, 1}}, {"history", {6, 1}}, {"logits", {3, 1}}};
  for (const auto& [name, counts] : kernels) {
    auto kernel = std::make_unique<schema::KernelT>();
    kernel->name = name;
    kernel->bindings = counts.first;
    kernel->push = counts.second;
    program->kernels.push_back(std::move(kernel));
  }
  program->kv = std::make_unique<schema::KvCacheT>();
  program->kv->page_tokens = 64;
  program->kv->layers = options.layers;
  program->kv->row_bytes = 4;
  program->kv->page_bytes = uint64_t{256} * options.layers;
  for (const char* name : {"prefill", "decode"}) {
    program->entries.push_back(
        HistoryEntry(name, options.vocab, options.layers, static_cast<int32_t>(tensor)));
  }
  builder.header.programs.push_back(std::move(program));
  return builder;
}

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_RUNTIME_ARTIFACT_HISTORY_MODEL_H_
