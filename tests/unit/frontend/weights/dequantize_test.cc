// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every code of the small types against arithmetic on its fields; blocks against the gguf package.
#include "frontend/weights/dequantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

std::vector<float> Decode(StorageType type, const std::string& bytes) {
  const uint64_t elements = bytes.size() / BlockBytes(type) * BlockElements(type);
  std::vector<float> out(elements, -1.0f);
  // One byte off, so that nothing can lean on alignment.
  const std::string shifted = "x" + bytes;
  Dequantize(type, reinterpret_cast<const uint8_t*>(shifted.data()) + 1, elements, out.data());
  return out;
}

// Sign, exponent and mantissa by the definition of a binary float with the given field widths.
double Value(uint32_t code, int exponent_bits, int mantissa_bits, int bias) {
  const double sign = code >> (exponent_bits + mantissa_bits) & 1 ? -1.0 : 1.0;
  const int exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1);
  const double fraction = std::ldexp(code & ((1 << mantissa_bits) - 1), -mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  return sign * std::ldexp(1.0 + fraction, exponent - bias);
}

template <typename T>
std::string AllCodes(uint32_t count) {
  std::string bytes;
  for (uint32_t code = 0; code < count; ++code) bytes += Bytes(static_cast<T>(code));
  return bytes;
}

// Bits, not values: a wrong sign of zero is a failure.
void ExpectSame(float found, double expected, uint32_t code) {
  const float wanted = static_cast<float>(expected);
  if (std::isnan(wanted)) {
    EXPECT_TRUE(std::isnan(found)) << "code " << code;
  } else {
    EXPECT_EQ(std::memcmp(&found, &wanted, 4), 0)
        << "code " << code << " found " << found << " expected " << wanted;
  }
}

TEST(Dequantize, F16AllCodes) {
  const std::vector<float> out = Decode(StorageType::kF16, AllCodes<uint16_t>(65536));
  for (uint32_t code = 0; code < 65536; ++code) {
    double expected = Value(code, 5, 10, 15);
    if ((code & 0x7c00) == 0x7c00) {
      expected = code & 0x3ff ? NAN : (code & 0x8000 ? -INFINITY : INFINITY);
    }
    ExpectSame(out[code], expected, code);
  }
}

TEST(Dequantize, BF16AllCodes) {
  const std::vector<float> out = Decode(StorageType::kBF16, AllCodes<uint16_t>(65536));
  for (uint32_t code = 0; code < 65536; ++code) {
    double expected = Value(code, 8, 7, 127);
    if ((code & 0x7f80) == 0x7f80) {
      expected = code & 0x7f ? NAN : (code & 0x8000 ? -INFINITY : INFINITY);
    }
    ExpectSame(out[code], expected, code);
  }
}

TEST(Dequantize, F8E4M3AllCodes) {
  const std::vector<float> out = Decode(StorageType::kF8E4M3, AllCodes<uint8_t>(256));
  for (uint32_t code = 0; code < 256; ++code) {
    ExpectSame(out[code], (code & 0x7f) == 0x7f ? NAN : Value(code, 4, 3, 7), code);
  }
  EXPECT_EQ(out[0x7e], 448.0f);
  EXPECT_EQ(out[0x01], 0.001953125f);
}

TEST(Dequantize, F8E5M2AllCodes) {
  const std::vector<float> out = Decode(StorageType::kF8E5M2, AllCodes<uint8_t>(256));
  for (uint32_t code = 0; code < 256; ++code) {
    double expected = Value(code, 5, 2, 15);
    if ((code & 0x7c) == 0x7c) expected = code & 3 ? NAN : (code & 0x80 ? -INFINITY : INFINITY);
    ExpectSame(out[code], expected, code);
  }
}

TEST(Dequantize, F8E8M0AllCodes) {
  const std::vector<float> out = Decode(StorageType::kF8E8M0, AllCodes<uint8_t>(256));
  for (uint32_t code = 0; code < 255; ++code)
    ExpectSame(out[code], std::ldexp(1.0, code - 127), code);
  EXPECT_TRUE(std::isnan(out[255]));
}

TEST(Dequantize, ScaledFp8IsOneProduct) {
  const std::string codes = AllCodes<uint8_t>(256);
  std::vector<float> out(256);
  const float scale = 0.0123f;
  DequantizeScaled(StorageType::kF8E4M3, reinterpret_cast<const uint8_t*>(codes.data()), 256, scale,
                   out.data());
  for (uint32_t code = 0; code < 256; ++code) {
    if ((code & 0x7f) == 0x7f) continue;
    ExpectSame(out[code], static_cast<float>(Value(code, 4, 3, 7)) * scale, code);
  }
}

