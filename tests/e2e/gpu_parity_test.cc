// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every golden in float32 on every kind of GPU device: the logits and greedy tokens of Hugging Face
// transformers, each dispatch against the CPU, and a spoilt kernel that is found.
//
// A golden is compiled once and its artifact used on one device after the other. A device that this
// machine lacks makes the test end as skipped, once the others have passed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "runtime/tools/verify_device.h"
#include "tests/e2e/compiled_model.h"
#include "tests/e2e/programs.h"
#include "tests/e2e/test_device.h"
#include "tests/oracle/golden.h"

namespace fathom::e2e {
namespace {

namespace fs = std::filesystem;
using oracle::RelativeError;
using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr char kGoldens[] = "tests/golden";
constexpr char kLong[] = "deepseek_v3_long";
constexpr const char* kDevices[] = {"lavapipe", "swiftshader", "ptx"};

// |a - b| / |b| over the vocabulary, as on the CPU: what remains is the order of float32 sums, and
// products rounded before a sum.
constexpr double kF32 = 2e-5;

std::vector<int32_t> Ids(const std::vector<int64_t>& ids) { return {ids.begin(), ids.end()}; }

absl::Status Verify(const std::string& artifact, const std::string& device) {
  tools::VerifyDeviceFlags flags;
  flags.model = artifact;
  flags.device = device;
  flags.tokens = 20;
  flags.steps = 2;
  flags.reproducer = artifact + ".reproducer";
  flags.quiet = true;
  return tools::VerifyDevice(flags);
}

std::string Folder(const std::string& golden) { return kGoldens + ("/" + golden); }

oracle::Golden Read(const std::string& golden) {
  return oracle::ReadGolden(Folder(golden) + "/golden.json");
}

// The CPU's target and those of the devices that are here, which this build can compile for.
std::string TargetsOf(absl::Span<const char* const> kinds,
                      const std::string& vulkan = "vulkan:generic") {
  std::vector<std::string> targets = {"cpu:native"};
  for (const char* kind : kinds) {
    if (FindDevice(kind).id.empty()) continue;
    const std::string target = std::string(kind) == "ptx" ? "cuda:sm_80" : vulkan;
    if (target != targets.back()) targets.push_back(target);
  }
  return absl::StrJoin(targets, ",");
}

std::shared_ptr<const CompiledFile> Compile(const std::string& golden, const std::string& targets) {
  return std::make_shared<CompiledFile>(Folder(golden), "f32", targets);
}

// Calls `check` with each of `kinds` that this machine has.
void ForEachDevice(absl::Span<const char* const> kinds,
                   const std::function<void(const std::string& device)>& check) {
  std::string missing;
  for (const char* kind : kinds) {
    SCOPED_TRACE(kind);
    const TestDevice device = FindDevice(kind);
    if (device.id.empty()) {
      missing += std::string(kind) + ": " + device.missing + "; ";
    } else {
      check(device.id);
    }
  }
  if (!missing.empty()) GTEST_SKIP() << missing;
}

// The prompt at once, and the 64 tokens after it.
void ExpectPromptAndGreedy(CompiledModel& model, const oracle::Golden& golden) {
  const std::vector<int32_t> greedy = Ids(golden.greedy);
  ASSERT_EQ(greedy.size(), 64u);
  const int32_t sequence = model.AddSequence();
  std::vector<float> logits = model.Prefill(sequence, Ids(golden.prompt));
  EXPECT_LT(RelativeError(logits, golden.rows.back().logits), kF32);
  for (size_t i = 0; i < greedy.size(); ++i) {
    ASSERT_EQ(ArgMax(logits), greedy[i]) << "token " << i;
    if (i + 1 < greedy.size()) logits = model.Decode({sequence}, {greedy[i]})[0];
  }
}

// The prompt token by token; two sequences in one batch.
void ExpectStepsAndBatch(CompiledModel& model, const oracle::Golden& golden) {
  const std::vector<int32_t> prompt = Ids(golden.prompt);
  const auto& other = golden.batch.at(0);
  const int32_t first = model.AddSequence(), second = model.AddSequence();
  std::vector<float> logits;
  for (const int32_t token : prompt) logits = model.Decode({first}, {token})[0];
  EXPECT_LT(RelativeError(logits, golden.rows.back().logits), kF32) << "decoded token by token";
  std::vector<int32_t> last = {ArgMax(logits), ArgMax(model.Prefill(second, Ids(other.prompt)))};
  for (size_t step = 0; step < 8; ++step) {
    EXPECT_EQ(last[0], golden.greedy[step]) << step;
    EXPECT_EQ(last[1], other.greedy[step]) << step;
    const auto next = model.Decode({first, second}, last);
    last = {ArgMax(next[0]), ArgMax(next[1])};
  }
}

void ExpectParity(const std::shared_ptr<const CompiledFile>& file, const oracle::Golden& golden,
                  const std::string& device) {
  CompiledModel model(file, 0, device);
  ExpectPromptAndGreedy(model, golden);
  ExpectStepsAndBatch(model, golden);
  const absl::Status verified = Verify(file->path(), device);
  EXPECT_TRUE(verified.ok()) << verified;
}

class GpuParity : public ::testing::TestWithParam<std::string> {};

TEST_P(GpuParity, Float32) {
  const oracle::Golden golden = Read(GetParam());
  const auto file = Compile(GetParam(), TargetsOf(kDevices));
  ForEachDevice(kDevices,
                [&](const std::string& device) { ExpectParity(file, golden, device); });
}

std::vector<std::string> ShortGoldens() {
  std::vector<std::string> goldens = oracle::GoldenCases(kGoldens);
  goldens.erase(std::remove(goldens.begin(), goldens.end(), kLong), goldens.end());
  return goldens;
}

INSTANTIATE_TEST_SUITE_P(Goldens, GpuParity, ::testing::ValuesIn(ShortGoldens()),
                         [](const auto& info) { return info.param; });

// Without 8 and 16-bit types.
TEST(GpuParity32Bit, Float32) {
  constexpr const char* kVulkan[] = {"lavapipe", "swiftshader"};
  const auto file = Compile("deepseek_v3_plain", TargetsOf(kVulkan, "vulkan:32bit"));
  const oracle::Golden golden = Read("deepseek_v3_plain");
  ForEachDevice(kVulkan, [&](const std::string& device) { ExpectParity(file, golden, device); });
}

// 4200 tokens, beyond the context of the model's youth: a test for each device, as it takes long.
class GpuParityLong : public ::testing::TestWithParam<const char*> {};

TEST_P(GpuParityLong, Float32) {
  const char* kind = GetParam();
  // Races between workgroups are looked for in the other goldens, with the same kernels.
  if (std::string(kind) == "ptx") ::setenv("FATHOM_CUDA_SIM_RACES", "shared", 1);
  const auto file = Compile(kLong, TargetsOf({kind}));
  ForEachDevice({kind}, [&](const std::string& device) {
    CompiledModel model(file, 0, device);
    ExpectPromptAndGreedy(model, Read(kLong));
    const absl::Status verified = Verify(file->path(), device);
    EXPECT_TRUE(verified.ok()) << verified;
  });
}

INSTANTIATE_TEST_SUITE_P(Devices, GpuParityLong, ::testing::ValuesIn(kDevices),
                         [](const auto& info) { return std::string(info.param); });

// Replaces `from` in every line of `text` that has `line`, from `begin` on; how many there were.
int ReplaceInLines(std::string* text, size_t begin, const std::string& line,
                   const std::string& from, const std::string& to) {
  int count = 0;
  for (size_t at = begin; (at = text->find(line, at)) != std::string::npos; ++at) {
    const size_t place = text->find(from, at);
    if (place == std::string::npos || place > text->find('\n', at)) continue;
    text->replace(place, from.size(), to);
    ++count;
  }
  return count;
}

// q8 against a CPU that multiplies attention in float32 too. Steps are equal to the last bits of
// float32 until one of them moves an activation across the middle between two int8 codes; from
// there on the difference is that of an encoding (docs/howto/debug-a-wrong-result.md). A kernel
// that scales, rounds or adds otherwise would be far off at every step.
TEST(GpuEncoded, PartsFromTheCpuOnlyWhereACodeFlips) {
  constexpr const char* kOnes[] = {"lavapipe", "ptx"};
  std::string targets = TargetsOf(kOnes);
  targets.replace(0, std::string("cpu:native").size(), "cpu:x86-64-v3");
  const auto file = std::make_shared<CompiledFile>(Folder("deepseek_v3_plain"), "q8", targets);
  const oracle::Golden golden = Read("deepseek_v3_plain");
  CompiledModel cpu(file, 0, "cpu");
  ForEachDevice(kOnes, [&](const std::string& device) {
    CompiledModel gpu(file, 0, device);
    const int32_t a = cpu.AddSequence(), b = gpu.AddSequence();
    std::vector<double> errors;
    std::vector<float> expected = cpu.Prefill(a, Ids(golden.prompt));
    std::vector<float> found = gpu.Prefill(b, Ids(golden.prompt));
    for (int i = 0; i < 32; ++i) {
      errors.push_back(RelativeError(found, expected));
      const int32_t next = ArgMax(expected);
      expected = cpu.Decode({a}, {next})[0];
      found = gpu.Decode({b}, {next})[0];
    }
    std::sort(errors.begin(), errors.end());
    EXPECT_LT(errors[errors.size() / 2], 1e-6);  // measured: 1.3e-7
    EXPECT_LT(errors.back(), 0.1);               // measured: 0.02
  });
}

// One constant of one kernel of the GPU programs, changed by hand in the IR before code generation:
// the first dispatch of that kernel is named, and none of those before it.
TEST(GpuVerify, NamesTheKernelWithAChangedConstant) {
  const struct {
    const char *kernel, *constant, *changed, *message;
  } cases[] = {
      {"latent_attention_expanded_f32_3_64", "scale = 1.250000e-01", "scale = 1.260000e-01",
       "layers.0.self_attn.kv_b_proj/attention: prefill, kernel "
       "latent_attention_expanded_f32_3_64 of "},
      {"route_6.1", "scale = 2.446000e+00", "scale = 2.448000e+00",
       "layers.1.mlp.gate/route_and_plan: decode, kernel route_6.1 of "},
  };
  const fs::path dir = fs::temp_directory_path() / ("fathom-changed-" + std::to_string(getpid()));
  fs::create_directories(dir);
  const std::string targets = TargetsOf(kDevices);
  const auto gpu_programs = std::count(targets.begin(), targets.end(), ',');
  std::string log;
  ASSERT_EQ(RunCompiler({Folder("deepseek_v3_plain"), "--quantize=f32", "--compile-to=schedule",
                         "--target=" + targets, "-o", dir / "all.mlir"}, &log), 0) << log;
  std::stringstream text;
  text << std::ifstream(dir / "all.mlir").rdbuf();
  for (const auto& c : cases) {
    std::string edited = text.str();
    const size_t gpus = edited.find("schedule.program", edited.find("schedule.program") + 1);
    ASSERT_EQ(ReplaceInLines(&edited, gpus, std::string("schedule.kernel @") + c.kernel + " ",
                             c.constant, c.changed),
              gpu_programs);
    std::ofstream(dir / "edited.mlir") << edited;
    const std::string artifact = dir / "edited.fathom";
    ASSERT_EQ(RunCompiler({dir / "edited.mlir", "--compile-from=codegen", "-o", artifact}, &log,
                          "PATH=/usr/bin:/bin"),
              0)
        << log;
    ForEachDevice(kDevices, [&](const std::string& device) {
      const absl::Status status = Verify(artifact, device);
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
      EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(c.message), HasSubstr("found ")));
      // The reproducer fails again.
      EXPECT_FALSE(tools::ReplayReproducer(artifact + ".reproducer", "").ok());
    });
  }
  fs::remove_all(dir);
}

}  // namespace
}  // namespace fathom::e2e
