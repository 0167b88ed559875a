// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A counter and a heap of what came back.
#include "runtime/session/page_pool.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"

namespace fathom {

absl::StatusOr<int32_t> PagePool::Take() {
  if (!returned_.empty()) {
    std::pop_heap(returned_.begin(), returned_.end(), std::greater<>());
    const int32_t page = returned_.back();
    returned_.pop_back();
    return page;
  }
  if (next_ < pages_) return next_++;
  return absl::ResourceExhaustedError(
      absl::StrCat("all ", pages_, " pages of the cache are in use"));
}

void PagePool::Return(int32_t page) {
  returned_.push_back(page);
  std::push_heap(returned_.begin(), returned_.end(), std::greater<>());
}

}  // namespace fathom
