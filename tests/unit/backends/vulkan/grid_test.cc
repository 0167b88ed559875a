// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Cutting grids: every workgroup once, no part too large.
#include "backends/vulkan/driver/commands.h"
#include "gtest/gtest.h"

namespace fathom::vulkan {
namespace {

constexpr uint32_t kLimit[3] = {5, 3, 2};

TEST(CutGrid, PartsCoverTheGridOnce) {
  for (const std::array<uint32_t, 3>& grid :
       {std::array<uint32_t, 3>{1, 1, 1}, {5, 3, 2}, {6, 3, 2}, {13, 7, 5}, {1, 9, 1}}) {
    const auto parts = CutGrid(grid, kLimit);
    ASSERT_TRUE(parts.ok()) << parts.status();
    std::vector<int> seen(size_t{grid[0]} * grid[1] * grid[2]);
    for (const GridPart& part : *parts) {
      for (int d = 0; d < 3; ++d) {
        ASSERT_GE(part.count[d], 1u);
        ASSERT_LE(part.count[d], kLimit[d]);
        ASSERT_LE(part.base[d] + part.count[d], grid[d]);
      }
      for (uint32_t z = 0; z < part.count[2]; ++z) {
        for (uint32_t y = 0; y < part.count[1]; ++y) {
          for (uint32_t x = 0; x < part.count[0]; ++x) {
            ++seen[(size_t{part.base[2] + z} * grid[1] + part.base[1] + y) * grid[0] +
                   part.base[0] + x];
          }
        }
      }
    }
    for (int count : seen) ASSERT_EQ(count, 1);
  }
}

TEST(CutGrid, AnEmptyGridHasNoParts) {
  EXPECT_TRUE(CutGrid({0, 4, 4}, kLimit)->empty());
  EXPECT_TRUE(CutGrid({4, 4, 0}, kLimit)->empty());
}

TEST(CutGrid, RefusesGridsOfTooManyParts) {
  EXPECT_TRUE(CutGrid({5 * 65536, 1, 1}, kLimit).ok());
  EXPECT_EQ(CutGrid({5 * 65536 + 1, 1, 1}, kLimit).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(CutGrid({UINT32_MAX, UINT32_MAX, UINT32_MAX}, kLimit).ok());
  constexpr uint32_t kUsual[3] = {65535, 65535, 65535};
  EXPECT_EQ(CutGrid({1 << 20, 1, 1}, kUsual)->size(), 17u);
}

}  // namespace
}  // namespace fathom::vulkan
