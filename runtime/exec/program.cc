// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Picking and loading a program.
#include "runtime/exec/program.h"

#include <algorithm>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/exec/transfer.h"

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

using ByteRange = std::pair<uint64_t, uint64_t>;  // begin, end

// Cuts a weight segment between tensors into ranges that fit the device's buffers. They begin on
// pages, so that they can be imported, and may overlap by less than one.
absl::StatusOr<std::vector<ByteRange>> SplitSegment(const Artifact& artifact, uint32_t segment,
                                                    const hal::DeviceInfo& device) {
  constexpr uint64_t kPage = 4096;
  const uint64_t length = artifact.header().segments()->Get(segment)->length();
  const uint64_t limit = device.max_buffer_bytes;
  if (limit == 0 || length <= limit) return std::vector<ByteRange>{{0, length}};
  std::vector<const schema::Tensor*> tensors;
  for (const schema::Tensor* tensor : *artifact.header().tensors()) {
    if (tensor->segment() == segment) tensors.push_back(tensor);
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const auto* a, const auto* b) { return a->offset() < b->offset(); });
  std::vector<ByteRange> ranges;
  for (const schema::Tensor* tensor : tensors) {
    const uint64_t begin = tensor->offset() / kPage * kPage;
    const uint64_t end = tensor->offset() + tensor->length();
    if (!ranges.empty() && end - ranges.back().first <= limit) {
      ranges.back().second = std::max(ranges.back().second, end);
    } else if (end - begin <= limit) {
      ranges.emplace_back(begin, end);
    } else {
      return UnsupportedError(
          absl::StrCat(artifact.path(), ": tensor ", tensor->name()->str()),
          absl::StrCat("has ", tensor->length(), " bytes; ", device.id, " (", device.name,
                       ") allocates at most ", limit, " in one piece"));
    }
  }
  return ranges;
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
  if (const std::string& target = device.info().suggested_target; !target.empty()) {
    absl::StrAppend(&reasons, "; compiling with --target=", target, " would add one");
  }
  return UnsupportedError(artifact.path(),
                          absl::StrCat("no program for the device ", device.info().id, reasons));
}

absl::StatusOr<std::shared_ptr<const Program>> Program::Load(
    std::shared_ptr<const Artifact> artifact, std::shared_ptr<const Weights> weights,
    hal::Device& device, const ProgressFunction& progress) {
  std::shared_ptr<Program> program(new Program(std::move(artifact), std::move(weights), device));
  FATHOM_ASSIGN_OR_RETURN(const uint32_t index, PickProgram(program->artifact(), device));
  program->header_ = program->artifact().header().programs()->Get(index);
  for (const schema::EntryPoint* entry : *program->header_->entries()) {
    FATHOM_RETURN_IF_ERROR(program->CheckSignature(*entry));
  }
  FATHOM_RETURN_IF_ERROR(program->LoadCode());
  FATHOM_RETURN_IF_ERROR(program->PlaceWeights(progress));
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

absl::Status Program::PlaceWeights(const ProgressFunction& progress) {
  segments_.resize(artifact_->header().segments()->size());
  uint64_t placed = 0;
  for (uint32_t i = 0; i < segments_.size(); ++i) {
    if (!weights_->segment(i).empty()) {
      FATHOM_RETURN_IF_ERROR(PlaceSegment(i, progress, &placed));
    }
  }
  return absl::OkStatus();
}

absl::Status Program::PlaceSegment(uint32_t segment, const ProgressFunction& progress,
                                   uint64_t* placed) {
  const absl::Span<const uint8_t> bytes = weights_->segment(segment);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<ByteRange> ranges,
                          SplitSegment(*artifact_, segment, device_.info()));
  for (const auto& [begin, end] : ranges) {
    const absl::Span<const uint8_t> part = bytes.subspan(begin, end - begin);
    absl::StatusOr<std::shared_ptr<hal::Buffer>> buffer = device_.allocator().Import(part);
    if (absl::IsUnimplemented(buffer.status())) {
      buffer = device_.allocator().Allocate(part.size(), hal::MemoryUse::weights);
      FATHOM_RETURN_IF_ERROR(buffer.status());
      uint64_t forgotten = begin;
      const auto step = [&, first = begin](uint64_t done) {
        weights_->Forget(segment, forgotten, first + done);
        *placed += first + done - forgotten;
        forgotten = first + done;
        if (!progress || progress(*placed, weights_->bytes())) return absl::OkStatus();
        return absl::CancelledError(artifact_->path() + ": loading was stopped");
      };
      FATHOM_RETURN_IF_ERROR(Upload(device_, part, {buffer->get()}, step));
    }
    FATHOM_RETURN_IF_ERROR(buffer.status());
    segments_[segment].push_back({begin, end, *std::move(buffer)});
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

hal::BufferRef Program::TensorRef(uint32_t index, uint64_t offset, uint64_t length) const {
  const schema::Tensor& tensor = *artifact_->header().tensors()->Get(index);
  const std::vector<Piece>& pieces = segments_[tensor.segment()];
  const auto piece = std::find_if(pieces.begin(), pieces.end(), [&](const Piece& candidate) {
    return candidate.begin <= tensor.offset() && tensor.offset() + tensor.length() <= candidate.end;
  });
  return {piece->buffer.get(), tensor.offset() - piece->begin + offset, length};
}

}  // namespace fathom
