// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom plan on models that are not compiled: the numbers of the artifact that compiling would make.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/e2e/programs.h"

namespace fathom::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct Result : ProgramResult {
  nlohmann::json json;
};

class Plan : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("fathom-plan-test-" + std::to_string(getpid()));
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  // fathom plan (or another command) with these arguments, printing JSON unless `json` is false.
  Result Run(const std::string& arguments, bool json = true, const std::string& what = "plan") {
    Result result{RunProgram(what + " " + arguments + (json ? " --json" : "")), {}};
    if (json) result.json = nlohmann::json::parse(result.output, nullptr, false);
    return result;
  }

  fs::path dir_;
};

// A directory, its config.json alone (no weights anywhere near) and the artifact: one plan.
TEST_F(Plan, OfAConfigIsThatOfTheArtifact) {
  const struct {
    const char *model, *quantize, *target;
  } cases[] = {{"models/tiny", "q8", "null"},
               {"tests/golden/deepseek_v3_group", "q4", "cpu:x86-64-v3"},
               {"tests/golden/qwen3_moe", "bf16", "null"}};
  for (const auto& [model, quantize, target] : cases) {
    const std::string artifact = dir_ / "a.fathom";
    const std::string compile = std::string(" --quantize=") + quantize + " --target=" + target;
    ASSERT_EQ(RunCompiler({model, std::string("--quantize=") + quantize, std::string("--target=") + target, "-o", artifact}), 0);
    fs::copy_file(fs::path(model) / "config.json", dir_ / "config.json", fs::copy_options::overwrite_existing);
    for (const std::string request : {"", " -c 200 -b 3 --chunk 100"}) {
      const Result compiled = Run(artifact + " --device=null" + request);
      ASSERT_EQ(compiled.code, 0) << compiled.errors;
      for (const std::string& input : {std::string(model), (dir_ / "config.json").string(), dir_.string()}) {
        Result planned = Run(input + compile + " --device=null" + request);
        ASSERT_EQ(planned.code, 0) << input << ": " << planned.errors;
        EXPECT_EQ(planned.json["model"], input);
        planned.json["model"] = artifact;
        // With fewer bits an artifact knows its weights' size and takes the scratch it has.
        for (size_t i = 0; i < compiled.json["smaller"].size(); ++i)
          EXPECT_EQ(planned.json["smaller"][i]["weights"], compiled.json["smaller"][i]["weights"]) << input << " " << i;
        nlohmann::json a = planned.json, b = compiled.json;
        a.erase("smaller"), b.erase("smaller");
        EXPECT_EQ(a, b) << input << request;
        EXPECT_GT(a["weights"], 0);
        EXPECT_GT(a["scratch_of_entry"]["decode"], 0);
        // Few tokens that are computed as steps can take more than a small chunk.
        if (request.empty()) {
          EXPECT_GT(a["scratch_of_entry"]["prefill"], a["scratch_of_entry"]["decode"]);
        }
      }
    }
    fs::remove(artifact);
  }
}

TEST_F(Plan, WithFewerBitsIsThatOfTheOtherArtifact) {
  const Result wide = Run("models/tiny --quantize=bf16 --target=null --device=null");
  ASSERT_EQ(wide.json["smaller"].size(), 2u) << wide.errors;
  for (const auto& smaller : wide.json["smaller"]) {
    const std::string quantize = smaller["quantize"];
    const Result other = Run("models/tiny --target=null --device=null --quantize=" + quantize);
    for (const char* field : {"weights", "total", "fits", "largest_context"})
      EXPECT_EQ(smaller[field], other.json[field]) << quantize << " " << field;
  }
  EXPECT_TRUE(Run("models/tiny --quantize=q4 --target=null --device=null").json["smaller"].empty());
}

