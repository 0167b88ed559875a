// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many bytes a tensor takes in each encoding (docs/spec/encodings.md).
#ifndef FATHOM_RUNTIME_ARTIFACT_ENCODING_H_
#define FATHOM_RUNTIME_ARTIFACT_ENCODING_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/schema/artifact_generated.h"

namespace fathom {

inline constexpr uint64_t kTileRows = 16;

// Bytes of a tensor of logical `shape`. Tile encodings take (rows, cols) or (batch, rows, cols),
// the raw ones any rank from 1 to 8. Errors: an unknown encoding, a rank that does not fit it, a
// dimension of 0, a product beyond 2^63.
absl::StatusOr<uint64_t> EncodedBytes(schema::Encoding encoding, absl::Span<const uint64_t> shape);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_ARTIFACT_ENCODING_H_
