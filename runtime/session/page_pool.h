// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Hands out the physical pages of the KV cache.
#ifndef FATHOM_RUNTIME_SESSION_PAGE_POOL_H_
#define FATHOM_RUNTIME_SESSION_PAGE_POOL_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace fathom {

// Lowest free page first, so that memory which was touched once is used again. Not thread-safe.
class PagePool {
 public:
  explicit PagePool(int32_t pages) : pages_(pages) {}
  // kResourceExhausted when every page is in use.
  absl::StatusOr<int32_t> Take();
  void Return(int32_t page);
  int32_t free_pages() const { return pages_ - next_ + static_cast<int32_t>(returned_.size()); }

 private:
  const int32_t pages_;
  int32_t next_ = 0;               // pages from here on were never taken
  std::vector<int32_t> returned_;  // a heap, lowest on top
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_SESSION_PAGE_POOL_H_