// 671 billion parameters: seconds, and no weight is made.
TEST_F(Plan, OfThePublishedShapeTakesSeconds) {
  const auto start = std::chrono::steady_clock::now();
  const Result plan = Run("tests/golden/configs/deepseek_v3.json --quantize=bf16 --target=cuda:sm_90 --memory=640GiB -c 32768");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  EXPECT_EQ(plan.code, 2);
  EXPECT_THAT(plan.errors, HasSubstr("with --quantize=q4 it would"));
  EXPECT_FALSE(plan.json["fits"]);
  // A row of the cache: 512 latent and 64 rotated values of 2 bytes in each of 61 layers.
  EXPECT_EQ(plan.json["kv_cache"], 32768LL * 61 * (512 + 64) * 2);
  EXPECT_NEAR(plan.json["weights"].get<double>(), 671.03e9 * 2, 671.03e9 * 0.01);
  EXPECT_EQ(plan.json["memory"], 640LL << 30);
  ASSERT_EQ(plan.json["smaller"].size(), 2u);
  EXPECT_FALSE(plan.json["smaller"][0]["fits"]);
  EXPECT_NEAR(plan.json["smaller"][1]["weights"].get<double>(), 671.03e9 * 4.5 / 8, 671.03e9 * 0.01);
  EXPECT_TRUE(plan.json["smaller"][1]["fits"]);
  EXPECT_EQ(plan.json["smaller"][1]["largest_context"], 163840);
}

// An embedding of 102400 x 2048 in q8 is longer than a binding of lavapipe's may span: it is cut for a target that is promised
// no more, and a program that needs more says so.
TEST_F(Plan, WeightsAreCutForWhatADeviceBinds) {
  const std::string model = "tests/golden/configs/deepseek_v2_lite.json --quantize=q8 --device=vulkan:0 -c 64";
  const Result cut = Run(model + " --target=vulkan:generic");
  if (cut.output.empty() || cut.json["longest_binding"].is_null()) GTEST_SKIP() << "no Vulkan device: " << cut.errors;
  EXPECT_EQ(cut.json["obstacle"], "");
  EXPECT_LE(cut.json["longest_binding"], 128 << 20);
  EXPECT_GT(cut.json["largest_context"], 0);
  const Result whole = Run(model + " --target=vulkan:amd");
  if (whole.code == 0) {
    EXPECT_EQ(whole.json["longest_binding"], 102400LL * 2048 / 16 * 17);
    GTEST_SKIP() << "the device binds them";
  }
  EXPECT_EQ(whole.code, 2);
  EXPECT_THAT(whole.errors, HasSubstr("lacks range_213m"));
  EXPECT_THAT(whole.errors, HasSubstr("--target=vulkan:generic would add one"));
  // In q4 it is 118 MB, which every device binds.
  EXPECT_EQ(Run("tests/golden/configs/deepseek_v2_lite.json --quantize=q4 --device=vulkan:0 -c 64 --target=vulkan:amd").code, 0);
}

TEST_F(Plan, TakesATargetsProfileFromAFile) {
  std::ofstream(dir_ / "mine.json") << R"({"name": "cpu:mine", "driver": "cpu", "triple": "x86_64-unknown-linux-gnu",
    "cpu": "x86-64-v3", "features": ["avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"]})";
  const Result plan = Run("models/tiny --device=null --target=" + (dir_ / "mine.json").string());
  EXPECT_EQ(plan.code, 0) << plan.errors;
  EXPECT_EQ(plan.json["target"], "cpu:mine");
}

// fathom bench --estimate computes from the same header.
TEST_F(Plan, EstimatesOfAConfigAreThoseOfTheArtifact) {
  const std::string artifact = dir_ / "a.fathom", flags = " -p 700 -n 9 -d 0,100";
  auto estimate = [&](const std::string& arguments) { return Run(arguments + flags, true, "bench --estimate"); };
  ASSERT_EQ(RunCompiler({"tests/golden/deepseek_v3_group", "--target=null,cpu:x86-64-v4-vnni", "--quantize=q4", "-o", artifact}), 0);
  const Result compiled = estimate(artifact + " --profile=cpu:x86-64-v4-vnni");
  ASSERT_EQ(compiled.code, 0) << compiled.errors;
  EXPECT_EQ(compiled.json["target"], "cpu:x86-64-v4-vnni");
  EXPECT_EQ(compiled.json["bytes_per_second"], 460.8e9);
  EXPECT_EQ(compiled.json["rates"], "published");
  const Result planned = estimate("tests/golden/deepseek_v3_group/config.json --quantize=q4 --profile=cpu:x86-64-v4-vnni");
  ASSERT_EQ(planned.code, 0) << planned.errors;
  EXPECT_EQ(planned.json["tests"], compiled.json["tests"]);
  ASSERT_EQ(planned.json["tests"].size(), 4u);
  for (const auto& test : planned.json["tests"]) {
    const bool prefill = test["entry"] == "prefill";
    EXPECT_EQ(test["tokens"], prefill ? 700 : 1);
    double bytes = 0, seconds = 0;
    for (const auto& kernel : test["kernels"]) {
      EXPECT_TRUE(kernel["known"]) << kernel["kernel"] << ": a family without a model in runtime/tools/kernel_cost.cc";
      for (const char* part : {"weight_bytes", "cache_bytes", "other_bytes"}) bytes += kernel[part].get<double>();
      seconds += kernel["estimated_seconds"].get<double>();
    }
    EXPECT_DOUBLE_EQ(test["bytes"], bytes);
    EXPECT_NEAR(test["estimated_seconds"].get<double>(), seconds, 1e-12);
    EXPECT_GT(test["ops"]["int8"], 0);
  }
  // A profile of no device, and flags that say nothing without --estimate.
  Result result = estimate(artifact + " --profile=vulkan:generic");
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.errors, HasSubstr("tells no rates"));
  EXPECT_EQ(estimate(artifact + " --quantize=q4").code, 1);
  EXPECT_EQ(Run(artifact + " --profile=cuda:sm_80", true, "bench").code, 1);
}

