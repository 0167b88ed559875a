// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// add, swiglu and combine against double-precision loops, for widths on and off the vector's.
#include <cmath>

#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

constexpr int64_t kWidths[] = {1, 16, 37, 256};

int64_t ld(int64_t n) { return (n + 15) / 16 * 16; }
std::string number(int64_t v) { return std::to_string(v); }

double silu(double x) { return x / (1 + std::exp(-x)); }

TEST(Add, AddsRowsAlsoInPlace) {
  for (const std::string& profile : runnableProfiles()) {
    std::vector<KernelSpec> specs;
    for (int64_t n : kWidths)
      specs.push_back({"n" + number(n), "add", "n = " + number(n) + ", ld = " + number(ld(n))});
    auto image = KernelImage::build(profile, specs);
    ASSERT_TRUE(image);
    for (int64_t n : kWidths) {
      Guarded<float> a(randomFloats(3 * ld(n), 1)), b(randomFloats(3 * ld(n), 2)), out(3 * ld(n));
      image->run("n" + number(n), 3, 1, 1, {a, b, out});
      for (int64_t t = 0; t < 3; ++t)
        for (int64_t i = 0; i < n; ++i)
          ASSERT_EQ(out[t * ld(n) + i], a[t * ld(n) + i] + b[t * ld(n) + i]);
      std::vector<float> expected = out.values();
      image->run("n" + number(n), 3, 1, 1, {a, b, a});
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(a[2 * ld(n) + i], expected[2 * ld(n) + i]);
    }
  }
}

// Many devices take 65535 workgroups at a time.
TEST(Add, MoreRowsThanAGridOfAGpu) {
  for (const std::string& profile : gpuProfiles()) {
    SCOPED_TRACE(profile);
    auto image = KernelImage::build(profile, {{"k", "add", "n = 1, ld = 1"}});
    ASSERT_TRUE(image);
    constexpr uint32_t kRows = 65535 + 300;
    Guarded<float> a(randomFloats(kRows, 1)), b(randomFloats(kRows, 2)), out(kRows);
    image->run("k", kRows, 1, 1, {a, b, out});
    for (uint32_t t = 0; t < kRows; ++t) ASSERT_EQ(out[t], a[t] + b[t]) << t;
  }
}

// The exponential is within 1.5 ulp and a division follows: 4 units of 2^-24, doubled for the
// product.
TEST(Swiglu, MatchesDoubles) {
  for (const std::string& profile : runnableProfiles()) {
    SCOPED_TRACE(profile);
    auto image = KernelImage::build(
        profile, {{"s", "swiglu", "n = 61, gate_ld = 128, up_ld = 80, out_ld = 64"}});
    ASSERT_TRUE(image);
    Guarded<float> gate(randomFloats(4 * 128, 3, 8.0f)), up(randomFloats(4 * 80, 4)), out(4 * 64);
    const float extremes[] = {-1e4f, -88.f, -87.f, 0.f, -0.f, 87.5f, 1e4f, 1e-30f, -90.f, 3e37f};
    for (size_t i = 0; i < std::size(extremes); ++i) gate[128 + i] = extremes[i];
    gate[2 * 128] = NAN;
    image->run("s", 4, 1, 1, {gate, up, out});
    for (int64_t t = 0; t < 4; ++t)
      for (int64_t i = 0; i < 61; ++i) {
        double expected = silu(gate[t * 128 + i]) * static_cast<double>(up[t * 80 + i]);
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(out[t * 64 + i])) << t << " " << i;
          continue;
        }
        // Below 2^-126 the exponential is cut off: absolute there. A GPU may round the product of a
        // fused multiply-add.
        double units = isGpu(profile) ? 16 : 8;
        EXPECT_NEAR(out[t * 64 + i], expected, std::fabs(expected) * units * 0x1p-24 + 1e-34)
            << t << " " << i << " gate " << gate[t * 128 + i];
      }
  }
}

TEST(Combine, SumsSlotsInOrder) {
  for (const std::string& profile : runnableProfiles())
    for (bool shared : {false, true}) {
      SCOPED_TRACE(profile);
      auto image = KernelImage::build(
          profile,
          {{"c", "combine",
            std::string("n = 45, ld = 48, top_k = 3, shared = ") + (shared ? "true" : "false")}});
      ASSERT_TRUE(image);
      Guarded<float> y(randomFloats(2 * 3 * 48, 5)), weight(randomFloats(6, 6));
      Guarded<float> residual(randomFloats(2 * 48, 7)), extra(randomFloats(2 * 48, 8)), out(2 * 48);
      std::vector<void*> bindings = {y, weight, residual};
      if (shared) bindings.push_back(extra);
      bindings.push_back(out);
      image->run("c", 2, 1, 1, bindings);
      for (int64_t t = 0; t < 2; ++t)
        for (int64_t i = 0; i < 45; ++i) {
          float sum = residual[t * 48 + i], magnitude = std::fabs(sum);
          for (int64_t j = 0; j < 3; ++j) {
            float product = y[(t * 3 + j) * 48 + i] * weight[t * 3 + j];
            sum = std::fma(y[(t * 3 + j) * 48 + i], weight[t * 3 + j], sum);
            magnitude += std::fabs(product);
          }
          if (shared) sum += extra[t * 48 + i];
          // A GPU may round the product of a fused multiply-add.
          float tolerance = isGpu(profile) ? magnitude * 0x1p-22f : 0;
          ASSERT_NEAR(out[t * 48 + i], sum, tolerance) << t << " " << i;
        }
    }
}

TEST(Combine, NamesTheEntryThatIsWrong) {
  std::string error = compileError("cpu:x86-64-v3", {"c", "combine", "n = 45, ld = 16, top_k = 3"});
  EXPECT_NE(error.find("'combine'"), std::string::npos) << error;
  EXPECT_NE(error.find("'ld' must be in [45"), std::string::npos) << error;
  error = compileError("cpu:x86-64-v3", {"c", "combine", "n = 45, ld = 48, top_k = 3"});
  EXPECT_NE(error.find("'shared' is missing"), std::string::npos) << error;
  error = compileError("cpu:x86-64-v3", {"c", "add", "n = 1.0, ld = 48"});
  EXPECT_NE(error.find("'n' must be an integer"), std::string::npos) << error;
}

}  // namespace
}  // namespace fathom::testing
