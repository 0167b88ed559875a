// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Picking and loading a program.
#include "runtime/exec/program.h"

#include <cstring>

#include "runtime/base/status.h"

namespace fathom {
namespace {

std::vector<std::string> Features(const schema::Program& program) {
  std::vector<std::string> features;
  if (program.features() != nullptr) {
    for (const auto* feature : *program.features()) features.push_back(feature->str());
  }
  return features;
}

// The null device takes the programs of every driver.
bool IsForDriver(const schema::Program& program, const hal::Device& device) {
  const std::string driver = device.info().id.substr(0, device.info().id.find(':'));
  return driver == "null" || program.driver()->str() == driver;
}

}  // namespace

absl::StatusOr<uint32_t> PickProgram(const Artifact& artifact, const hal::Device& device) {
  const auto& programs = *artifact.header().programs();
  int best = -1;
  size_t best_features = 0;
  std::string reasons;
  for (uint32_t i = 0; i < programs.size(); ++i) {
    const schema::Program& program = *programs.Get(i);
    const std::vector<std::string> features = Features(program);
    if (!IsForDriver(program, device)) {
      absl::StrAppend(&reasons, "; ", program.target()->str(), ": needs the driver ",
                      program.driver()->str());
      continue;
    }
    const absl::Status supported = device.Supports(program.target()->str(), features);
    if (!supported.ok()) {
      absl::StrAppend(&reasons, "; ", supported.message());
    } else if (best < 0 || features.size() > best_features) {
      best = static_cast<int>(i);
      best_features = features.size();
    }
  }
  if (best >= 0) return static_cast<uint32_t>(best);
  return UnsupportedError(artifact.path(),
                          absl::StrCat("no program for the device ", device.info().id, reasons));
}

absl::StatusOr<std::shared_ptr<const Program>> Program::Load(
    std::shared_ptr<const Artifact> artifact, std::shared_ptr<const Weights> weights,
    hal::Device& device) {
  std::shared_ptr<Program> program(new Program(std::move(artifact), std::move(weights), device));
  FATHOM_ASSIGN_OR_RETURN(const uint32_t index, PickProgram(program->artifact(), device));
  program->header_ = program->artifact().header().programs()->Get(index);
  for (const schema::EntryPoint* entry : *program->header_->entries()) {
    FATHOM_RETURN_IF_ERROR(program->CheckSignature(*entry));
  }
  FATHOM_RETURN_IF_ERROR(program->LoadCode());
  FATHOM_RETURN_IF_ERROR(program->PlaceWeights());
  return std::shared_ptr<const Program>(std::move(program));
}

absl::Status Program::LoadCode() {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> code, artifact_->ReadSegment(header_->code()));
  std::vector<hal::KernelInterface> kernels;
  for (const schema::Kernel* kernel : *header_->kernels()) {
    kernels.push_back({kernel->name()->str(), kernel->bindings(), kernel->push()});
  }
  absl::StatusOr<std::unique_ptr<hal::Executable>> executable =
      device_.LoadExecutable(code, std::move(kernels));
  if (!executable.ok()) {
    return absl::Status(executable.status().code(),
                        absl::StrCat(artifact_->path(), ": ", header_->target()->str(), ": ",
                                     executable.status().message()));
  }
  executable_ = *std::move(executable);
  return absl::OkStatus();
}

absl::Status Program::PlaceWeights() {
  const auto& segments = *artifact_->header().segments();
  segments_.resize(segments.size());
  for (uint32_t i = 0; i < segments.size(); ++i) {
    const absl::Span<const uint8_t> bytes = weights_->segment(i);
    if (bytes.empty()) continue;
    absl::StatusOr<std::shared_ptr<hal::Buffer>> buffer = device_.allocator().Import(bytes);
    if (absl::IsUnimplemented(buffer.status())) {
      buffer = device_.allocator().Allocate(bytes.size(), hal::MemoryUse::weights);
      if (buffer.ok()) {
        if ((*buffer)->host() == nullptr) {
          return UnsupportedError(device_.info().id,
                                  "its weight memory cannot be written by the host");
        }
        std::memcpy((*buffer)->host(), bytes.data(), bytes.size());
      }
    }
    FATHOM_ASSIGN_OR_RETURN(segments_[i], std::move(buffer));
  }
  return absl::OkStatus();
}

absl::Status Program::CheckSignature(const schema::EntryPoint& entry) const {
  const std::string where = absl::StrCat(artifact_->path(), ": ", header_->target()->str(),
                                         ": entry ", entry.name()->str());
  size_t inputs = 0, outputs = 0;
  for (const schema::Buffer* buffer : *entry.buffers()) {
    const std::string name = buffer->name()->str();
    if (buffer->kind() == schema::BufferKind::input) {
      if (inputs == kInputs || name != kInputNames[inputs]) {
        return InputError(where, "inputs", inputs == kInputs ? "no more" : kInputNames[inputs],
                          name);
      }
      ++inputs;
    } else if (buffer->kind() == schema::BufferKind::output) {
      if (outputs != 0 || name != "logits") return InputError(where, "outputs", "logits", name);
      ++outputs;
    }
  }
  if (inputs != kInputs) return InputError(where, "inputs", kInputs, inputs);
  if (outputs != 1) return InputError(where, "outputs", 1, outputs);
  return absl::OkStatus();
}

const schema::EntryPoint* Program::FindEntry(const std::string& name) const {
  for (const schema::EntryPoint* entry : *header_->entries()) {
    if (entry->name()->str() == name) return entry;
  }
  return nullptr;
}

hal::BufferRef Program::TensorRef(uint32_t index, uint64_t offset) const {
  const schema::Tensor& tensor = *artifact_->header().tensors()->Get(index);
  return {segments_[tensor.segment()].get(), tensor.offset() + offset};
}

}  // namespace fathom
