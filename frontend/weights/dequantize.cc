// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One short loop per storage type, each in a shape that compilers turn into vector code.
#include "frontend/weights/dequantize.h"

#include <bit>
#include <cstring>
#include <limits>

#include "runtime/base/multiversion.h"

static_assert(std::endian::native == std::endian::little, "stored tensors are little-endian");

namespace fathom {
namespace {

// Loads from any address.
template <typename T>
inline T Load(const uint8_t* src) {
  T value;
  std::memcpy(&value, src, sizeof(T));
  return value;
}

// IEEE half precision in 32-bit integer steps. A subnormal m * 2^-24 is made as a normal number,
// (1 + m / 2^10) * 2^-14, minus 2^-14: subnormal operands would cost a hundred cycles each.
inline float HalfToFloat(uint32_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t normal = (magnitude << 13) + (112u << 23);
  const uint32_t special = normal + (112u << 23);
  const uint32_t subnormal = std::bit_cast<uint32_t>(
      std::bit_cast<float>((magnitude << 13) + (113u << 23)) - std::bit_cast<float>(113u << 23));
  uint32_t bits = magnitude >= 0x7c00u ? special : normal;
  bits = magnitude < 0x0400u ? subnormal : bits;
  return std::bit_cast<float>(bits | (half & 0x8000u) << 16);
}

// The same for fp8 with 4 exponent bits of bias 7: subnormals are m * 2^-9, 0x7f alone is NaN.
inline float E4M3ToFloat(uint32_t code) {
  const uint32_t magnitude = code & 0x7fu;
  const uint32_t normal = (magnitude << 20) + (120u << 23);
  const uint32_t subnormal = std::bit_cast<uint32_t>(
      std::bit_cast<float>((magnitude << 20) + (121u << 23)) - std::bit_cast<float>(121u << 23));
  uint32_t bits = magnitude == 0x7fu ? 0x7fc00000u : normal;
  bits = magnitude < 0x08u ? subnormal : bits;
  return std::bit_cast<float>(bits | (code & 0x80u) << 24);
}

inline float E8M0ToFloat(uint32_t code) {
  // 2^-127 is the one value that is subnormal in float32.
  uint32_t bits = code == 0 ? 0x00400000u : code << 23;
  bits = code == 255 ? 0x7fc00000u : bits;
  return std::bit_cast<float>(bits);
}

inline float LoadHalf(const uint8_t* src) { return HalfToFloat(Load<uint16_t>(src)); }

FATHOM_MULTIVERSION
void FromF16(const uint8_t* src, uint64_t n, float* out) {
  for (uint64_t i = 0; i < n; ++i) out[i] = HalfToFloat(Load<uint16_t>(src + 2 * i));
}

FATHOM_MULTIVERSION
void FromBF16(const uint8_t* src, uint64_t n, float* out) {
  for (uint64_t i = 0; i < n; ++i) {
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(Load<uint16_t>(src + 2 * i)) << 16);
  }
}

FATHOM_MULTIVERSION
void FromE4M3(const uint8_t* src, uint64_t n, float scale, float* out) {
  for (uint64_t i = 0; i < n; ++i) out[i] = E4M3ToFloat(src[i]) * scale;
}

FATHOM_MULTIVERSION
void FromE5M2(const uint8_t* src, uint64_t n, float scale, float* out) {
  for (uint64_t i = 0; i < n; ++i) out[i] = HalfToFloat(uint32_t{src[i]} << 8) * scale;
}

void FromE8M0(const uint8_t* src, uint64_t n, float* out) {
  for (uint64_t i = 0; i < n; ++i) out[i] = E8M0ToFloat(src[i]);
}

template <typename T>
void FromNumber(const uint8_t* src, uint64_t n, float* out) {
  for (uint64_t i = 0; i < n; ++i) out[i] = static_cast<float>(Load<T>(src + sizeof(T) * i));
}

// The 32-element blocks. Nibble i of the first half of a block is the low one of byte i, of the
// second half the high one; the fifth bits lie in 32 bits, element i at bit i.
constexpr uint32_t kSmallBlock = 32;

FATHOM_MULTIVERSION
void FromQ4_0(const uint8_t* src, uint64_t blocks, float* out) {
  for (uint64_t b = 0; b < blocks; ++b, src += 18, out += kSmallBlock) {  // f16 d, 16 x 2 nibbles
    const float d = LoadHalf(src);
    const uint8_t* q = src + 2;
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>((q[i] & 15) - 8);
      out[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
    }
  }
}

FATHOM_MULTIVERSION
void FromQ4_1(const uint8_t* src, uint64_t blocks, float* out) {
  for (uint64_t b = 0; b < blocks; ++b, src += 20, out += kSmallBlock) {  // f16 d, f16 m, nibbles
    const float d = LoadHalf(src);
    const float m = LoadHalf(src + 2);
    const uint8_t* q = src + 4;
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>(q[i] & 15) + m;
      out[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
    }
  }
}

FATHOM_MULTIVERSION
void FromQ5_0(const uint8_t* src, uint64_t blocks, float* out) {
  for (uint64_t b = 0; b < blocks;
       ++b, src += 22, out += kSmallBlock) {  // f16 d, u32 high, nibbles
    const float d = LoadHalf(src);
    const uint32_t high = Load<uint32_t>(src + 2);
    const uint8_t* q = src + 6;
    for (int i = 0; i < 16; ++i) {
      const int first = (q[i] & 15) | static_cast<int>((high >> i & 1) << 4);
      const int second = (q[i] >> 4) | static_cast<int>((high >> (i + 16) & 1) << 4);
      out[i] = d * static_cast<float>(first - 16);
      out[i + 16] = d * static_cast<float>(second - 16);
    }
  }
}

FATHOM_MULTIVERSION
void FromQ5_1(const uint8_t* src, uint64_t blocks, float* out) {
  for (uint64_t b = 0; b < blocks;
       ++b, src += 24, out += kSmallBlock) {  // f16 d, f16 m, u32, nibbles
    const float d = LoadHalf(src);
    const float m = LoadHalf(src + 2);
    const uint32_t high = Load<uint32_t>(src + 4);
    const uint8_t* q = src + 8;
    for (int i = 0; i < 16; ++i) {
      const int first = (q[i] & 15) | static_cast<int>((high >> i & 1) << 4);
      const int second = (q[i] >> 4) | static_cast<int>((high >> (i + 16) & 1) << 4);
      out[i] = d * static_cast<float>(first) + m;
      out[i + 16] = d * static_cast<float>(second) + m;
    }
  }
}

FATHOM_MULTIVERSION
void FromQ8_0(const uint8_t* src, uint64_t blocks, float* out) {
  for (uint64_t b = 0; b < blocks; ++b, src += 34, out += kSmallBlock) {  // f16 d, 32 x i8
    const float d = LoadHalf(src);
    const uint8_t* q = src + 2;
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(q[i]));
  }
}

