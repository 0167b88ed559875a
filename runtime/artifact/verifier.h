// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The semantic verifier: what the FlatBuffers verifier cannot know about an artifact's header.
#ifndef FATHOM_RUNTIME_ARTIFACT_VERIFIER_H_
#define FATHOM_RUNTIME_ARTIFACT_VERIFIER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/schema/artifact_generated.h"
#include "runtime/schema/prefix.h"

namespace fathom {

// Bounds that no honest artifact reaches; they cap the work a dishonest one can cause.
inline constexpr uint64_t kMaxHeaderBytes = uint64_t{1} << 30;
inline constexpr uint32_t kMaxHeaderTables = 8u << 20;
inline constexpr size_t kMaxNameBytes = 1024;
inline constexpr uint32_t kMaxKernelArguments = 64;  // bindings or push constants of one kernel
inline constexpr uint32_t kMaxFeatures = 256;
inline constexpr uint32_t kMaxFewTokens = 4096;
inline constexpr uint32_t kMaxCacheLayers = 65536;
inline constexpr size_t kMaxDescriptionBytes = 1 << 20;  // a kernel's config, a program's profile
inline constexpr uint32_t kSymbols = 4;  // T, B, P, R

// Checks the FlatBuffers structure of `bytes` (8-byte aligned), then every index, range, alignment,
// overlap, count, expression and name of the header against `prefix`. After OK, everything the
// header refers to exists and every byte range lies inside the file. `path` begins each message.
absl::Status VerifyHeader(const std::string& path, const schema::ArtifactPrefix& prefix,
                          absl::Span<const uint8_t> bytes);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_ARTIFACT_VERIFIER_H_
