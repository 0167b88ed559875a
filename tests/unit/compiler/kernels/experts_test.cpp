// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// experts against plain loops over the (token, slot) pairs: empty, single and large groups.
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

INSTANTIATE_TEST_SUITE_P(All, Experts, ::testing::ValuesIn(linearCases()), linearCaseName);

}  // namespace
}  // namespace fathom::testing