// The 256-element blocks have 8 runs of 32 elements. Q4_K and Q5_K give each run a 6-bit scale and
// a 6-bit minimum, packed in 12 bytes: runs 0..3 in the low bits of bytes 0..3 (scales) and 4..7
// (minima); runs 4..7 in the nibbles of bytes 8..11 plus the top two bits of the bytes before.
constexpr uint32_t kLargeBlock = 256;

inline uint32_t RunScale(const uint8_t* packed, int run) {
  return run < 4 ? packed[run] & 63u : (packed[run + 4] & 15u) | (packed[run - 4] >> 6) << 4;
}
inline uint32_t RunMinimum(const uint8_t* packed, int run) {
  return run < 4 ? packed[run + 4] & 63u : (packed[run + 4] >> 4u) | (packed[run] >> 6) << 4;
}

FATHOM_MULTIVERSION
void FromQ4_K(const uint8_t* src, uint64_t blocks, float* out) {
  // f16 d, f16 dmin, 12 bytes of scales and minima, 128 x 2 nibbles
  for (uint64_t b = 0; b < blocks; ++b, src += 144, out += kLargeBlock) {
    const float d = LoadHalf(src);
    const float dmin = LoadHalf(src + 2);
    for (int run = 0; run < 8; ++run) {
      const float scale = d * static_cast<float>(RunScale(src + 4, run));
      const float minimum = dmin * static_cast<float>(RunMinimum(src + 4, run));
      const uint8_t* q = src + 16 + 32 * (run / 2);
      const int shift = 4 * (run % 2);
      float* o = out + 32 * run;
      for (int i = 0; i < 32; ++i) o[i] = scale * static_cast<float>(q[i] >> shift & 15) - minimum;
    }
  }
}

