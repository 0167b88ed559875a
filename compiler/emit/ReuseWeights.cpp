// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Digests of values, and finding encoded tensors by them.
#include "compiler/emit/ReuseWeights.h"

#include <algorithm>
#include <cstring>

#include "compiler/quantize/tile16.h"
#include "llvm/Support/xxhash.h"
#include "runtime/base/status.h"

namespace fathom::emit {
namespace {

bool hasForm(const schema::Tensor& tensor, uint8_t encoding, llvm::ArrayRef<int64_t> shape) {
  return tensor.source() && static_cast<uint8_t>(tensor.encoding()) == encoding &&
         tensor.shape()->size() == shape.size() &&
         std::equal(shape.begin(), shape.end(), tensor.shape()->begin(),
                    [](int64_t a, uint64_t b) { return static_cast<uint64_t>(a) == b; });
}

}  // namespace

void ValuesDigest::add(int64_t tile, llvm::ArrayRef<float> values) {
  const llvm::XXH128_hash_t hash = llvm::xxh3_128bits(
      llvm::ArrayRef(reinterpret_cast<const uint8_t*>(values.data()), 4 * values.size()));
  hashes[tile] = {hash.low64, hash.high64};
}

DigestBytes ValuesDigest::finish(uint8_t encoding, llvm::ArrayRef<int64_t> shape) const {
  std::vector<uint64_t> words = {kEncoderVersion, encoding, shape.size()};
  words.insert(words.end(), shape.begin(), shape.end());
  for (const Hash& hash : hashes) words.insert(words.end(), {hash.low, hash.high});
  return HashBytes({reinterpret_cast<const uint8_t*>(words.data()), 8 * words.size()});
}

absl::StatusOr<std::unique_ptr<KeptWeights>> KeptWeights::open(const std::string& path) {
  auto kept = std::make_unique<KeptWeights>();
  FATHOM_ASSIGN_OR_RETURN(kept->artifact, Artifact::Open(path));
  const File& file = kept->artifact->file();
  const Caching caching = ChooseCaching(Caching::automatic, file.size());
  kept->input = std::make_unique<InputFile>(file, caching);
  return kept;
}

bool KeptWeights::mayHold(uint8_t encoding, llvm::ArrayRef<int64_t> shape) const {
  return llvm::any_of(*artifact->header().tensors(), [&](const schema::Tensor* tensor) {
    return hasForm(*tensor, encoding, shape);
  });
}

std::optional<KeptWeights::Place> KeptWeights::find(const DigestBytes& source, uint8_t encoding,
                                                    llvm::ArrayRef<int64_t> shape) const {
  for (const schema::Tensor* tensor : *artifact->header().tensors()) {
    if (!hasForm(*tensor, encoding, shape) ||
        std::memcmp(tensor->source()->bytes()->data(), source.data(), source.size()) != 0)
      continue;
    Place place{artifact->header().segments()->Get(tensor->segment())->offset() + tensor->offset(),
                tensor->length(),
                {}};
    std::copy_n(tensor->digest()->bytes()->data(), place.digest.size(), place.digest.begin());
    return place;
  }
  return std::nullopt;
}

}  // namespace fathom::emit
