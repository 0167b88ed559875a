// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tile16 encoder against a plain encoder of one value at a time, to the byte.
#include "compiler/quantize/tile16.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace fathom {
namespace {

// docs/spec/encodings.md, "Weights", for one group of 32 columns of one row.
struct Group {
  uint16_t scale;
  int codes[32];
};

Group EncodePlainly4(const std::vector<float>& x) {
  float extreme = 0;
  for (float v : x)
    if (std::fabs(v) > std::fabs(extreme)) extreme = v;
  Group best{0, {}};
  for (int& code : best.codes) code = 8;
  if (extreme == 0) return best;
  float least = std::numeric_limits<float>::infinity();
  for (float divisor : {-8.0f, -7.5f, -7.0f}) {
    Group trial{FloatToF16(extreme / divisor), {}};
    const float scale = F16ToFloat(trial.scale), inverse = scale == 0 ? 0 : 1 / scale;
    float error = 0;
    for (int i = 0; i < 32; ++i) {
      const float q = std::min(7.0f, std::max(-8.0f, std::nearbyint(x[i] * inverse)));
      const volatile float product = q * scale;  // volatile: rounded before the subtraction
      const volatile float square = (product - x[i]) * (product - x[i]);
      error += square;
      trial.codes[i] = static_cast<int>(q) + 8;
    }
    if (error < least) least = error, best = trial;
  }
  return best;
}

Group EncodePlainly8(const std::vector<float>& x) {
  float amax = 0;
  for (float v : x) amax = std::max(amax, std::fabs(v));
  Group group{FloatToF16(amax / 127), {}};
  const float scale = F16ToFloat(group.scale), inverse = scale == 0 ? 0 : 1 / scale;
  for (int i = 0; i < 32; ++i) {
    const float q = std::min(127.0f, std::max(-127.0f, std::nearbyint(x[i] * inverse)));
    group.codes[i] = static_cast<int>(q) + 128;
  }
  return group;
}

std::vector<uint8_t> EncodePlainly(WeightEncoding encoding, const std::vector<float>& values,
                                   int64_t rows, int64_t cols) {
  std::vector<uint8_t> out(TileBytes(encoding, cols));
  auto value = [&](int64_t r, int64_t k) {
    return r < rows && k < cols ? values[r * cols + k] : 0.0f;
  };
  for (int64_t r = 0; r < 16; ++r) {
    if (encoding == WeightEncoding::kF32 || encoding == WeightEncoding::kBf16) {
      for (int64_t k = 0; k < cols; ++k) {
        const float v = value(r, k);
        const uint16_t half = FloatToBf16(v);
        if (encoding == WeightEncoding::kF32)
          std::memcpy(&out[64 * k + 4 * r], &v, 4);
        else
          std::memcpy(&out[64 * (k / 2) + 4 * r + 2 * (k % 2)], &half, 2);
      }
      continue;
    }
    const bool four = encoding == WeightEncoding::kQ4;
    for (int64_t k0 = 0; k0 < (cols + 63) / 64 * 64; k0 += 32) {
      std::vector<float> x(32);
      for (int i = 0; i < 32; ++i) x[i] = value(r, k0 + i);
      const Group group = four ? EncodePlainly4(x) : EncodePlainly8(x);
      uint8_t* step = &out[k0 / 64 * TileStepBytes(encoding)];
      const int64_t g = k0 / 32 % 2;
      std::memcpy(step + 2 * (16 * g + r), &group.scale, 2);
      for (int i = 0; i < 32; ++i) {
        const uint8_t code = static_cast<uint8_t>(group.codes[i]);
        if (four)
          step[64 + 256 * g + 64 * (i % 16 / 4) + 4 * r + i % 4] |= i < 16 ? code : code << 4;
        else
          step[64 + 512 * g + 64 * (i / 4) + 4 * r + i % 4] = code;
      }
    }
  }
  return out;
}

// Numbers of many magnitudes: the f16 scales come out normal, subnormal and zero.
std::vector<float> Values(int64_t count, uint32_t seed) {
  std::mt19937 bits(seed);
  std::vector<float> out(count);
  for (int64_t i = 0; i < count; ++i) {
    const int exponent = static_cast<int>(i / 500 % 9) * 5 - 30;
    out[i] = std::ldexp(static_cast<float>(static_cast<int32_t>(bits())), exponent - 31);
  }
  if (count > 40) out[3] = 0.0f, out[7] = -0.0f;
  return out;
}

struct Case {
  WeightEncoding encoding;
  int64_t rows, cols;
};

TEST(Tile16, MatchesThePlainEncoder) {
  for (auto encoding :
       {WeightEncoding::kF32, WeightEncoding::kBf16, WeightEncoding::kQ8, WeightEncoding::kQ4})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{16, 64},
                              {16, 512},
                              {1, 1},
                              {7, 33},
                              {16, 95},
                              {3, 31},
                              {15, 96},
                              {2, 321}}) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(encoding) << " " << rows << "x" << cols);
      const std::vector<float> values = Values(rows * cols, 5);
      std::vector<uint8_t> out(TileBytes(encoding, cols) + 64, 0xa5);
      EXPECT_EQ(EncodeTile(encoding, values.data(), rows, cols, out.data()), 0);
      const std::vector<uint8_t> expected = EncodePlainly(encoding, values, rows, cols);
      for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(out[i], expected[i]) << "byte " << i;
      for (size_t i = expected.size(); i < out.size(); ++i) ASSERT_EQ(out[i], 0xa5) << "behind";
    }
}

