// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What cannot run here, on the command line: exit code 2, what is missing, and what would help.
//
// The CUDA device is the PTX interpreter, which can be told to be older, smaller or of another
// architecture; Vulkan drivers are left out by pointing the loader at nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/e2e/compiled_model.h"
#include "tests/e2e/programs.h"
#include "tests/e2e/test_device.h"

namespace fathom::e2e {
namespace {

using ::testing::HasSubstr;

constexpr char kSmall[] = "tests/golden/llama_tied";
constexpr char kSim[] = "LD_LIBRARY_PATH=" FATHOM_CUDA_SIM " ";
constexpr char kNoVulkan[] =
    "VK_DRIVER_FILES=/none VK_ADD_DRIVER_FILES=/none VK_ICD_FILENAMES=/none ";
constexpr char kNoCuda[] = "LD_LIBRARY_PATH=/none ";

struct Case {
  std::string environment;
  std::string arguments;
  std::vector<std::string> parts;  // of what is printed on stderr
};

// Runs each case of `file` with `fathom run`, and a prompt of some 1000 tokens, unless it names
// another command.
void ExpectUnsupported(const CompiledFile& file, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const bool command = c.arguments.rfind("plan", 0) == 0 || c.arguments.rfind("verify", 0) == 0 ||
                         c.arguments.rfind("bench", 0) == 0;
    const std::string line = (command ? "" : "run -n 1 --temp 0 ") + c.arguments + " -m " + file.path();
    const ProgramResult result = RunProgram(line, "head -c 3000 README.md | " + c.environment);
    EXPECT_EQ(result.code, 2) << c.environment << line << "\n" << result.errors;
    for (const std::string& part : c.parts) EXPECT_THAT(result.errors, HasSubstr(part)) << c.environment << line;
  }
}

TEST(Unsupported, AnArtifactWithoutCodeForTheDevice) {
  const CompiledFile cpu(kSmall, "q8", "cpu:x86-64-v3");
  std::vector<Case> cases = {
      {kSim, "--device=cuda:0", {"no program for the device cuda:0", "--target=cuda:sm_80"}},
      {std::string(kSim) + "FATHOM_CUDA_SIM_SM=120 ", "--device=cuda:0", {"--target=cuda:sm_120"}},
      {kSim, "verify --device=cuda:0", {"no program for the device cuda:0", "--target=cuda:sm_80"}},
      {kSim, "plan --device=cuda:0", {"no program for the device cuda:0", "--target=cuda:sm_80"}},
  };
  if (const TestDevice lavapipe = FindDevice("lavapipe"); !lavapipe.id.empty()) {
    cases.push_back({"", "--device=" + lavapipe.id,
                     {"no program for the device " + lavapipe.id, "--target=vulkan:generic"}});
  }
  ExpectUnsupported(cpu, cases);

  const CompiledFile other(kSmall, "q8", "cpu:aarch64,cuda:sm_90");
  ExpectUnsupported(other, {
#if defined(__x86_64__)
      {"", "", {"no program for the device cpu:0", "another architecture", "--target=cpu:native"}},
      {"", "bench -p 1 -n 1", {"no program for the device cpu:0", "--target=cpu:native"}},
#endif
      {kSim, "--device=cuda:0",
       {"cuda:sm_90: needs compute capability 9.0", "has 8.0", "--target=cuda:sm_80"}},
  });
}

TEST(Unsupported, ADeviceThatCannotBeUsed) {
  const std::string sim = kSim;
  const CompiledFile both(kSmall, "q8", "cpu:x86-64-v3,cuda:sm_80");
  ExpectUnsupported(both, {
      {kNoCuda, "--device=cuda:0", {"no CUDA driver", "libcuda.so.1", "--device=cpu"}},
      {kNoVulkan, "--device=vulkan:0", {"no Vulkan driver is installed", "--device=cpu"}},
      {sim + "FATHOM_CUDA_SIM_DEVICES=0 ", "--device=cuda:0", {"no CUDA device", "--device=cpu"}},
      {sim + "FATHOM_CUDA_SIM_DRIVER_VERSION=10020 ", "--device=cuda:0",
       {"driver is too old: expected CUDA 11.0 or later, found 10.2", "--device=cpu"}},
      {sim + "FATHOM_CUDA_SIM_SM=61 ", "--device=cuda:0",
       {"cuda:0", "expected 7.5 or later, found 6.1", "--device=cpu"}},
      {sim + "FATHOM_CUDA_SIM_SM=75 ", "--device=cuda:0",
       {"needs compute capability 8.0", "has 7.5", "--target=cuda:sm_75"}},
  });

  const CompiledFile gpu(kSmall, "q8", "cuda:sm_80");
  ExpectUnsupported(gpu, {
      {sim + "FATHOM_CUDA_SIM_DRIVER_VERSION=10020 ", "--device=cuda:0",
       {"driver is too old", "--target=cpu:native"}},
      {sim + "FATHOM_CUDA_SIM_DRIVER_VERSION=10020 " + kNoVulkan, "--device=auto",
       {"no device of this machine can run it", "no cuda: ", "found 10.2", "no vulkan: ",
        "not cpu:0: ", "--target=cpu:native"}},
  });
}

TEST(Unsupported, TooLittleMemory) {
  const std::string sim = kSim;
  const CompiledFile file("models/tiny", "q4", "cuda:sm_80");
  ExpectUnsupported(file, {
      {sim + "FATHOM_CUDA_SIM_MEMORY=4M ", "--device=cuda:0",
       {file.path(), "no memory for ", "4194304 of 4194304 are free",
        "fathom plan " + file.path() + " --device=cuda:0"}},
      {sim + "FATHOM_CUDA_SIM_MEMORY=4M " + kNoVulkan, "--device=auto",
       {"not cuda:0: its 4194304 bytes of memory do not hold the weights"}},
      {sim + "FATHOM_CUDA_SIM_MEMORY=4M ", "plan --device=cuda:0", {"does not fit; none would"}},
      // The weights fit, what a prompt needs does not.
      {sim + "FATHOM_CUDA_SIM_MEMORY=10M ", "--device=cuda:0",
       {"prefill: no memory for ", "are free; a smaller --chunk"}},
      {sim + "FATHOM_CUDA_SIM_MEMORY=15M ", "plan --device=cuda:0",
       {"of 2048 tokens does not fit"}},
  });
}

}  // namespace
}  // namespace fathom::e2e
