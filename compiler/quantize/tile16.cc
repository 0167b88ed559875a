// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tile16 encoder: one pass over a tile, the 16 rows in the lanes of vectors.
#include "compiler/quantize/tile16.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/base/multiversion.h"

namespace fathom {
namespace {

constexpr int64_t kScaleBytes = 64;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// One value per row of the tile. A word of tile16 holds neighbouring columns of one row and the
// words of the 16 rows lie side by side, so that everything below is the same for every row.
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

#define FATHOM_INLINE inline __attribute__((always_inline))

template <typename To, typename From>
FATHOM_INLINE To Bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

FATHOM_INLINE Floats Abs(const Floats& v) { return Bits<Floats>(Bits<Ints>(v) & 0x7fffffff); }

// Round to nearest even for |v| < 2^22.
FATHOM_INLINE Floats Round(const Floats& v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

FATHOM_INLINE Floats Clamp(const Floats& v, float low, float high) {
  const Floats above = v < low ? Floats{} + low : v;
  return above > high ? Floats{} + high : above;
}

// Scales: rounded to nearest even, saturating at the largest half.
FATHOM_INLINE Ints ToHalf(const Floats& v) {
  const Ints bits = Bits<Ints>(v), magnitude = bits & 0x7fffffff;
  // Below the normal halves: add the float whose last bit is 2^-24 and let it round.
  const Ints small = Bits<Ints>(Bits<Floats>(magnitude) + 0.5f) - 0x3f000000;
  const Ints normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  const Ints half = magnitude < 0x38800000 ? small : normal;
  return (magnitude >= 0x477fe000 ? Ints{} + 0x7bff : half) | (bits >> 16 & 0x8000);
}

FATHOM_INLINE Floats FromHalf(const Ints& half) {
  const Ints exponent = half >> 10 & 31, fraction = half & 0x3ff;
  const Floats small = __builtin_convertvector(fraction, Floats) * 0x1p-24f;
  const Floats normal = Bits<Floats>((exponent + 112) << 23 | fraction << 13);
  const Ints magnitude = Bits<Ints>(exponent == 0 ? small : normal);
  return Bits<Floats>(magnitude | (half & 0x8000) << 16);
}

// `columns` columns of up to 16 rows, a vector per column; what there is no row or column for is 0.
struct Block {
  Floats x[kGroup];
};

FATHOM_INLINE void LoadBlock(const float* values, int64_t rows, int64_t cols, int64_t columns,
                             Block& block) {
  if (rows < kTileRows || columns < kGroup) std::memset(&block, 0, sizeof block);
  float* to = reinterpret_cast<float*>(&block);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < columns; ++i) to[16 * i + r] = values[r * cols + i];
}

// Makes what is not finite 0 and adds to `bad` how many there were in each row.
FATHOM_INLINE void DropNotFinite(Block& block, Ints& bad) {
  for (Floats& x : block.x) {
    const Ints wrong = (Bits<Ints>(x) & 0x7f800000) == 0x7f800000;
    x = wrong ? Floats{} : x;
    bad -= wrong;
  }
}

FATHOM_INLINE void StoreScales(const Ints& bits, uint8_t* out) {
  const Halves halves = __builtin_convertvector(bits, Halves);
  std::memcpy(out, &halves, sizeof halves);
}

FATHOM_INLINE Floats Inverse(const Floats& scale) {
  return scale == 0.0f ? Floats{} : 1.0f / scale;
}

// A group to 4-bit codes: 4 words a row at `out`. The value of largest magnitude maps to code 0
// (-8), so the scale carries its sign: one more level on the side where the group needs it. Of that
// scale and its neighbours the one of least squared error wins.
FATHOM_INLINE Ints EncodeGroup4(const Block& block, uint8_t* out) {
  Floats extreme{};
  for (const Floats& x : block.x) extreme = Abs(x) > Abs(extreme) ? x : extreme;
  Ints best_bits{};
  Floats best_error = Floats{} + NAN;  // the first always wins: squares of huge values are infinite
  for (float divisor : {-8.0f, -7.5f, -7.0f}) {
    const Ints bits = ToHalf(extreme / divisor);
    const Floats scale = FromHalf(bits), inverse = Inverse(scale);
    Floats error{};
    for (const Floats& x : block.x) {
      const Floats d = Clamp(Round(x * inverse), -8.0f, 7.0f) * scale - x;
      error += d * d;
    }
    const Ints better = ~(error >= best_error);
    best_bits = better ? bits : best_bits;
    best_error = better ? error : best_error;
  }
  best_bits = extreme == 0.0f ? Ints{} : best_bits;
  const Floats inverse = Inverse(FromHalf(best_bits));
  auto code = [&](int64_t k) {
    return __builtin_convertvector(Clamp(Round(block.x[k] * inverse), -8.0f, 7.0f), Ints) + 8;
  };
  for (int64_t j = 0; j < 4; ++j) {
    Ints word{};
    for (int64_t b = 0; b < 4; ++b)
      word |= (code(4 * j + b) | code(16 + 4 * j + b) << 4) << static_cast<int>(8 * b);
    std::memcpy(out + 64 * j, &word, sizeof word);
  }
  return best_bits;
}

// The same to bytes 1..255 (value - 128), 8 words a row.
FATHOM_INLINE Ints EncodeGroup8(const Block& block, uint8_t* out) {
  Floats amax{};
  for (const Floats& x : block.x) amax = Abs(x) > amax ? Abs(x) : amax;
  const Ints bits = ToHalf(amax / 127.0f);
  const Floats inverse = Inverse(FromHalf(bits));
  for (int64_t j = 0; j < 8; ++j) {
    Ints word{};
    for (int64_t b = 0; b < 4; ++b) {
      const Floats q = Clamp(Round(block.x[4 * j + b] * inverse), -127.0f, 127.0f);
      word |= (__builtin_convertvector(q, Ints) + 128) << static_cast<int>(8 * b);
    }
    std::memcpy(out + 64 * j, &word, sizeof word);
  }
  return bits;
}

FATHOM_INLINE Ints ToBf16(const Floats& v) {
  const Ints bits = Bits<Ints>(v);
  const Ints rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16 & 0xffff;
  const Ints quiet = (bits >> 16 & 0xffff) | 0x40;
  return (bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded;
}

FATHOM_MULTIVERSION int64_t EncodeGroups(WeightEncoding encoding, const float* values, int64_t rows,
                                         int64_t cols, uint8_t* out) {
  const bool blocks = encoding == WeightEncoding::kQ4 || encoding == WeightEncoding::kQ8;
  const int64_t step = TileStepBytes(encoding);
  const int64_t group_bytes = (step - kScaleBytes) / (kSuperblock / kGroup);
  const int64_t end = blocks ? CeilDiv(cols, kSuperblock) * kSuperblock : cols;
  Ints bad{};
  Block block;
  for (int64_t k = 0; k < end; k += kGroup) {
    const int64_t columns = std::clamp<int64_t>(cols - k, 0, kGroup);
    LoadBlock(values + k, rows, cols, columns, block);
    if (blocks) {
      DropNotFinite(block, bad);
      uint8_t* base = out + k / kSuperblock * step;
      const int64_t g = k % kSuperblock / kGroup;
      uint8_t* codes = base + kScaleBytes + g * group_bytes;
      StoreScales(
          encoding == WeightEncoding::kQ4 ? EncodeGroup4(block, codes) : EncodeGroup8(block, codes),
          base + 32 * g);
    } else if (encoding == WeightEncoding::kBf16) {
      for (int64_t i = 0; i < columns; i += 2) {
        const Ints word = ToBf16(block.x[i]) | ToBf16(block.x[i + 1]) << 16;
        std::memcpy(out + (k + i) / 2 * 64, &word, sizeof word);
      }
    } else {
      std::memcpy(out + k * 64, &block, columns * 64);
    }
  }
  int64_t count = 0;
  for (int64_t r = 0; r < kTileRows; ++r) count += bad[r];
  return count;
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
  if (encoding == WeightEncoding::kRawF32 || encoding == WeightEncoding::kRawI32)
    return rows * cols * 4;
  return CeilDiv(rows, kTileRows) * TileBytes(encoding, cols);
}

int64_t EncodeTile(WeightEncoding encoding, const float* values, int64_t rows, int64_t cols,
                   uint8_t* out) {
  return EncodeGroups(encoding, values, rows, cols, out);
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
  return static_cast<uint16_t>(sign |
                               ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
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
