// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A sequence's logits, byte for byte: alone and among others, in one call and in chunks, with and
// without SessionOptions::deterministic (docs/design/009).
//
// The numbers of the scripts below matter: a chunk of 69 leaves one token of the prompt over,
// steps join 2 to 8 sequences, every other step appends two tokens to one of them, and a context of
// 128 has another number of pages than one of 1024. Weights are q4, whose encoded activations turn
// the last bit of a sum into visible differences, and float32.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/artifact/artifact.h"
#include "tests/e2e/compiled_model.h"
#include "tests/e2e/programs.h"
#include "tests/e2e/test_device.h"
#include "tests/oracle/golden.h"

namespace fathom::e2e {
namespace {

using Rows = std::vector<std::vector<float>>;

constexpr size_t kSteps = 7;
constexpr size_t kOthers = 7;
constexpr int32_t kLeavesOneOver = 69;  // a chunk of prompts of 70 or 1105 tokens

// Wide enough for latent attention of steps by matrix units, which wants a rank and a rotated
// dimension that are multiples of 32: 24 heads are a tile and a half of them, 16 one tile. Weights
// are random.
std::string Wide(int heads) {
  const std::string count = std::to_string(heads);
  return R"({"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
  "hidden_size": 128, "intermediate_size": 192, "moe_intermediate_size": 64,
  "num_hidden_layers": 2, "first_k_dense_replace": 1, "num_attention_heads": )" +
         count + R"(, "num_key_value_heads": )" + count + R"(,
  "q_lora_rank": null, "kv_lora_rank": 96, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32,
  "v_head_dim": 32, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3,
  "n_group": 1, "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax",
  "norm_topk_prob": false, "routed_scaling_factor": 1.0, "vocab_size": 256,
  "max_position_embeddings": 2048, "rms_norm_eps": 1e-06, "rope_theta": 10000,
  "hidden_act": "silu", "attention_bias": false, "tie_word_embeddings": false, "moe_layer_freq": 1,
  "torch_dtype": "bfloat16"})";
}

// And for its grouped-query attention, which wants heads of a multiple of 32 and at least three for
// each of the cache: four heads are a quarter of a tile.
std::string WideGrouped(int heads) {
  return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128,
  "intermediate_size": 192, "num_hidden_layers": 2, "head_dim": 64, "num_attention_heads": )" +
         std::to_string(heads) + R"(, "num_key_value_heads": )" + std::to_string(heads / 4) + R"(,
  "vocab_size": 256, "max_position_embeddings": 2048, "rms_norm_eps": 1e-06, "rope_theta": 10000,
  "hidden_act": "silu", "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16"})";
}

struct Case {
  std::string device, target, golden, quantize;
  int wide = 0;  // heads of a random model instead of a golden
  std::string name() const {
    std::string name = device + "_" + target + "_" + golden + "_" + quantize;
    for (char& c : name)
      if (!isalnum(c)) c = '_';
    return name;
  }
};

void PrintTo(const Case& c, std::ostream* os) { *os << c.name(); }

// A model of random weights.
std::shared_ptr<CompiledFile> CompiledRandom(const std::string& json, const std::string& quantize,
                                             const std::string& target) {
  const std::string config = TemporaryPath(".json");
  std::ofstream(config) << json;
  auto file = std::make_shared<CompiledFile>(config, quantize, target,
                                             std::vector<std::string>{"--weights=random:3"});
  std::filesystem::remove(config);
  return file;
}

// Tokens that every vocabulary of the goldens has.
std::vector<int32_t> SomeTokens(size_t count, size_t seed) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>((i * 37 + seed * 101 + i / 5) % 250));
  return tokens;
}

