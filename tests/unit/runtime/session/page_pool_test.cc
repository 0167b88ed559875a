// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pages go out lowest first and come back.
#include "runtime/session/page_pool.h"

#include "gtest/gtest.h"

namespace fathom {
namespace {

TEST(PagePool, LowestFreePageFirst) {
  PagePool pool(4);
  EXPECT_EQ(pool.free_pages(), 4);
  for (int32_t page = 0; page < 4; ++page) EXPECT_EQ(*pool.Take(), page);
  EXPECT_EQ(pool.free_pages(), 0);
  EXPECT_EQ(pool.Take().status().code(), absl::StatusCode::kResourceExhausted);
  pool.Return(3);
  pool.Return(0);
  pool.Return(2);
  EXPECT_EQ(pool.free_pages(), 3);
  EXPECT_EQ(*pool.Take(), 0);
  EXPECT_EQ(*pool.Take(), 2);
  EXPECT_EQ(*pool.Take(), 3);
  EXPECT_FALSE(pool.Take().ok());
}

}  // namespace
}  // namespace fathom
