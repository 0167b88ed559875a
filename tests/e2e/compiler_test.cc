// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom-compile as a user runs it: damaged checkpoints, outputs that cannot be written, phases, variants.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/api/fathom.h"
#include "tests/e2e/programs.h"

namespace fathom::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kCheckpoint[] = "tests/golden/llama_tied";       // sharded
constexpr char kOneFile[] = "tests/golden/deepseek_v3_plain";   // one model.safetensors, float32
constexpr char kNull[] = "--target=null";                       // no code generation: quick

std::string Slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}
void Spill(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

class Compiler : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("fathom-compiler-test-" + std::to_string(getpid()));
    fs::create_directories(dir_ / "out");
  }
  void TearDown() override { fs::remove_all(dir_); }

  // A private copy of a golden checkpoint, to be damaged.
  fs::path Copy(const std::string& checkpoint) {
    fs::copy(checkpoint, dir_ / "model", fs::copy_options::recursive);
    return dir_ / "model";
  }
  std::string Output(const std::string& name = "a.fathom") const { return dir_ / "out" / name; }

  // Expects exit 1, a message with each part, and nothing left in the output folder.
  void ExpectInputError(const fs::path& input, const std::vector<std::string>& parts, int code = 1) {
    std::string errors;
    EXPECT_EQ(RunCompiler({input, kNull, "--quantize=q8", "-o", Output()}, &errors), code) << errors;
    for (const std::string& part : parts) EXPECT_THAT(errors, HasSubstr(part));
    EXPECT_TRUE(fs::is_empty(dir_ / "out")) << "something was left behind";
  }

  fs::path dir_;
};

TEST_F(Compiler, RefusesATruncatedCheckpointAtAnyLength) {
  const fs::path model = Copy(kOneFile);
  const std::string bytes = Slurp(model / "model.safetensors");
  for (const size_t length : {size_t{0}, size_t{7}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    Spill(model / "model.safetensors", bytes.substr(0, length));
    ExpectInputError(model, {"model.safetensors"});
  }
}

TEST_F(Compiler, NamesAMissingTensor) {
  const fs::path model = Copy(kOneFile);
  std::string bytes = Slurp(model / "model.safetensors");
  const std::string name = "model.layers.1.self_attn.o_proj.weight";
  const size_t at = bytes.find(name);
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, name.size(), "model.layers.1.self_attn.x_proj.weight");
  Spill(model / "model.safetensors", bytes);
  ExpectInputError(model, {name});
}

TEST_F(Compiler, NamesATensorThatHoldsNaN) {
  const fs::path model = Copy(kOneFile);
  std::string bytes = Slurp(model / "model.safetensors");
  for (int i = 1; i <= 4; ++i) bytes[bytes.size() - i] = '\xff';  // the last float32 of the last tensor
  Spill(model / "model.safetensors", bytes);
  ExpectInputError(model, {"tensor '", "finite"});
}

TEST_F(Compiler, NamesAFieldOfTheConfig) {
  const fs::path model = Copy(kOneFile);
  const std::string config = Slurp(model / "config.json");
  auto with = [&](const std::string& key, const std::string& value) {
    const size_t at = config.find("\"" + key + "\"");
    const size_t colon = config.find(':', at), end = config.find_first_of(",}\n", colon);
    return config.substr(0, colon + 1) + " " + value + config.substr(end);
  };
  Spill(model / "config.json", with("num_experts_per_tok", "1000"));
  ExpectInputError(model, {"config.json", "num_experts_per_tok"});
  Spill(model / "config.json", with("num_attention_heads", "0"));
  ExpectInputError(model, {"config.json", "num_attention_heads"});
  Spill(model / "config.json", with("vocab_size", "1e400"));
  ExpectInputError(model, {"config.json"});
  Spill(model / "config.json", with("model_type", "\"gemma3\""));
  ExpectInputError(model, {"gemma3", "not supported"}, 2);
  Spill(model / "config.json", config.substr(0, config.size() / 2));
  ExpectInputError(model, {"config.json"});
}

TEST_F(Compiler, LeavesNothingWhenTheOutputCannotBeWritten) {
  std::string errors;
  EXPECT_EQ(RunCompiler({kOneFile, kNull, "-o", "/proc/a.fathom"}, &errors), 1);
  EXPECT_THAT(errors, HasSubstr("/proc/a.fathom"));
  EXPECT_EQ(RunCompiler({kOneFile, kNull, "-o", dir_ / "no" / "such" / "a.fathom"}, &errors), 1);
  EXPECT_THAT(errors, HasSubstr("a.fathom"));
}

