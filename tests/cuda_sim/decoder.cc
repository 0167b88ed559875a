// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From words to operations.
#include "tests/cuda_sim/decoder.h"

#include <algorithm>
#include <bit>

#include "tests/cuda_sim/memory.h"

namespace fathom::cuda_sim {
namespace {

constexpr uint32_t AlignUp(uint32_t value, uint32_t align) {
  return (value + align - 1) / align * align;
}

// The next address with exactly the alignment `align`: not a multiple of anything larger, so that
// an access that needs more than was declared is found out.
uint32_t AlignExactly(uint32_t value, uint32_t align) {
  value = AlignUp(value, align);
  return value / align % 2 == 0 ? value + align : value;
}

const std::map<std::string, Special>& SpecialNames() {
  static const auto* names = new std::map<std::string, Special>{
      {"%tid.x", Special::tid_x},
      {"%tid.y", Special::tid_y},
      {"%tid.z", Special::tid_z},
      {"%ntid.x", Special::ntid_x},
      {"%ntid.y", Special::ntid_y},
      {"%ntid.z", Special::ntid_z},
      {"%ctaid.x", Special::ctaid_x},
      {"%ctaid.y", Special::ctaid_y},
      {"%ctaid.z", Special::ctaid_z},
      {"%nctaid.x", Special::nctaid_x},
      {"%nctaid.y", Special::nctaid_y},
      {"%nctaid.z", Special::nctaid_z},
      {"%laneid", Special::laneid},
      {"%warpid", Special::warpid},
      {"%nwarpid", Special::nwarpid},
      {"%lanemask_eq", Special::lanemask_eq},
      {"%lanemask_lt", Special::lanemask_lt},
      {"%lanemask_le", Special::lanemask_le},
      {"%lanemask_gt", Special::lanemask_gt},
      {"%lanemask_ge", Special::lanemask_ge},
      {"%dynamic_smem_size", Special::dynamic_smem_size},
      {"%total_smem_size", Special::total_smem_size},
  };
  return *names;
}

}  // namespace

KernelBuilder::KernelBuilder(const ParsedKernel& parsed,
                             const std::vector<uint64_t>& module_addresses, Kernel& kernel)
    : parsed_(parsed), kernel_(kernel), addresses_(module_addresses) {
  const size_t module_variables = addresses_.size();
  addresses_.resize(parsed.variables.size());
  for (Type type : parsed.registers) {
    if (type == Type::pred) {
      register_rows_.push_back(kernel.predicates++);
      continue;
    }
    const auto bytes = static_cast<uint32_t>(SizeOf(type));
    kernel.register_bytes = AlignUp(kernel.register_bytes, 64);
    register_rows_.push_back(kernel.register_bytes);
    kernel.register_bytes += std::max(2u, bytes) * kLanes;
  }
  kernel.predicates += 2;
  kernel.register_bytes = AlignUp(kernel.register_bytes, 64);
  kernel.file_bytes = kernel.register_bytes;
  PlaceShared(module_variables);
  PlaceLocal(module_variables);
}

void KernelBuilder::PlaceShared(size_t module_variables) {
  uint32_t end = 0;
  uint32_t dynamic_align = 0;
  for (size_t i = 0; i < parsed_.variables.size(); ++i) {
    const Variable& variable = parsed_.variables[i];
    if (variable.space != Space::shared) continue;
    if (variable.dynamic) {
      dynamic_align = std::max(dynamic_align, variable.align);
      continue;
    }
    if (variable.bytes > (1u << 20)) {
      throw Fault{Error::invalid_ptx, "line " + std::to_string(variable.line) + ": " +
                                          variable.name + " does not fit shared memory"};
    }
    // At least one byte between two variables: running over the end of one is not in the next.
    const uint32_t begin = AlignExactly(end + 1, variable.align);
    addresses_[i] = begin;
    kernel_.shared.push_back({variable.name, begin, static_cast<uint32_t>(variable.bytes)});
    end = begin + static_cast<uint32_t>(variable.bytes);
  }
  (void)module_variables;
  kernel_.shared_bytes = end;
  if (dynamic_align == 0) return;
  kernel_.dynamic_begin = AlignExactly(end + 1, dynamic_align);
  for (size_t i = 0; i < parsed_.variables.size(); ++i) {
    if (parsed_.variables[i].dynamic) addresses_[i] = kernel_.dynamic_begin;
  }
}

void KernelBuilder::PlaceLocal(size_t module_variables) {
  uint32_t end = 0;
  for (size_t i = module_variables; i < parsed_.variables.size(); ++i) {
    const Variable& variable = parsed_.variables[i];
    if (variable.space != Space::local) continue;
    end = AlignExactly(end, variable.align);
    addresses_[i] = end;
    if (variable.bytes > 512 * 1024) {
      throw Fault{Error::invalid_ptx, "line " + std::to_string(variable.line) + ": " +
                                          variable.name + " does not fit local memory"};
    }
    end += static_cast<uint32_t>(variable.bytes);
  }
  kernel_.local_bytes = AlignUp(end, 16);
}

uint32_t KernelBuilder::ConstantRowOf(uint64_t value, int bytes) {
  const auto [it, added] = constants_.try_emplace({value, bytes}, kernel_.file_bytes);
  if (added) {
    kernel_.constants.push_back({kernel_.file_bytes, bytes, value});
    kernel_.file_bytes += AlignUp(static_cast<uint32_t>(bytes) * kLanes, 64);
  }
  return it->second;
}

uint32_t KernelBuilder::SpecialRowOf(Special special) {
  const auto [it, added] = specials_.try_emplace(special, kernel_.file_bytes);
  if (added) {
    kernel_.specials.push_back({kernel_.file_bytes, special});
    kernel_.file_bytes += 4 * kLanes;
  }
  return it->second;
}

Decoder::Decoder(KernelBuilder& builder, const Instruction& instruction)
    : builder_(builder), in_(instruction), modifiers_(instruction.modifiers) {
  op.line = static_cast<uint32_t>(instruction.line);
  if (instruction.guard < 0) return;
  if (builder.RegisterType(instruction.guard) != Type::pred) Fail("the guard is no predicate");
  op.guard = static_cast<int>(builder.RegisterRow(instruction.guard));
  op.guard_not = instruction.guard_not;
}

bool Decoder::Take(std::string_view modifier) {
  const auto it = std::find(modifiers_.begin(), modifiers_.end(), modifier);
  if (it == modifiers_.end()) return false;
  modifiers_.erase(it);
  return true;
}

int Decoder::TakeOneOf(std::initializer_list<std::string_view> modifiers) {
  int index = 0;
  for (std::string_view modifier : modifiers) {
    if (Take(modifier)) return index;
    ++index;
  }
  return -1;
}

int Decoder::TakeNextOf(std::initializer_list<std::string_view> modifiers) {
  for (auto it = modifiers_.begin(); it != modifiers_.end(); ++it) {
    const auto found = std::find(modifiers.begin(), modifiers.end(), *it);
    if (found == modifiers.end()) continue;
    modifiers_.erase(it);
    return static_cast<int>(found - modifiers.begin());
  }
  return -1;
}

Type Decoder::PeekType() const {
  for (const std::string& modifier : modifiers_) {
    if (const Type type = ParseType(modifier); type != Type::none) return type;
  }
  return Type::none;
}

Type Decoder::TakeType() {
  for (auto it = modifiers_.begin(); it != modifiers_.end(); ++it) {
    if (const Type type = ParseType(*it); type != Type::none) {
      modifiers_.erase(it);
      return type;
    }
  }
  Fail("a type is missing");
}

void Decoder::TakeHints() {
  TakeOneOf({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  TakeOneOf({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last",
             "L1::no_allocate"});
  TakeOneOf({"L2::evict_normal", "L2::evict_first", "L2::evict_last"});
  TakeOneOf({"L2::64B", "L2::128B", "L2::256B"});
}

std::string Decoder::TakePrefixed(std::string_view prefix) {
  for (auto it = modifiers_.begin(); it != modifiers_.end(); ++it) {
    if (it->compare(0, prefix.size(), prefix) != 0) continue;
    std::string found = *it;
    modifiers_.erase(it);
    return found;
  }
  return "";
}

const Operand& Decoder::operand(size_t i) const {
  if (i >= in_.operands.size()) Fail("an operand is missing");
  return in_.operands[i];
}

void Decoder::ExpectCount(size_t least, size_t most) {
  if (count() < least || count() > most) {
    Fail("expected " + std::to_string(least) +
         (most > least ? " to " + std::to_string(most) : std::string()) + " operands, found " +
         std::to_string(count()));
  }
}

int Decoder::Width(const Operand& operand) const {
  if (operand.kind != Operand::Kind::reg) return 0;
  return SizeOf(builder_.RegisterType(operand.reg));
}

uint32_t Decoder::ImmediateRow(const Operand& operand, Type type) {
  const int bytes = SizeOf(type);
  uint64_t value = operand.value;
  if (operand.kind == Operand::Kind::integer && (IsFloat(type) || IsSmallFloat(type))) {
    // Packed and half types take their bits; f32 and f64 want 0f and 0d.
    if (IsFloat(type)) Fail("an integer where a floating-point constant is expected");
  } else if (operand.kind == Operand::Kind::float32 && bytes == 8) {
    value = std::bit_cast<uint64_t>(
        static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(value))));
    if (type != Type::f64) Fail("a float constant where 64 bits are expected");
  } else if (operand.kind == Operand::Kind::float64 && bytes != 8) {
    if (type != Type::f32) Fail("a double constant where fewer bits are expected");
    value = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(value)));
  }
  if (bytes < 8) value &= (uint64_t{1} << (8 * bytes)) - 1;
  return builder_.ConstantRowOf(value, bytes);
}

