// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The emit phase: encodes the weights and writes the artifact.
#ifndef FATHOM_COMPILER_EMIT_EMITARTIFACT_H
#define FATHOM_COMPILER_EMIT_EMITARTIFACT_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "compiler/emit/streamed_file.h"
#include "mlir/IR/BuiltinOps.h"

namespace fathom {
class Checkpoint;

namespace emit {

struct EmitStats {
  uint64_t tensors = 0, reused = 0;
};

struct EmitOptions {
  std::string output;
  Caching write = Caching::automatic;  // how `output` reaches the disk
  std::string quantization;           // recorded in the model: "q4"
  std::vector<uint8_t> tokenizer;     // the compiled tokenizer; empty: none
  std::string notes;                  // JSON: how the artifact was made
  std::vector<std::vector<char>> code;  // per schedule.program, in order
  int threads = 1;
  /// An earlier artifact whose encoded weights are taken over where they were made of the same values. Empty: none.
  std::string reuse;
  /// False: `reuse` need not be there or an artifact.
  bool reuse_required = false;
  EmitStats* stats = nullptr;                          // filled, if there
  std::function<void(const std::string&)> note;        // remarks for people, if there
  /// Called from time to time with the weight bytes written so far and in all.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

/// Writes `module` (after the schedule phase) to options.output. Weights are read from `weights`, encoded
/// and written a few megabytes at a time. The same inputs give the same bytes, reused or not. A weight expression that does not fit
/// the checkpoint is a diagnostic plus kInvalidArgument; errors of the checkpoint or the output come back as
/// they are.
absl::Status emitArtifact(mlir::ModuleOp module, const Checkpoint& weights, const EmitOptions& options);

/// The prefix and the header of the artifact that emitArtifact would write, with code segments of no bytes, without
/// tokenizer and with digests of zero: what plans and estimates read (`--header-only`). Of `options`, only
/// `quantization` and `notes` count.
absl::StatusOr<std::vector<uint8_t>> emitHeader(mlir::ModuleOp module, const EmitOptions& options);

}  // namespace emit
}  // namespace fathom

#endif  // FATHOM_COMPILER_EMIT_EMITARTIFACT_H
