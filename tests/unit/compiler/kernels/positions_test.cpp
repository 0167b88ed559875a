// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// rope, latent_append and kv_append: rotations against doubles, cache rows at their paged places.
#include <cmath>

#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

constexpr int64_t kMaxPosition = 5000;

double frequency(int64_t i, int64_t dim) { return std::pow(10000.0, -2.0 * i / dim); }

// The two-level table of kernels.md.
std::vector<float> ropeTable(int64_t dim) {
  int64_t rows = 512 + (kMaxPosition + 511) / 512;
  std::vector<float> out;
  for (int64_t j = 0; j < rows; ++j) {
    double position = j < 512 ? j : 512.0 * (j - 512);
    for (int64_t i = 0; i < dim / 2; ++i)
      out.push_back(static_cast<float>(std::cos(position * frequency(i, dim))));
    for (int64_t i = 0; i < dim / 2; ++i)
      out.push_back(static_cast<float>(std::sin(position * frequency(i, dim))));
  }
  return out;
}

std::vector<double> rotate(const float* x, int64_t dim, bool interleaved, int64_t position,
                           double mscale) {
  std::vector<double> out(dim);
  for (int64_t i = 0; i < dim / 2; ++i) {
    int64_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + dim / 2;
    double c = std::cos(position * frequency(i, dim)), s = std::sin(position * frequency(i, dim));
    out[a] = mscale * (x[a] * c - x[b] * s);
    out[b] = mscale * (x[b] * c + x[a] * s);
  }
  return out;
}

// cos and sin come from products of two float32 values each and then multiply numbers of up to 4:
// about 4 x 4 roundings of 2^-24.
constexpr double kTolerance = 16 * 0x1p-24;

std::string flag(bool v) { return v ? "true" : "false"; }
std::string number(int64_t v) { return std::to_string(v); }

TEST(Rope, RotatesHeads) {
  for (const std::string& profile : runnableProfiles())
    for (bool interleaved : {false, true})
      for (int64_t dim : {2, 8, 16, 24, 32, 48, 64, 128}) {
        SCOPED_TRACE(profile + " " + flag(interleaved) + " " + number(dim));
        int64_t headLd = dim + 7, ld = 3 * headLd + 5, outLd = 3 * dim + 4;
        std::string config = "heads = 3, dim = " + number(dim) +
                             ", interleaved = " + flag(interleaved) + ", in_ld = " + number(ld) +
                             ", in_head_ld = " + number(headLd) + ", in_offset = 5, mscale = 1.5";
        auto image = KernelImage::build(
            profile, {{"r", "rope",
                       config + ", out_ld = " + number(outLd) + ", out_head_ld = " + number(dim) +
                           ", out_offset = 2"},
                      {"same", "rope",
                       config + ", out_ld = " + number(ld) + ", out_head_ld = " + number(headLd) +
                           ", out_offset = 5"}});
        ASSERT_TRUE(image);
        Guarded<float> x(randomFloats(4 * ld, 1)), table(ropeTable(dim)), out(4 * outLd);
        Guarded<int32_t> positions(std::vector<int32_t>{0, 511, 512, 4999});
        image->run("r", 4, 1, 1, {x, positions, table, out});
        std::vector<float> before = x.values();
        image->run("same", 4, 1, 1, {x, positions, table, x});
        for (int64_t t = 0; t < 4; ++t)
          for (int64_t h = 0; h < 3; ++h) {
            const float* from = &before[t * ld + h * headLd + 5];
            std::vector<double> expected = rotate(from, dim, interleaved, positions[t], 1.5);
            for (int64_t i = 0; i < dim; ++i) {
              ASSERT_NEAR(out[t * outLd + h * dim + 2 + i], expected[i], kTolerance) << i;
              ASSERT_EQ(out[t * outLd + h * dim + 2 + i], x[t * ld + h * headLd + 5 + i]);
            }
            ASSERT_EQ(x[t * ld + h * headLd + 5 + dim], from[dim]);
          }
        EXPECT_TRUE(std::isnan(out[1]) && std::isnan(out[3 * dim + 2]));
      }
}

float element(const Guarded<uint8_t>& cache, int64_t at, bool bf16) {
  float v;
  uint16_t bits;
  if (bf16) {
    std::memcpy(&bits, &cache[at], 2);
    return bf16ToFloat(bits);
  }
  std::memcpy(&v, &cache[at], 4);
  return v;
}

// Two sequences on pages that lie in no order; positions on both sides of a page's end.
constexpr int64_t kPages = 79;
struct Tokens {
  Guarded<int32_t> positions{std::vector<int32_t>{63, 64, 0, 4990, 130}};
  Guarded<int32_t> sequence{std::vector<int32_t>{0, 0, 1, 1, 2}};
  Guarded<int32_t> pageTable{3 * kPages};
  Tokens() {
    for (int32_t i = 0; i < 3 * kPages; ++i) pageTable[i] = -1;
    pageTable[0] = 3, pageTable[1] = 0, pageTable[kPages] = 4, pageTable[kPages + 77] = 1;
    pageTable[2 * kPages + 2] = 2;
  }
  int64_t row(int64_t t) const {
    return pageTable[sequence[t] * kPages + positions[t] / 64] * int64_t{64} + positions[t] % 64;
  }
};

// bf16 keeps 8 bits: half a unit of 2^-7 relative on top of the float32 result's error.
double tolerance(double expected, bool bf16) {
  return kTolerance + (bf16 ? std::fabs(expected) * 0x1.01p-8 : 0);
}

