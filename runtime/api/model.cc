// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening a model, cheapest check first.
#include "runtime/api/model.h"

#include "runtime/api/pick_device.h"
#include "runtime/base/status.h"

namespace fathom {

absl::StatusOr<std::shared_ptr<const Model>> Model::Open(const std::string& path,
                                                         const ModelOptions& options) {
  std::shared_ptr<Model> model(new Model);
  FATHOM_ASSIGN_OR_RETURN(std::shared_ptr<const Artifact> artifact, Artifact::Open(path));
  const hal::DriverRegistry registry = hal::MakeDriverRegistry();
  const hal::DeviceOptions device_options = {options.threads, options.build_progress,
                                             options.code_cache};
  if (options.device == "auto") {
    FATHOM_ASSIGN_OR_RETURN(PickedDevice picked, PickDevice(*artifact, registry, device_options));
    model->device_ = std::move(picked.device);
    model->device_reason_ = std::move(picked.reason);
  } else {
    FATHOM_ASSIGN_OR_RETURN(model->device_, registry.Open(options.device, device_options));
  }
  // Says that the device cannot run it before gigabytes are read.
  FATHOM_RETURN_IF_ERROR(PickProgram(*artifact, *model->device_).status());
  if (artifact->header().tokenizer() >= 0) {
    const uint32_t segment = static_cast<uint32_t>(artifact->header().tokenizer());
    FATHOM_ASSIGN_OR_RETURN(model->tokenizer_bytes_, artifact->ReadSegment(segment));
    auto tokenizer = text::Tokenizer::Open(model->tokenizer_bytes_);
    if (!tokenizer.ok()) {
      return absl::Status(tokenizer.status().code(),
                          absl::StrCat(path, ": ", tokenizer.status().message()));
    }
    model->tokenizer_ = *std::move(tokenizer);
  }
  if (options.check_full) {
    FATHOM_RETURN_IF_ERROR(artifact->VerifyHashes(options.threads, options.progress));
  }
  // A device with memory of its own takes the weights from the file's mapping: a copy in the host's
  // memory would be one too many.
  const LoadMode load = model->device_->info().on_host ? options.load : LoadMode::map;
  FATHOM_ASSIGN_OR_RETURN(std::shared_ptr<const Weights> weights,
                          Weights::Load(artifact, load, options.threads, options.progress));
  FATHOM_ASSIGN_OR_RETURN(model->program_, Program::Load(std::move(artifact), std::move(weights),
                                                         *model->device_, options.progress));
  return std::shared_ptr<const Model>(std::move(model));
}

absl::StatusOr<const text::Tokenizer*> Model::RequireTokenizer() const {
  if (tokenizer_ != nullptr) return tokenizer_.get();
  return InputError(artifact().path(), "the model has no tokenizer");
}

}  // namespace fathom
