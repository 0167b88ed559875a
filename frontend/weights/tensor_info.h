// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How checkpoints store tensors: element and block types, and the description of one tensor.
#ifndef FATHOM_FRONTEND_WEIGHTS_TENSOR_INFO_H_
#define FATHOM_FRONTEND_WEIGHTS_TENSOR_INFO_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

// Every storage type the readers understand. The last group are GGUF blocks: a fixed number of
// consecutive elements of one row share scales.
enum class StorageType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,  // 1-4-3, bias 7, no infinities, 0x7f and 0xff are NaN, largest 448
  kF8E5M2,  // 1-5-2, bias 15, IEEE infinities and NaNs
  kF8E8M0,  // a power of two: 2^(code - 127), 0xff is NaN
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,  // 32 elements a block
  kQ4_K,
  kQ5_K,
  kQ6_K,  // 256 elements a block
};

// "BF16", "F8_E4M3", "Q4_K" ...: the name that safetensors or GGUF gives the type.
const char* StorageTypeName(StorageType type);
// Elements that share one block, 1 for plain types; and the bytes of such a block.
uint32_t BlockElements(StorageType type);
uint32_t BlockBytes(StorageType type);
// Bytes of `elements` elements; nullopt when they do not fill whole blocks or the product
// exceeds 64 bits.
std::optional<uint64_t> StoredBytes(StorageType type, uint64_t elements);
// The type behind a safetensors dtype string; nullopt for strings that are not handled.
std::optional<StorageType> StorageTypeFromSafetensors(std::string_view dtype);

// One tensor of a checkpoint. Row-major, outermost dimension first (GGUF files list their
// dimensions the other way round; the reader has turned them).
//
// A tensor of any rank is also a matrix: columns() is the last dimension, rows() the product of
// the others. A scalar (empty shape) is 1 x 1.
struct TensorInfo {
  std::string name;
  StorageType type = StorageType::kF32;
  std::vector<uint64_t> shape;
  // Where the bytes lie: files()[file], `offset` bytes from its start, `bytes` long. Both are
  // checked against the file when it is opened.
  uint32_t file = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  // True when those bytes are exactly this tensor's elements in row-major order. False for a
  // tensor without bytes (random weights) and for one assembled from others (permuted rows of a
  // GGUF file): only Checkpoint::ReadRows gives its values.
  bool verbatim = true;

  uint64_t rows() const;      // product of all but the last dimension
  uint64_t columns() const;   // last dimension
  uint64_t elements() const;  // checked to fit 64 bits when the file was read
};

// A tensor an architecture asks for: the published (safetensors) name and its shape.
struct TensorSpec {
  std::string name;
  std::vector<uint64_t> shape;
  bool operator==(const TensorSpec&) const = default;
};

// "[576, 7168]"; "[]" for a scalar.
std::string ShapeString(const std::vector<uint64_t>& shape);

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_TENSOR_INFO_H_
