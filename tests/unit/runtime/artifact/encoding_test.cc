// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sizes of tensors, against numbers worked out by hand from docs/spec/encodings.md.
#include "runtime/artifact/encoding.h"

#include "gtest/gtest.h"

namespace fathom {
namespace {

using schema::Encoding;

TEST(EncodedBytes, Tiles) {
  EXPECT_EQ(*EncodedBytes(Encoding::f32, {16, 10}), 640u);
  EXPECT_EQ(*EncodedBytes(Encoding::f32, {17, 10}), 1280u);
  EXPECT_EQ(*EncodedBytes(Encoding::bf16, {16, 3}), 128u);
  EXPECT_EQ(*EncodedBytes(Encoding::q8, {16, 64}), 1088u);
  EXPECT_EQ(*EncodedBytes(Encoding::q8, {33, 65}), 3u * 2 * 1088);
  EXPECT_EQ(*EncodedBytes(Encoding::q4, {4096, 4096}), 4096u * 4096 * 9 / 16);
  EXPECT_EQ(*EncodedBytes(Encoding::q4, {64, 1408, 2048}), 64u * 1408 * 2048 * 9 / 16);
}

TEST(EncodedBytes, Raw) {
  EXPECT_EQ(*EncodedBytes(Encoding::raw_f32, {7}), 28u);
  EXPECT_EQ(*EncodedBytes(Encoding::raw_i32, {2, 3, 4, 5}), 480u);
}

TEST(EncodedBytes, Refusals) {
  EXPECT_FALSE(EncodedBytes(Encoding::raw_f32, {}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::raw_f32, {1, 1, 1, 1, 1, 1, 1, 1, 1}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::raw_f32, {4, 0}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::q8, {16}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::q8, {2, 2, 16, 64}).ok());
  EXPECT_FALSE(EncodedBytes(static_cast<Encoding>(6), {16, 64}).ok());
  // Products that wrap to something small.
  EXPECT_FALSE(EncodedBytes(Encoding::raw_f32, {uint64_t{1} << 62}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::raw_f32, {uint64_t{1} << 32, uint64_t{1} << 32}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::f32, {uint64_t{1} << 32, uint64_t{1} << 32}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::q4, {UINT64_MAX, 1}).ok());
  EXPECT_FALSE(EncodedBytes(Encoding::q4, {16, UINT64_MAX}).ok());
}

}  // namespace
}  // namespace fathom
