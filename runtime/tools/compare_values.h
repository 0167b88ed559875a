// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Comparing what two devices computed, by the meaning of the bytes.
#ifndef FATHOM_RUNTIME_TOOLS_COMPARE_VALUES_H_
#define FATHOM_RUNTIME_TOOLS_COMPARE_VALUES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace fathom::tools {

// How bytes are read (docs/spec/encodings.md, "Activations").
struct ValueForm {
  // partial: what a split of attention leaves, (u, m, l, fill) per head. Compared are u / l and
  // m + log l, which do not depend on the maximum that was subtracted.
  enum class Kind { f32, bf16, i32, record_i8, record_bf16, partial } kind = Kind::f32;
  uint64_t width = 0;   // elements of a record or of a row; 0: all there are
  uint64_t stride = 0;  // bytes from one record or row to the next; 0: no records
};

// A kernel of an artifact: its name and its compile-time constants, a JSON object
// (docs/spec/kernels.md) or, where they are unknown, nothing.
struct KernelFacts {
  std::string name;
  std::string config;
};

// The forms in which the buffer `name`, bound to `kernel`, may be read, most likely first:
// artifacts name the purpose of a buffer, not its type. Values agree when they do in one of them.
std::vector<ValueForm> FormsOf(const std::string& name, const KernelFacts& kernel, uint64_t bytes);

// The element that is furthest out of tolerance.
struct Difference {
  uint64_t row = 0;     // of `rows`
  uint64_t column = 0;  // in the row
  double expected = 0;
  double found = 0;
  double error = 0;      // |found - expected|
  double tolerance = 0;  // that was allowed
};

struct Comparison {
  std::optional<Difference> worst;  // none: everything agrees
  double largest_error = 0;         // of any element, as a part of its row's largest value
};

// Compares element by element; both spans have the same length, `rows` rows. An element may differ
// by `tolerance` times the largest magnitude of its row, of int8 records by one step of its scale
// more, integers not at all. NaN agrees with NaN only, infinity with the same infinity.
Comparison CompareValues(const ValueForm& form, absl::Span<const uint8_t> expected,
                         absl::Span<const uint8_t> found, uint64_t rows, double tolerance);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_COMPARE_VALUES_H_
