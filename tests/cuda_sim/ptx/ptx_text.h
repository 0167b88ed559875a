// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// PTX as parsed: names of registers, labels and variables resolved, instructions still words.
#ifndef FATHOM_TESTS_CUDA_SIM_PTX_PTX_TEXT_H_
#define FATHOM_TESTS_CUDA_SIM_PTX_PTX_TEXT_H_

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/cuda_sim/types.h"

namespace fathom::cuda_sim {

enum class Space : uint8_t { generic, global, constant, shared, local, param };

struct Variable {
  std::string name;
  Space space = Space::global;
  uint64_t bytes = 0;
  uint32_t align = 1;
  std::vector<uint8_t> initial;  // empty: zeros (global, const) or nothing (shared, local)
  bool dynamic = false;          // .extern .shared name[]
  int line = 0;
};

struct Operand {
  enum class Kind : uint8_t {
    reg,
    special,    // name: "%tid.x"
    integer,    // value
    float32,    // value: its bits
    float64,    // value: its bits
    variable,   // variable; value: bytes beyond its begin
    parameter,  // of the kernel; value: its offset in the parameter block plus what follows
    address,    // [base + value]: items[0] is the base, if any
    vector,     // {items}
    sink,       // _
    label,      // name
  };
  Kind kind = Kind::integer;
  bool negated = false;  // !%p
  int reg = -1;
  int variable = -1;  // index into ParsedKernel::variables
  uint64_t value = 0;
  std::string name;
  std::vector<Operand> items;
};

struct Instruction {
  int line = 0;
  std::string text;
  int guard = -1;  // register
  bool guard_not = false;
  std::string name;                    // "ld"
  std::vector<std::string> modifiers;  // "global", "v4", "b32"
  std::vector<Operand> operands;       // d|p is two operands, and `paired`
  bool paired = false;
};

struct Parameter {
  uint32_t offset = 0;
  uint32_t bytes = 0;
};

struct ParsedKernel {
  std::string name;
  int line = 0;
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;
  std::array<uint32_t, 3> max_threads = {0, 0, 0};       // .maxntid; 0: not given
  std::array<uint32_t, 3> required_threads = {0, 0, 0};  // .reqntid
  std::vector<Type> registers;                           // b16, b32 ..., pred
  std::vector<Variable> variables;                       // the module's, then those of the kernel
  std::vector<Instruction> instructions;
  std::unordered_map<std::string, uint32_t> labels;                    // to instructions
  std::unordered_map<std::string, std::vector<std::string>> branches;  // .branchtargets
};

struct ParsedModule {
  int version = 0;                  // 87: PTX ISA 8.7
  int target = 0;                   // 80: sm_80
  bool target_is_specific = false;  // sm_90a, sm_120f
  std::vector<Variable> variables;
  std::vector<ParsedKernel> kernels;
};

// Throws Fault{invalid_ptx} with the line and its text for anything it does not know.
ParsedModule ParsePtx(const std::string& text);

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_PTX_PTX_TEXT_H_
