// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// linear against plain loops: every encoding, epilogue, profile, odd size and remainder of T.
#include "tests/unit/compiler/kernels/linear_cases.h"

namespace fathom::testing {
namespace {

constexpr int64_t kTokens[] = {1, 2, 3, 5, 6, 7, 13};

struct Shape {
  std::string name;
  int64_t rows, cols, batch;
  std::string epilogue;
  bool bias;
  int64_t panelTiles;
};

// 33 = two tiles and a row; 40 rows with panels of 3 tiles; 77, 131, 70 columns leave a rest in
// every step of K, below and above half a superblock.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {
      {"store", 33, 77, 1, "store", false, 2},    {"residual", 40, 131, 1, "residual", true, 3},
      {"swiglu", 24, 70, 1, "swiglu", false, 1},  {"heads", 32, 97, 3, "store", false, 2},
      {"whole", 48, 64, 1, "residual", false, 8},
  };
  return all;
}

class Linear : public ::testing::TestWithParam<LinearCase> {};
class LinearInteger : public Linear {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Linear);

std::string config(const LinearCase& c, const Shape& s, int64_t stride) {
  std::string text = "rows = " + std::to_string(s.rows) + ", cols = " + std::to_string(s.cols) +
                     ", batch = " + std::to_string(s.batch) + ", enc = \"" + c.enc +
                     "\", act = \"" + c.act +
                     "\", act_stride = " + std::to_string(stride * s.batch) +
                     ", act_batch_stride = " + std::to_string(stride) +
                     ", out_ld = " + std::to_string(ld(s.rows * s.batch)) + ", epilogue = \"" +
                     s.epilogue + "\", bias = " + (s.bias ? "true" : "false") +
                     ", panel_tiles = " + std::to_string(s.panelTiles);
  return text;
}

TEST_P(Linear, MatchesPlainLoops) {
  const LinearCase& c = GetParam();
  std::vector<KernelSpec> specs;
  for (const Shape& s : shapes()) {
    int64_t stride = encodeAct(c.act, std::vector<float>(s.cols), 1, s.cols).stride;
    specs.push_back({s.name, "linear", config(c, s, stride)});
  }
  auto image = KernelImage::build(c.profile, specs);
  ASSERT_TRUE(image);
  for (const Shape& s : shapes()) {
    SCOPED_TRACE(s.name);
    int64_t outLd = ld(s.rows * s.batch);
    std::vector<TestWeight> weights;
    std::vector<uint8_t> bytes, bytes2;
    for (int64_t g = 0; g < s.batch; ++g) {
      weights.push_back(weightFor(c, randomFloats(s.rows * s.cols, 7 + g), s.rows, s.cols));
      bytes.insert(bytes.end(), weights[g].bytes.begin(), weights[g].bytes.end());
    }
    TestWeight up = weightFor(c, randomFloats(s.rows * s.cols, 99), s.rows, s.cols);
    Guarded<uint8_t> weight(bytes), weight2(up.bytes);
    Guarded<float> bias(randomFloats(s.rows, 5));
    std::vector<float> single;  // out of T = 1, token by token
    for (int64_t tokens : kTokens) {
      SCOPED_TRACE(tokens);
      // Rows of one token's batches follow each other: (tokens, batch, cols).
      TestAct act =
          actFor(c, randomFloats(13 * s.batch * s.cols, 3), tokens * s.batch, s.cols);
      Guarded<uint8_t> acts(act.bytes);
      std::vector<float> before = randomFloats(13 * outLd, 11);
      before.resize(tokens * outLd);
      Guarded<float> out(before);  // residual in place
      std::vector<void*> bindings = {acts, weight};
      if (s.epilogue == "swiglu") bindings.push_back(weight2);
      if (s.bias) bindings.push_back(bias);
      if (s.epilogue == "residual") bindings.push_back(out);
      bindings.push_back(out);
      int64_t tiles = (s.rows + 15) / 16;
      image->run(s.name, (tiles + s.panelTiles - 1) / s.panelTiles, s.batch, 1, bindings, {tokens});

      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t g = 0; g < s.batch; ++g)
          for (int64_t n = 0; n < s.rows; ++n) {
            const float* a = act.values.data() + (t * s.batch + g) * s.cols;
            Expected e = dot(weights[g].values.data() + n * s.cols, a, s.cols);
            if (s.epilogue == "swiglu")
              e = swiglu(e, dot(up.values.data() + n * s.cols, a, s.cols));
            if (s.bias) e.value += bias[n];
            if (s.epilogue == "residual") e.value += before[t * outLd + g * s.rows + n];
            e.tolerance += 2e-7 * std::fabs(e.value);
            ASSERT_NEAR(out[t * outLd + g * s.rows + n], e.value, e.tolerance)
                << "token " << t << " batch " << g << " row " << n;
          }
      // The filling of the last tile: nothing but what was there before.
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t n = s.rows * s.batch; n < outLd; ++n)
          ASSERT_EQ(out[t * outLd + n], s.epilogue == "residual" ? before[t * outLd + n] : 0.0f);
      // A token's result must not depend on its company, to the bit.
      if (tokens == 1) single = out.values();
      for (int64_t n = 0; n < outLd; ++n) ASSERT_EQ(out[n], single[n]) << n;
    }
  }
}