TEST(Dequantize, Numbers) {
  EXPECT_EQ(Decode(StorageType::kF32, BytesOf<float>({1.5f, -2.0f})),
            (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(Decode(StorageType::kF64, BytesOf<double>({0.1, -1e300})),
            (std::vector<float>{0.1f, -INFINITY}));
  EXPECT_EQ(Decode(StorageType::kI8, BytesOf<int8_t>({-128, 127})),
            (std::vector<float>{-128, 127}));
  EXPECT_EQ(Decode(StorageType::kU8, BytesOf<uint8_t>({0, 255})), (std::vector<float>{0, 255}));
  EXPECT_EQ(Decode(StorageType::kI16, BytesOf<int16_t>({-32768, 1})),
            (std::vector<float>{-32768, 1}));
  EXPECT_EQ(Decode(StorageType::kU16, BytesOf<uint16_t>({65535})), (std::vector<float>{65535}));
  EXPECT_EQ(Decode(StorageType::kI32, BytesOf<int32_t>({-7, 16777217})),
            (std::vector<float>{-7, 16777216}));
  EXPECT_EQ(Decode(StorageType::kU32, BytesOf<uint32_t>({4294967295u})),
            (std::vector<float>{4294967296.0f}));
  EXPECT_EQ(Decode(StorageType::kI64, BytesOf<int64_t>({-3})), (std::vector<float>{-3}));
  EXPECT_EQ(Decode(StorageType::kU64, BytesOf<uint64_t>({~uint64_t{0}})),
            (std::vector<float>{18446744073709551616.0f}));
  EXPECT_EQ(Decode(StorageType::kBool, std::string("\0\1", 2)), (std::vector<float>{0, 1}));
}

struct BlockType {
  StorageType type;
  std::vector<uint32_t> scales;  // byte offsets of the float16 fields
};

// The bytes that make_block_goldens.py decodes: see there.
std::string FormulaBlock(const BlockType& block, uint32_t number) {
  std::string bytes;
  for (uint32_t i = 0; i < BlockBytes(block.type); ++i) {
    bytes += static_cast<char>(7 * i * i + 13 * i + 91 * number);
  }
  for (uint32_t k = 0; k < block.scales.size(); ++k) {
    const uint16_t half = static_cast<uint16_t>(0x2c00 + 0x123 * k + 37 * number);
    bytes.replace(block.scales[k], 2, Bytes(half));
  }
  return bytes;
}

TEST(Dequantize, BlocksEqualTheGgufPackage) {
  std::ifstream file("tests/unit/frontend/weights/block_goldens.json");
  ASSERT_TRUE(file.good());
  const nlohmann::json goldens = nlohmann::json::parse(file);
  const std::vector<BlockType> types = {{StorageType::kQ4_0, {0}},    {StorageType::kQ4_1, {0, 2}},
                                        {StorageType::kQ5_0, {0}},    {StorageType::kQ5_1, {0, 2}},
                                        {StorageType::kQ8_0, {0}},    {StorageType::kQ4_K, {0, 2}},
                                        {StorageType::kQ5_K, {0, 2}}, {StorageType::kQ6_K, {208}}};
  for (const BlockType& block : types) {
    const std::string name = StorageTypeName(block.type);
    SCOPED_TRACE(name);
    const std::vector<double> expected = goldens.at(name).get<std::vector<double>>();
    std::string bytes;
    for (uint32_t n = 0; n * BlockElements(block.type) < expected.size(); ++n) {
      bytes += FormulaBlock(block, n);
    }
    const std::vector<float> out = Decode(block.type, bytes);
    ASSERT_EQ(out.size(), expected.size());
    for (uint32_t i = 0; i < out.size(); ++i) ExpectSame(out[i], expected[i], i);
  }
}

TEST(Dequantize, StoredBytes) {
  EXPECT_EQ(StoredBytes(StorageType::kQ6_K, 512), 420u);
  EXPECT_EQ(StoredBytes(StorageType::kQ6_K, 255), std::nullopt);
  EXPECT_EQ(StoredBytes(StorageType::kF64, ~uint64_t{0} / 4), std::nullopt);
}

}  // namespace
}  // namespace fathom
