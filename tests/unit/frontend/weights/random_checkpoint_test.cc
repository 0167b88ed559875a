// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random weights: the same values whichever way they are read, and the right distribution.
#include "frontend/weights/random_checkpoint.h"

#include <cmath>

#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

std::unique_ptr<Checkpoint> Make(uint64_t seed) {
  auto checkpoint = RandomCheckpoint::Create(
      seed,
      {{"w", {300, 1000}}, {"v", {300, 1000}}, {"a.norm.weight", {4096}}, {"b.bias", {4096}}});
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return *std::move(checkpoint);
}

std::vector<float> ReadAll(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo* tensor = checkpoint.Find(name);
  std::vector<float> out(tensor->elements());
  EXPECT_TRUE(checkpoint.ReadRows(*tensor, 0, tensor->rows(), out.data()).ok());
  return out;
}

struct Moments {
  double mean = 0, deviation = 0;
};
Moments MomentsOf(const std::vector<float>& values) {
  Moments moments;
  for (const float v : values) moments.mean += v / values.size();
  for (const float v : values) moments.deviation += (v - moments.mean) * (v - moments.mean);
  moments.deviation = std::sqrt(moments.deviation / values.size());
  return moments;
}

TEST(RandomCheckpoint, AnyRangeGivesTheSameValues) {
  const auto checkpoint = Make(1);
  const TensorInfo* w = checkpoint->Find("w");
  const std::vector<float> all = ReadAll(*checkpoint, "w");
  for (const auto& [begin, end] : {std::pair{0, 1}, {7, 8}, {123, 140}, {299, 300}}) {
    std::vector<float> part((end - begin) * 1000);
    ASSERT_TRUE(checkpoint->ReadRows(*w, begin, end, part.data()).ok());
    EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + begin * 1000));
  }
  EXPECT_EQ(ReadAll(*Make(1), "w"), all);
  EXPECT_NE(ReadAll(*Make(2), "w"), all);
  EXPECT_NE(ReadAll(*checkpoint, "v"), all);
}

// The values are part of what "random:SEED" means: a change breaks everyone's comparisons.
TEST(RandomCheckpoint, PinnedValues) {
  const std::vector<float> w = ReadAll(*Make(1), "w");
  const float unit = static_cast<float>(1.0 / std::sqrt(1000.0)) / 147.80054f;
  const std::vector<int> expected = {-165, -49, -49, 88, 183, -17, -12};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(std::lround(w[i * 37777] / unit), expected[i]) << i;
  }
}

TEST(RandomCheckpoint, Distribution) {
  const auto checkpoint = Make(3);
  const Moments w = MomentsOf(ReadAll(*checkpoint, "w"));
  EXPECT_NEAR(w.mean, 0, 3e-4);
  EXPECT_NEAR(w.deviation, 1 / std::sqrt(1000.0), 2e-4);
  const Moments norm = MomentsOf(ReadAll(*checkpoint, "a.norm.weight"));
  EXPECT_NEAR(norm.mean, 1, 2e-3);
  EXPECT_NEAR(norm.deviation, 0.02, 1e-3);
  const Moments bias = MomentsOf(ReadAll(*checkpoint, "b.bias"));
  EXPECT_NEAR(bias.mean, 0, 2e-3);
  // Neighbours, rows and chunks do not resemble each other.
  const std::vector<float> values = ReadAll(*checkpoint, "w");
  for (const size_t lag : {1, 2, 1000, 1024, 2048, 65536}) {
    double product = 0;
    for (size_t i = 0; i + lag < values.size(); ++i) product += values[i] * values[i + lag];
    EXPECT_LT(std::abs(product / (values.size() - lag)), 1e-3 * 0.01) << lag;
  }
}

TEST(RandomCheckpoint, NoBytes) {
  const auto checkpoint = Make(1);
  EXPECT_EQ(checkpoint->kind(), CheckpointKind::kRandom);
  EXPECT_EQ(checkpoint->name(), "random:1");
  EXPECT_EQ(checkpoint->total_bytes(), 0u);
  EXPECT_TRUE(checkpoint->files().empty());
  EXPECT_FALSE(checkpoint->tensors()[0].verbatim);
  EXPECT_TRUE(checkpoint->data(checkpoint->tensors()[0]).empty());
}

TEST(RandomCheckpoint, BadSpecs) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ExpectError(RandomCheckpoint::Create(5, {{"a", {2}}, {"a", {2}}}).status(), kInvalid,
              {"random:5", "\"a\"", "used once"});
  ExpectError(RandomCheckpoint::Create(5, {{"a", {}}}).status(), kInvalid, {"tensor a", "shape"});
  ExpectError(RandomCheckpoint::Create(5, {{"a", {3, 0}}}).status(), kInvalid, {"[3, 0]"});
  ExpectError(RandomCheckpoint::Create(5, {{"a", {uint64_t{1} << 40, uint64_t{1} << 40}}}).status(),
              kInvalid, {"tensor a", "shape"});
}

TEST(RandomCheckpoint, Flag) {
  EXPECT_EQ(ParseRandomWeights("random:0"), 0u);
  EXPECT_EQ(ParseRandomWeights("random:18446744073709551615"), ~uint64_t{0});
  for (const char* bad : {"", "random", "random:", "random:-1", "random:+1", "random: 1",
                          "random:1x", "random:18446744073709551616", "Random:1"}) {
    EXPECT_EQ(ParseRandomWeights(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace fathom