FATHOM_MULTIVERSION
void FromQ5_K(const uint8_t* src, uint64_t blocks, float* out) {
  // f16 d, f16 dmin, 12 bytes of scales and minima, 32 bytes of fifth bits (bit `run` of byte i
  // belongs to element i of that run), 128 x 2 nibbles
  for (uint64_t b = 0; b < blocks; ++b, src += 176, out += kLargeBlock) {
    const float d = LoadHalf(src);
    const float dmin = LoadHalf(src + 2);
    const uint8_t* high = src + 16;
    for (int run = 0; run < 8; ++run) {
      const float scale = d * static_cast<float>(RunScale(src + 4, run));
      const float minimum = dmin * static_cast<float>(RunMinimum(src + 4, run));
      const uint8_t* q = src + 48 + 32 * (run / 2);
      const int shift = 4 * (run % 2);
      float* o = out + 32 * run;
      for (int i = 0; i < 32; ++i) {
        const int value = (q[i] >> shift & 15) | (high[i] >> run & 1) << 4;
        o[i] = scale * static_cast<float>(value) - minimum;
      }
    }
  }
}

FATHOM_MULTIVERSION
void FromQ6_K(const uint8_t* src, uint64_t blocks, float* out) {
  // 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 x i8 scales (one per 16 elements),
  // f16 d. Each half of the block (4 runs) uses 64 low and 32 high bytes.
  for (uint64_t b = 0; b < blocks; ++b, src += 210, out += kLargeBlock) {
    const float d = LoadHalf(src + 208);
    for (int run = 0; run < 8; ++run) {
      const uint8_t* low = src + 64 * (run / 4) + 32 * (run % 2);
      const uint8_t* high = src + 128 + 32 * (run / 4);
      const int low_shift = 4 * (run % 4 / 2);
      const int high_shift = 2 * (run % 4);
      for (int part = 0; part < 2; ++part) {
        const float scale = d * static_cast<float>(static_cast<int8_t>(src[192 + 2 * run + part]));
        float* o = out + 32 * run + 16 * part;
        for (int i = 0; i < 16; ++i) {
          const int value =
              (low[16 * part + i] >> low_shift & 15) | (high[16 * part + i] >> high_shift & 3) << 4;
          o[i] = scale * static_cast<float>(value - 32);
        }
      }
    }
  }
}

}  // namespace

void Dequantize(StorageType type, const uint8_t* src, uint64_t elements, float* out) {
  const uint64_t blocks = elements / BlockElements(type);
  switch (type) {
    case StorageType::kF64:
      return FromNumber<double>(src, elements, out);
    case StorageType::kF32:
      std::memcpy(out, src, elements * sizeof(float));
      return;
    case StorageType::kF16:
      return FromF16(src, elements, out);
    case StorageType::kBF16:
      return FromBF16(src, elements, out);
    case StorageType::kF8E4M3:
      return FromE4M3(src, elements, 1.0f, out);
    case StorageType::kF8E5M2:
      return FromE5M2(src, elements, 1.0f, out);
    case StorageType::kF8E8M0:
      return FromE8M0(src, elements, out);
    case StorageType::kI8:
      return FromNumber<int8_t>(src, elements, out);
    case StorageType::kI16:
      return FromNumber<int16_t>(src, elements, out);
    case StorageType::kI32:
      return FromNumber<int32_t>(src, elements, out);
    case StorageType::kI64:
      return FromNumber<int64_t>(src, elements, out);
    case StorageType::kBool:
    case StorageType::kU8:
      return FromNumber<uint8_t>(src, elements, out);
    case StorageType::kU16:
      return FromNumber<uint16_t>(src, elements, out);
    case StorageType::kU32:
      return FromNumber<uint32_t>(src, elements, out);
    case StorageType::kU64:
      return FromNumber<uint64_t>(src, elements, out);
    case StorageType::kQ4_0:
      return FromQ4_0(src, blocks, out);
    case StorageType::kQ4_1:
      return FromQ4_1(src, blocks, out);
    case StorageType::kQ5_0:
      return FromQ5_0(src, blocks, out);
    case StorageType::kQ5_1:
      return FromQ5_1(src, blocks, out);
    case StorageType::kQ8_0:
      return FromQ8_0(src, blocks, out);
    case StorageType::kQ4_K:
      return FromQ4_K(src, blocks, out);
    case StorageType::kQ5_K:
      return FromQ5_K(src, blocks, out);
    case StorageType::kQ6_K:
      return FromQ6_K(src, blocks, out);
  }
}

void DequantizeScaled(StorageType type, const uint8_t* src, uint64_t elements, float scale,
                      float* out) {
  if (type == StorageType::kF8E4M3) return FromE4M3(src, elements, scale, out);
  FromE5M2(src, elements, scale, out);
}

}  // namespace fathom
