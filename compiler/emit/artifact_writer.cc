// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The artifact writer: one sequential pass, then one write of the prefix.
#include "compiler/emit/artifact_writer.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/schema/prefix.h"

namespace fathom {
namespace {

using schema::kHeaderAlignment;
using schema::kPrefixBytes;
using schema::kSegmentAlignment;
using schema::kTensorAlignment;

}  // namespace

DigestBytes HashBytes(absl::Span<const uint8_t> bytes) {
  DigestBytes digest;
  crypto_generichash_blake2b(digest.data(), digest.size(), bytes.data(), bytes.size(), nullptr, 0);
  return digest;
}

ArtifactWriter::ArtifactWriter() : hash_(std::make_unique<crypto_generichash_blake2b_state>()) {}
ArtifactWriter::~ArtifactWriter() = default;

absl::StatusOr<std::unique_ptr<ArtifactWriter>> ArtifactWriter::Create(const std::string& path,
                                                                       Caching caching) {
  if (sodium_init() < 0) return absl::InternalError("libsodium cannot be initialised");
  std::unique_ptr<ArtifactWriter> writer(new ArtifactWriter);
  FATHOM_ASSIGN_OR_RETURN(writer->file_, OutputFile::Create(path, caching));
  const std::vector<uint8_t> zeros(kPrefixBytes);
  FATHOM_RETURN_IF_ERROR(writer->Write(zeros));
  return writer;
}

std::unique_ptr<ArtifactWriter> ArtifactWriter::Measure() {
  std::unique_ptr<ArtifactWriter> writer(new ArtifactWriter);
  writer->position_ = kPrefixBytes;
  return writer;
}

absl::Status ArtifactWriter::Write(absl::Span<const uint8_t> bytes) {
  position_ += bytes.size();
  return measuring() ? absl::OkStatus() : file_->Append(bytes);
}

absl::Status ArtifactWriter::PadTo(uint64_t alignment) {
  const std::vector<uint8_t> zeros(RoundUp(position_, alignment) - position_);
  return Write(zeros);
}

absl::Status ArtifactWriter::AddSegment(uint8_t kind, std::string name,
                                        absl::Span<const uint8_t> bytes) {
  FATHOM_RETURN_IF_ERROR(PadTo(kSegmentAlignment));
  segments_.push_back({kind, std::move(name), position_, bytes.size(), HashBytes(bytes)});
  return Write(bytes);
}

absl::Status ArtifactWriter::BeginTensorSegment(uint8_t kind, std::string name) {
  FATHOM_RETURN_IF_ERROR(PadTo(kSegmentAlignment));
  segments_.push_back({kind, std::move(name), position_, 0, {}});
  segment_first_tensor_ = tensors_.size();
  return absl::OkStatus();
}

absl::Status ArtifactWriter::BeginTensor(std::string name, std::vector<uint64_t> shape,
                                         uint8_t encoding) {
  FATHOM_RETURN_IF_ERROR(PadTo(kTensorAlignment));
  tensors_.push_back({std::move(name), std::move(shape), encoding,
                      static_cast<uint32_t>(segments_.size() - 1),
                      position_ - segments_.back().offset, 0, {}, std::nullopt});
  OpenTensor();
  return absl::OkStatus();
}

void ArtifactWriter::OpenTensor() {
  tensors_.back().length = 0;
  crypto_generichash_blake2b_init(hash_.get(), nullptr, 0, sizeof(DigestBytes));
}

absl::Status ArtifactWriter::Append(absl::Span<const uint8_t> bytes) {
  crypto_generichash_blake2b_update(hash_.get(), bytes.data(), bytes.size());
  tensors_.back().length += bytes.size();
  return Write(bytes);
}

void ArtifactWriter::Reserve(uint64_t bytes) {
  tensors_.back().length += bytes;
  position_ += bytes;
}

void ArtifactWriter::EndTensor() {
  if (measuring()) return;
  DigestBytes& digest = tensors_.back().digest;
  crypto_generichash_blake2b_final(hash_.get(), digest.data(), digest.size());
}

absl::StatusOr<bool> ArtifactWriter::TakeTensor(InputFile& file, uint64_t offset, uint64_t length,
                                                const DigestBytes& digest) {
  const uint64_t begin = position_;
  auto append = [this](absl::Span<const uint8_t> bytes) { return Append(bytes); };
  FATHOM_RETURN_IF_ERROR(file.Read(offset, length, append));
  EndTensor();
  if (tensors_.back().digest == digest) return true;
  FATHOM_RETURN_IF_ERROR(file_->Rewind(begin));
  position_ = begin;
  OpenTensor();
  return false;
}

void ArtifactWriter::EndTensorSegment() {
  WrittenSegment& segment = segments_.back();
  segment.length = position_ - segment.offset;
  if (measuring()) return;
  std::vector<uint8_t> digests;
  for (size_t i = segment_first_tensor_; i < tensors_.size(); ++i) {
    digests.insert(digests.end(), tensors_[i].digest.begin(), tensors_[i].digest.end());
  }
  segment.digest = HashBytes(digests);
}

std::array<uint8_t, kPrefixBytes> ArtifactWriter::Prefix(absl::Span<const uint8_t> header,
                                                         uint64_t offset) const {
  schema::ArtifactPrefix prefix;
  prefix.header_offset = offset;
  prefix.header_length = header.size();
  prefix.file_length = offset + header.size();
  std::memcpy(prefix.header_digest.data(), HashBytes(header).data(), prefix.header_digest.size());
  return schema::EncodePrefix(prefix);
}

std::vector<uint8_t> ArtifactWriter::HeaderOnly(absl::Span<const uint8_t> header) const {
  const auto prefix = Prefix(header, RoundUp(position_, kHeaderAlignment));
  std::vector<uint8_t> bytes(prefix.size() + header.size());
  std::copy(prefix.begin(), prefix.end(), bytes.begin());
  std::copy(header.begin(), header.end(), bytes.begin() + prefix.size());
  return bytes;
}

absl::Status ArtifactWriter::Finish(absl::Span<const uint8_t> header) {
  FATHOM_RETURN_IF_ERROR(PadTo(kHeaderAlignment));
  const uint64_t header_offset = position_;
  FATHOM_RETURN_IF_ERROR(Write(header));

  return file_->Finish(Prefix(header, header_offset));
}

}  // namespace fathom