// More rows than a chunk of them, whole and broken stretches of K, panels that end within a group.
TEST(LinearMatrixUnits, CoverChunksAndStretches) {
  std::vector<LinearCase> cases = linearCases();
  std::erase_if(cases, [](const LinearCase& c) {
    return !c.profile.ends_with("+many") || !profileNamed(c.profile).amx;
  });
  if (cases.empty()) GTEST_SKIP() << "this processor has no matrix units";
  for (const LinearCase& c : cases) {
    for (const char* epilogue : {"store", "swiglu"}) {
      SCOPED_TRACE(c.profile + " " + c.enc + " " + epilogue);
      const int64_t rows = 88, cols = 1216, tokens = 263, outLd = ld(rows);
      TestWeight gate = weightFor(c, randomFloats(rows * cols, 17), rows, cols);
      TestWeight up = weightFor(c, randomFloats(rows * cols, 27), rows, cols);
      TestAct act = actFor(c, randomFloats(tokens * cols, 18), tokens, cols);
      Shape s{"k", rows, cols, 1, epilogue, false, 4};
      auto image = KernelImage::build(c.profile, {{"k", "linear", config(c, s, act.stride)}});
      ASSERT_TRUE(image);
      Guarded<uint8_t> first(gate.bytes), second(up.bytes), acts(act.bytes);
      Guarded<float> out(tokens * outLd);
      std::vector<void*> bindings = {acts, first};
      if (s.epilogue == "swiglu") bindings.push_back(second);
      bindings.push_back(out);
      image->run("k", 2, 1, 1, bindings, {tokens});
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t n = 0; n < rows; ++n) {
          const float* a = act.values.data() + t * cols;
          Expected e = dot(gate.values.data() + n * cols, a, cols);
          if (s.epilogue == "swiglu") e = swiglu(e, dot(up.values.data() + n * cols, a, cols));
          ASSERT_NEAR(out[t * outLd + n], e.value, e.tolerance + 2e-7 * std::fabs(e.value))
              << "token " << t << " row " << n;
        }
    }
  }
}

// Several panels of tiles and blocks of tokens; on GPUs blocks that are full, begun and missing, and
// a K of more chunks than are on their way at once. Each token must be what it is alone.
TEST_P(Linear, CoversPanelsAndBlocksOfTokens) {
  const LinearCase& c = GetParam();
  const int64_t rows = 152, cols = 328, tokens = 70, outLd = ld(rows);
  TestWeight weight = weightFor(c, randomFloats(rows * cols, 17), rows, cols);
  TestAct act = actFor(c, randomFloats(tokens * cols, 18), tokens, cols);
  Shape s{"k", rows, cols, 1, "store", false, 1};
  auto image = KernelImage::build(c.profile, {{"k", "linear", config(c, s, act.stride)}});
  ASSERT_TRUE(image);
  Guarded<uint8_t> weights(weight.bytes), acts(act.bytes);
  Guarded<float> out(tokens * outLd);
  image->run("k", (rows + 15) / 16, 1, 1, {acts, weights, out}, {tokens});
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t n = 0; n < rows; ++n) {
      Expected e = dot(weight.values.data() + n * cols, act.values.data() + t * cols, cols);
      ASSERT_NEAR(out[t * outLd + n], e.value, e.tolerance + 2e-7 * std::fabs(e.value))
          << "token " << t << " row " << n;
    }
  for (int64_t t : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, int64_t{69}}) {
    auto from = act.bytes.begin() + t * act.stride;
    Guarded<uint8_t> one(std::vector<uint8_t>(from, from + act.stride));
    Guarded<float> alone(outLd);
    image->run("k", (rows + 15) / 16, 1, 1, {one, weights, alone}, {1});
    for (int64_t n = 0; n < outLd; ++n) ASSERT_EQ(out[t * outLd + n], alone[n]) << t << " " << n;
  }
}

