// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The element types of matrix instructions, packed into 32-bit registers.
#ifndef FATHOM_TESTS_CUDA_SIM_OPS_FRAGMENTS_H_
#define FATHOM_TESTS_CUDA_SIM_OPS_FRAGMENTS_H_

#include <bit>
#include <cstdint>
#include <string>

#include "tests/cuda_sim/small_float.h"
#include "tests/cuda_sim/types.h"

namespace fathom::cuda_sim {

// Sizes of a matrix instruction: "m16n8k16".
struct MatrixShape {
  int m = 0, n = 0, k = 0;
};
// False when `name` is no shape.
bool ParseShape(const std::string& name, MatrixShape* shape);

// How many elements of `type` a 32-bit register holds.
inline int ElementsPerRegister(Type type) { return 4 / SizeOf(type); }

inline bool IsMatrixFloat(Type type) {
  return type == Type::f16 || type == Type::bf16 || type == Type::tf32 || type == Type::f32;
}

// Element `i` of a register; every type here is exact in a double.
inline double Element(uint32_t bits, int i, Type type) {
  switch (type) {
    case Type::f16:
      return HalfToFloat(static_cast<uint16_t>(bits >> (16 * i)));
    case Type::bf16:
      return Bf16ToFloat(static_cast<uint16_t>(bits >> (16 * i)));
    case Type::tf32:  // the low 13 bits are not looked at
      return std::bit_cast<float>(bits & 0xffffe000u);
    case Type::f32:
      return std::bit_cast<float>(bits);
    case Type::s8:
      return static_cast<int8_t>(bits >> (8 * i));
    case Type::u8:
      return static_cast<uint8_t>(bits >> (8 * i));
    default:
      return static_cast<int32_t>(bits);
  }
}

// `value`, an exact sum, as an accumulator of `type`; integers wrap or saturate.
inline uint32_t Accumulator(double value, Type type) {
  if (type == Type::f32) {
    return value != value ? 0x7fffffffu : std::bit_cast<uint32_t>(static_cast<float>(value));
  }
  if (type == Type::f16) return DoubleToHalf(value);
  return static_cast<uint32_t>(static_cast<int64_t>(value));
}

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_OPS_FRAGMENTS_H_
