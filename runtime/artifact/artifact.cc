// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening an artifact, reading its segments, checking its hashes.
#include "runtime/artifact/artifact.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/strings/str_format.h"
#include "runtime/artifact/digest.h"
#include "runtime/artifact/verifier.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// `size`: of the file; nothing to compare with when there is none.
absl::Status CheckPrefix(const std::string& path, std::optional<uint64_t> size,
                         const uint8_t* bytes, schema::ArtifactPrefix* out) {
  if (!schema::HasArtifactMagic(bytes)) {
    return InputError(path + ": magic", "not a fathom artifact", "\"FATHOM\\r\\n\"",
                      absl::StrFormat("%02x %02x %02x %02x %02x %02x %02x %02x", bytes[0], bytes[1],
                                      bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]));
  }
  const schema::ArtifactPrefix prefix = schema::DecodePrefix(bytes);
  if (prefix.major != schema::kFormatMajor) {
    return UnsupportedError(
        path + ": version",
        absl::StrCat("format ", prefix.major, ".", prefix.minor, " is not supported: expected ",
                     schema::kFormatMajor, ".x; compile the model again or use a matching fathom"));
  }
  if (prefix.reserved != 0) {
    return InputError(path + ": prefix", "reserved field", 0, prefix.reserved);
  }
  if (size && prefix.file_length != *size) {
    return InputError(path + ": file length",
                      prefix.file_length > *size ? "the file is truncated"
                                                 : "bytes follow the artifact's end",
                      absl::StrCat(prefix.file_length, " bytes"), *size);
  }
  if (prefix.header_offset % schema::kHeaderAlignment != 0 ||
      prefix.header_offset < schema::kPrefixBytes) {
    return InputError(path + ": header offset", "misplaced header",
                      "a multiple of 64 behind the prefix", prefix.header_offset);
  }
  if (prefix.header_length == 0 || prefix.header_length > kMaxHeaderBytes) {
    return InputError(path + ": header length", "header length is out of range",
                      absl::StrCat("1 to ", kMaxHeaderBytes), prefix.header_length);
  }
  if (!RangeFits(prefix.header_offset, prefix.header_length, prefix.file_length)) {
    return InputError(
        path + ": header", "the header lies outside the file",
        absl::StrCat("an end of at most ", prefix.file_length),
        absl::StrCat("offset ", prefix.header_offset, " + length ", prefix.header_length));
  }
  *out = prefix;
  return absl::OkStatus();
}

}  // namespace

void Artifact::AlignedDelete::operator()(uint8_t* bytes) const { std::free(bytes); }

absl::Status Artifact::AllocateHeader() {
  void* memory = std::aligned_alloc(64, RoundUp(prefix_.header_length, 64));
  if (memory == nullptr) return absl::ResourceExhaustedError(path_ + ": no memory for the header");
  header_.reset(static_cast<uint8_t*>(memory));
  return absl::OkStatus();
}

absl::Status Artifact::CheckHeader() const {
  const absl::Span<const uint8_t> header(header_.get(), prefix_.header_length);
  const DigestBytes digest = Blake2b(header);
  if (std::memcmp(digest.data(), prefix_.header_digest.data(), schema::kPrefixDigestBytes) != 0) {
    return absl::DataLossError(
        path_ + ": header: its hash does not match: the file is damaged; compile or copy it again");
  }
  return VerifyHeader(path_, prefix_, header);
}

