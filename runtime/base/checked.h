// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checked 64-bit arithmetic for every size and offset that comes from a file.
#ifndef FATHOM_RUNTIME_BASE_CHECKED_H_
#define FATHOM_RUNTIME_BASE_CHECKED_H_

#include <cstdint>

namespace fathom {

// Each returns false, and leaves *out unspecified, when the exact result does not fit.
template <typename T>
[[nodiscard]] inline bool CheckedAdd(T a, T b, T* out) {
  return !__builtin_add_overflow(a, b, out);
}
template <typename T>
[[nodiscard]] inline bool CheckedMul(T a, T b, T* out) {
  return !__builtin_mul_overflow(a, b, out);
}

// True when [offset, offset + length) lies inside [0, size); never wraps.
[[nodiscard]] inline bool RangeFits(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

constexpr uint64_t CeilDiv(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }
constexpr uint64_t RoundUp(uint64_t a, uint64_t multiple) { return CeilDiv(a, multiple) * multiple; }

}  // namespace fathom

#endif  // FATHOM_RUNTIME_BASE_CHECKED_H_
