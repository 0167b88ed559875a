// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The artifact writer: one sequential pass, then one write of the prefix.
#include "compiler/emit/artifact_writer.h"

#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
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

ArtifactWriter::ArtifactWriter(std::string path)
    : path_(std::move(path)),
      temporary_(absl::StrCat(path_, ".partial-", getpid())),
      hash_(std::make_unique<crypto_generichash_blake2b_state>()) {}

absl::StatusOr<std::unique_ptr<ArtifactWriter>> ArtifactWriter::Create(const std::string& path) {
  if (sodium_init() < 0) return absl::InternalError("libsodium cannot be initialised");
  std::unique_ptr<ArtifactWriter> writer(new ArtifactWriter(path));
  writer->fd_ = open(writer->temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (writer->fd_ < 0) return writer->SystemError("cannot create the output");
  const std::vector<uint8_t> zeros(kPrefixBytes);
  FATHOM_RETURN_IF_ERROR(writer->Write(zeros));
  return writer;
}

std::unique_ptr<ArtifactWriter> ArtifactWriter::Measure() {
  std::unique_ptr<ArtifactWriter> writer(new ArtifactWriter(""));
  writer->measuring_ = true;
  writer->position_ = kPrefixBytes;
  return writer;
}

ArtifactWriter::~ArtifactWriter() {
  if (fd_ >= 0) {
    close(fd_);
    unlink(temporary_.c_str());
  }
}

absl::Status ArtifactWriter::SystemError(const char* what) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", what, ": ", std::strerror(errno)));
}

absl::Status ArtifactWriter::Write(absl::Span<const uint8_t> bytes) {
  if (measuring_) {
    position_ += bytes.size();
    return absl::OkStatus();
  }
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("cannot write the output");
    position_ += n;
    bytes.remove_prefix(n);
  }
  return absl::OkStatus();
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
  crypto_generichash_blake2b_init(hash_.get(), nullptr, 0, sizeof(DigestBytes));
  return absl::OkStatus();
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
  if (measuring_) return;
  DigestBytes& digest = tensors_.back().digest;
  crypto_generichash_blake2b_final(hash_.get(), digest.data(), digest.size());
}

absl::Status ArtifactWriter::TakeTensor(int file, uint64_t offset, uint64_t length,
                                        const DigestBytes& digest) {
  off64_t from = static_cast<off64_t>(offset);
  uint64_t left = length;
  bool by_system = true;
  std::vector<uint8_t> buffer;
  while (left > 0) {
    if (by_system) {
      const ssize_t n = copy_file_range(file, &from, fd_, nullptr, left, 0);
      if (n > 0) {
        left -= n;
        position_ += n;
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      // Another file system, or one that cannot: by hand. A full disk shows there too.
      by_system = false;
    }
    buffer.resize(std::min<uint64_t>(left, 4 << 20));
    const ssize_t n = pread(file, buffer.data(), buffer.size(), from);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("cannot read the weights to be reused");
    if (n == 0) return absl::DataLossError(absl::StrCat(path_, ": the weights to be reused have become shorter"));
    FATHOM_RETURN_IF_ERROR(Write({buffer.data(), static_cast<size_t>(n)}));
    from += n;
    left -= n;
  }
  tensors_.back().length = length;
  tensors_.back().digest = digest;
  return absl::OkStatus();
}

void ArtifactWriter::EndTensorSegment() {
  WrittenSegment& segment = segments_.back();
  segment.length = position_ - segment.offset;
  if (measuring_) return;
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
  std::vector<uint8_t> bytes(prefix.begin(), prefix.end());
  bytes.insert(bytes.end(), header.begin(), header.end());
  return bytes;
}

absl::Status ArtifactWriter::Finish(absl::Span<const uint8_t> header) {
  FATHOM_RETURN_IF_ERROR(PadTo(kHeaderAlignment));
  const uint64_t header_offset = position_;
  FATHOM_RETURN_IF_ERROR(Write(header));

  const auto bytes = Prefix(header, header_offset);
  if (pwrite(fd_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return SystemError("cannot write the output");
  if (fsync(fd_) != 0) return SystemError("cannot write the output");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return SystemError("cannot name the output");
  close(fd_);
  fd_ = -1;
  return absl::OkStatus();
}

}  // namespace fathom