::testing::AssertionResult SameBytes(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes differ";
  size_t differ = 0;
  for (size_t i = 0; i < a.size(); ++i) differ += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  if (differ == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << differ << " of " << a.size() << " values differ, "
                                       << oracle::RelativeError(a, b) << " of the norm";
}

class Determinism : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const TestDevice device = FindDevice(GetParam().device);
    if (device.id.empty()) GTEST_SKIP() << device.missing;
    if (GetParam().wide > 0) {
      // 16 chunks of 69 and a token; 18 pages, so that splits have several.
      prompt_ = SomeTokens(1105, 11);
      next_ = SomeTokens(kSteps, 12);
      const bool grouped = GetParam().golden.starts_with("grouped");
      Open(CompiledRandom((grouped ? WideGrouped : Wide)(GetParam().wide), GetParam().quantize,
                          GetParam().target),
           device.id);
      return;
    }
    const std::string folder = "tests/golden/" + GetParam().golden;
    const oracle::Golden golden = oracle::ReadGolden(folder + "/golden.json");
    prompt_ = {golden.batch.at(1).prompt.begin(), golden.batch.at(1).prompt.end()};
    ASSERT_EQ(prompt_.size(), 70u);
    ASSERT_GE(golden.batch[1].greedy.size(), kSteps);
    next_ = {golden.batch[1].greedy.begin(), golden.batch[1].greedy.end()};
    Open(std::make_shared<CompiledFile>(folder, GetParam().quantize, GetParam().target), device.id);
  }

  void Open(const std::shared_ptr<CompiledFile>& file, const std::string& device) {
    model_ = std::make_unique<CompiledModel>(file, 2, device);
    if (GetParam().device == "cpu") one_thread_ = std::make_unique<CompiledModel>(file, 1, "cpu");
  }

  // The prompt and the steps after it, with nothing beside them.
  Rows Alone(CompiledModel& model, bool deterministic) const {
    const int64_t context = GetParam().wide > 0 ? 1152 : 128;
    model.NewSession({.max_sequences = 1, .context = context, .deterministic = deterministic});
    const int32_t id = model.AddSequence();
    Rows rows = {model.Prefill(id, prompt_)};
    for (size_t step = 0; step < kSteps; ++step)
      rows.push_back(model.Decode({id}, {next_[step]})[0]);
    return rows;
  }

  // Two sequences that hold the same text as Alone, among kOthers longer and shorter ones: the
  // first is prefilled by itself, the second in one call with the others. Then `kSteps` steps, step
  // i of the two and i others, of which one sometimes has two tokens.
  std::pair<Rows, Rows> Together(bool deterministic, int32_t chunk) {
    model_->NewSession({.max_sequences = 2 + kOthers,
                        .chunk = chunk,
                        .context = GetParam().wide > 0 ? 2048 : 1024,
                        .deterministic = deterministic});
    std::vector<int32_t> others;
    const auto add_other = [&] { others.push_back(model_->AddSequence()); };
    add_other();
    const int32_t first = model_->AddSequence();
    for (size_t i = 1; i + 1 < kOthers; ++i) add_other();
    const int32_t second = model_->AddSequence();
    add_other();

    std::pair<Rows, Rows> rows;
    rows.first.push_back(model_->Prefill(first, prompt_));
    std::vector<std::pair<int32_t, std::vector<int32_t>>> call;
    constexpr size_t kLengths[kOthers] = {20, 130, 1, 5, 64, 2, 33};
    for (size_t i = 0; i < kOthers; ++i) call.push_back({others[i], SomeTokens(kLengths[i], i)});
    call.insert(call.begin() + 3, {second, prompt_});
    rows.second.push_back(model_->Extend(call)[3]);
    for (size_t step = 0; step < kSteps; ++step) {
      call = {{first, {next_[step]}}};
      for (size_t i = 0; i < step; ++i) {
        const size_t count = i == 0 && step % 2 == 1 ? 2 : 1;
        call.push_back({others[i], SomeTokens(count, 10 * step + i)});
      }
      call.push_back({second, {next_[step]}});
      const Rows logits = model_->Extend(call);
      rows.first.push_back(logits.front());
      rows.second.push_back(logits.back());
    }
    return rows;
  }

  std::vector<int32_t> prompt_, next_;
  std::unique_ptr<CompiledModel> model_;
  std::unique_ptr<CompiledModel> one_thread_;  // where threads mean something
};

TEST_P(Determinism, ASequenceDoesNotDependOnItsCompany) {
  const Rows alone = Alone(one_thread_ ? *one_thread_ : *model_, true);
  const auto [first, second] = Together(true, kLeavesOneOver);
  for (size_t i = 0; i <= kSteps; ++i) {
    EXPECT_TRUE(SameBytes(first[i], alone[i])) << "prefilled alone in chunks, step " << i;
    EXPECT_TRUE(SameBytes(second[i], alone[i])) << "prefilled among others, step " << i;
  }

  // This test can fail: the same calls without the option give other bytes.
  const Rows left_over = Together(false, kLeavesOneOver).first;
  EXPECT_FALSE(SameBytes(left_over[0], alone[0])) << "the last token is a chunk of its own";

  // Steps and prompts beside each other need no option.
  EXPECT_EQ(Alone(*model_, false), alone);
  const auto [third, fourth] = Together(false, 512);
  for (size_t i = 0; i <= kSteps; ++i) {
    EXPECT_TRUE(SameBytes(third[i], alone[i])) << "without the option, step " << i;
    EXPECT_TRUE(SameBytes(fourth[i], alone[i])) << "without the option, step " << i;
  }
}

// The flag reaches the session: the token that a chunk leaves over runs the kernels of prompts.
TEST(DeterminismFlag, OfTheProgram) {
  const CompiledFile file("tests/golden/llama_tied", "f32", "cpu:native");
  const auto kernels = [&](const std::string& flag) {
    const ProgramResult result =
        RunProgram("bench -q -m " + file.path() + " -p 3 -n 0 -r 1 --chunk 2 --profile " + flag);
    EXPECT_EQ(result.code, 0) << result.errors;
    return result.output;
  };
  using ::testing::AllOf, ::testing::HasSubstr;
  EXPECT_THAT(kernels(""), HasSubstr("attention_combine"));
  EXPECT_THAT(kernels("--deterministic"),
              AllOf(HasSubstr("attention_prefill"), Not(HasSubstr("attention_combine"))));
}

