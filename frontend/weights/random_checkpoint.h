// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights that no file holds: every element computed from seed, tensor name and index.
#ifndef FATHOM_FRONTEND_WEIGHTS_RANDOM_CHECKPOINT_H_
#define FATHOM_FRONTEND_WEIGHTS_RANDOM_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "frontend/weights/checkpoint.h"

namespace fathom {

// What `--weights=random:SEED` means: full published shapes without their files.
//
// An element depends on (seed, tensor name, element index) alone, so any rows can be read in any
// order, on any machine, with the same bits. Matrices are near normal (a sum of four uniform
// bytes) with mean 0 and standard deviation 1 / sqrt(columns), which keeps activations near unit
// size through any depth. Vectors whose name holds "norm" lie around 1, other vectors (biases)
// around 0, both with standard deviation 0.02. The type reported is BF16 without bytes.
class RandomCheckpoint : public Checkpoint {
 public:
  // An error when two specs share a name or a shape is empty, holds 0 or overflows.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Create(uint64_t seed,
                                                            const std::vector<TensorSpec>& specs);

  absl::Span<const uint8_t> data(const TensorInfo& tensor) const override { return {}; }

 protected:
  absl::Status DoReadRows(const TensorInfo& tensor, uint64_t row_begin, uint64_t row_end,
                          float* out) const override;

 private:
  explicit RandomCheckpoint(uint64_t seed);
  uint64_t seed_;
};

// The seed of "random:SEED" (decimal, 64 bits); nullopt when `text` is anything else.
std::optional<uint64_t> ParseRandomWeights(std::string_view text);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_RANDOM_CHECKPOINT_H_
