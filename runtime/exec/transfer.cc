// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Transfers in parts.
#include "runtime/exec/transfer.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

constexpr uint64_t kPart = 16 << 20;

absl::Status CheckRange(const hal::BufferRef& ref, uint64_t bytes) {
  if (ref.buffer != nullptr && RangeFits(ref.offset, bytes, ref.buffer->size())) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrCat("transfer of ", bytes, " bytes at ", ref.offset, " outside its buffer"));
}

}  // namespace

absl::Status CopyOnDevice(hal::Device& device, absl::Span<const CopyRange> ranges) {
  const std::unique_ptr<hal::CommandBuffer> commands = device.CreateCommandBuffer();
  for (const CopyRange& range : ranges) {
    FATHOM_RETURN_IF_ERROR(commands->Copy(range.from, range.to, range.bytes));
  }
  FATHOM_RETURN_IF_ERROR(commands->End());
  const std::shared_ptr<hal::Semaphore> done = device.CreateSemaphore(0);
  FATHOM_RETURN_IF_ERROR(device.queue().Submit({commands.get(), {}, {{done, 1}}, nullptr}));
  return done->Wait(1);
}

absl::Status Upload(hal::Device& device, absl::Span<const uint8_t> bytes, hal::BufferRef to,
                    const TransferStep& step) {
  FATHOM_RETURN_IF_ERROR(CheckRange(to, bytes.size()));
  std::shared_ptr<hal::Buffer> staging;
  for (uint64_t done = 0; done < bytes.size();) {
    const absl::Span<const uint8_t> part = bytes.subspan(done, kPart);
    if (uint8_t* host = to.buffer->host(); host != nullptr) {
      std::memcpy(host + to.offset + done, part.data(), part.size());
    } else {
      if (staging == nullptr) {
        FATHOM_ASSIGN_OR_RETURN(staging,
                                device.allocator().Allocate(part.size(), hal::MemoryUse::host_io));
      }
      std::memcpy(staging->host(), part.data(), part.size());
      FATHOM_RETURN_IF_ERROR(
          CopyOnDevice(device, {{{staging.get()}, {to.buffer, to.offset + done}, part.size()}}));
    }
    done += part.size();
    if (step) FATHOM_RETURN_IF_ERROR(step(done));
  }
  return absl::OkStatus();
}

absl::Status Download(hal::Device& device, hal::BufferRef from, absl::Span<uint8_t> bytes) {
  FATHOM_RETURN_IF_ERROR(CheckRange(from, bytes.size()));
  if (const uint8_t* host = from.buffer->host(); host != nullptr) {
    std::memcpy(bytes.data(), host + from.offset, bytes.size());
    return absl::OkStatus();
  }
  if (bytes.empty()) return absl::OkStatus();
  FATHOM_ASSIGN_OR_RETURN(const std::shared_ptr<hal::Buffer> staging,
                          device.allocator().Allocate(std::min<uint64_t>(bytes.size(), kPart),
                                                      hal::MemoryUse::host_io));
  for (uint64_t done = 0; done < bytes.size(); done += kPart) {
    const uint64_t part = std::min<uint64_t>(kPart, bytes.size() - done);
    FATHOM_RETURN_IF_ERROR(
        CopyOnDevice(device, {{{from.buffer, from.offset + done}, {staging.get()}, part}}));
    std::memcpy(bytes.data() + done, staging->host(), part);
  }
  return absl::OkStatus();
}

}  // namespace fathom
