// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening a model, cheapest check first.
#include "runtime/api/model.h"

#include "runtime/api/pick_device.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// What would run here when a device cannot be opened at all.
absl::Status OtherThan(const absl::Status& unusable, const Artifact& artifact) {
  if (!absl::IsUnimplemented(unusable)) return unusable;
  for (const schema::Program* program : *artifact.header().programs()) {
    if (program->driver()->str() != "cpu") continue;
    return absl::UnimplementedError(absl::StrCat(unusable.message(), "; the file holds ",
                                                 program->target()->str(), " too: --device=cpu"));
  }
  return absl::UnimplementedError(absl::StrCat(
      unusable.message(), "; code made with --target=cpu:native runs without such a device"));
}

// Names the file, and what tells how much would fit.
absl::Status ForWantOfMemory(const absl::Status& status, const std::string& path,
                             const hal::Device& device) {
  if (!absl::IsResourceExhausted(status)) return status;
  return absl::ResourceExhaustedError(absl::StrCat(path, ": ", status.message(), "; fathom plan ",
                                                   path, " --device=", device.info().id,
                                                   " says what would fit"));
}

}  // namespace

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
    auto opened = registry.Open(options.device, device_options);
    if (!opened.ok()) return OtherThan(opened.status(), *artifact);
    model->device_ = *std::move(opened);
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
  auto program =
      Program::Load(std::move(artifact), std::move(weights), *model->device_, options.progress);
  if (!program.ok()) return ForWantOfMemory(program.status(), path, *model->device_);
  model->program_ = *std::move(program);
  return std::shared_ptr<const Model>(std::move(model));
}

absl::StatusOr<const text::Tokenizer*> Model::RequireTokenizer() const {
  if (tokenizer_ != nullptr) return tokenizer_.get();
  return InputError(artifact().path(), "the model has no tokenizer");
}

}  // namespace fathom
