// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// norm and encode: every form of output, offsets, gathering, per-head rows; records bit by bit.
#include <cmath>

#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
std::string number(int64_t v) { return std::to_string(v); }
int64_t strideOf(const std::string& act, int64_t n) {
  return act == "bf16" ? up(2 * n, 64) : up(up(n, 64) * 5 / 4, 64);
}

// The record that encodings.md defines for x, with q = round(x (127 / amax)) in float32.
std::vector<uint8_t> recordOf(const std::string& act, const float* x, int64_t n) {
  std::vector<uint8_t> out(strideOf(act, n), 0);
  if (act == "bf16") {
    for (int64_t i = 0; i < n; ++i) {
      uint16_t bits = floatToBf16(x[i]);
      std::memcpy(&out[2 * i], &bits, 2);
    }
    return out;
  }
  int64_t padded = up(n, 64);
  for (int64_t g = 0; g < padded / 32; ++g) {
    float amax = 0;
    auto at = [&](int64_t i) { return i < n ? x[i] : 0.0f; };
    for (int64_t i = 32 * g; i < 32 * g + 32; ++i) amax = std::max(amax, std::fabs(at(i)));
    float scale = amax > 1e-36f ? amax * (1.0f / 127) : 0;
    float inverse = amax > 1e-36f ? 127 / amax : 0;
    int32_t sum = 0;
    for (int64_t i = 32 * g; i < 32 * g + 32; ++i) {
      auto q = static_cast<int8_t>(
          std::nearbyint(static_cast<double>(at(i)) * static_cast<double>(inverse)));
      out[i] = static_cast<uint8_t>(q);
      sum += q;
    }
    int32_t bias = -8 * sum;
    std::memcpy(&out[padded + 4 * g], &scale, 4);
    std::memcpy(&out[padded + padded / 8 + 4 * g], &bias, 4);
  }
  return out;
}

// Compares the parts of a record that mean something: not what fills it up to its stride.
void expectRecord(const std::string& act, const uint8_t* got, const std::vector<uint8_t>& expected,
                  int64_t n) {
  int64_t used = act == "bf16" ? up(2 * n, 4) : up(n, 64) * 5 / 4;
  for (int64_t i = 0; i < used; ++i) ASSERT_EQ(int(got[i]), int(expected[i])) << "byte " << i;
}

TEST(Encode, WritesExactRecords) {
  for (const std::string& profile : runnableProfiles())
    for (const std::string act : {"bf16", "i8"})
      for (int64_t n : {1, 16, 32, 33, 48, 64, 100, 256}) {
        SCOPED_TRACE(profile + " " + act + " " + number(n));
        int64_t stride = strideOf(act, n), groupLd = up(n, 16) + 16;
        int64_t in = 2 * groupLd + 8;
        auto image = KernelImage::build(
            profile, {{"e", "encode",
                       "n = " + number(n) + ", groups = 2, in_ld = " + number(in) +
                           ", in_group_ld = " + number(groupLd) + ", in_offset = 8, act = \"" +
                           act + "\", act_stride = " + number(3 * stride) +
                           ", act_batch_stride = " + number(stride)}});
        ASSERT_TRUE(image);
        Guarded<float> x(randomFloats(3 * in, 1));
        // Ties (amax 127: the scale is 1), a group of zeros, one that is nearly so, huge numbers.
        for (int64_t i = 0; i < n; ++i) {
          x[8 + i] = i == 0 ? 127.0f : (i % 7) - 3.5f;
          x[8 + groupLd + i] = i < 32 ? (i % 2 ? -0.0f : 0.0f) : 1e-37f;
          x[in + 8 + i] = (i % 2 ? 1e30f : -3e38f) / (1 + i);
        }
        Guarded<uint8_t> out(3 * 3 * stride);
        image->run("e", 3, 2, 1, {x, out});
        for (int64_t t = 0; t < 3; ++t)
          for (int64_t g = 0; g < 2; ++g)
            expectRecord(act, &out[t * 3 * stride + g * stride],
                         recordOf(act, &x[t * in + g * groupLd + 8], n), n);
      }
}