absl::StatusOr<std::shared_ptr<const Artifact>> Artifact::Open(const std::string& path) {
  std::shared_ptr<Artifact> artifact(new Artifact(path));
  FATHOM_ASSIGN_OR_RETURN(artifact->file_, File::Open(path));
  const File& file = *artifact->file_;
  if (file.size() < schema::kPrefixBytes) {
    return InputError(path, "the file is too short for an artifact",
                      absl::StrCat("at least ", schema::kPrefixBytes, " bytes"), file.size());
  }
  uint8_t prefix[schema::kPrefixBytes];
  FATHOM_RETURN_IF_ERROR(file.ReadAt(0, absl::MakeSpan(prefix)));
  FATHOM_RETURN_IF_ERROR(CheckPrefix(path, file.size(), prefix, &artifact->prefix_));
  // Copied, not mapped: what was verified cannot change under our feet.
  FATHOM_RETURN_IF_ERROR(artifact->AllocateHeader());
  FATHOM_RETURN_IF_ERROR(
      file.ReadAt(artifact->prefix_.header_offset,
                  {artifact->header_.get(), artifact->prefix_.header_length}));
  FATHOM_RETURN_IF_ERROR(artifact->CheckHeader());
  return std::shared_ptr<const Artifact>(std::move(artifact));
}

absl::StatusOr<std::shared_ptr<const Artifact>> Artifact::FromHeader(
    const std::string& name, absl::Span<const uint8_t> bytes) {
  std::shared_ptr<Artifact> artifact(new Artifact(name));
  if (bytes.size() < schema::kPrefixBytes) {
    return InputError(name, "too short for the header of an artifact",
                      absl::StrCat("at least ", schema::kPrefixBytes, " bytes"), bytes.size());
  }
  FATHOM_RETURN_IF_ERROR(CheckPrefix(name, std::nullopt, bytes.data(), &artifact->prefix_));
  if (bytes.size() - schema::kPrefixBytes != artifact->prefix_.header_length) {
    return InputError(name + ": header", "length",
                      absl::StrCat(artifact->prefix_.header_length, " bytes"),
                      bytes.size() - schema::kPrefixBytes);
  }
  FATHOM_RETURN_IF_ERROR(artifact->AllocateHeader());
  std::memcpy(artifact->header_.get(), bytes.data() + schema::kPrefixBytes,
              artifact->prefix_.header_length);
  FATHOM_RETURN_IF_ERROR(artifact->CheckHeader());
  return std::shared_ptr<const Artifact>(std::move(artifact));
}

absl::StatusOr<std::vector<uint8_t>> Artifact::ReadSegment(uint32_t index) const {
  if (!has_file()) return absl::FailedPreconditionError(path_ + ": a header alone has no segments");
  const auto* segments = header().segments();
  if (index >= segments->size()) {
    return absl::InternalError(absl::StrCat("segment ", index, " of ", segments->size()));
  }
  const schema::Segment* segment = segments->Get(index);
  std::vector<uint8_t> bytes(segment->length());
  FATHOM_RETURN_IF_ERROR(file_->ReadAt(segment->offset(), absl::MakeSpan(bytes)));
  return bytes;
}

namespace {

// One digest to compare. A file has a few hundred, of very different sizes.
struct HashTask {
  std::string what;
  uint64_t offset;
  uint64_t length;
  const schema::Digest* expected;
};

// Hands tasks to threads, adds up progress and keeps the first error in the file's order.
class HashJob {
 public:
  HashJob(const File& file, std::vector<HashTask> tasks, const ProgressFunction& progress)
      : file_(file), tasks_(std::move(tasks)), progress_(progress) {
    for (const HashTask& task : tasks_) total_ += task.length;
  }

  absl::Status Run(int threads) {
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads; ++i) helpers.emplace_back([this] { Work(); });
    Work();
    for (std::thread& helper : helpers) helper.join();
    return status_;
  }

 private:
  static constexpr uint64_t kChunk = 4 << 20;

  void Work() {
    std::vector<uint8_t> buffer(kChunk);
    while (true) {
      size_t index;
      {
        std::lock_guard lock(mutex_);
        if (next_ == tasks_.size() || !status_.ok()) return;
        index = next_++;
      }
      absl::Status status = Check(tasks_[index], absl::MakeSpan(buffer));
      if (status.ok()) continue;
      std::lock_guard lock(mutex_);
      if (index < failed_) {
        failed_ = index;
        status_ = std::move(status);
      }
    }
  }

