// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One rounding routine for every small format.
#include "tests/cuda_sim/small_float.h"

#include <algorithm>

namespace fathom::cuda_sim {

uint32_t RoundTo(double value, int exponent_bits, int mantissa_bits, Rounding rounding,
                 bool finite) {
  const uint32_t infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
  if (std::isnan(value)) return infinity | ((1u << mantissa_bits) - 1);
  const bool negative = std::signbit(value);
  const uint32_t sign = negative ? 1u << (exponent_bits + mantissa_bits) : 0;
  const double magnitude = std::fabs(value);
  const bool up = rounding == (negative ? Rounding::rm : Rounding::rp);
  const bool nearest = rounding == Rounding::rn || rounding == Rounding::rna;
  uint32_t bits = infinity;
  if (magnitude == 0) return sign;
  if (!std::isinf(magnitude)) {
    const int smallest = 2 - (1 << (exponent_bits - 1));  // exponent of the smallest normal number
    const int exponent = std::max(std::ilogb(magnitude), smallest);
    // In units of the last place; below 2^(mantissa_bits + 1), so exact in a double.
    const double units = std::ldexp(magnitude, mantissa_bits - exponent);
    double whole = std::floor(units);
    const double rest = units - whole;
    if (nearest) {
      const bool tie_up = rounding == Rounding::rna || std::fmod(whole, 2) == 1;
      whole += rest > 0.5 || (rest == 0.5 && tie_up);
    } else {
      whole += up && rest > 0;
    }
    if (exponent - smallest < (1 << exponent_bits)) {
      // The hidden bit of a normal number adds 1 to the exponent, a carry another 1.
      bits = (static_cast<uint32_t>(exponent - smallest) << mantissa_bits) +
             static_cast<uint32_t>(whole);
    }
    if (bits >= infinity) bits = nearest || up ? infinity : infinity - 1;
  }
  if (finite && bits == infinity) bits = infinity - 1;
  return sign | bits;
}

}  // namespace fathom::cuda_sim
