// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom bench --estimate: the roofline of every kernel on a device that need not be here.
#ifndef FATHOM_RUNTIME_TOOLS_ESTIMATE_H_
#define FATHOM_RUNTIME_TOOLS_ESTIMATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/artifact/artifact.h"
#include "runtime/tools/kernel_cost.h"

namespace fathom::tools {

// What a device does per second at best.
struct Roofs {
  std::string profile;  // "cuda:sm_80"
  std::string device;   // "NVIDIA A100 SXM 80 GB", "" when the profile does not say
  std::string origin;   // "published" or "measured"
  double bytes = 0;
  double int8 = 0, bf16 = 0, f32 = 0;  // operations; int8 and bf16 are at least f32

  double Of(Unit unit) const;
};

// The rates of a profile's JSON (compiler/target/TargetProfile.h), measured ones before published
// ones. `where` begins errors. A profile without rates is kUnimplemented.
absl::StatusOr<Roofs> RoofsOf(const std::string& json, const std::string& where);

// Everything one kernel does in one call.
struct KernelEstimate {
  std::string name, family;
  int64_t dispatches = 0;
  KernelCost cost;         // of all of them
  double seconds = 0;      // the sum of each dispatch's larger bound
  double memory_seconds = 0;  // the same if arithmetic were free
};

// A test of bench: what is done, and what it takes at least.
struct TestEstimate {
  std::string test;   // "pp512 @ d4096"
  std::string entry;  // entry point that does it, the last call's where they differ
  int64_t tokens = 0;  // that come out of `seconds`
  std::vector<KernelEstimate> kernels;  // the slowest first
  double seconds = 0;
};

// Of a test of bench, run or estimated: "pp512 x 8 @ d4096"; one sequence and no depth go unnamed.
std::string TestName(absl::string_view kind, int64_t count, int64_t depth, int sequences);

// The entry point that a session takes for the call: that of steps for one token a sequence, and
// for as many as the artifact says unless `deterministic` (docs/spec/artifact.md).
std::string EntryOf(const Artifact& artifact, uint32_t program, const CallWork& work,
                    bool deterministic);

// One call of `entry` of program `program`, added to `test`. Errors: what CostOf and the evaluation
// of sizes say, and kUnimplemented for an artifact that does not describe its kernels.
absl::Status AddCall(const Artifact& artifact, uint32_t program, const std::string& entry,
                     const CallWork& work, const Roofs& roofs, TestEstimate* test);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_ESTIMATE_H_