// Up to how many tokens, behind `context` others, the artifact says that steps serve a prompt
// better.
size_t FewTokensOf(const CompiledFile& file, uint64_t context) {
  const auto artifact = Artifact::Open(file.path());
  EXPECT_TRUE(artifact.ok()) << artifact.status();
  if (!artifact.ok()) return 0;
  for (const auto* entry : *(*artifact)->header().programs()->Get(0)->entries()) {
    if (entry->name()->str() != "decode") continue;
    const uint64_t tokens = entry->few_tokens();
    return std::min(tokens, entry->few_context() / (context + tokens + 1));
  }
  ADD_FAILURE() << "no entry point decode";
  return 0;
}

// 48 (32 + 16) / (2 x 48 - 32 - 16) / 2 of latent attention by vectors.
TEST(FewTokens, AreSaidWhereAttentionOfPromptsExpandsTheContext) {
  const auto of = [](const std::string& golden, const std::string& target) {
    return FewTokensOf(CompiledFile("tests/golden/" + golden, "f32", target), 100000);
  };
  EXPECT_EQ(of("deepseek_v3_group", "cpu:x86-64-v3"), 24u);
  EXPECT_EQ(of("deepseek_v3_group", "vulkan:generic"), 0u);
  EXPECT_EQ(of("deepseek_v3_group", "null"), 0u);
  EXPECT_EQ(of("qwen3_moe", "cpu:x86-64-v3"), 0u);
  // A profile can forbid it.
  const std::string profile = TemporaryPath(".json");
  std::ofstream(profile) << R"({"name": "cpu:mine", "driver": "cpu", "cpu": "x86-64-v3",
    "triple": "x86_64-unknown-linux-gnu", "few_tokens": 0,
    "features": ["avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"]})";
  EXPECT_EQ(of("deepseek_v3_group", profile), 0u);
  std::filesystem::remove(profile);
}

// On CPUs few tokens of a prompt of a latent model run the kernels of steps: the bytes of the same
// tokens one at a time. With the option they are a prompt, whose kernels round differently.
TEST(FewTokens, OfAPromptAreStepsOnCpus) {
  const auto check = [](const std::shared_ptr<CompiledFile>& file, size_t context) {
    const size_t most = FewTokensOf(*file, context);
    ASSERT_GE(most, 2u);
    CompiledModel model(file, 2, "cpu");
    const std::vector<int32_t> before = SomeTokens(context, 3);
    const std::vector<int32_t> few = SomeTokens(most, 5);
    // The logits behind `few`, appended at once or by and by.
    const auto logits = [&](bool deterministic, bool at_once) {
      model.NewSession({.max_sequences = 1,
                        .context = static_cast<int64_t>(context + most),
                        .deterministic = deterministic});
      const int32_t id = model.AddSequence();
      std::vector<float> row = model.Prefill(id, before);
      if (at_once) return model.Prefill(id, few);
      for (int32_t token : few) row = model.Decode({id}, {token})[0];
      return row;
    };
    const std::vector<float> steps = logits(true, false);
    EXPECT_TRUE(SameBytes(logits(false, true), steps));
    EXPECT_TRUE(SameBytes(logits(false, false), steps));
    EXPECT_FALSE(SameBytes(logits(true, true), steps)) << "the option makes no difference";
  };
  check(std::make_shared<CompiledFile>("tests/golden/deepseek_v3_group", "q4", "cpu:native"), 70);
  check(CompiledRandom(Wide(16), "q4", "cpu:native"), 1100);  // splits of several pages
}

// SwiftShader takes 20 s to make machine code of the kernels for q4.
const Case kCases[] = {{"cpu", "cpu:native", "deepseek_v3_group", "q4"},
                       {"cpu", "cpu:native", "qwen3_moe", "f32"},
                       {"cpu", "cpu:native", "deepseek_v3_group", "bf16"},
                       {"cpu", "cpu:x86-64-v3", "deepseek_v3_group", "q4"},
                       {"lavapipe", "vulkan:generic", "deepseek_v3_group", "q4"},
                       {"lavapipe", "vulkan:generic", "qwen3_moe", "f32"},
                       {"swiftshader", "vulkan:generic", "qwen3_moe", "f32"},
                       {"ptx", "cuda:sm_80", "deepseek_v3_group", "q4"},
                       {"ptx", "cuda:sm_80", "qwen3_moe", "f32"},
                       {"cpu", "cpu:native", "wide_16", "q4", 16},
                       {"cpu", "cpu:native", "wide_24", "q8", 24},
                       {"cpu", "cpu:native", "grouped_8", "q4", 8}};

INSTANTIATE_TEST_SUITE_P(Devices, Determinism, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace fathom::e2e