  absl::Status Check(const HashTask& task, absl::Span<uint8_t> buffer) {
    DigestStream stream;
    for (uint64_t done = 0; done < task.length;) {
      const auto piece = buffer.first(std::min(kChunk, task.length - done));
      FATHOM_RETURN_IF_ERROR(file_.ReadAt(task.offset + done, piece));
      stream.Update(piece);
      done += piece.size();
      std::lock_guard lock(mutex_);
      done_ += piece.size();
      if (progress_ && !progress_(done_, total_)) return absl::CancelledError("stopped");
    }
    if (std::memcmp(stream.Finish().data(), task.expected, sizeof(DigestBytes)) != 0) {
      return absl::DataLossError(absl::StrCat(file_.path(), ": ", task.what,
                                              ": its hash does not match: the file is damaged"));
    }
    return absl::OkStatus();
  }

  const File& file_;
  const std::vector<HashTask> tasks_;
  const ProgressFunction& progress_;
  uint64_t total_ = 0;
  std::mutex mutex_;
  uint64_t done_ = 0;
  size_t next_ = 0;
  size_t failed_ = SIZE_MAX;
  absl::Status status_;
};

// A weight segment's digest is the hash of its tensors' digests, so that no weight is hashed twice;
// what lies between its tensors must be zero.
absl::Status VerifyWeightSegment(const Artifact& artifact, uint32_t index) {
  const schema::Segment& segment = *artifact.header().segments()->Get(index);
  const std::string where = absl::StrCat(artifact.path(), ": segment ", segment.name()->str());
  std::vector<std::pair<uint64_t, uint64_t>> used;  // offset, end
  DigestStream stream;
  for (const schema::Tensor* tensor : *artifact.header().tensors()) {
    if (tensor->segment() != index) continue;
    used.emplace_back(tensor->offset(), tensor->offset() + tensor->length());
    stream.Update({tensor->digest()->bytes()->data(), sizeof(DigestBytes)});
  }
  if (std::memcmp(stream.Finish().data(), segment.digest(), sizeof(DigestBytes)) != 0) {
    return absl::DataLossError(where + ": its hash does not match its tensors' hashes");
  }
  std::sort(used.begin(), used.end());
  used.emplace_back(segment.length(), segment.length());
  std::vector<uint8_t> gap;
  uint64_t end = 0;
  for (const auto& [next, next_end] : used) {
    while (end < next) {
      gap.resize(std::min<uint64_t>(next - end, 1 << 20));
      FATHOM_RETURN_IF_ERROR(artifact.file().ReadAt(segment.offset() + end, absl::MakeSpan(gap)));
      if (std::any_of(gap.begin(), gap.end(), [](uint8_t byte) { return byte != 0; })) {
        return absl::DataLossError(
            absl::StrCat(where, ": bytes between tensors are not zero near ", end));
      }
      end += gap.size();
    }
    end = next_end;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Artifact::VerifyHashes(int threads, const ProgressFunction& progress) const {
  if (!has_file()) return absl::FailedPreconditionError(path_ + ": a header alone has no segments");
  std::vector<HashTask> tasks;
  const auto* segments = header().segments();
  for (const schema::Tensor* tensor : *header().tensors()) {
    tasks.push_back({absl::StrCat("tensor ", tensor->name()->str()),
                     segments->Get(tensor->segment())->offset() + tensor->offset(),
                     tensor->length(), tensor->digest()});
  }
  for (uint32_t i = 0; i < segments->size(); ++i) {
    const schema::Segment& segment = *segments->Get(i);
    if (segment.kind() == schema::SegmentKind::weights) {
      FATHOM_RETURN_IF_ERROR(VerifyWeightSegment(*this, i));
    } else {
      tasks.push_back({absl::StrCat("segment ", segment.name()->str()), segment.offset(),
                       segment.length(), segment.digest()});
    }
  }
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return HashJob(*file_, std::move(tasks), progress).Run(threads);
}

}  // namespace fathom
