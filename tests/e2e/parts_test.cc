// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights that are more than a target binds at once (docs/spec/kernels.md, "Weights in parts"): profiles that bind little,
// so that small models are cut, run on the devices there are and compared with goldens, the CPU and the uncut program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/e2e/compiled_model.h"
#include "tests/e2e/programs.h"
#include "tests/e2e/test_device.h"
#include "tests/oracle/golden.h"

namespace fathom::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using oracle::RelativeError;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class Parts : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("fathom-parts-test-" + std::to_string(getpid()));
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  // A file with the profile `base`, but for what it binds.
  std::string Narrow(const std::string& base, int64_t bytes) {
    const ProgramResult printed = RunProgram("compile --print-profile=" + base);
    EXPECT_EQ(printed.code, 0) << printed.errors;
    json profile = json::parse(printed.output);
    profile["name"] = base.substr(0, base.find(':')) + ":narrow";
    profile["gpu"]["max_buffer_range"] = bytes;
    const std::string path = dir_ / "narrow.json";
    std::ofstream(path) << profile;
    return path;
  }
  // Of the narrow program: how many dispatches share a weight, by label, most of all layers. No binding of a weight
  // is longer than `bytes`.
  std::map<std::string, int> PartsOf(const std::string& artifact, int64_t bytes) {
    const ProgramResult inspected = RunProgram("inspect " + artifact + " --json");
    EXPECT_EQ(inspected.code, 0) << inspected.errors;
    std::map<std::string, int> most;
    const json header = json::parse(inspected.output);
    for (const json& program : header["programs"]) {
      if (!program["target"].get<std::string>().ends_with(":narrow")) continue;
      for (const json& entry : program["entries"]) {
        std::map<std::string, int> count;
        for (const json& command : entry["commands"]) {
          if (!command.is_object()) continue;
          bool part = false;
          for (const json& binding : command["bindings"]) {
            if (!binding.contains("tensor")) continue;
            EXPECT_LE(binding["bytes"].get<int64_t>(), bytes) << command["label"];
            part |= binding["bytes"] < header["tensors"][binding["tensor"].get<size_t>()]["bytes"];
          }
          if (part) ++count[command["label"]];
        }
        for (const auto& [label, n] : count) {
          int& known = most[entry["name"].get<std::string>() + " " + label.substr(label.find_last_of("./") + 1)];
          known = std::max(known, n);
        }
      }
    }
    return most;
  }

  fs::path dir_;
};

std::vector<int32_t> Ids(const std::vector<int64_t>& ids) { return {ids.begin(), ids.end()}; }

// Against Hugging Face, in float32: tables with and without a head of their own, banks, residuals.
TEST_F(Parts, GoldensHold) {
  struct Case {
    std::string golden, base, kind;
    int64_t bytes;  // the RoPE table, which is never cut, or a little more
  };
  const Case cases[] = {{"deepseek_v3_group", "vulkan:generic", "lavapipe", 53248},
                        {"llama_tied", "vulkan:generic", "lavapipe", 40960},
                        {"deepseek_v3_group", "cuda:sm_80", "ptx", 53248}};
  int ran = 0;
  for (const auto& [name, base, kind, bytes] : cases) {
    const std::string device = FindDevice(kind).id;
    if (device.empty()) continue;
    ++ran;
    SCOPED_TRACE(name + " on " + device);
    const oracle::Golden golden = oracle::ReadGolden("tests/golden/" + name + "/golden.json");
    CompiledModel model("tests/golden/" + name, "f32", Narrow(base, bytes), 0, device);
    const std::map<std::string, int> parts = PartsOf(model.path(), bytes);
    for (const char* label : {"prefill embed", "decode embed", "prefill logits", "decode linear"}) {
      EXPECT_GE(parts.count(label) ? parts.at(label) : 0, 2) << label;
    }
    if (name.starts_with("deepseek")) {
      EXPECT_EQ(parts.at("decode experts_gate_up"), 5);
      EXPECT_EQ(parts.at("prefill experts_down"), 5);
      EXPECT_EQ(parts.at("decode linear_swiglu"), 2);
    }
    const std::vector<int32_t> prompt = Ids(golden.prompt);
    std::vector<int32_t> greedy = Ids(golden.greedy);
    greedy.resize(kind == "ptx" ? 3 : 8);  // the interpreter takes its time
    EXPECT_LT(RelativeError(model.Prefill(model.AddSequence(), prompt), golden.rows.back().logits), 1e-4);
    EXPECT_THAT(model.Greedy(prompt, greedy.size()), ElementsAreArray(greedy));
  }
  if (ran == 0) GTEST_SKIP() << "neither lavapipe nor the PTX interpreter";
}

