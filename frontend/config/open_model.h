// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One call from what a user names on the command line to a checked config and its weights.
#ifndef FATHOM_FRONTEND_CONFIG_OPEN_MODEL_H_
#define FATHOM_FRONTEND_CONFIG_OPEN_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/config/model_config.h"
#include "frontend/weights/checkpoint.h"

namespace fathom {

struct OpenedModel {
  ModelConfig config;
  // Holds every tensor of ExpectedTensors(config) under its published name and with its shape.
  std::unique_ptr<Checkpoint> weights;
  // The GGUF file with its own names and all its keys (for its tokenizer); null for other kinds.
  std::unique_ptr<Checkpoint> gguf;
  // What was left out on purpose, a line each, for the user to see.
  std::vector<std::string> notes;
};

// `path` is a model directory (config.json beside its weights), a config.json, one .safetensors
// file with a config.json beside it, or a .gguf file. `weights` is empty, to use the files, or
// "random:SEED", to use none of them but the config. Errors as in ReadConfig, Checkpoint::Open and
// CheckTensors.
absl::StatusOr<OpenedModel> OpenModel(const std::string& path, const std::string& weights = "");

}  // namespace fathom

#endif  // FATHOM_FRONTEND_CONFIG_OPEN_MODEL_H_
