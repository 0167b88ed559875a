// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights that an earlier artifact already holds encoded (docs/design/005-reuse-weights.md). Internal to
// compiler/emit.
#ifndef FATHOM_COMPILER_EMIT_REUSEWEIGHTS_H
#define FATHOM_COMPILER_EMIT_REUSEWEIGHTS_H

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/emit/artifact_writer.h"
#include "llvm/ADT/ArrayRef.h"
#include "runtime/artifact/artifact.h"

namespace fathom::emit {

/// What a weight is made of: a digest of the float32 values that its encoder reads, tile by tile, of its encoding
/// and shape, and of the encoder's version. Equal digests mean equal encoded bytes.
class ValuesDigest {
 public:
  explicit ValuesDigest(int64_t tiles) : hashes(tiles) {}
  /// The values of one tile; any order, different tiles from different threads.
  void add(int64_t tile, llvm::ArrayRef<float> values);
  DigestBytes finish(uint8_t encoding, llvm::ArrayRef<int64_t> shape) const;

 private:
  struct Hash {
    uint64_t low = 0, high = 0;
  };
  std::vector<Hash> hashes;
};

/// An artifact whose weights may be taken over.
class KeptWeights {
 public:
  /// Errors: the file is no artifact, or not there.
  static absl::StatusOr<std::unique_ptr<KeptWeights>> open(const std::string& path);

  struct Place {
    uint64_t offset, length;  // of the file
    DigestBytes digest;       // of the encoded bytes
  };
  /// False when no tensor of this encoding and shape says what it was made of: then nobody need ask further.
  bool mayHold(uint8_t encoding, llvm::ArrayRef<int64_t> shape) const;
  /// Where the file says that the encoded bytes of the values with this digest are. Whether they are, whoever reads
  /// them must see by their digest.
  std::optional<Place> find(const DigestBytes& source, uint8_t encoding, llvm::ArrayRef<int64_t> shape) const;
  InputFile& file() { return *input; }

 private:
  std::shared_ptr<const Artifact> artifact;
  std::unique_ptr<InputFile> input;
};

}  // namespace fathom::emit

#endif  // FATHOM_COMPILER_EMIT_REUSEWEIGHTS_H
