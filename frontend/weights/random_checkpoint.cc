// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A counter-based generator of weights, written so that the compiler vectorises it.
#include "frontend/weights/random_checkpoint.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/checked.h"
#include "runtime/base/multiversion.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// A bijection of 64-bit words in which every input bit reaches every output bit (the finaliser of
// the splitmix64 generator).
uint64_t Mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t KeyOf(uint64_t seed, std::string_view name) {
  uint64_t key = Mix64(seed);
  for (const char c : name) key = Mix64(key ^ static_cast<uint8_t>(c));
  return key;
}

// Elements that share one 64-bit key; inside, 32-bit arithmetic in as many lanes as there are.
constexpr uint64_t kChunk = 1024;

// Elements [first, last) of the chunk whose key is `key`: mean + deviation * n, n near N(0, 1).
FATHOM_MULTIVERSION
void FillChunk(uint64_t key, uint32_t first, uint32_t last, float mean, float deviation,
               float* out) {
  // The sum of four bytes has mean 510 and variance 4 (256^2 - 1) / 12 = 21845.
  const float step = deviation / 147.80054f;
  const uint32_t low = static_cast<uint32_t>(key);
  const uint32_t high = static_cast<uint32_t>(key >> 32);
  for (uint32_t j = first; j < last; ++j) {
    uint32_t h = low + j * 0x9e3779b9u;
    h = (h ^ (h >> 16)) * 0x7feb352du;
    h = (h ^ high ^ (h >> 15)) * 0x846ca68bu;
    h ^= h >> 16;
    const uint32_t pairs = (h & 0x00ff00ffu) + ((h >> 8) & 0x00ff00ffu);
    const int32_t sum = static_cast<int32_t>((pairs & 0xffffu) + (pairs >> 16));
    out[j - first] = mean + step * static_cast<float>(sum - 510);
  }
}

}  // namespace

RandomCheckpoint::RandomCheckpoint(uint64_t seed)
    : Checkpoint(CheckpointKind::kRandom, absl::StrCat("random:", seed)), seed_(seed) {}

absl::StatusOr<std::unique_ptr<Checkpoint>> RandomCheckpoint::Create(
    uint64_t seed, const std::vector<TensorSpec>& specs) {
  std::unique_ptr<RandomCheckpoint> checkpoint(new RandomCheckpoint(seed));
  std::vector<TensorInfo> tensors;
  tensors.reserve(specs.size());
  // Offsets only keep the order of the specs.
  uint64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    uint64_t elements = spec.shape.empty() ? 0 : 1;
    for (const uint64_t dim : spec.shape) {
      if (!CheckedMul(elements, dim, &elements)) elements = 0;
    }
    if (elements == 0 || elements >= uint64_t{1} << 62) {
      return InputError(absl::StrCat(checkpoint->name(), ": tensor ", spec.name), "shape",
                        "1 to 2^62 elements", ShapeString(spec.shape));
    }
    tensors.push_back({.name = spec.name,
                       .type = StorageType::kBF16,
                       .shape = spec.shape,
                       .offset = offset++,
                       .bytes = 0,
                       .verbatim = false});
  }
  FATHOM_RETURN_IF_ERROR(checkpoint->SetTensors(std::move(tensors)));
  return checkpoint;
}

absl::Status RandomCheckpoint::DoReadRows(const TensorInfo& tensor, uint64_t row_begin,
                                          uint64_t row_end, float* out) const {
  const bool vector = tensor.shape.size() < 2;
  const float mean = vector && tensor.name.find("norm") != std::string::npos ? 1.0f : 0.0f;
  const float deviation =
      vector ? 0.02f : static_cast<float>(1.0 / std::sqrt(static_cast<double>(tensor.columns())));
  const uint64_t key = KeyOf(seed_, tensor.name);
  uint64_t i = row_begin * tensor.columns();
  const uint64_t end = row_end * tensor.columns();
  while (i < end) {
    const uint64_t chunk = i / kChunk;
    const uint64_t last = std::min(end, (chunk + 1) * kChunk);
    FillChunk(Mix64(key ^ chunk), static_cast<uint32_t>(i - chunk * kChunk),
              static_cast<uint32_t>(last - chunk * kChunk), mean, deviation, out);
    out += last - i;
    i = last;
  }
  return absl::OkStatus();
}

std::optional<uint64_t> ParseRandomWeights(std::string_view text) {
  constexpr std::string_view kPrefix = "random:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  const std::string digits(text.substr(kPrefix.size()));
  uint64_t seed;
  if (digits.find_first_not_of("0123456789") != digits.npos || !absl::SimpleAtoi(digits, &seed)) {
    return std::nullopt;
  }
  return seed;
}

}  // namespace fathom