// A full disk, as far as a test can make one: files may not grow beyond 50 KiB.
TEST_F(Compiler, LeavesNothingWhenTheDiskIsFull) {
  Spill(Output(), "the artifact of yesterday");
  std::string errors;
  EXPECT_EQ(RunCompiler({kOneFile, kNull, "-o", Output()}, &errors, "trap '' XFSZ; ulimit -f 100;"), 1);
  EXPECT_THAT(errors, HasSubstr("a.fathom"));
  EXPECT_THAT(errors, HasSubstr("File too large"));
  EXPECT_EQ(Slurp(Output()), "the artifact of yesterday");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_ / "out"), fs::directory_iterator()), 1);
}

TEST_F(Compiler, SameInputsGiveTheSameBytes) {
  ASSERT_EQ(RunCompiler({kCheckpoint, "--target=cpu:x86-64-v3", "-t", "1", "-o", Output("a")}), 0);
  ASSERT_EQ(RunCompiler({kCheckpoint, "--target=cpu:x86-64-v3", "-t", "2", "-o", Output("b")}), 0);
  EXPECT_TRUE(Slurp(Output("a")) == Slurp(Output("b")));
}

// Stopping after any phase and going on from its dump ends in the artifact of one go.
TEST_F(Compiler, CompilesFromTheDumpOfEveryPhase) {
  ASSERT_EQ(RunCompiler({kOneFile, "--target=null", "--quantize=q4", "-o", Output("whole"),
                         "--dump-phases-to=" + (dir_ / "dump").string()}), 0);
  const char* phases[] = {"import", "graph", "quantize", "fuse", "lower", "schedule"};
  const char* next[] = {"graph", "quantize", "fuse", "lower", "schedule", "codegen"};
  for (int i = 0; i < 6; ++i) {
    const std::string dump = dir_ / "dump" / ("0" + std::to_string(i + 1) + "." + phases[i] + ".mlir");
    std::string errors;
    ASSERT_EQ(RunCompiler({dump, "--target=null", std::string("--compile-from=") + next[i], "-o", Output("rest")}, &errors), 0)
        << errors;
    EXPECT_TRUE(Slurp(Output("whole")) == Slurp(Output("rest"))) << phases[i];
  }
  // A dump whose types do not fit the checkpoint is refused, not believed.
  std::string text = Slurp(dir_ / "dump" / "06.schedule.mlir");
  const std::string from = "graph.param \"model.norm.weight\" : tensor<";
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos);
  const size_t end = text.find('x', at);
  text.replace(at + from.size(), end - at - from.size(), "9999");
  Spill(dir_ / "edited.mlir", text);
  std::string errors;
  EXPECT_EQ(RunCompiler({dir_ / "edited.mlir", "--compile-from=codegen", "-o", Output("edited")}, &errors), 1) << errors;
}

// One file, two variants over one set of weights: the loader takes the best that the CPU can run.
// The dispatches of a decode step that belong to layer 2, a mixture of experts, of a model with latent attention.
int DispatchesOfALayer(const fs::path& schedule) {
  const std::string text = Slurp(schedule);
  int count = 0;
  const size_t begin = text.find("schedule.entry @decode");
  const size_t end = text.find("schedule.entry", begin + 1);
  for (size_t at = begin; (at = text.find("schedule.dispatch", at)) < end; ++at) {
    const std::string line = text.substr(at, text.find('\n', at) - at);
    if (line.find("label \"layers.2.") != std::string::npos) ++count;
  }
  return count;
}

TEST_F(Compiler, DecodeOfALatentLayerTakesFewDispatches) {
  for (const char* target : {"cpu:x86-64-v3", "vulkan:generic", "cuda:sm_80"}) {
    // With a latent for the queries, and without.
    ASSERT_EQ(RunCompiler({"models/tiny", std::string("--target=") + target, "--quantize=q4",
                           "--compile-to=lower", "-o", dir_ / "tiny.mlir"}), 0);
    EXPECT_EQ(DispatchesOfALayer(dir_ / "tiny.mlir"), 12) << target;
    ASSERT_EQ(RunCompiler({"tests/golden/configs/deepseek_v2_lite.json", "--weights=random:1",
                           std::string("--target=") + target, "--quantize=q4", "--compile-to=lower",
                           "-o", dir_ / "lite.mlir"}), 0);
    EXPECT_EQ(DispatchesOfALayer(dir_ / "lite.mlir"), 11) << target;
  }
}

