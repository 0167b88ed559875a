// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Evaluates an entry point's pool of integer expressions for one shape.
#ifndef FATHOM_RUNTIME_EXEC_EXPRESSIONS_H_
#define FATHOM_RUNTIME_EXEC_EXPRESSIONS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/schema/artifact_generated.h"

namespace fathom {

// The dynamic sizes of one call; each is at least 1.
struct CallShape {
  int64_t tokens = 1;     // T, over all sequences
  int64_t sequences = 1;  // B
  int64_t pages = 1;      // P: columns of the page table
  int64_t rows = 1;       // R: rows of logits asked for

  auto operator<=>(const CallShape&) const = default;
};

using ExpressionPool = flatbuffers::Vector<const schema::ExprNode*>;

// The value of every node of a verified pool. A node that overflows int64 or divides by zero, or by
// a negative number, is an error that names it.
absl::StatusOr<std::vector<int64_t>> Evaluate(const ExpressionPool& pool, const CallShape& shape);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_EXEC_EXPRESSIONS_H_
