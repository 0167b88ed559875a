// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every driver checks of a dispatch or copy before it records it.
#ifndef FATHOM_RUNTIME_HAL_COMMAND_CHECKS_H_
#define FATHOM_RUNTIME_HAL_COMMAND_CHECKS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "runtime/hal/command_buffer.h"

namespace fathom::hal {

// Errors: kInternal after End.
absl::Status CheckOpen(bool ended);

// The executable has the kernel, and the dispatch as many bindings and push constants as it takes.
// Errors: kInternal with the dispatch's label.
absl::Status CheckKernel(const Dispatch& dispatch);

// `bytes` bytes (0: those from the offset on) lie in a buffer, and the offset is a multiple of
// `alignment`. Errors that begin with `where`: kInternal without a buffer, kOutOfRange,
// kInvalidArgument.
absl::Status CheckRef(const std::string& where, const BufferRef& ref, uint64_t bytes,
                      uint64_t alignment);

// CheckRef of both ends of a copy, whose offsets are multiples of 64.
absl::Status CheckCopy(const BufferRef& from, const BufferRef& to, uint64_t bytes);

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_COMMAND_CHECKS_H_
