// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// BLAKE2b-256 through libsodium.
#include "runtime/artifact/digest.h"

#include <sodium.h>

namespace fathom {

struct DigestStream::State {
  crypto_generichash_blake2b_state blake;
};

DigestStream::DigestStream() : state_(std::make_unique<State>()) {
  // Picks the fastest implementation for this CPU; safe to call often and from several threads.
  static const int ready = sodium_init();
  (void)ready;
  crypto_generichash_blake2b_init(&state_->blake, nullptr, 0, sizeof(DigestBytes));
}

DigestStream::~DigestStream() = default;

void DigestStream::Update(absl::Span<const uint8_t> bytes) {
  crypto_generichash_blake2b_update(&state_->blake, bytes.data(), bytes.size());
}

DigestBytes DigestStream::Finish() {
  DigestBytes digest;
  crypto_generichash_blake2b_final(&state_->blake, digest.data(), digest.size());
  return digest;
}

DigestBytes Blake2b(absl::Span<const uint8_t> bytes) {
  DigestStream stream;
  stream.Update(bytes);
  return stream.Finish();
}

}  // namespace fathom