uint32_t Decoder::SourceRow(const Operand& operand, Type type) {
  switch (operand.kind) {
    case Operand::Kind::reg: {
      const Type have = builder_.RegisterType(operand.reg);
      if (have == Type::pred || SizeOf(have) != SizeOf(type)) {
        Fail("the register " + operand.name + " has another size than the instruction");
      }
      return builder_.RegisterRow(operand.reg);
    }
    case Operand::Kind::special: {
      const auto it = SpecialNames().find(operand.name);
      if (it == SpecialNames().end()) Fail("unknown register " + operand.name);
      if (SizeOf(type) != 4) Fail(operand.name + " has 32 bits");
      return builder_.SpecialRowOf(it->second);
    }
    case Operand::Kind::integer:
    case Operand::Kind::float32:
    case Operand::Kind::float64:
      return ImmediateRow(operand, type);
    case Operand::Kind::variable:
      if (SizeOf(type) < 4) Fail("an address needs 32 or 64 bits");
      return builder_.ConstantRowOf(builder_.AddressOf(operand.variable) + operand.value,
                                    SizeOf(type));
    case Operand::Kind::parameter:
      if (SizeOf(type) != 8) Fail("an address needs 64 bits");
      return builder_.ConstantRowOf(operand.value, 8);
    default:
      Fail("expected a register or a constant");
  }
}