TEST(LatentAppend, WritesPagedRows) {
  struct Shape {
    int64_t rank, dim;
  };
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true})
      for (Shape s : {Shape{48, 8}, Shape{512, 64}, Shape{16, 34}, Shape{16, 2}})
        for (bool interleaved : {false, true}) {
          SCOPED_TRACE(profile + " " + flag(bf16) + " " + number(s.rank) + "+" + number(s.dim));
          int64_t bytes = bf16 ? 2 : 4, row = (s.rank + s.dim) * bytes;
          int64_t page = 64 * row + 192, ld = s.rank + s.dim + 9;
          auto image = KernelImage::build(
              profile,
              {{"a", "latent_append",
                "rank = " + number(s.rank) + ", dim = " + number(s.dim) +
                    ", eps = 1.0e-6, in_ld = " + number(ld) + ", in_offset = 6, interleaved = " +
                    flag(interleaved) + ", mscale = 1.0, kv = \"" + (bf16 ? "bf16" : "f32") +
                    "\", page_tokens = 64, page_bytes = " + number(page)}});
          ASSERT_TRUE(image);
          Tokens tokens;
          Guarded<float> x(randomFloats(5 * ld, 1)), gamma(randomFloats(s.rank, 2));
          Guarded<float> table(ropeTable(s.dim));
          Guarded<uint8_t> cache(5 * page);
          image->run("a", 5, 1, 1,
                     {x, gamma, tokens.positions, tokens.sequence, tokens.pageTable, table, cache},
                     {kPages});
          std::vector<bool> written(5 * page);
          for (int64_t t = 0; t < 5; ++t) {
            int64_t r = tokens.row(t), at = r / 64 * page + r % 64 * row;
            for (int64_t i = 0; i < row; ++i) written[at + i] = true;
            const float* from = &x[t * ld + 6];
            double sum = 0;
            for (int64_t i = 0; i < s.rank; ++i) sum += static_cast<double>(from[i]) * from[i];
            double scale = 1 / std::sqrt(sum / s.rank + 1e-6);
            std::vector<double> k =
                rotate(from + s.rank, s.dim, interleaved, tokens.positions[t], 1);
            for (int64_t i = 0; i < s.rank + s.dim; ++i) {
              double expected = i < s.rank ? from[i] * scale * gamma[i] : k[i - s.rank];
              ASSERT_NEAR(element(cache, at + i * bytes, bf16), expected, tolerance(expected, bf16))
                  << t << " " << i;
            }
          }
          for (int64_t i = 0; i < 5 * page; ++i) ASSERT_TRUE(written[i] || cache[i] == 0xff) << i;
        }
}

TEST(KvAppend, WritesPagedRows) {
  struct Shape {
    int64_t heads, headDim, dim;
  };
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true})
      for (Shape s : {Shape{2, 64, 64}, Shape{3, 48, 24}, Shape{1, 128, 34}}) {
        SCOPED_TRACE(profile + " " + flag(bf16) + " " + number(s.headDim));
        int64_t width = s.heads * s.headDim, bytes = bf16 ? 2 : 4, row = 2 * width * bytes;
        int64_t page = 64 * row + 64, ld = 2 * width + 16;
        auto image = KernelImage::build(
            profile,
            {{"a", "kv_append",
              "kv_heads = " + number(s.heads) + ", head_dim = " + number(s.headDim) + ", dim = " +
                  number(s.dim) + ", interleaved = false, mscale = 1.0, k_ld = " + number(ld) +
                  ", k_offset = 3, v_ld = " + number(ld) + ", v_offset = " + number(width + 5) +
                  ", kv = \"" + (bf16 ? "bf16" : "f32") +
                  "\", page_tokens = 64, page_bytes = " + number(page)}});
        ASSERT_TRUE(image);
        Tokens tokens;
        Guarded<float> x(randomFloats(5 * ld, 1)), table(ropeTable(s.dim));
        Guarded<uint8_t> cache(5 * page);
        image->run("a", 5, 1, 1,
                   {x, x, tokens.positions, tokens.sequence, tokens.pageTable, table, cache},
                   {kPages});
        for (int64_t t = 0; t < 5; ++t) {
          int64_t r = tokens.row(t), headRow = s.headDim * bytes;
          // Keys of each head, then values of each: runs of 64 rows.
          auto at = [&](int64_t run) { return r / 64 * page + (run * 64 + r % 64) * headRow; };
          for (int64_t h = 0; h < s.heads; ++h) {
            const float* from = &x[t * ld + 3 + h * s.headDim];
            std::vector<double> k = rotate(from, s.dim, false, tokens.positions[t], 1);
            for (int64_t i = 0; i < s.headDim; ++i) {
              double expected = i < s.dim ? k[i] : from[i];
              ASSERT_NEAR(element(cache, at(h) + i * bytes, bf16), expected,
                          tolerance(expected, bf16));
            }
          }
          for (int64_t i = 0; i < width; ++i) {
            double v = x[t * ld + width + 5 + i];
            ASSERT_NEAR(element(cache, at(s.heads + i / s.headDim) + i % s.headDim * bytes, bf16),
                        v, tolerance(v, bf16));
          }
        }
      }
}

TEST(LatentAppend, RefusesPagesThatOverlap) {
  std::string error = compileError(
      "cpu:x86-64-v3",
      {"a", "latent_append",
       "rank = 48, dim = 8, eps = 1.0e-6, in_ld = 64, in_offset = 0, interleaved = true, mscale = "
       "1.0, kv = \"f32\", page_tokens = 64, page_bytes = 14000"});
  EXPECT_NE(error.find("page_bytes 14000 is less"), std::string::npos) << error;
}

}  // namespace
}  // namespace fathom::testing