std::string config(int64_t n, int64_t ld, const std::string& rest) {
  return "n = " + number(n) + ", eps = 1.0e-5, in_ld = " + number(ld) + ", " + rest;
}

std::vector<double> normOf(const float* x, const float* gamma, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(x[i] / std::sqrt(sum / n + 1e-5) * gamma[i]);
  return out;
}

// Sums of squares have no cancellation: a few roundings of 2^-24 each.
constexpr double kTolerance = 8 * 0x1p-24;

TEST(Norm, RowsAndRecords) {
  for (const std::string& profile : runnableProfiles())
    for (const std::string act : {"none", "bf16", "i8"})
      for (int64_t n : {1, 16, 37, 64, 200, 512}) {
        SCOPED_TRACE(profile + " " + act + " " + number(n));
        int64_t ld = up(n, 16) + 16;
        std::string rest =
            "in_offset = 16, rows_per_token = 1, gather = true, out_f32 = true, "
            "out_ld = " +
            number(ld) + ", out_offset = 3, out_act = \"" + act +
            "\", act_stride = " + number(strideOf(act, n));
        auto image = KernelImage::build(profile, {{"n", "norm", config(n, ld, rest)}});
        ASSERT_TRUE(image);
        Guarded<float> x(randomFloats(5 * ld, 1)), gamma(randomFloats(n, 2)), out(3 * ld);
        Guarded<int32_t> rows(std::vector<int32_t>{4, 0, 2});
        Guarded<uint8_t> record(3 * strideOf(act, n));
        std::vector<void*> bindings = {x, gamma, rows, out};
        if (act != "none") bindings.push_back(record);
        image->run("n", 3, 1, 1, bindings);
        for (int64_t r = 0; r < 3; ++r) {
          std::vector<double> expected = normOf(&x[rows[r] * ld + 16], gamma.data(), n);
          for (int64_t i = 0; i < n; ++i)
            ASSERT_NEAR(out[r * ld + 3 + i], expected[i], std::fabs(expected[i]) * kTolerance);
          EXPECT_TRUE(std::isnan(out[r * ld + 2]));
          EXPECT_TRUE(std::isnan(out[r * ld + 3 + n]));
          if (act != "none")
            expectRecord(act, &record[r * strideOf(act, n)], recordOf(act, &out[r * ld + 3], n), n);
        }
      }
}

TEST(Norm, HeadsInPlace) {
  for (const std::string& profile : runnableProfiles()) {
    std::string rest =
        "in_token_ld = 160, in_offset = 8, rows_per_token = 3, gather = false, out_f32 = true, "
        "out_ld = 48, out_token_ld = 160, out_offset = 8, out_act = \"none\"";
    auto image = KernelImage::build(profile, {{"n", "norm", config(40, 48, rest)}});
    ASSERT_TRUE(image);
    std::vector<float> before = randomFloats(2 * 160, 3);
    Guarded<float> x(before), gamma(randomFloats(40, 4));
    image->run("n", 2, 3, 1, {x, gamma, x});
    for (int64_t t = 0; t < 2; ++t)
      for (int64_t h = 0; h < 3; ++h) {
        int64_t from = t * 160 + h * 48 + 8;
        std::vector<double> expected = normOf(&before[from], gamma.data(), 40);
        for (int64_t i = 0; i < 40; ++i)
          ASSERT_NEAR(x[from + i], expected[i], std::fabs(expected[i]) * kTolerance);
        EXPECT_EQ(x[from + 40], before[from + 40]);
      }
  }
}

TEST(Norm, RefusesImpossibleForms) {
  std::string rest =
      "in_offset = 0, rows_per_token = 1, gather = false, out_f32 = false, out_act = \"none\"";
  EXPECT_NE(compileError("cpu:x86-64-v3", {"n", "norm", config(40, 48, rest)}).find("no output"),
            std::string::npos);
  rest = "in_offset = 0, rows_per_token = 1, gather = false, out_f32 = false, out_act = \"i4\"";
  EXPECT_NE(compileError("cpu:x86-64-v3", {"n", "norm", config(40, 48, rest)}).find("'out_act'"),
            std::string::npos);
}

}  // namespace
}  // namespace fathom::testing