uint32_t Decoder::DestRow(const Operand& operand, Type type) {
  if (operand.kind == Operand::Kind::sink) return kNoRow;
  if (operand.kind != Operand::Kind::reg) Fail("the destination is no register");
  return SourceRow(operand, type);
}

uint32_t Decoder::SourcePredicate(size_t i, bool* negated) {
  const Operand& source = operand(i);
  *negated = source.negated;
  if (source.kind == Operand::Kind::integer) {
    return builder_.kernel().predicates - 2 + (source.value != 0);
  }
  if (source.kind != Operand::Kind::reg || builder_.RegisterType(source.reg) != Type::pred) {
    Fail("expected a predicate");
  }
  return builder_.RegisterRow(source.reg);
}

uint32_t Decoder::DestPredicate(size_t i) {
  const Operand& dest = operand(i);
  if (dest.kind == Operand::Kind::sink) return kNoRow;
  if (dest.kind != Operand::Kind::reg || builder_.RegisterType(dest.reg) != Type::pred) {
    Fail("expected a predicate");
  }
  return builder_.RegisterRow(dest.reg);
}

std::vector<uint32_t> Decoder::SourceList(size_t i, size_t count, Type type) {
  const Operand& list = operand(i);
  std::vector<uint32_t> rows;
  if (list.kind != Operand::Kind::vector) {
    rows.push_back(SourceRow(list, type));
  } else {
    for (const Operand& item : list.items) rows.push_back(SourceRow(item, type));
  }
  if (rows.size() != count) {
    Fail("expected a vector of " + std::to_string(count) + ", found " +
         std::to_string(rows.size()));
  }
  return rows;
}

