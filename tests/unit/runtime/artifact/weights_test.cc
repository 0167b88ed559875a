// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Weights in memory: the same bytes either way, progress, cancelling, a file that shrank.
#include "runtime/artifact/weights.h"

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom {
namespace {

using testing::Bytes;

// 20 MiB of weights in two segments: several pieces of work per segment.
testing::ArtifactBuilder TwoSegments(Bytes* first, Bytes* second) {
  auto builder = testing::HistoryModel();
  const auto fill = [](size_t size, uint32_t seed) {
    Bytes bytes(size);
    for (size_t i = 0; i < size; ++i)
      bytes[i] = static_cast<uint8_t>((i * 2654435761u + seed) >> 13);
    return bytes;
  };
  *first = fill(17 << 20, 1);
  *second = fill(3 << 20, 2);
  const uint32_t a = builder.AddSegment(schema::SegmentKind::weights, "a", {});
  const uint32_t b = builder.AddSegment(schema::SegmentKind::weights, "b", {});
  builder.AddTensor(a, "first", {first->size() / 4}, schema::Encoding::raw_f32, *first);
  builder.AddTensor(b, "second", {second->size() / 4}, schema::Encoding::raw_f32, *second);
  return builder;
}

TEST(Weights, MapAndCopyGiveTheFilesBytes) {
  Bytes first, second;
  const testing::TemporaryFile file(TwoSegments(&first, &second).Build());
  const auto artifact = Artifact::Open(file.path());
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  for (LoadMode mode : {LoadMode::map, LoadMode::copy, LoadMode::automatic}) {
    const auto weights = Weights::Load(*artifact, mode, 3);
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_TRUE((*weights)->segment(0).empty());  // code
    EXPECT_EQ((*weights)->segment(2), absl::Span<const uint8_t>(first));
    EXPECT_EQ((*weights)->segment(3), absl::Span<const uint8_t>(second));
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*weights)->segment(2).data()) % 4096, 0u);
    EXPECT_NE((*weights)->mode(), LoadMode::automatic);
  }
}

TEST(Weights, ReportsProgressAndStops) {
  Bytes first, second;
  const testing::TemporaryFile file(TwoSegments(&first, &second).Build());
  const auto artifact = Artifact::Open(file.path());
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  uint64_t last = 0, all = 0;
  ASSERT_TRUE(Weights::Load(*artifact, LoadMode::copy, 2, [&](uint64_t done, uint64_t total) {
                EXPECT_GT(done, last);
                last = done;
                all = total;
                return true;
              }).ok());
  EXPECT_EQ(last, all);
  EXPECT_GE(all, first.size() + second.size());
  const auto stopped =
      Weights::Load(*artifact, LoadMode::copy, 2, [](uint64_t, uint64_t) { return false; });
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

TEST(Weights, NoticesAFileThatShrank) {
  Bytes first, second;
  const testing::TemporaryFile file(TwoSegments(&first, &second).Build());
  const auto artifact = Artifact::Open(file.path());
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  ASSERT_EQ(::truncate(file.path().c_str(), 8 << 20), 0);
  for (LoadMode mode : {LoadMode::map, LoadMode::copy}) {
    EXPECT_EQ(Weights::Load(*artifact, mode).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ((*artifact)->VerifyHashes().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace fathom
