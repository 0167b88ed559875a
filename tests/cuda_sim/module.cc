// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of mnemonics, and loading a module.
#include <algorithm>

#include "tests/cuda_sim/decoder.h"

namespace fathom::cuda_sim {
namespace {

constexpr int kNewestVersion = 90;  // of the PTX ISA

Group GroupOf(Type type) {
  if (type == Type::pred) return Group::predicate;
  if (IsFloat(type)) return Group::floating;
  if (IsSmallFloat(type)) return Group::small_float;
  return Group::integer;
}

const DecoderTable& Table() {
  static const DecoderTable* table = [] {
    auto* made = new DecoderTable;
    AddIntegerOps(*made);
    AddFloatOps(*made);
    AddPackedOps(*made);
    AddCompareOps(*made);
    AddConvertOps(*made);
    AddMoveOps(*made);
    AddMemoryOps(*made);
    AddAtomicOps(*made);
    AddAsyncOps(*made);
    AddControlOps(*made);
    AddShuffleOps(*made);
    AddDotOps(*made);
    AddMatrixOps(*made);
    AddWmmaOps(*made);
    return made;
  }();
  return *table;
}

uint32_t LabelTarget(const ParsedKernel& parsed, const Decoder& decoder, const std::string& label) {
  const auto it = parsed.labels.find(label);
  if (it == parsed.labels.end()) decoder.Fail("unknown label " + label);
  return it->second;
}

// Branches are resolved here: they alone need the labels.
void DecodeBranch(Decoder& decoder, const ParsedKernel& parsed, Kernel& kernel) {
  Op& op = decoder.op;
  decoder.Take("uni");
  if (decoder.Take("idx")) {
    decoder.ExpectCount(2);
    op.kind = OpKind::branch_index;
    op.row[0] = decoder.Source(0, Type::b32);
    const auto it = parsed.branches.find(decoder.operand(1).name);
    if (it == parsed.branches.end()) decoder.Fail("unknown branch table");
    op.param = static_cast<uint32_t>(kernel.branch_tables.size());
    std::vector<uint32_t>& targets = kernel.branch_tables.emplace_back();
    for (const std::string& label : it->second) {
      targets.push_back(LabelTarget(parsed, decoder, label));
    }
    return;
  }
  decoder.ExpectCount(1);
  op.kind = OpKind::branch;
  if (decoder.operand(0).kind != Operand::Kind::label) decoder.Fail("expected a label");
  op.target = LabelTarget(parsed, decoder, decoder.operand(0).name);
}

std::unique_ptr<Kernel> DecodeKernel(const ParsedKernel& parsed, const ParsedModule& module,
                                     const std::vector<uint64_t>& addresses) {
  auto kernel = std::make_unique<Kernel>();
  kernel->name = parsed.name;
  kernel->parameters = parsed.parameters;
  kernel->parameter_bytes = parsed.parameter_bytes;
  kernel->max_threads = parsed.max_threads;
  kernel->required_threads = parsed.required_threads;
  KernelBuilder builder(parsed, addresses, *kernel);
  builder.target = module.target;
  builder.version = module.version;
  builder.is_specific = module.target_is_specific;
  for (const Instruction& instruction : parsed.instructions) {
    Decoder decoder(builder, instruction);
    if (instruction.name == "bra" || instruction.name == "brx") {
      DecodeBranch(decoder, parsed, *kernel);
    } else {
      const DecodeFunction decode = Table().Find(instruction.name, decoder.PeekType());
      if (decode == nullptr) decoder.Fail("unknown instruction " + instruction.name);
      decode(decoder);
    }
    kernel->ops.push_back(decoder.Finish());
    kernel->texts.push_back(instruction.text);
  }
  return kernel;
}

}  // namespace

void DecoderTable::Add(std::initializer_list<const char*> names, Group group,
                       DecodeFunction decode) {
  for (const char* name : names) entries_[name].emplace_back(group, decode);
}

DecodeFunction DecoderTable::Find(const std::string& name, Type type) const {
  const auto it = entries_.find(name);
  if (it == entries_.end()) return nullptr;
  const Group wanted = GroupOf(type);
  for (const auto& [group, decode] : it->second) {
    if (group == Group::any || group == wanted) return decode;
  }
  return nullptr;
}

std::unique_ptr<Module> LoadModule(const std::string& text, int sm, const PlaceVariable& place) {
  const ParsedModule parsed = ParsePtx(text);
  if (parsed.target > sm || (parsed.target_is_specific && parsed.target != sm)) {
    throw Fault{Error::no_binary_for_gpu, "the module is made for sm_" +
                                              std::to_string(parsed.target) +
                                              ", the device is sm_" + std::to_string(sm)};
  }
  if (parsed.version > kNewestVersion) {
    throw Fault{Error::unsupported_ptx_version, "PTX ISA " + std::to_string(parsed.version / 10) +
                                                    "." + std::to_string(parsed.version % 10) +
                                                    " is newer than this driver"};
  }
  auto module = std::make_unique<Module>();
  module->target = parsed.target;
  module->version = parsed.version;
  std::vector<uint64_t> addresses;
  for (const Variable& variable : parsed.variables) {
    addresses.push_back(variable.space == Space::shared ? 0 : place(variable));
    if (variable.space != Space::shared) {
      module->variables[variable.name] = {addresses.back(), variable.bytes};
    }
  }
  for (const ParsedKernel& kernel : parsed.kernels) {
    if (!module->kernels.emplace(kernel.name, DecodeKernel(kernel, parsed, addresses)).second) {
      throw Fault{Error::invalid_ptx, "the kernel " + kernel.name + " is there twice"};
    }
  }
  return module;
}

}  // namespace fathom::cuda_sim