// The int8 form is exact but for the one fma of each group, so the plain formula gives its bits.
TEST_P(LinearInteger, SumsAreExact) {
  const LinearCase& c = GetParam();
  const int64_t rows = 16, cols = 192, tokens = 7;
  std::vector<float> extreme(tokens * cols), values(rows * cols);
  // Largest magnitudes of one sign and of changing signs: where 16-bit sums would saturate.
  for (int64_t i = 0; i < tokens * cols; ++i) extreme[i] = i / cols % 2 && i % 2 ? -1.0f : 1.0f;
  for (int64_t i = 0; i < rows * cols; ++i) values[i] = i / cols % 3 == 0 && i % 2 ? -1.0f : 1.0f;
  TestWeight weight = encodeWeight(c.enc, values, rows, cols);
  TestAct act = encodeAct(c.act, extreme, tokens, cols);
  Shape s{"k", rows, cols, 1, "store", false, 1};
  auto image = KernelImage::build(c.profile, {{"k", "linear", config(c, s, act.stride)}});
  ASSERT_TRUE(image);
  Guarded<uint8_t> weights(weight.bytes), acts(act.bytes);
  Guarded<float> out(tokens * rows);
  image->run("k", 1, 1, 1, {acts, weights, out}, {tokens});
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t n = 0; n < rows; ++n) {
      float expected = 0;
      for (int64_t group = 0; group < cols / 32; ++group) {
        const uint8_t* block = weight.bytes.data() + group / 2 * (c.enc == "q4" ? 576 : 1088);
        const uint8_t* record = act.bytes.data() + t * act.stride;
        uint16_t bits;
        std::memcpy(&bits, block + 2 * (16 * (group % 2) + n), 2);
        float scale;
        std::memcpy(&scale, record + cols + 4 * group, 4);
        int32_t sum = 0;
        for (int64_t k = 0; k < 32; ++k) {
          int32_t q = static_cast<int8_t>(record[32 * group + k]);
          if (c.enc == "q4") {
            uint8_t byte = block[64 + 256 * (group % 2) + 64 * (k % 16 / 4) + 4 * n + k % 4];
            sum += ((k < 16 ? byte & 15 : byte >> 4) - 8) * q;
          } else {
            sum += (block[64 + 512 * (group % 2) + 64 * (k / 4) + 4 * n + k % 4] - 128) * q;
          }
        }
        expected = std::fma(static_cast<float>(sum), f16ToFloat(bits) * scale, expected);
      }
      ASSERT_EQ(out[t * rows + n], expected) << t << " " << n;
    }
}

INSTANTIATE_TEST_SUITE_P(All, Linear, ::testing::ValuesIn(linearCases()), linearCaseName);
INSTANTIATE_TEST_SUITE_P(All, LinearInteger, ::testing::ValuesIn(integerCases()), linearCaseName);

TEST(LinearConfig, RefusesWhatItCannotDo) {
  const std::string good =
      "rows = 32, cols = 64, enc = \"q4\", act_stride = 128, out_ld = 64, panel_tiles = 2";
  struct {
    std::string rest, expected;
  } cases[] = {
      {", act = \"i8\"", "epilogue"},
      {", act = \"bf16\", epilogue = \"store\"", "act"},
      {", act = \"i8\", epilogue = \"swiglu\", bias = true", "bias"},
      {", act = \"i8\", epilogue = \"store\", batch = 3", "act_batch_stride"},
      {", act = \"i8\", epilogue = \"store\", batch = 3, act_batch_stride = 128", "out_ld"},
      {", act = \"i8\", epilogue = 7", "epilogue"},
  };
  for (const auto& c : cases) {
    std::string error = compileError("cpu:x86-64-v3", {"k", "linear", good + c.rest});
    EXPECT_NE(error.find("linear"), std::string::npos) << error;
    EXPECT_NE(error.find("'" + c.expected + "'"), std::string::npos) << error;
  }
}

TEST(LinearConfig, PanelsShareTheWork) {
  auto panel = [](int64_t rows, int64_t cols, const char* enc) {
    return panelTiles("cpu:x86-64-v4", "rows = " + std::to_string(rows) + ", cols = " +
                                           std::to_string(cols) + ", enc = \"" + enc + "\"");
  };
  EXPECT_EQ(panel(4096, 4096, "q4"), 6);
  EXPECT_EQ(panel(102400, 512, "q4"), 56);
  EXPECT_EQ(panel(512, 512, "q4"), 2);
  EXPECT_EQ(panel(16, 64, "q4"), 2);
  EXPECT_GE(panel(1, 1, "f32"), 1);
}

}  // namespace
}  // namespace fathom::testing
