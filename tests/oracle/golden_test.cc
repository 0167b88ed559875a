// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The reference model computes what transformers computed, for every golden case and in both forms.
#include "tests/oracle/golden.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/reference/model_config.h"
#include "models/reference/reference_model.h"
#include "tests/oracle/checkpoint.h"

namespace fathom::oracle {
namespace {

using reference::LatentForm;
using reference::ReferenceModel;
using reference::Sequence;

const std::filesystem::path kRoot = "tests/golden";
// End-to-end runs are held to 1e-4. Float64 sums reach 3e-6 beside float32 transformers, so the
// reference is held to less: a slip that costs 5e-5 must not hide below the common tolerance.
constexpr double kTolerance = 1e-5;
// Two forms of one attention, both with float64 sums, differ by rounding of stored values only.
constexpr double kFormTolerance = 5e-6;

std::vector<int64_t> GreedyFrom(const ReferenceModel& model, std::vector<float> logits,
                                Sequence sequence, size_t count) {
  std::vector<int64_t> tokens;
  while (tokens.size() < count) {
    tokens.push_back(std::max_element(logits.begin(), logits.end()) - logits.begin());
    logits = model.Step(tokens.back(), &sequence);
  }
  return tokens;
}

class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    checkpoint_ = ReadCheckpoint(kRoot / GetParam());
    golden_ = ReadGolden(kRoot / GetParam() / "golden.json");
  }

  void ExpectGolden(const ReferenceModel& model) {
    Sequence sequence = model.NewSequence();
    const auto logits = model.Prefill(golden_.prompt, &sequence);
    for (const Golden::Row& row : golden_.rows) {
      EXPECT_LT(RelativeError(logits.at(row.position), row.logits), kTolerance)
          << "position " << row.position;
    }
    EXPECT_EQ(GreedyFrom(model, logits.back(), sequence, golden_.greedy.size()), golden_.greedy);
    for (const Golden::Continuation& other : golden_.batch) {
      const auto count = static_cast<int64_t>(other.greedy.size());
      EXPECT_EQ(model.Greedy(other.prompt, count), other.greedy);
    }
  }

  Checkpoint checkpoint_;
  Golden golden_;
};

class LatentGoldenTest : public GoldenTest {};

// Names and shapes are as published; what is left over can only be the skipped prediction layers.
TEST_P(GoldenTest, HoldsThePublishedTensors) {
  std::map<std::string, Tensor> rest = checkpoint_.tensors;
  for (const reference::TensorShape& expected : TensorShapes(checkpoint_.config)) {
    const auto found = rest.find(expected.name);
    ASSERT_NE(found, rest.end()) << expected.name;
    EXPECT_EQ(found->second.shape, expected.shape) << expected.name;
    rest.erase(found);
  }
  const std::string skipped =
      "model.layers." + std::to_string(checkpoint_.config.num_hidden_layers) + ".";
  for (const auto& [name, tensor] : rest) EXPECT_THAT(name, testing::StartsWith(skipped));
  EXPECT_EQ(rest.empty(), GetParam() != "deepseek_v3_fp8");
}

TEST_P(GoldenTest, ExpandedFormEqualsTransformers) {
  ExpectGolden(ReferenceModel(checkpoint_.config, checkpoint_.Lookup(), LatentForm::kExpanded));
}

TEST_P(LatentGoldenTest, AbsorbedFormEqualsTransformers) {
  ExpectGolden(ReferenceModel(checkpoint_.config, checkpoint_.Lookup(), LatentForm::kAbsorbed));
}

