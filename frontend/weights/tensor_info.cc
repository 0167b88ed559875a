// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of storage types and the arithmetic on tensor shapes.
#include "frontend/weights/tensor_info.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/checked.h"

namespace fathom {
namespace {

struct TypeFacts {
  const char* name;
  uint32_t block_elements;
  uint32_t block_bytes;
};

// Indexed by StorageType.
constexpr TypeFacts kTypes[] = {
    {"F64", 1, 8},     {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},
    {"F8_E4M3", 1, 1}, {"F8_E5M2", 1, 1},  {"F8_E8M0", 1, 1},  {"I8", 1, 1},
    {"I16", 1, 2},     {"I32", 1, 4},      {"I64", 1, 8},      {"U8", 1, 1},
    {"U16", 1, 2},     {"U32", 1, 4},      {"U64", 1, 8},      {"BOOL", 1, 1},
    {"Q4_0", 32, 18},  {"Q4_1", 32, 20},   {"Q5_0", 32, 22},   {"Q5_1", 32, 24},
    {"Q8_0", 32, 34},  {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
};
static_assert(std::size(kTypes) == static_cast<size_t>(StorageType::kQ6_K) + 1);

const TypeFacts& Facts(StorageType type) { return kTypes[static_cast<size_t>(type)]; }

}  // namespace

const char* StorageTypeName(StorageType type) { return Facts(type).name; }
uint32_t BlockElements(StorageType type) { return Facts(type).block_elements; }
uint32_t BlockBytes(StorageType type) { return Facts(type).block_bytes; }

std::optional<uint64_t> StoredBytes(StorageType type, uint64_t elements) {
  const TypeFacts& facts = Facts(type);
  uint64_t bytes;
  if (elements % facts.block_elements != 0 ||
      !CheckedMul<uint64_t>(elements / facts.block_elements, facts.block_bytes, &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

std::optional<StorageType> StorageTypeFromSafetensors(std::string_view dtype) {
  for (size_t i = 0; i <= static_cast<size_t>(StorageType::kBool); ++i) {
    if (dtype == kTypes[i].name) return static_cast<StorageType>(i);
  }
  return std::nullopt;
}

uint64_t TensorInfo::rows() const {
  uint64_t product = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) product *= shape[i];
  return product;
}

uint64_t TensorInfo::columns() const { return shape.empty() ? 1 : shape.back(); }

uint64_t TensorInfo::elements() const { return rows() * columns(); }

std::string ShapeString(const std::vector<uint64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace fathom