TEST(Tile16, DecodesWithinHalfAStep) {
  const int64_t cols = 192;
  const std::vector<float> values = Values(16 * cols, 9);
  for (auto encoding : {WeightEncoding::kQ8, WeightEncoding::kQ4}) {
    std::vector<uint8_t> tile(TileBytes(encoding, cols));
    EncodeTile(encoding, values.data(), 16, cols, tile.data());
    for (int64_t r = 0; r < 16; ++r) {
      std::vector<float> row(cols);
      DecodeTileRow(encoding, tile.data(), r, cols, row.data());
      for (int64_t k = 0; k < cols; ++k) {
        float amax = 0;
        for (int64_t i = k / 32 * 32; i < k / 32 * 32 + 32; ++i)
          amax = std::max(amax, std::fabs(values[r * cols + i]));
        // A 4-bit code may be clipped at its short end by half a step, and the chosen scale is up
        // to amax / 7; halves that are subnormal add 2^-25 each code.
        const float step = encoding == WeightEncoding::kQ8 ? amax / 127 : amax / 7;
        const float codes = encoding == WeightEncoding::kQ8 ? 127 : 8;
        ASSERT_NEAR(row[k], values[r * cols + k], 1.01f * step + codes * 0x1p-25f) << r << " " << k;
      }
    }
  }
}

TEST(Tile16, CountsWhatIsNotFinite) {
  std::vector<float> values(16 * 70, 1.0f);
  values[0] = NAN, values[69] = INFINITY, values[15 * 70 + 64] = -INFINITY;
  std::vector<float> zeroed = values;
  zeroed[0] = zeroed[69] = zeroed[15 * 70 + 64] = 0.0f;
  for (auto encoding : {WeightEncoding::kQ8, WeightEncoding::kQ4}) {
    std::vector<uint8_t> out(TileBytes(encoding, 70));
    EXPECT_EQ(EncodeTile(encoding, values.data(), 16, 70, out.data()), 3);
    EXPECT_EQ(out, EncodePlainly(encoding, zeroed, 16, 70));
  }
}

// Scales saturate: what is beyond 65504 x 127 (or x 8) is clipped, not lost.
TEST(Tile16, SaturatesScales) {
  std::vector<float> values(32, 1e38f);
  values[1] = -1e38f;
  for (auto [encoding, limit] :
       {std::pair{WeightEncoding::kQ8, 65504.0f * 127}, {WeightEncoding::kQ4, 65504.0f * 8}}) {
    std::vector<uint8_t> out(TileBytes(encoding, 32));
    std::vector<float> row(32);
    EncodeTile(encoding, values.data(), 1, 32, out.data());
    DecodeTileRow(encoding, out.data(), 0, 32, row.data());
    EXPECT_EQ(row[0], limit);
    EXPECT_LT(row[1], -0.8f * limit);
  }
}

// The bytes of fixed values. When this fails because the encoder writes others on purpose, raise
// kEncoderVersion and pin the new ones: weights of the old version must not be taken over from artifacts.
TEST(Tile16, EncoderVersionPinsTheBytes) {
  std::vector<float> values(16 * 128);
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state)) / 2147483648.0f;
  }
  auto hash = [&](WeightEncoding encoding) {
    std::vector<uint8_t> bytes(TileBytes(encoding, 128));
    EncodeTile(encoding, values.data(), 16, 128, bytes.data());
    uint64_t fnv = 0xcbf29ce484222325u;
    for (uint8_t byte : bytes) fnv = (fnv ^ byte) * 0x100000001b3u;
    return fnv;
  };
  EXPECT_EQ(kEncoderVersion, 1u);
  EXPECT_EQ(hash(WeightEncoding::kF32), 4994949263370981365u);
  EXPECT_EQ(hash(WeightEncoding::kBf16), 2402114280272694177u);
  EXPECT_EQ(hash(WeightEncoding::kQ8), 4912649089905802541u);
  EXPECT_EQ(hash(WeightEncoding::kQ4), 4451508506046200262u);
}

}  // namespace
}  // namespace fathom