TEST_P(LatentGoldenTest, AbsorbedEqualsExpanded) {
  const ReferenceModel expanded(checkpoint_.config, checkpoint_.Lookup(), LatentForm::kExpanded);
  const ReferenceModel absorbed(checkpoint_.config, checkpoint_.Lookup(), LatentForm::kAbsorbed);
  Sequence expanded_sequence = expanded.NewSequence();
  Sequence absorbed_sequence = absorbed.NewSequence();
  const size_t count = std::min<size_t>(golden_.prompt.size(), 64);
  for (size_t i = 0; i < count; ++i) {
    const auto expected = expanded.Step(golden_.prompt[i], &expanded_sequence);
    const auto actual = absorbed.Step(golden_.prompt[i], &absorbed_sequence);
    EXPECT_LT(RelativeError(actual, expected), kFormTolerance) << "position " << i;
  }
  // The point of absorption: one latent row and one key per token instead of keys and values.
  const auto& c = checkpoint_.config;
  EXPECT_EQ(absorbed_sequence.layers[0].latent.size(), count * c.kv_lora_rank);
  EXPECT_EQ(absorbed_sequence.layers[0].rope_key.size(), count * c.qk_rope_head_dim);
  EXPECT_TRUE(absorbed_sequence.layers[0].key.empty());
}

std::vector<std::string> LatentCases() {
  std::vector<std::string> cases;
  for (const std::string& name : GoldenCases(kRoot)) {
    if (reference::IsLatent(ReadConfig(kRoot / name / "config.json"))) cases.push_back(name);
  }
  return cases;
}

const auto kNameOfCase = [](const auto& info) { return info.param; };
INSTANTIATE_TEST_SUITE_P(Cases, GoldenTest, testing::ValuesIn(GoldenCases(kRoot)), kNameOfCase);
INSTANTIATE_TEST_SUITE_P(Cases, LatentGoldenTest, testing::ValuesIn(LatentCases()), kNameOfCase);

TEST(GoldenCases, EveryArchitectureIsThere) {
  EXPECT_THAT(GoldenCases(kRoot),
              testing::ElementsAre("deepseek_v2_greedy", "deepseek_v2_group", "deepseek_v3_fp8",
                                   "deepseek_v3_group", "deepseek_v3_long", "deepseek_v3_plain",
                                   "llama_gqa", "llama_tied", "mixtral", "olmoe", "qwen2", "qwen3",
                                   "qwen3_moe"));
  EXPECT_EQ(LatentCases().size(), 6U);
}

TEST(ReferenceModel, NamesAMissingTensor) {
  Checkpoint checkpoint = ReadCheckpoint(kRoot / "qwen2");
  checkpoint.tensors.erase("model.layers.1.self_attn.k_proj.bias");
  try {
    ReferenceModel model(checkpoint.config, checkpoint.Lookup());
    FAIL() << "accepted a checkpoint without a bias";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("model.layers.1.self_attn.k_proj.bias"));
  }
}

TEST(ReferenceModel, RefusesTokensOutsideTheVocabulary) {
  const Checkpoint checkpoint = ReadCheckpoint(kRoot / "llama_tied");
  const ReferenceModel model(checkpoint.config, checkpoint.Lookup());
  Sequence sequence = model.NewSequence();
  EXPECT_THROW(model.Step(checkpoint.config.vocab_size, &sequence), std::out_of_range);
  EXPECT_THROW(model.Step(-1, &sequence), std::out_of_range);
  EXPECT_EQ(sequence.length, 0);
}

TEST(ReferenceModel, ObserverSeesTheResidualStream) {
  const Checkpoint checkpoint = ReadCheckpoint(kRoot / "llama_gqa");
  ReferenceModel model(checkpoint.config, checkpoint.Lookup());
  std::vector<float> stream;
  int64_t layers = 0;
  model.set_observer([&](const std::string& where, int64_t layer, int64_t, const auto& values) {
    if (where == "embedding") stream = values;
    if (where == "attention" || where == "mlp") {
      for (size_t i = 0; i < stream.size(); ++i) stream[i] += values[i];
    }
    if (where == "residual") {
      EXPECT_EQ(stream, values) << "layer " << layer;
      ++layers;
    }
  });
  Sequence sequence = model.NewSequence();
  model.Step(7, &sequence);
  EXPECT_EQ(layers, checkpoint.config.num_hidden_layers);
}

}  // namespace
}  // namespace fathom::oracle
