// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tile16 encoder. One pass over a tile of 16 rows; the loops are written for the vectoriser.
#include "compiler/quantize/tile16.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace fathom {
namespace {

constexpr int64_t kScaleBytes = 64;
constexpr int64_t kGroupsPerBlock = kSuperblock / kGroup;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Round to nearest even for |v| < 2^22, in two additions that every ISA vectorises.
float Round(float v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

float Finite(float v, int64_t* bad) {
  if (std::isfinite(v)) return v;
  ++*bad;
  return 0.0f;
}

// One group of 32 columns of one row to 4-bit codes: returns the f16 scale and the codes 0..15.
// The value of largest magnitude maps to code 0 (-8), so the scale carries its sign: one more level on
// the side where the group needs it. Of that scale and its neighbours the one of least squared error wins.
uint16_t QuantizeGroup4(const float* x, uint8_t* codes) {
  float extreme = 0.0f;
  for (int i = 0; i < kGroup; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (extreme == 0.0f) {
    std::memset(codes, 8, kGroup);
    return 0;
  }
  uint16_t best_scale = 0;
  float best_error = INFINITY;
  for (float divisor : {-8.0f, -7.5f, -7.0f}) {
    const uint16_t bits = FloatToF16(extreme / divisor);
    const float scale = F16ToFloat(bits);
    const float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
    uint8_t trial[kGroup];
    float error = 0.0f;
    for (int i = 0; i < kGroup; ++i) {
      const float q = std::min(7.0f, std::max(-8.0f, Round(x[i] * inverse)));
      const float d = q * scale - x[i];
      error += d * d;
      trial[i] = static_cast<uint8_t>(static_cast<int>(q) + 8);
    }
    if (error < best_error) {
      best_error = error;
      best_scale = bits;
      std::memcpy(codes, trial, kGroup);
    }
  }
  return best_scale;
}

// The same to bytes 1..255 (value - 128).
uint16_t QuantizeGroup8(const float* x, uint8_t* codes) {
  float amax = 0.0f;
  for (int i = 0; i < kGroup; ++i) amax = std::max(amax, std::fabs(x[i]));
  const uint16_t bits = FloatToF16(amax / 127.0f);
  const float scale = F16ToFloat(bits);
  const float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
  for (int i = 0; i < kGroup; ++i) {
    const float q = std::min(127.0f, std::max(-127.0f, Round(x[i] * inverse)));
    codes[i] = static_cast<uint8_t>(static_cast<int>(q) + 128);
  }
  return bits;
}

int64_t EncodeBlocks(bool four_bits, const float* values, int64_t rows, int64_t cols, uint8_t* out) {
  const int64_t blocks = CeilDiv(cols, kSuperblock);
  const int64_t block_bytes = TileStepBytes(four_bits ? WeightEncoding::kQ4 : WeightEncoding::kQ8);
  const int64_t group_bytes = (block_bytes - kScaleBytes) / kGroupsPerBlock;
  int64_t bad = 0;
  for (int64_t block = 0; block < blocks; ++block, out += block_bytes) {
    std::memset(out, 0, kScaleBytes);
    std::memset(out + kScaleBytes, four_bits ? 0x88 : 0x80, block_bytes - kScaleBytes);
    for (int64_t g = 0; g < kGroupsPerBlock; ++g) {
      const int64_t k0 = block * kSuperblock + g * kGroup;
      const int64_t n = std::min(kGroup, cols - k0);
      if (n <= 0) continue;
      uint8_t* base = out + kScaleBytes + g * group_bytes;
      for (int64_t r = 0; r < rows; ++r) {
        float x[kGroup] = {};
        uint8_t codes[kGroup];
        for (int64_t i = 0; i < n; ++i) x[i] = Finite(values[r * cols + k0 + i], &bad);
        const uint16_t scale = four_bits ? QuantizeGroup4(x, codes) : QuantizeGroup8(x, codes);
        std::memcpy(out + 2 * (16 * g + r), &scale, 2);
        for (int64_t j = 0; j < (four_bits ? 4 : 8); ++j) {
          for (int64_t b = 0; b < 4; ++b) {
            const int64_t k = 4 * j + b;
            base[64 * j + 4 * r + b] =
                four_bits ? static_cast<uint8_t>(codes[k] | codes[16 + k] << 4) : codes[k];
          }
        }
      }
    }
  }
  return bad;
}

}  // namespace

int64_t TileStepColumns(WeightEncoding encoding) {
  switch (encoding) {
    case WeightEncoding::kBf16:
      return 2;
    case WeightEncoding::kQ8:
    case WeightEncoding::kQ4:
      return kSuperblock;
    default:
      return 1;
  }
}

int64_t TileStepBytes(WeightEncoding encoding) {
  switch (encoding) {
    case WeightEncoding::kQ8:
      return kScaleBytes + 1024;
    case WeightEncoding::kQ4:
      return kScaleBytes + 512;
    default:
      return 64;
  }
}

int64_t TileBytes(WeightEncoding encoding, int64_t cols) {
  return CeilDiv(cols, TileStepColumns(encoding)) * TileStepBytes(encoding);
}

int64_t MatrixBytes(WeightEncoding encoding, int64_t rows, int64_t cols) {
  if (encoding == WeightEncoding::kRawF32 || encoding == WeightEncoding::kRawI32) return rows * cols * 4;
  return CeilDiv(rows, kTileRows) * TileBytes(encoding, cols);
}

int64_t EncodeTile(WeightEncoding encoding, const float* values, int64_t rows, int64_t cols,
                   uint8_t* out) {
  switch (encoding) {
    case WeightEncoding::kQ8:
      return EncodeBlocks(false, values, rows, cols, out);
    case WeightEncoding::kQ4:
      return EncodeBlocks(true, values, rows, cols, out);
    case WeightEncoding::kBf16:
      std::memset(out, 0, TileBytes(encoding, cols));
      for (int64_t k = 0; k < cols; ++k) {
        for (int64_t r = 0; r < rows; ++r) {
          const uint16_t bits = FloatToBf16(values[r * cols + k]);
          std::memcpy(out + (k / 2) * 64 + 4 * r + 2 * (k % 2), &bits, 2);
        }
      }
      return 0;
    default:
      std::memset(out, 0, TileBytes(encoding, cols));
      for (int64_t k = 0; k < cols; ++k) {
        for (int64_t r = 0; r < rows; ++r) {
          std::memcpy(out + k * 64 + 4 * r, &values[r * cols + k], 4);
        }
      }
      return 0;
  }
}

void DecodeTileRow(WeightEncoding encoding, const uint8_t* tile, int64_t row, int64_t cols,
                   float* out) {
  for (int64_t k = 0; k < cols; ++k) {
    if (encoding == WeightEncoding::kF32) {
      std::memcpy(&out[k], tile + k * 64 + 4 * row, 4);
    } else if (encoding == WeightEncoding::kBf16) {
      uint16_t half;
      std::memcpy(&half, tile + (k / 2) * 64 + 4 * row + 2 * (k % 2), 2);
      const uint32_t bits = uint32_t{half} << 16;
      std::memcpy(&out[k], &bits, 4);
    } else {
      const bool four_bits = encoding == WeightEncoding::kQ4;
      const uint8_t* block = tile + k / kSuperblock * TileStepBytes(encoding);
      const int64_t g = k % kSuperblock / kGroup, i = k % kGroup;
      uint16_t scale;
      std::memcpy(&scale, block + 2 * (16 * g + row), 2);
      if (four_bits) {
        const int64_t j = i % 16 / 4, b = i % 4;
        const uint8_t byte = block[kScaleBytes + 256 * g + 64 * j + 4 * row + b];
        out[k] = F16ToFloat(scale) * static_cast<float>((i < 16 ? byte & 15 : byte >> 4) - 8);
      } else {
        const uint8_t byte = block[kScaleBytes + 512 * g + 64 * (i / 4) + 4 * row + i % 4];
        out[k] = F16ToFloat(scale) * static_cast<float>(byte - 128);
      }
    }
  }
}

uint16_t FloatToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t FloatToF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // rounds to infinity
  if (magnitude < 0x38800000) {  // subnormal: add the float whose last bit is 2^-24, let it round
    float f;
    std::memcpy(&f, &magnitude, 4);
    f += 0.5f;
    std::memcpy(&bits, &f, 4);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000));
  }
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

float F16ToFloat(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = half >> 10 & 31, fraction = half & 0x3ff;
  float value;
  if (exponent == 0) {
    value = static_cast<float>(fraction) * 0x1p-24f;
  } else {
    const uint32_t bits = (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | fraction << 13;
    std::memcpy(&value, &bits, 4);
  }
  return sign ? -value : value;
}

}  // namespace fathom
