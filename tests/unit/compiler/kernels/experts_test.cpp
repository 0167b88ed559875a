// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// experts against plain loops over the (token, slot) pairs: empty, single and large groups.
#include <algorithm>
#include <random>

#include "tests/unit/compiler/kernels/linear_cases.h"

namespace fathom::testing {
namespace {

constexpr int64_t kExperts = 5, kTopK = 2, kCols = 77, kRows = 40, kPanelTiles = 2;

// The routing plan of docs/spec/kernels.md for index (tokens, top_k).
std::vector<int32_t> makePlan(const std::vector<int32_t>& index) {
  std::vector<int32_t> plan(2 * kExperts + 2, -7), pairs;
  int32_t active = 0;
  for (int32_t e = 0; e < kExperts; ++e) {
    size_t first = pairs.size();
    for (size_t p = 0; p < index.size(); ++p)
      if (index[p] == e) pairs.push_back(static_cast<int32_t>(p));
    if (pairs.size() == first) continue;
    plan[1 + active] = e;
    plan[1 + kExperts + active] = static_cast<int32_t>(first);
    ++active;
  }
  plan[0] = active;
  plan[1 + kExperts + active] = static_cast<int32_t>(pairs.size());
  plan.insert(plan.end(), pairs.begin(), pairs.end());
  return plan;
}

class Experts : public ::testing::TestWithParam<LinearCase> {};

TEST_P(Experts, MatchesPlainLoops) {
  const LinearCase& c = GetParam();
  int64_t stride = encodeAct(c.act, std::vector<float>(kCols), 1, kCols).stride;
  auto config = [&](const char* epilogue, bool gather) {
    return "rows = " + std::to_string(kRows) + ", cols = " + std::to_string(kCols) +
           ", experts = " + std::to_string(kExperts) + ", top_k = " + std::to_string(kTopK) +
           ", enc = \"" + c.enc + "\", act = \"" + c.act +
           "\", act_stride = " + std::to_string(stride) +
           ", out_ld = " + std::to_string(ld(kRows)) + ", epilogue = \"" + epilogue +
           "\", gather = " + (gather ? "true" : "false") +
           ", panel_tiles = " + std::to_string(kPanelTiles);
  };
  // The whole bank, and the same in parts of two and three experts, which are alike for all
  // encodings.
  std::vector<std::pair<int64_t, int64_t>> parts;
  if (c.enc == "q8" && c.act == "i8") parts = {{0, 2}, {2, 3}};
  std::vector<KernelSpec> specs = {{"up", "experts", config("swiglu", true)},
                                   {"down", "experts", config("store", false)}};
  for (const auto& [first, count] : parts) {
    std::string bank =
        ", first = " + std::to_string(first) + ", bank = " + std::to_string(count);
    specs.push_back({"up" + std::to_string(first), "experts", config("swiglu", true) + bank});
    specs.push_back({"down" + std::to_string(first), "experts", config("store", false) + bank});
  }
  auto image = KernelImage::build(c.profile, specs);
  ASSERT_TRUE(image);

  std::vector<TestWeight> gates, ups;
  std::vector<uint8_t> gateBytes, upBytes;
  for (int64_t e = 0; e < kExperts; ++e) {
    gates.push_back(weightFor(c, randomFloats(kRows * kCols, 20 + e), kRows, kCols));
    ups.push_back(weightFor(c, randomFloats(kRows * kCols, 40 + e), kRows, kCols));
    gateBytes.insert(gateBytes.end(), gates[e].bytes.begin(), gates[e].bytes.end());
    upBytes.insert(upBytes.end(), ups[e].bytes.begin(), ups[e].bytes.end());
  }
  Guarded<uint8_t> gate(gateBytes), up(upBytes);
  auto partOf = [&](const std::vector<uint8_t>& bytes, int64_t first, int64_t count) {
    auto begin = bytes.begin() + bytes.size() / kExperts * first;
    return std::vector<uint8_t>(begin, begin + bytes.size() / kExperts * count);
  };

  std::vector<std::vector<int32_t>> routings = {
      {3, 1},                                                  // one token
      {4, 0, 0, 4, 4, 0},                                      // experts between stay empty
      {2, 1, 2, 0, 2, 3, 2, 4, 2, 1, 2, 0, 2, 4, 2, 1, 2, 3},  // nine pairs of one expert
      {0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 0, 2, 1, 3, 0, 4, 0, 1, 0, 3, 0, 2, 0, 1, 0, 4},
  };
  for (const std::vector<int32_t>& index : routings) {
    int64_t pairs = index.size(), tokens = pairs / kTopK;
    SCOPED_TRACE(tokens);
    Guarded<int32_t> plan(makePlan(index));
    const int32_t* order = plan.data() + 2 * kExperts + 2;
    uint32_t panels = (kRows + 16 * kPanelTiles - 1) / (16 * kPanelTiles);
    uint32_t y = std::min(kExperts, pairs);

    // Gathering: row p holds the pair order[p].
    TestAct act = actFor(c, randomFloats(tokens * kCols, 3), tokens, kCols);
    Guarded<uint8_t> acts(act.bytes);
    Guarded<float> out(pairs * ld(kRows));
    image->run("up", panels, y, 1, {acts, gate, up, plan, out}, {tokens});
    for (int64_t p = 0; p < pairs; ++p)
      for (int64_t n = 0; n < kRows; ++n) {
        int64_t expert = index[order[p]];
        const float* a = act.values.data() + order[p] / kTopK * kCols;
        Expected e = swiglu(dot(gates[expert].values.data() + n * kCols, a, kCols),
                            dot(ups[expert].values.data() + n * kCols, a, kCols));
        ASSERT_NEAR(out[p * ld(kRows) + n], e.value, e.tolerance) << "pair " << p << " row " << n;
      }
    Guarded<float> inParts(pairs * ld(kRows));
    for (const auto& [first, count] : parts) {
      Guarded<uint8_t> gatePart(partOf(gateBytes, first, count)),
          upPart(partOf(upBytes, first, count));
      image->run("up" + std::to_string(first), panels, y, 1, {acts, gatePart, upPart, plan, inParts},
                 {tokens});
    }
    for (int64_t i = 0; !parts.empty() && i < pairs * ld(kRows); ++i)
      ASSERT_EQ(inParts[i], out[i]) << i;

    // Scattering: row p of the activations belongs to the pair order[p], whose number is the row of
    // out.
    TestAct sorted = actFor(c, randomFloats(pairs * kCols, 4), pairs, kCols);
    Guarded<uint8_t> sortedActs(sorted.bytes);
    Guarded<float> back(pairs * ld(kRows));
    image->run("down", panels, y, 1, {sortedActs, up, plan, back}, {tokens});
    for (int64_t p = 0; p < pairs; ++p)
      for (int64_t n = 0; n < kRows; ++n) {
        int64_t expert = index[order[p]];
        Expected e =
            dot(ups[expert].values.data() + n * kCols, sorted.values.data() + p * kCols, kCols);
        ASSERT_NEAR(back[order[p] * ld(kRows) + n], e.value, e.tolerance)
            << "pair " << p << " row " << n;
      }
    Guarded<float> backInParts(pairs * ld(kRows));
    for (const auto& [first, count] : parts) {
      Guarded<uint8_t> upPart(partOf(upBytes, first, count));
      image->run("down" + std::to_string(first), panels, y, 1,
                 {sortedActs, upPart, plan, backInParts}, {tokens});
    }
    for (int64_t i = 0; !parts.empty() && i < pairs * ld(kRows); ++i)
      ASSERT_EQ(backInParts[i], back[i]) << i;
  }
}

// Form "exact" has the bits of "few", whatever the number of rows of an expert: more than a chunk of
// 64, last blocks of 8, 9 and more rows, too few for matrix units; two stretches of K, of which the
// last is not whole.
TEST(ExactExperts, HaveTheBitsOfVectors) {
  constexpr int64_t kWide = 500, kOutputs = 128;
  const std::vector<int64_t> kPairs = {136, 12, 25, 29, 14};  // of each expert
  std::vector<int32_t> index;
  for (int32_t e = 0; e < kExperts; ++e) index.insert(index.end(), kPairs[e], e);
  std::shuffle(index.begin(), index.end(), std::mt19937(7));
  const int64_t pairs = static_cast<int64_t>(index.size()), tokens = pairs / kTopK;
  Guarded<int32_t> plan(makePlan(index));
  for (const std::string& profile : runnableProfiles())
    for (const char* enc : {"q4", "q8"}) {
      if (!profileNamed(profile).amx) continue;
      SCOPED_TRACE(profile + " " + enc);
      LinearCase c{profile, enc, "i8"};
      TestAct act = actFor(c, randomFloats(pairs * kWide, 3), pairs, kWide);
      auto config = [&](const std::string& more, int64_t panel) {
        return "rows = " + std::to_string(kOutputs) + ", cols = " + std::to_string(kWide) +
               ", experts = " + std::to_string(kExperts) + ", top_k = " + std::to_string(kTopK) +
               ", enc = \"" + enc + "\", act = \"i8\", act_stride = " +
               std::to_string(act.stride) + ", panel_tiles = " + std::to_string(panel) + more;
      };
      const int64_t stride = encodeAct("i8", std::vector<float>(kOutputs), 1, kOutputs).stride;
      const std::string up = ", epilogue = \"swiglu\", gather = true, out_act = \"i8\", out_stride = " +
                             std::to_string(stride),
                        down = ", epilogue = \"store\", gather = false, out_ld = " +
                               std::to_string(ld(kOutputs)),
                        exact = ", form = \"exact\"";
      auto image = KernelImage::build(profile, {{"up", "experts", config(up, 2)},
                                                {"up_exact", "experts", config(up + exact, 6)},
                                                {"down", "experts", config(down, 2)},
                                                {"down_exact", "experts", config(down + exact, 6)}});
      ASSERT_TRUE(image);
      std::vector<uint8_t> gateBytes, upBytes;
      for (int64_t e = 0; e < kExperts; ++e)
        for (auto [bytes, seed] : {std::pair{&gateBytes, 20}, {&upBytes, 40}}) {
          TestWeight w =
              encodeWeight(enc, randomFloats(kOutputs * kWide, seed + e), kOutputs, kWide);
          bytes->insert(bytes->end(), w.bytes.begin(), w.bytes.end());
        }
      Guarded<uint8_t> acts(act.bytes), gate(gateBytes), upWeight(upBytes);
      Guarded<uint8_t> records(pairs * stride), exactRecords(pairs * stride);
      std::fill_n(records.data(), pairs * stride, 0);
      std::fill_n(exactRecords.data(), pairs * stride, 0);
      image->run("up", 4, kExperts, 1, {acts, gate, upWeight, plan, records}, {tokens});
      image->run("up_exact", 2, kExperts, 1, {acts, gate, upWeight, plan, exactRecords}, {tokens});
      for (int64_t i = 0; i < pairs * stride; ++i)
        ASSERT_EQ(exactRecords[i], records[i]) << "row " << i / stride << " byte " << i % stride;
      Guarded<float> rows(pairs * ld(kOutputs)), exactRows(pairs * ld(kOutputs));
      image->run("down", 4, kExperts, 1, {acts, upWeight, plan, rows}, {tokens});
      image->run("down_exact", 2, kExperts, 1, {acts, upWeight, plan, exactRows}, {tokens});
      for (int64_t i = 0; i < pairs * ld(kOutputs); ++i)
        ASSERT_EQ(exactRows[i], rows[i]) << "row " << i / ld(kOutputs);
    }
}

INSTANTIATE_TEST_SUITE_P(All, Experts, ::testing::ValuesIn(linearCases()), linearCaseName);

}  // namespace
}  // namespace fathom::testing
