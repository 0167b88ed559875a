// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The commands of the fathom program: their options, and what runs them.
#ifndef FATHOM_RUNTIME_TOOLS_COMMANDS_H_
#define FATHOM_RUNTIME_TOOLS_COMMANDS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/api/model.h"
#include "runtime/artifact/artifact.h"
#include "runtime/exec/memory_plan.h"
#include "runtime/tools/verify_device.h"

namespace fathom::tools {

// Which model on which device; shared by the commands that run one.
struct ModelFlags {
  std::string model;
  std::string device = "cpu";  // or "auto"
  std::string code_cache;      // "": the user's cache folder; "off"
  std::string load = "auto";   // auto | map | copy
  std::string check;           // "" | full
  int threads = 0;
  bool quiet = false;
  bool verbose = false;

  ModelOptions ToOptions() const;
};

struct GenerateFlags {
  ModelFlags model;
  std::optional<std::string> prompt;
  std::string file;
  std::string system;  // chat
  std::vector<std::string> stop;
  int64_t predict = -1;
  int64_t context_size = 0;
  int chunk = kDefaultChunk;
  float temperature = 0.8f;
  int top_k = 40;
  float top_p = 0.95f;
  float min_p = 0.05f;
  int64_t seed = -1;  // -1: a new one each time, printed
  bool deterministic = false;
  bool ignore_eos = false;
  bool json = false;
};

struct BenchFlags {
  ModelFlags model;
  std::vector<int64_t> prompt = {512};
  std::vector<int64_t> predict = {128};
  std::vector<int64_t> depth = {0};
  int repetitions = 5;
  int chunk = kDefaultChunk;
  std::vector<int> sequences = {1};
  bool deterministic = false;
  bool time_kernels = false;
  bool json = false;
  // Compute rooflines instead of running anything; then the model may be what CompileFlags::input
  // may be, and `profile` a target's name or a profile's file ("": the program's own).
  bool estimate = false;
  std::string profile;
  std::string quantize;
  std::vector<std::string> targets;
};

struct InspectFlags {
  std::string model;
  bool json = false;
  bool verbose = false;
};

// What fathom-compile is asked for, where a command works on a model that is not compiled yet.
struct CompileFlags {
  std::string input;                 // directory, config.json, .safetensors, .gguf
  std::string quantize;              // "": fathom-compile's default
  std::vector<std::string> targets;  // none: fathom-compile's default
};

struct PlanFlags {
  std::string model;  // an artifact, or what CompileFlags::input may be
  std::string device = "cpu";
  std::string quantize;
  std::vector<std::string> targets;  // none: what the device suggests
  uint64_t memory = 0;               // not 0: of a device that need not be here
  int64_t context_size = 0;  // 0: the model's
  int sequences = 1;
  int chunk = kDefaultChunk;
  bool json = false;
};

struct VerifyFlags {
  std::string model;
  int threads = 0;
  bool quiet = false;
  VerifyDeviceFlags on_device;  // .device set: compare two devices instead of hashes
  std::string replay;           // a reproducer to run again
};

absl::Status RunGenerate(const GenerateFlags& flags);
absl::Status RunChat(const GenerateFlags& flags);
absl::Status RunBench(const BenchFlags& flags);
absl::Status RunEstimate(const BenchFlags& flags);
absl::Status RunInspect(const InspectFlags& flags);
absl::Status RunVerify(const VerifyFlags& flags);
absl::Status RunDevices(bool json);
absl::Status RunPlan(const PlanFlags& flags);

// Replaces this process by fathom-compile, the one beside this program or else on PATH. Returns
// only when neither can be started.
absl::Status ExecCompiler(const std::vector<std::string>& arguments);

// Runs it and returns its stdout; its errors go to stderr. A failure keeps the kind of its exit
// code (runtime/base/status.h).
absl::StatusOr<std::vector<uint8_t>> CompilerOutput(const std::vector<std::string>& arguments);

// True for what fathom-compile reads rather than this program: a directory, or a file's ending.
bool IsCompilerInput(const std::string& path);

// The header of the artifact that compiling would make. Takes a second, whatever the model's size.
absl::StatusOr<std::shared_ptr<const Artifact>> CompiledHeader(const CompileFlags& flags);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_COMMANDS_H_
