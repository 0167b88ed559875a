// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// f16 and bf16 as bit patterns: conversions with every rounding of PTX, and sums rounded to odd.
#ifndef FATHOM_TESTS_CUDA_SIM_SMALL_FLOAT_H_
#define FATHOM_TESTS_CUDA_SIM_SMALL_FLOAT_H_

#include <bit>
#include <cmath>
#include <cstdint>

namespace fathom::cuda_sim {

// To nearest (ties to even), towards zero, down, up, to nearest with ties away from zero.
enum class Rounding : uint8_t { rn, rz, rm, rp, rna };

inline float HalfToFloat(uint16_t h) {
  const uint32_t magnitude = h & 0x7fffu;
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  // A multiplication moves the exponent and makes subnormals normal, both exactly.
  uint32_t bits = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  if (magnitude >= 0x7c00u) bits = 0x7f800000u | magnitude << 13;
  return std::bit_cast<float>(bits | sign);
}

// To nearest even; NaN becomes the canonical 0x7fff.
inline uint16_t FloatToHalf(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = bits >> 16 & 0x8000u;
  if (magnitude > 0x7f800000u) return 0x7fff;
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65536 and above
  uint32_t rounded;
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the last place of a half is 2^-24, which is the last place of 0.5f.
    rounded = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    rounded = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | rounded);
}

inline float Bf16ToFloat(uint16_t b) {
  return std::bit_cast<float>(static_cast<uint32_t>(b) << 16);
}

inline uint16_t FloatToBf16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

// `value` in the format with `exponent_bits` and `mantissa_bits`, rounded once. NaN becomes all
// ones without the sign. With `finite`, what overflows becomes the largest number.
uint32_t RoundTo(double value, int exponent_bits, int mantissa_bits, Rounding rounding,
                 bool finite = false);
inline uint16_t DoubleToHalf(double value, Rounding rounding = Rounding::rn) {
  return static_cast<uint16_t>(RoundTo(value, 5, 10, rounding));
}
inline uint16_t DoubleToBf16(double value, Rounding rounding = Rounding::rn) {
  return static_cast<uint16_t>(RoundTo(value, 8, 7, rounding));
}
inline float DoubleToFloat(double value, Rounding rounding) {
  return std::bit_cast<float>(RoundTo(value, 8, 23, rounding));
}

// a + b rounded to odd: rounding the result again, to a format at least two bits narrower, gives
// what one rounding of the exact sum gives. So a * b + c with an exact product needs no wide type.
inline double AddToOdd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  if (error == 0) return sum;
  uint64_t bits = std::bit_cast<uint64_t>(sum);
  if ((error < 0) != (sum < 0)) --bits;  // the sum was rounded away from zero
  return std::bit_cast<double>(bits | 1);
}

// a * b + c for formats of at most 11 bits of precision, still to be rounded: as a float rounded
// to odd. Exact enough for f16 and bf16, because a float keeps at least two bits more.
inline float FmaToOdd(float a, float b, float c) {
  const double exact = AddToOdd(static_cast<double>(a) * static_cast<double>(b), c);
  const double magnitude = std::fabs(exact);
  if (!(magnitude >= 0x1p-126 && magnitude < 0x1p127)) {
    // Zero, infinities, NaN; below the normal floats a sum of this kind is exact in a float or is
    // rounded by the caller's format at the same place, towards odd as well.
    const float nearest = static_cast<float>(exact);
    if (static_cast<double>(nearest) == exact || !(magnitude < 0x1p127)) return nearest;
    const float down = DoubleToFloat(exact, Rounding::rz);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(down) | 1);
  }
  const uint64_t bits = std::bit_cast<uint64_t>(exact);
  const auto sign = static_cast<uint32_t>(bits >> 32 & 0x80000000u);
  const auto exponent = static_cast<uint32_t>((bits >> 52 & 0x7ff) - 1023 + 127);
  const auto mantissa = static_cast<uint32_t>(bits >> 29 & 0x7fffff);
  const uint32_t sticky = (bits & 0x1fffffff) != 0;
  return std::bit_cast<float>(sign | exponent << 23 | mantissa | sticky);
}

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_SMALL_FLOAT_H_
