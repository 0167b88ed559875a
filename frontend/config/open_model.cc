// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Brings config and weights together, whatever form they come in.
#include "frontend/config/open_model.h"

#include <sys/stat.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "frontend/config/expected_tensors.h"
#include "frontend/config/gguf_names.h"
#include "frontend/weights/json.h"
#include "frontend/weights/random_checkpoint.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

bool IsDirectory(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::StatusOr<OpenedModel> OpenModel(const std::string& path, const std::string& weights) {
  std::optional<uint64_t> seed;
  if (!weights.empty()) {
    seed = ParseRandomWeights(weights);
    if (!seed) {
      return InputError("--weights", "value", "random:SEED with a decimal seed", Quoted(weights));
    }
  }
  OpenedModel model;
  if (path.ends_with(".gguf")) {
    FATHOM_ASSIGN_OR_RETURN(model.gguf, Checkpoint::Open(path));
    FATHOM_ASSIGN_OR_RETURN(model.config, ConfigFromGguf(*model.gguf));
    if (!seed) {
      // A second mapping of the same file: the view owns one, the tokenizer's reader the other.
      FATHOM_ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> raw, Checkpoint::Open(path));
      FATHOM_ASSIGN_OR_RETURN(model.weights,
                              WithPublishedNames(std::move(raw), model.config, &model.notes));
    }
  } else {
    std::string config_path = absl::StrCat(DirectoryOf(path), "/config.json");
    std::string weights_path = path;
    if (IsDirectory(path)) {
      config_path = absl::StrCat(path, "/config.json");
    } else if (path.ends_with(".json")) {
      config_path = path;
      weights_path = DirectoryOf(path);
    }
    FATHOM_ASSIGN_OR_RETURN(model.config, ReadConfig(config_path));
    if (!seed) {
      CheckpointOptions options;
      if (model.config.quantization) {
        options.fp8_block_rows = static_cast<uint64_t>(model.config.quantization->block_rows);
        options.fp8_block_columns = static_cast<uint64_t>(model.config.quantization->block_columns);
      }
      FATHOM_ASSIGN_OR_RETURN(model.weights, Checkpoint::Open(weights_path, options));
      FATHOM_RETURN_IF_ERROR(CheckTensors(model.config, *model.weights, &model.notes));
    }
  }
  if (seed) {
    FATHOM_ASSIGN_OR_RETURN(model.weights,
                            RandomCheckpoint::Create(*seed, ExpectedTensors(model.config)));
  }
  return model;
}

}  // namespace fathom
