// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mapping weights, or copying them into huge pages.
#include "runtime/artifact/weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>

#include "runtime/base/checked.h"
#include "runtime/base/memory.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

constexpr uint64_t kHugePage = 2 << 20;
constexpr uint64_t kChunk = 8 << 20;  // one read; a multiple of a huge page

}  // namespace

absl::StatusOr<std::shared_ptr<const Weights>> Weights::Load(
    std::shared_ptr<const Artifact> artifact, LoadMode mode, int threads,
    const ProgressFunction& progress) {
  std::shared_ptr<Weights> weights(new Weights(artifact));
  const auto* segments = artifact->header().segments();
  weights->segments_.resize(segments->size());
  for (const schema::Segment* segment : *segments) {
    if (segment->kind() == schema::SegmentKind::weights) weights->bytes_ += segment->length();
  }
  if (mode == LoadMode::automatic) {
    const uint64_t needed = weights->bytes_ + weights->bytes_ / 8;
    mode = needed < AvailableMemory() ? LoadMode::copy : LoadMode::map;
  }
  weights->mode_ = mode;
  FATHOM_RETURN_IF_ERROR(artifact->file().CheckUnchanged());
  FATHOM_RETURN_IF_ERROR(mode == LoadMode::map ? weights->Map() : weights->Copy(threads, progress));
  return std::shared_ptr<const Weights>(std::move(weights));
}

Weights::~Weights() {
  for (const auto& [address, length] : mappings_) ::munmap(address, length);
}

void Weights::Forget(uint32_t index, uint64_t begin, uint64_t end) const {
  // Copied weights have no file behind them to come back from.
  if (mode_ != LoadMode::map) return;
  constexpr uint64_t kPage = 4096;
  begin = RoundUp(begin, kPage);
  end = std::min<uint64_t>(end, segments_[index].size()) / kPage * kPage;
  if (begin >= end) return;
  auto* address = const_cast<uint8_t*>(segments_[index].data()) + begin;
  (void)::madvise(address, end - begin, MADV_DONTNEED);
}

absl::Status Weights::Map() {
  const auto* segments = artifact_->header().segments();
  for (uint32_t i = 0; i < segments->size(); ++i) {
    const schema::Segment* segment = segments->Get(i);
    if (segment->kind() != schema::SegmentKind::weights || segment->length() == 0) continue;
    void* address = ::mmap(nullptr, segment->length(), PROT_READ, MAP_PRIVATE,
                           artifact_->file().descriptor(), static_cast<off_t>(segment->offset()));
    if (address == MAP_FAILED) {
      return absl::ResourceExhaustedError(absl::StrCat(artifact_->path(), ": cannot map segment ",
                                                       segment->name()->str(), ": ",
                                                       std::strerror(errno)));
    }
    mappings_.emplace_back(address, segment->length());
    segments_[i] = {static_cast<const uint8_t*>(address), segment->length()};
  }
  return absl::OkStatus();
}

absl::Status Weights::Copy(int threads, const ProgressFunction& progress) {
  struct Piece {
    uint64_t file_offset;
    absl::Span<uint8_t> memory;
  };
  std::vector<Piece> pieces;
  const auto* segments = artifact_->header().segments();
  for (uint32_t i = 0; i < segments->size(); ++i) {
    const schema::Segment* segment = segments->Get(i);
    if (segment->kind() != schema::SegmentKind::weights || segment->length() == 0) continue;
    // One huge page more than needed, so that the data can begin on a huge page.
    const size_t mapped = RoundUp(segment->length(), kHugePage) + kHugePage;
    void* address = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat(artifact_->path(), ": no memory for segment ", segment->name()->str(),
                       " of ", segment->length(), " bytes"));
    }
    mappings_.emplace_back(address, mapped);
    auto* begin =
        reinterpret_cast<uint8_t*>(RoundUp(reinterpret_cast<uintptr_t>(address), kHugePage));
    (void)::madvise(begin, RoundUp(segment->length(), kHugePage), MADV_HUGEPAGE);
    segments_[i] = {begin, segment->length()};
    for (uint64_t done = 0; done < segment->length(); done += kChunk) {
      const uint64_t size = std::min(kChunk, segment->length() - done);
      pieces.push_back({segment->offset() + done, {begin + done, size}});
    }
  }

  std::atomic<size_t> next = 0;
  std::mutex mutex;
  uint64_t done = 0;
  absl::Status status;
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < pieces.size();) {
      absl::Status read = artifact_->file().ReadAt(pieces[i].file_offset, pieces[i].memory);
      std::lock_guard lock(mutex);
      if (status.ok()) status = std::move(read);
      done += pieces[i].memory.size();
      if (status.ok() && progress && !progress(done, bytes_)) {
        status = absl::CancelledError(artifact_->path() + ": loading was stopped");
      }
      if (!status.ok()) return;
    }
  };
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  threads = static_cast<int>(std::min<size_t>(threads, pieces.size()));
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  FATHOM_RETURN_IF_ERROR(status);
  for (const auto& [address, length] : mappings_) (void)::mprotect(address, length, PROT_READ);
  return absl::OkStatus();
}

}  // namespace fathom
