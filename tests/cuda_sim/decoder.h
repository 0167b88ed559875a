// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the decoders of the groups of instructions use: modifiers taken one by one, operands as
// rows.
#ifndef FATHOM_TESTS_CUDA_SIM_DECODER_H_
#define FATHOM_TESTS_CUDA_SIM_DECODER_H_

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/cuda_sim/program.h"

namespace fathom::cuda_sim {

// Gives registers, constants and special registers their places.
class KernelBuilder {
 public:
  KernelBuilder(const ParsedKernel& parsed, const std::vector<uint64_t>& module_addresses,
                Kernel& kernel);
  uint32_t RegisterRow(int reg) const { return register_rows_[static_cast<size_t>(reg)]; }
  Type RegisterType(int reg) const { return parsed_.registers[static_cast<size_t>(reg)]; }
  uint32_t ConstantRowOf(uint64_t value, int bytes);
  uint32_t SpecialRowOf(Special special);
  // Of a variable in its own space.
  uint64_t AddressOf(int variable) const { return addresses_[static_cast<size_t>(variable)]; }
  const Variable& VariableOf(int variable) const {
    return parsed_.variables[static_cast<size_t>(variable)];
  }
  const ParsedKernel& parsed() const { return parsed_; }
  Kernel& kernel() { return kernel_; }
  bool is_specific = false;  // sm_90a
  int target = 0;            // of the module
  int version = 0;           // of the PTX ISA: 88 is 8.8

 private:
  void PlaceShared(size_t module_variables);
  void PlaceLocal(size_t module_variables);

  const ParsedKernel& parsed_;
  Kernel& kernel_;
  std::vector<uint32_t> register_rows_;
  std::vector<uint64_t> addresses_;
  std::map<std::pair<uint64_t, int>, uint32_t> constants_;
  std::map<Special, uint32_t> specials_;
};

// One instruction being decoded. Whatever a decoder does not take is an error.
class Decoder {
 public:
  Decoder(KernelBuilder& builder, const Instruction& instruction);

  // --- modifiers ---
  bool Take(std::string_view modifier);
  // The index of the modifier taken; -1 when none of them is there.
  int TakeOneOf(std::initializer_list<std::string_view> modifiers);
  // The same, but the one that comes first in the instruction: for modifiers that may come twice.
  int TakeNextOf(std::initializer_list<std::string_view> modifiers);
  // The first type among the modifiers left; an error if there is none.
  Type TakeType();
  Type PeekType() const;
  // Cache hints and the like, which change nothing here.
  void TakeHints();
  // A modifier that begins with `prefix` ("m8n8"); "" when there is none.
  std::string TakePrefixed(std::string_view prefix);

  // --- operands ---
  size_t count() const { return in_.operands.size(); }
  const Operand& operand(size_t i) const;
  void ExpectCount(size_t least, size_t most);
  void ExpectCount(size_t n) { ExpectCount(n, n); }
  // Rows of operands of exactly SizeOf(type) bytes.
  uint32_t Source(size_t i, Type type) { return SourceRow(operand(i), type); }
  uint32_t Dest(size_t i, Type type) { return DestRow(operand(i), type); }
  uint32_t SourceRow(const Operand& operand, Type type);
  uint32_t DestRow(const Operand& operand, Type type);  // kNoRow for _
  // Bytes of register operand `i`.
  int Width(const Operand& operand) const;
  uint32_t SourcePredicate(size_t i, bool* negated);
  uint32_t DestPredicate(size_t i);  // kNoRow for _
  // Rows of a vector (or a single register) of `count` elements.
  std::vector<uint32_t> SourceList(size_t i, size_t count, Type type);
  std::vector<uint32_t> DestList(size_t i, size_t count, Type type);
  uint64_t Immediate(size_t i);
  // Sets row[at], offset, narrow and space of the operation from an address.
  void Address(size_t i, size_t at, Space space);
  bool paired() const { return in_.paired; }

  void RequireTarget(int sm);
  void RequireVersion(int version);
  // A shared-memory access of `bytes` at least.
  void NoteGranule(uint32_t bytes);
  [[noreturn]] void Fail(const std::string& what) const;
  KernelBuilder& builder() { return builder_; }
  const std::string& name() const { return in_.name; }

  Op op;

  // Throws when a modifier is left.
  Op Finish();

 private:
  uint32_t ImmediateRow(const Operand& operand, Type type);

  KernelBuilder& builder_;
  const Instruction& in_;
  std::vector<std::string> modifiers_;
};

// --- the table of mnemonics ---
enum class Group : uint8_t { any, integer, floating, small_float, predicate };
using DecodeFunction = void (*)(Decoder&);

class DecoderTable {
 public:
  // `group` is what the first type among the modifiers belongs to.
  void Add(std::initializer_list<const char*> names, Group group, DecodeFunction decode);
  DecodeFunction Find(const std::string& name, Type type) const;

 private:
  std::unordered_map<std::string, std::vector<std::pair<Group, DecodeFunction>>> entries_;
};

void AddIntegerOps(DecoderTable& table);
void AddFloatOps(DecoderTable& table);
void AddPackedOps(DecoderTable& table);
void AddCompareOps(DecoderTable& table);
void AddConvertOps(DecoderTable& table);
void AddMoveOps(DecoderTable& table);
void AddMemoryOps(DecoderTable& table);
void AddAtomicOps(DecoderTable& table);
void AddAsyncOps(DecoderTable& table);
void AddControlOps(DecoderTable& table);
void AddShuffleOps(DecoderTable& table);
void AddDotOps(DecoderTable& table);
void AddMatrixOps(DecoderTable& table);
void AddWmmaOps(DecoderTable& table);

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_DECODER_H_
