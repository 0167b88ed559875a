// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A kernel decoded: operations whose operands are places in the register file of a warp.
#ifndef FATHOM_TESTS_CUDA_SIM_PROGRAM_H_
#define FATHOM_TESTS_CUDA_SIM_PROGRAM_H_

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_sim/ptx/ptx_text.h"
#include "tests/cuda_sim/types.h"

namespace fathom::cuda_sim {

class Warp;
struct Op;

// Runs one operation for the lanes of `mask`.
using Handler = void (*)(Warp& warp, const Op& op, Mask mask);

enum class OpKind : uint8_t {
  plain,         // runs for the lanes whose guard holds
  branch,        // to target
  branch_index,  // to branch_tables[param][value of row 0]
  exit,
  members,   // plain, once every lane of the member mask in row `members` has arrived
  together,  // plain, once every lane of the warp that has not exited has arrived
  barrier,   // together, then the warp waits for the other warps of the block
};

inline constexpr uint32_t kNoRow = UINT32_MAX;

// A row holds a value for each lane: 32 elements of the register's size, in the register file of
// the warp, at the byte offset given. Constants and special registers have rows too, so that no
// handler asks what kind its operands are. Predicates are one mask each, numbered apart.
struct Op {
  Handler run = nullptr;
  OpKind kind = OpKind::plain;
  bool guard_not = false;
  bool flag = false;    // what it means is the handler's business
  bool narrow = false;  // the address register has 32 bits
  Space space = Space::generic;
  int guard = -1;  // predicate
  uint32_t line = 0;
  uint32_t target = 0;  // of a branch
  uint32_t param = 0;   // what it means is the handler's business
  uint32_t members = kNoRow;
  std::array<uint32_t, 5> row = {kNoRow, kNoRow, kNoRow, kNoRow, kNoRow};  // destination first
  int64_t offset = 0;          // of an address, in bytes
  std::vector<uint32_t> list;  // rows of vector operands
};

enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  dynamic_smem_size,
  total_smem_size,
};

struct ConstantRow {
  uint32_t row = 0;
  int bytes = 0;
  uint64_t value = 0;
};

struct SpecialRow {
  uint32_t row = 0;
  Special special = Special::tid_x;
};

struct SharedVariable {
  std::string name;
  uint32_t begin = 0;
  uint32_t bytes = 0;
};

struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;
  std::array<uint32_t, 3> max_threads = {0, 0, 0};
  std::array<uint32_t, 3> required_threads = {0, 0, 0};
  std::vector<Op> ops;
  std::vector<std::string> texts;  // of the ops
  std::vector<std::vector<uint32_t>> branch_tables;
  uint32_t register_bytes = 0;  // rows of registers come first: they are poisoned for each block
  uint32_t file_bytes = 0;      // then those of constants and special registers
  uint32_t predicates = 0;      // the last two are constants: false, true
  std::vector<ConstantRow> constants;
  std::vector<SpecialRow> specials;
  std::vector<SharedVariable> shared;
  uint32_t shared_bytes = 0;   // without the dynamic array
  uint32_t dynamic_begin = 0;  // of the dynamic array; 0: there is none
  uint32_t local_bytes = 0;    // of a thread
  uint32_t granule = 16;       // the smallest access to shared memory
};

struct Module {
  int target = 0;
  int version = 0;
  std::map<std::string, std::unique_ptr<Kernel>> kernels;
  std::map<std::string, std::pair<uint64_t, uint64_t>> variables;  // address, bytes
};

// Where global and constant variables go: returns the address of `bytes` bytes for a variable.
using PlaceVariable = std::function<uint64_t(const Variable&)>;

// Parses and decodes `text` for a device of compute capability `sm` (80: 8.0). Throws Fault:
// no_binary_for_gpu when the module is made for a newer device, unsupported_ptx_version, or
// invalid_ptx with line and text for whatever is not known exactly.
std::unique_ptr<Module> LoadModule(const std::string& text, int sm, const PlaceVariable& place);

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_PROGRAM_H_
