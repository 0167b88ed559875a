// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The scalar and packed types of PTX, and the fault every check of the simulator throws.
#ifndef FATHOM_TESTS_CUDA_SIM_TYPES_H_
#define FATHOM_TESTS_CUDA_SIM_TYPES_H_

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::cuda_sim {

inline constexpr int kLanes = 32;  // threads of a warp
using Mask = uint32_t;             // one bit per lane
inline constexpr Mask kAllLanes = ~Mask{0};

enum class Type : uint8_t {
  none,
  pred,
  b8,
  b16,
  b32,
  b64,
  b128,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  bf16,
  f32,
  f64,
  f16x2,
  bf16x2,
  f32x2,
  tf32,
};

// The type spelled `name` ("u32"), or none.
Type ParseType(std::string_view name);
// Bytes of a value of `type`; 0 for none, 1 for pred.
int SizeOf(Type type);
inline bool IsSigned(Type type) {
  return type == Type::s8 || type == Type::s16 || type == Type::s32 || type == Type::s64;
}
// b*, u*, s*: what integer instructions work on.
bool IsInteger(Type type);
// f32 and f64.
inline bool IsFloat(Type type) { return type == Type::f32 || type == Type::f64; }
// f16, bf16 and the packed types.
inline bool IsSmallFloat(Type type) {
  return type >= Type::f16 && type <= Type::f32x2 && !IsFloat(type);
}

// CUDA error codes the simulator answers with.
enum class Error : int {
  ok = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  no_binary_for_gpu = 209,
  invalid_ptx = 218,
  unsupported_ptx_version = 222,
  invalid_handle = 400,
  not_found = 500,
  not_ready = 600,
  illegal_address = 700,
  launch_out_of_resources = 701,
  launch_timeout = 702,
  host_memory_not_registered = 713,
  illegal_instruction = 715,
  misaligned_address = 716,
  launch_failed = 719,
  stream_capture_unsupported = 900,
  stream_capture_unjoined = 904,
  illegal_state = 401,
  unknown = 999,
};

// Thrown by whatever finds that a kernel, a module or a call is wrong. Never leaves the library.
struct Fault {
  Error error;
  std::string what;
  int lane = -1;  // of the warp that ran; -1: the warp as a whole
};

std::string Hex(uint64_t value);

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_TYPES_H_