std::vector<uint32_t> Decoder::DestList(size_t i, size_t count, Type type) {
  const Operand& list = operand(i);
  std::vector<uint32_t> rows;
  if (list.kind != Operand::Kind::vector) {
    rows.push_back(DestRow(list, type));
  } else {
    for (const Operand& item : list.items) rows.push_back(DestRow(item, type));
  }
  if (rows.size() != count) {
    Fail("expected a vector of " + std::to_string(count) + ", found " +
         std::to_string(rows.size()));
  }
  return rows;
}

uint64_t Decoder::Immediate(size_t i) {
  if (operand(i).kind != Operand::Kind::integer) Fail("expected a constant");
  return operand(i).value;
}

void Decoder::Address(size_t i, size_t at, Space space) {
  const Operand& address = operand(i);
  if (address.kind != Operand::Kind::address) Fail("expected an address");
  const Operand& base = address.items[0];
  op.space = space;
  op.offset = static_cast<int64_t>(address.value);
  switch (base.kind) {
    case Operand::Kind::reg:
      op.narrow = Width(base) == 4;
      if (op.narrow && (space == Space::global || space == Space::generic)) {
        Fail("an address needs 64 bits");
      }
      op.row[at] = SourceRow(base, op.narrow ? Type::b32 : Type::b64);
      return;
    case Operand::Kind::variable: {
      const Space have = builder_.VariableOf(base.variable).space;
      if (have != space) Fail(base.name + " lies in another space");
      op.row[at] = SourceRow(base, Type::b64);
      return;
    }
    case Operand::Kind::parameter:
      if (space != Space::param) Fail(base.name + " is a parameter");
      op.row[at] = SourceRow(base, Type::b64);
      return;
    case Operand::Kind::integer:
      op.row[at] = SourceRow(base, Type::b64);
      return;
    default:
      Fail("unknown name \"" + base.name + "\"");
  }
}

void Decoder::RequireTarget(int sm) {
  if (builder_.target < sm) {
    Fail("needs .target sm_" + std::to_string(sm) + " or higher, found sm_" +
         std::to_string(builder_.target));
  }
}

void Decoder::RequireVersion(int version) {
  if (builder_.version < version) {
    Fail("needs PTX ISA " + std::to_string(version / 10) + "." + std::to_string(version % 10) +
         " or later");
  }
}

void Decoder::NoteGranule(uint32_t bytes) {
  Kernel& kernel = builder_.kernel();
  if (op.space == Space::shared || op.space == Space::generic) {
    kernel.granule = std::min(kernel.granule, bytes);
  }
}

void Decoder::Fail(const std::string& what) const {
  throw Fault{Error::invalid_ptx,
              "line " + std::to_string(in_.line) + ": " + what + ": " + in_.text};
}

Op Decoder::Finish() {
  if (!modifiers_.empty()) Fail("unknown modifier ." + modifiers_[0]);
  return std::move(op);
}

}  // namespace fathom::cuda_sim
