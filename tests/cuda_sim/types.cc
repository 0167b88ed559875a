// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names and sizes of types.
#include "tests/cuda_sim/types.h"

#include <array>
#include <cstdio>

namespace fathom::cuda_sim {
namespace {

struct TypeFacts {
  const char* name;
  int bytes;
};

constexpr std::array<TypeFacts, 23> kFacts = {{
    {"", 0},      {"pred", 1},  {"b8", 1},     {"b16", 2},   {"b32", 4},  {"b64", 8},
    {"b128", 16}, {"u8", 1},    {"u16", 2},    {"u32", 4},   {"u64", 8},  {"s8", 1},
    {"s16", 2},   {"s32", 4},   {"s64", 8},    {"f16", 2},   {"bf16", 2}, {"f32", 4},
    {"f64", 8},   {"f16x2", 4}, {"bf16x2", 4}, {"f32x2", 8}, {"tf32", 4},
}};
static_assert(kFacts.size() == static_cast<size_t>(Type::tf32) + 1);

}  // namespace

Type ParseType(std::string_view name) {
  for (size_t i = 1; i < kFacts.size(); ++i) {
    if (name == kFacts[i].name) return static_cast<Type>(i);
  }
  return Type::none;
}

int SizeOf(Type type) { return kFacts[static_cast<size_t>(type)].bytes; }

bool IsInteger(Type type) { return type >= Type::b8 && type <= Type::s64 && type != Type::b128; }

std::string Hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace fathom::cuda_sim