TEST_F(Compiler, OneArtifactHoldsSeveralVariants) {
  ASSERT_EQ(RunCompiler({kCheckpoint, "--target=cpu:x86-64-v3", "-o", Output("one")}), 0);
  ASSERT_EQ(RunCompiler({kCheckpoint, "--target=cpu:x86-64-v3,cpu:aarch64,null", "-o", Output("three")}), 0);
  EXPECT_LT(fs::file_size(Output("three")), fs::file_size(Output("one")) + (1 << 20)) << "weights are shared";
  fathom_model* model = nullptr;
  ASSERT_EQ(fathom_model_open(Output("three").c_str(), nullptr, &model), FATHOM_OK) << fathom_last_error();
  fathom_model_info info{};
  info.size = sizeof info;
  ASSERT_EQ(fathom_model_get_info(model, &info), FATHOM_OK);
#if defined(__x86_64__)
  EXPECT_STREQ(info.target, "cpu:x86-64-v3");
#endif
  fathom_model_close(model);
}

// A profile of one's own: code is made for it and for nothing of a similar name, in one go and from any dump, when
// the file itself is gone.
TEST_F(Compiler, TakesAProfileFromAFile) {
  const std::string file = dir_ / "mine.json";
  const std::string json = R"({"name": "cpu:mine", "driver": "cpu", "triple": "x86_64-unknown-linux-gnu",
    "cpu": "x86-64-v3", "tune": "znver4", "features": ["avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"],
    "prefetch_bytes": 2304, "measured": {"read_gbps": 31.5, "f32_gflops": 100}})";
  Spill(file, json);
  std::string errors;
  ASSERT_EQ(RunCompiler({kOneFile, "--target=" + file, "--quantize=q4", "-o", Output("whole"),
                         "--dump-phases-to=" + (dir_ / "dump").string()}, &errors), 0) << errors;
  fs::remove(file);
  ASSERT_EQ(RunCompiler({dir_ / "dump" / "05.lower.mlir", "--compile-from=schedule", "-o", Output("rest")}, &errors), 0)
      << errors;
  EXPECT_TRUE(Slurp(Output("whole")) == Slurp(Output("rest")));
#if defined(__x86_64__)
  fathom_model* model = nullptr;
  ASSERT_EQ(fathom_model_open(Output("whole").c_str(), nullptr, &model), FATHOM_OK) << fathom_last_error();
  fathom_model_info info{};
  info.size = sizeof info;
  ASSERT_EQ(fathom_model_get_info(model, &info), FATHOM_OK);
  EXPECT_STREQ(info.target, "cpu:mine");
  fathom_model_close(model);
#endif

  // The dump's profile is read as strictly as a file's.
  const std::string text = Slurp(dir_ / "dump" / "06.schedule.mlir");
  auto edited = [&](const std::string& from, const std::string& to) {
    std::string copy = text;
    const size_t at = copy.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    copy.replace(at, from.size(), to);
    Spill(dir_ / "edited.mlir", copy);
    EXPECT_EQ(RunCompiler({dir_ / "edited.mlir", "--compile-from=codegen", "-o", Output("edited")}, &errors), 1);
    return errors;
  };
  EXPECT_THAT(edited("prefetch_bytes = 2304", "prefetch_bytes = -1"),
              HasSubstr("program @cpu_mine: schedule.profile: prefetch_bytes: expected an integer in [0, 1048576]"));
  EXPECT_THAT(edited("target(\"cpu:mine\")", "target(\"cpu:yours\")"),
              HasSubstr("schedule.profile: name: expected 'cpu:yours', the program's target, found 'cpu:mine'"));

  // A profile that differs from a shipped one in more than its name may keep the name, but not beside it.
  const std::string v3 = dir_ / "v3.json";
  Spill(v3, std::string(json).replace(json.find("cpu:mine"), 8, "cpu:x86-64-v3"));
  EXPECT_EQ(RunCompiler({kOneFile, "--target=" + v3 + ",cpu:x86-64-v3", "-o", Output("both")}, &errors), 1);
  EXPECT_THAT(errors, HasSubstr("'cpu:x86-64-v3', as --target=" + v3 + " has"));
  ASSERT_EQ(RunCompiler({kOneFile, "--target=" + v3, "--compile-to=schedule", "-o", dir_ / "v3.mlir"}), 0);
  EXPECT_THAT(Slurp(dir_ / "v3.mlir"), HasSubstr("prefetch_bytes = 2304"));
}

}  // namespace
}  // namespace fathom::e2e
