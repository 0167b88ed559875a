// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ranges never overlap, respect their alignment, and grow together again.
#include "backends/vulkan/driver/range_allocator.h"

#include <map>
#include <random>

#include "gtest/gtest.h"

namespace fathom::vulkan {
namespace {

TEST(RangeAllocator, GivesAlignedRanges) {
  RangeAllocator ranges(1024);
  EXPECT_EQ(ranges.Allocate(1, 256), 0u);
  EXPECT_EQ(ranges.Allocate(10, 256), 256u);
  // The gap behind the first range is still there.
  EXPECT_EQ(ranges.Allocate(255, 1), 1u);
  EXPECT_EQ(ranges.free_bytes(), 1024u - 266);
}

TEST(RangeAllocator, RefusesWhatDoesNotFit) {
  RangeAllocator ranges(1024);
  EXPECT_FALSE(ranges.Allocate(1025, 1).has_value());
  EXPECT_FALSE(ranges.Allocate(0, 1).has_value());
  EXPECT_TRUE(ranges.Allocate(1024, 1024).has_value());
  EXPECT_FALSE(ranges.Allocate(1, 1).has_value());
  EXPECT_FALSE(RangeAllocator(0).Allocate(1, 1).has_value());
}

TEST(RangeAllocator, AlignmentBeyondTheFreeRangeIsNoRange) {
  RangeAllocator ranges(300);
  ASSERT_EQ(ranges.Allocate(10, 1), 0u);
  EXPECT_FALSE(ranges.Allocate(100, 256).has_value());  // 256 .. 300 is too short
  EXPECT_EQ(ranges.Allocate(44, 256), 256u);
}

TEST(RangeAllocator, NeighboursJoin) {
  RangeAllocator ranges(300);
  const uint64_t a = *ranges.Allocate(100, 1), b = *ranges.Allocate(100, 1),
                 c = *ranges.Allocate(100, 1);
  ranges.Free(a);
  ranges.Free(c);
  EXPECT_FALSE(ranges.Allocate(200, 1).has_value());
  ranges.Free(b);
  EXPECT_TRUE(ranges.empty());
  EXPECT_EQ(ranges.Allocate(300, 1), 0u);
}

TEST(RangeAllocator, RandomUseNeverOverlaps) {
  constexpr uint64_t kSize = 1 << 16;
  std::mt19937 random(1);
  RangeAllocator ranges(kSize);
  std::map<uint64_t, uint64_t> live;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0 || live.empty()) {
      const uint64_t bytes = 1 + random() % 3000, alignment = uint64_t{1} << (random() % 9);
      const auto offset = ranges.Allocate(bytes, alignment);
      if (!offset.has_value()) continue;
      ASSERT_EQ(*offset % alignment, 0u);
      ASSERT_LE(*offset + bytes, kSize);
      const auto next = live.lower_bound(*offset);
      if (next != live.end()) {
        ASSERT_LE(*offset + bytes, next->first);
      }
      if (next != live.begin()) {
        ASSERT_LE(std::prev(next)->first + std::prev(next)->second, *offset);
      }
      live[*offset] = bytes;
    } else {
      auto it = live.begin();
      std::advance(it, random() % live.size());
      ranges.Free(it->first);
      live.erase(it);
    }
  }
  for (const auto& [offset, bytes] : live) ranges.Free(offset);
  EXPECT_EQ(ranges.free_bytes(), kSize);
  EXPECT_EQ(ranges.Allocate(kSize, 1), 0u);
}

}  // namespace
}  // namespace fathom::vulkan
