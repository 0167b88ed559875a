// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Moving bytes between the host and device memory, whether the host can reach it or not.
#ifndef FATHOM_RUNTIME_EXEC_TRANSFER_H_
#define FATHOM_RUNTIME_EXEC_TRANSFER_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/hal/device.h"

namespace fathom {

// Called after each part with the bytes done so far; an error stops the transfer.
using TransferStep = std::function<absl::Status(uint64_t done)>;

// Copies `bytes` to `to` and returns when they are there. Memory without a host address is reached
// in parts of 16 MiB through a buffer that has one, so that no second copy of `bytes` is ever held.
// `to.offset` is a multiple of 64. Not while submissions that use the memory are running.
absl::Status Upload(hal::Device& device, absl::Span<const uint8_t> bytes, hal::BufferRef to,
                    const TransferStep& step = nullptr);

// The other way.
absl::Status Download(hal::Device& device, hal::BufferRef from, absl::Span<uint8_t> bytes);

// Copies between device buffers; offsets are multiples of 64.
struct CopyRange {
  hal::BufferRef from, to;
  uint64_t bytes = 0;
};
absl::Status CopyOnDevice(hal::Device& device, absl::Span<const CopyRange> ranges);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_TRANSFER_H_