// Many heads: the matrices of latent attention are cut by heads as well, in both forms.
constexpr const char* kManyHeads = R"({"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
  "hidden_size": 64, "intermediate_size": 192, "moe_intermediate_size": 64, "num_hidden_layers": 2, "first_k_dense_replace": 1,
  "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": null, "kv_lora_rank": 256, "qk_nope_head_dim": 32,
  "qk_rope_head_dim": 16, "v_head_dim": 32, "n_routed_experts": 16, "n_shared_experts": 2, "num_experts_per_tok": 3,
  "n_group": 1, "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": false,
  "routed_scaling_factor": 1.0, "vocab_size": 1000, "max_position_embeddings": 512, "rms_norm_eps": 1e-06, "rope_theta": 10000,
  "hidden_act": "silu", "attention_bias": false, "tie_word_embeddings": false, "moe_layer_freq": 1, "torch_dtype": "bfloat16"})";

// A layer whose projections have biases, which are cut with them.
constexpr const char* kBiases = R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 128,
  "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "hidden_act": "silu",
  "max_position_embeddings": 512, "rms_norm_eps": 1e-06, "rope_theta": 10000, "tie_word_embeddings": false, "vocab_size": 1000,
  "use_sliding_window": false, "torch_dtype": "bfloat16"})";

TEST_F(Parts, EveryFamilyAgreesWithTheCpuOrTheWhole) {
  const TestDevice device = FindDevice("lavapipe");
  if (device.id.empty()) GTEST_SKIP() << device.missing;
  const std::string config = dir_ / "config.json";
  const std::vector<std::string> random = {"--weights=random:3"};
  std::vector<int32_t> prompt;
  for (int i = 0; i < 70; ++i) prompt.push_back(i * 379 % 1000);
  struct Case {
    const char *text, *quantize;
    int64_t bytes;
    bool verify;  // every dispatch against the CPU; else the results against those of the uncut program
    std::vector<const char*> labels;
  };
  const Case cases[] = {
      {kManyHeads, "f32", 131072, true, {"prefill embed", "prefill attention", "decode linear", "prefill experts_down", "decode logits"}},
      {kManyHeads, "q8", 40960, false, {"decode embed", "prefill attention", "prefill experts_gate_up_records", "decode experts_down"}},
      {kBiases, "f32", 65664, true, {"prefill linear", "decode linear"}}};
  for (const auto& [text, quantize, bytes, verify, labels] : cases) {
    SCOPED_TRACE(quantize);
    std::ofstream(config) << text;
    const std::string narrow = Narrow("vulkan:generic", bytes);
    auto file = std::make_shared<CompiledFile>(config, quantize, "cpu:native," + narrow, random);
    const std::map<std::string, int> parts = PartsOf(file->path(), bytes);
    for (const char* label : labels) {
      EXPECT_GE(parts.count(label) ? parts.at(label) : 0, 2) << label;
    }
    if (verify) {
      const ProgramResult verified = RunProgram("verify " + file->path() + " --device=" + device.id + " --tokens 20 --steps 1 --reproducer " +
                                                (dir_ / "reproducer").string());
      EXPECT_EQ(verified.code, 0) << verified.errors;
      EXPECT_THAT(verified.output, HasSubstr("agrees with cpu:0"));
      continue;
    }
    CompiledModel cut(file, 0, device.id);
    CompiledModel whole(std::make_shared<CompiledFile>(config, quantize, "vulkan:generic", random), 0, device.id);
    const int32_t a = cut.AddSequence(), b = whole.AddSequence();
    // No sum is cut. Where whole rows would be normalised or merged beside, roundings differ.
    EXPECT_LT(RelativeError(cut.Prefill(a, prompt), whole.Prefill(b, prompt)), 1e-5);
    for (int i = 0; i < 3; ++i) {
      EXPECT_LT(RelativeError(cut.Decode({a}, {i * 7})[0], whole.Decode({b}, {i * 7})[0]), 1e-5);
    }
  }
}

// What cannot be cut further is refused by the compiler, with the numbers and a way out.
TEST_F(Parts, ALeastPartThatIsTooLongIsRefused) {
  const struct {
    int64_t bytes;
    const char* what;
  } cases[] = {{53247, "all of its weight of type 'tensor<832x16xf32"},  // the RoPE table
               {16384, "64 rows of its weight of type 'tensor<256x96xf32"}};
  for (const auto& [bytes, what] : cases) {
    std::string errors;
    EXPECT_EQ(RunCompiler({"tests/golden/deepseek_v3_group", "--quantize=f32", "--target=" + Narrow("vulkan:generic", bytes),
                           "-o", dir_ / "a.fathom"},
                          &errors),
              2);
    EXPECT_THAT(errors, HasSubstr(what));
    EXPECT_THAT(errors, HasSubstr("can be given " + std::to_string(bytes)));
    EXPECT_THAT(errors, HasSubstr("--target="));
  }
}

}  // namespace
}  // namespace fathom::e2e
