// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Turning a command of an entry point into a dispatch on a device.
#ifndef FATHOM_RUNTIME_EXEC_RECORD_H_
#define FATHOM_RUNTIME_EXEC_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/exec/cache_memory.h"
#include "runtime/exec/program.h"

namespace fathom {

// The command's label, or its kernel's name.
std::string CommandLabel(const Program& program, const schema::Command& command);

// Appends `command`, a dispatch of `entry`. `values` are the entry's expressions for the call's
// shape; `places` say where each of its buffers lies and how many bytes may be reached from there,
// `cache` where each layer's pages do.
absl::Status RecordDispatch(const Program& program, const schema::EntryPoint& entry,
                            const schema::Command& command, absl::Span<const int64_t> values,
                            absl::Span<const hal::BufferRef> places, const CacheMemory& cache,
                            hal::CommandBuffer& commands);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_RECORD_H_
