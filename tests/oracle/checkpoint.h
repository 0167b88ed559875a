// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A second, minimal reader of published checkpoints, so that the tests do not trust frontend/.
#ifndef FATHOM_TESTS_ORACLE_CHECKPOINT_H_
#define FATHOM_TESTS_ORACLE_CHECKPOINT_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/reference/model_config.h"
#include "models/reference/reference_model.h"

namespace fathom::oracle {

struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;  // row-major; fp8 already multiplied by its block scales
};

struct Checkpoint {
  reference::ModelConfig config;
  std::map<std::string, Tensor> tensors;  // under their published names, without *_scale_inv

  // Valid as long as this checkpoint.
  reference::WeightLookup Lookup() const;
};

// Reads config.json. Throws std::runtime_error for a model_type it does not know.
reference::ModelConfig ReadConfig(const std::filesystem::path& config_json);

// Reads config.json and every model*.safetensors of a folder (F32, F16, BF16, F8_E4M3 with
// weight_scale_inv). Throws std::runtime_error for anything else: test inputs are our own files.
Checkpoint ReadCheckpoint(const std::filesystem::path& folder);

}  // namespace fathom::oracle

#endif  // FATHOM_TESTS_ORACLE_CHECKPOINT_H_
