// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The hot kernels of a model of DeepSeek-V2-Lite's shape keep everything in registers: NVIDIA's
// assembler reports no stack frame and no spills. Skipped where it is not installed.
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "llvm/Support/Program.h"
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

namespace fs = std::filesystem;

int64_t recordStride(const std::string& act, int64_t n) {
  int64_t padded = (n + 63) / 64 * 64;
  if (act == "i8") return (padded + padded / 4 + 63) / 64 * 64;
  return act == "bf16" ? (2 * n + 63) / 64 * 64 : 4 * ((n + 15) / 16 * 16);
}

std::string projection(int64_t rows, int64_t cols, const std::string& enc, const std::string& act,
                       const std::string& epilogue) {
  std::string stride = std::to_string(recordStride(act, cols));
  return "rows = " + std::to_string(rows) + ", cols = " + std::to_string(cols) + ", enc = \"" +
         enc + "\", act = \"" + act + "\", act_stride = " + stride +
         ", out_ld = " + std::to_string((rows + 15) / 16 * 16) + ", epilogue = \"" + epilogue +
         "\"";
}

// Every pair of encodings, epilogue and reader of the plan.
std::vector<KernelSpec> projections() {
  std::vector<KernelSpec> specs;
  for (auto [enc, act] : {std::pair{"f32", "f32"},
                          {"bf16", "f32"},
                          {"q4", "f32"},
                          {"bf16", "bf16"},
                          {"q8", "i8"},
                          {"q4", "i8"}}) {
    auto add = [&](const std::string& family, int64_t rows, int64_t cols, const char* epilogue,
                   const std::string& more) {
      specs.push_back({family + "_" + enc + "_" + act + "_" + epilogue, family,
                       projection(rows, cols, enc, act, epilogue) + more});
    };
    std::string linear = ", batch = 1, act_batch_stride = 0, bias = ";
    add("linear", 3648, 2048, "store", linear + "true");
    add("linear", 2048, 10944, "residual", linear + "false");
    add("linear", 10944, 2048, "swiglu", linear + "false");
    std::string experts = ", experts = 66, top_k = 8, gather = ";
    add("experts", 1408, 2048, "swiglu", experts + "true");
    add("experts", 2048, 1408, "store", experts + "false");
    std::string records = ", out_act = \"i8\", out_stride = ";
    specs.push_back({"records_" + specs.back().name, "experts",
                     projection(1408, 2048, enc, act, "swiglu") + experts + "true" + records +
                         std::to_string(recordStride("i8", 1408))});
  }
  return specs;
}

// What these do for their neighbours in entry points of few tokens.
std::vector<KernelSpec> fused() {
  std::string linear = ", batch = 1, bias = false";
  return {{"heads", "linear",
           projection(3072, 2048, "q4", "i8", "store") + linear +
               ", head_act = \"i8\", heads = 16, head_width = 192, head_cols = 128, "
               "head_act_stride = 3072, head_act_batch_stride = 192"},
          {"norm", "linear",
           projection(64, 2048, "f32", "f32", "store") + linear +
               ", norm = \"i8\", norm_stride = 2560, eps = 1.0e-6"},
          {"splits", "linear",
           projection(128, 512, "q4", "i8", "store") +
               ", batch = 16, act_batch_stride = 640, bias = false, splits = 16, out_act = \"i8\", "
               "out_stride = 2560"}};
}

std::vector<KernelSpec> attentions() {
  std::vector<KernelSpec> specs;
  for (std::string kv : {"f32", "bf16"}) {
    std::string cache = ", kv = \"" + kv + "\", page_tokens = 64, page_bytes = 524288";
    std::string latent =
        "heads = 16, rank = 512, dim = 64, scale = 0.1147, q_ld = 3648, q_head_ld = 192, q_offset "
        "= 128" +
        cache;
    std::string gqa =
        "heads = 32, kv_heads = 8, head_dim = 128, scale = 0.088, q_ld = 4096, window = 0" + cache;
    specs.push_back({"latent_attention_" + kv, "latent_attention", latent + ", splits = 16"});
    specs.push_back({"latent_rotate_" + kv, "latent_attention",
                     latent + ", splits = 16, rotate = true, interleaved = true, mscale = 1.0"});
    specs.push_back({"latent_attention_expanded_" + kv, "latent_attention_expanded",
                     latent + ", nope = 128, v = 128, enc = \"q4\""});
    specs.push_back({"attention_" + kv, "attention", gqa + ", splits = 16"});
    specs.push_back({"attention_prefill_" + kv, "attention_prefill", gqa + ", grid_heads = 8"});
  }
  return specs;
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class Ptxas : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!llvm::sys::findProgramByName("ptxas"))
      GTEST_SKIP() << "no ptxas on the path: registers of the CUDA kernels were not looked at";
    folder_ = fs::path(::testing::TempDir()) /
              ("fathom_ptxas_" + profileNamed(GetParam()).cpu + std::to_string(getpid()));
    fs::create_directories(folder_);
    setenv("FATHOM_TEST_DUMP", folder_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("FATHOM_TEST_DUMP");
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  void expectNoLocalMemory(const std::vector<KernelSpec>& specs, bool manyTokens) {
    SCOPED_TRACE(manyTokens ? "many tokens" : "few tokens");
    auto image = KernelImage::build(profileNamed(GetParam()), specs, 2, manyTokens);
    ASSERT_TRUE(image);
    static const std::regex memory(
        "([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads");
    for (const KernelSpec& spec : specs) {
      std::string report = read(folder_ / (spec.name + ".ptxas"));
      std::smatch found;
      ASSERT_TRUE(std::regex_search(report, found, memory)) << spec.name << ": " << report;
      for (int i = 1; i <= 3; ++i) EXPECT_EQ(found[i], "0") << spec.name << ": " << report;
    }
  }

  fs::path folder_;
};

TEST_P(Ptxas, ProjectionsOfFewTokensDoNotSpill) { expectNoLocalMemory(projections(), false); }
TEST_P(Ptxas, FusedProjectionsDoNotSpill) { expectNoLocalMemory(fused(), false); }
TEST_P(Ptxas, ProjectionsOfManyTokensDoNotSpill) { expectNoLocalMemory(projections(), true); }
TEST_P(Ptxas, AttentionDoesNotSpill) { expectNoLocalMemory(attentions(), false); }

INSTANTIATE_TEST_SUITE_P(Chips, Ptxas, ::testing::Values("cuda:sm_80", "cuda:sm_90", "cuda:sm_120"),
                         [](const auto& info) { return info.param.substr(5); });

}  // namespace
}  // namespace fathom::testing
