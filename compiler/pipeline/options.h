// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The eight phases of a compilation and what a user can say about one.
#ifndef FATHOM_COMPILER_PIPELINE_OPTIONS_H_
#define FATHOM_COMPILER_PIPELINE_OPTIONS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

// In order. The names are fixed words: flag values, dump names, sections of the report.
enum class Phase {
  kImport,    // checkpoint -> graph dialect; weights referenced by name
  kGraph,     // canonicalise; choose the form of latent attention per entry point
  kQuantize,  // choose an encoding per weight
  kFuse,      // graph -> graph rewrites
  kLower,     // graph ops -> kernels and dispatches, one program per target
  kSchedule,  // memory plan: offsets of the transient buffers, arena size
  kCodegen,   // kernels -> code per target
  kEmit,      // the artifact; weights are encoded while they are written
};
inline constexpr std::array<std::string_view, 8> kPhaseNames = {
    "import", "graph", "quantize", "fuse", "lower", "schedule", "codegen", "emit"};

inline std::optional<Phase> ParsePhase(std::string_view name) {
  for (size_t i = 0; i < kPhaseNames.size(); ++i) {
    if (kPhaseNames[i] == name) return static_cast<Phase>(i);
  }
  return std::nullopt;
}

struct CompileOptions {
  std::string input;                 // checkpoint directory, .safetensors or .gguf; a dump with compile_from
  std::string output;                // the artifact; "-" with header_only: stdout
  std::vector<std::string> targets;  // "cpu:native", ...; at least one
  std::string quantize = "q8";       // f32 | bf16 | q8 | q4
  std::string weights;               // empty: the checkpoint's; "random:SEED": config.json alone
  Phase compile_from = Phase::kImport;  // the first phase to run; the input is the dump of the one before
  Phase compile_to = Phase::kEmit;      // the last phase to run; before emit, the IR goes to `output`
  std::string dump_phases_to;        // directory for 01.import.mlir ...; empty: none
  std::string dump_code_to;          // directory for LLVM IR and assembly per target; empty: none
  bool print_ir_after_all = false;
  bool quiet = false;
  std::string reuse;                 // artifact to take encoded weights from; empty: `output`; "off": none
  std::string write = "auto";        // how the artifact reaches the disk: auto | cached | direct
  std::string print_profile;         // not empty: print the profile of this --target value, compile nothing
  bool header_only = false;          // instead of the artifact, its prefix and header; no code, no weights are read
  int threads = 0;                   // for encoding; 0: one per core
};

}  // namespace fathom

#endif  // FATHOM_COMPILER_PIPELINE_OPTIONS_H_