// V2-Lite at q4 reads 1.43 GB for a token: the active experts, attention, one dense layer and the head.
TEST_F(Plan, EstimatesThePublishedShapes) {
  const Result lite = Run("tests/golden/configs/deepseek_v2_lite.json --quantize=q4 --profile=cuda:sm_80 -p 0 -n 1 -b 1,8", true,
                          "bench --estimate");
  ASSERT_EQ(lite.code, 0) << lite.errors;
  ASSERT_EQ(lite.json["tests"].size(), 2u);
  EXPECT_EQ(lite.json["tests"][1]["test"], "tg1 x 8");
  double weights = 0;
  for (const auto& kernel : lite.json["tests"][0]["kernels"]) {
    weights += kernel["weight_bytes"].get<double>();
    EXPECT_TRUE(kernel["known"]) << kernel["kernel"];
  }
  // Parameters per token: per layer of 27 attention 2048 x (16 x 192 + 512 + 64), 512 x 16 x 256, 2048 x 2048; in 26
  // layers (6 + 2) experts of 3 x 2048 x 1408; one dense layer of 3 x 2048 x 10944; the head of 102400 x 2048.
  const double parameters = 27.0 * (2048 * (16 * 192 + 576) + 512 * 16 * 256 + 2048 * 2048) +
                            26.0 * 8 * 3 * 2048 * 1408 + 3.0 * 2048 * 10944 + 102400.0 * 2048;
  EXPECT_NEAR(weights, parameters * 4.5 / 8, 0.02 * weights);  // routers and norms stay in float32
  EXPECT_EQ(lite.json["tests"][0]["tokens"], 1);
  EXPECT_NEAR(lite.json["tests"][0]["estimated_seconds"].get<double>(), weights / 2039e9, 0.05 * weights / 2039e9);
}

TEST_F(Plan, ErrorsKeepTheirKind) {
  Result result = Run((dir_ / "none.json").string());
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.errors, HasSubstr("none.json: No such file"));
  std::ofstream(dir_ / "config.json") << R"({"model_type": "gemma3"})";
  result = Run(dir_.string());
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.errors, HasSubstr("gemma3"));
  EXPECT_EQ(Run("models/tiny --target=cpu:pdp11").code, 1);
  EXPECT_EQ(Run("models/tiny --memory=1G --device=cpu").code, 1);
  const std::string artifact = dir_ / "a.fathom";
  ASSERT_EQ(RunCompiler({"tests/golden/deepseek_v3_group", "--target=null", "-o", artifact}), 0);
  result = Run(artifact + " --quantize=q4");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.errors, HasSubstr("found an artifact"));
  result = Run(artifact + " --memory=1G --target=cuda:sm_80");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.errors, HasSubstr("program of --target: expected null, found cuda:sm_80"));
  // For people: every number of the plan, per entry point.
  result = Run("models/tiny --target=null --device=null", false);
  EXPECT_THAT(result.output, HasSubstr("  prefill"));
  EXPECT_THAT(result.output, HasSubstr("with --quantize=q4"));
}

}  // namespace
}  // namespace fathom::e2e
