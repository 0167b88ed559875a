// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// BLAKE2b-256 of a run of bytes, whole or in pieces.
#ifndef FATHOM_RUNTIME_ARTIFACT_DIGEST_H_
#define FATHOM_RUNTIME_ARTIFACT_DIGEST_H_

#include <array>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"

namespace fathom {

using DigestBytes = std::array<uint8_t, 32>;

DigestBytes Blake2b(absl::Span<const uint8_t> bytes);

// The digest of bytes that arrive in pieces. Not for several threads at once.
class DigestStream {
 public:
  DigestStream();
  ~DigestStream();
  void Update(absl::Span<const uint8_t> bytes);
  // Ends the stream; call once.
  DigestBytes Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_ARTIFACT_DIGEST_H_
