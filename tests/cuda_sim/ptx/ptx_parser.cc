// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The directives and statements of PTX.
#include <cctype>
#include <cstring>
#include <functional>

#include "tests/cuda_sim/ptx/ptx_reader.h"
#include "tests/cuda_sim/ptx/ptx_text.h"

namespace fathom::cuda_sim {
namespace {

uint32_t AlignUp(uint32_t value, uint32_t align) { return (value + align - 1) / align * align; }

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// A register or variable name means what the innermost scope says.
using Scope = std::unordered_map<std::string, int>;

class Parser {
 public:
  explicit Parser(const std::string& text) : in_(text) {}
  ParsedModule Parse();

 private:
  void Target();
  void Version();
  bool Linkage(const std::string& word, bool* is_extern) const;
  bool DebugDirective(const std::string& word);
  Variable ParseVariable(Space space, bool is_extern);
  void Initializer(Type type, Variable& variable);
  void Entry();
  void Parameters();
  void EntryDirectives();
  void Body();
  void Statement();
  bool BodyDirective(const std::string& word);
  void Registers();
  void ParseInstruction(const std::string& first, size_t begin);
  void ParseOperands(Instruction& instruction);
  Operand ParseOperand();
  Operand WordOperand(const std::string& word);
  int FindRegister(const std::string& name);
  void Declare(const std::string& name, int index, std::vector<Scope>& scopes);
  void CheckLabels();

  PtxReader in_;
  ParsedModule module_;
  ParsedKernel* kernel_ = nullptr;
  std::vector<Scope> registers_;
  std::vector<Scope> variables_;
  std::unordered_map<std::string, int> parameters_;
  Scope labels_of_operands_;  // label -> line
};

ParsedModule Parser::Parse() {
  variables_.emplace_back();
  while (!in_.AtEnd()) {
    bool is_extern = false;
    std::string word = in_.Word();
    while (Linkage(word, &is_extern)) word = in_.Word();
    if (word == ".version") {
      Version();
    } else if (word == ".target") {
      Target();
    } else if (word == ".address_size") {
      if (in_.Integer() != 64) in_.Fail("only 64-bit addresses are supported");
    } else if (word == ".entry") {
      Entry();
    } else if (word == ".global" || word == ".const" || word == ".shared") {
      const Space space = word == ".global"  ? Space::global
                          : word == ".const" ? Space::constant
                                             : Space::shared;
      const Variable variable = ParseVariable(space, is_extern);
      Declare(variable.name, static_cast<int>(module_.variables.size()), variables_);
      module_.variables.push_back(variable);
    } else if (word == ".func") {
      in_.Fail("device functions are not supported");
    } else if (!DebugDirective(word)) {
      in_.Fail("unknown directive \"" + word + "\"");
    }
  }
  if (module_.version == 0 || module_.target == 0) in_.Fail("a module needs .version and .target");
  return std::move(module_);
}

void Parser::Version() {
  const std::string word = in_.Word();
  const size_t dot = word.find('.');
  uint64_t major = 0, minor = 0;
  if (dot == std::string::npos || !ParseInteger(word.substr(0, dot), &major) ||
      !ParseInteger(word.substr(dot + 1), &minor)) {
    in_.Fail("bad version \"" + word + "\"");
  }
  module_.version = static_cast<int>(10 * major + minor);
}

void Parser::Target() {
  std::string word = in_.Word();
  if (!StartsWith(word, "sm_")) in_.Fail("bad target \"" + word + "\"");
  word = word.substr(3);
  if (!word.empty() && (word.back() == 'a' || word.back() == 'f')) {
    module_.target_is_specific = true;
    word.pop_back();
  }
  uint64_t number = 0;
  if (!ParseInteger(word, &number)) in_.Fail("bad target");
  module_.target = static_cast<int>(number);
  while (in_.Take(',')) {
    const std::string option = in_.Word();
    if (option != "debug" && option != "texmode_independent") in_.Fail("unknown target option");
  }
}

bool Parser::Linkage(const std::string& word, bool* is_extern) const {
  if (word == ".extern") *is_extern = true;
  return word == ".extern" || word == ".visible" || word == ".weak" || word == ".common";
}

bool Parser::DebugDirective(const std::string& word) {
  if (word == ".file") {
    in_.Integer();
    in_.QuotedString();
    while (in_.Take(',')) in_.Integer();
  } else if (word == ".section") {
    in_.Word();
    in_.SkipBlock();
  } else if (word == ".loc") {
    for (int i = 0; i < 3; ++i) in_.Integer();
    if (in_.Take(',')) in_.Fail("inlined debug locations are not supported");
  } else {
    return false;
  }
  return true;
}

// {.align N} {.v2} .type name{[count]...} {= initial} ;
Variable Parser::ParseVariable(Space space, bool is_extern) {
  Variable variable;
  variable.space = space;
  variable.line = in_.line();
  std::string word = in_.Word();
  uint64_t align = 0;
  if (word == ".align") {
    align = in_.Integer();
    word = in_.Word();
  }
  uint64_t lanes = 1;
  if (word == ".v2" || word == ".v4") {
    lanes = static_cast<uint64_t>(word[2] - '0');
    word = in_.Word();
  }
  const Type type = word.empty() ? Type::none : ParseType(word.substr(1));
  if (type == Type::none || type == Type::pred) in_.Fail("unknown type \"" + word + "\"");
  const uint64_t element = lanes * static_cast<uint64_t>(SizeOf(type));
  variable.align = static_cast<uint32_t>(align == 0 ? element : align);
  if (!std::has_single_bit(variable.align)) in_.Fail("an alignment must be a power of two");
  variable.name = in_.Word();
  variable.bytes = element;
  while (in_.Take('[')) {
    if (in_.Take(']')) {
      if (!is_extern || space != Space::shared) in_.Fail("an array needs a size");
      variable.dynamic = true;
      variable.bytes = 0;
      continue;
    }
    uint64_t count = in_.Integer();
    if (__builtin_mul_overflow(variable.bytes, count, &variable.bytes) ||
        variable.bytes > (uint64_t{1} << 40)) {
      in_.Fail("the variable is too large");
    }
    in_.Expect(']');
  }
  if (is_extern && !variable.dynamic) in_.Fail("external variables are not supported");
  if (in_.Take('=')) Initializer(type, variable);
  in_.Expect(';');
  return variable;
}

void Parser::Initializer(Type type, Variable& variable) {
  if (variable.space != Space::global && variable.space != Space::constant) {
    in_.Fail("only global and constant variables can be initialised");
  }
  const size_t bytes = static_cast<size_t>(SizeOf(type));
  const std::function<void()> value = [&] {
    if (in_.Take('{')) {
      while (!in_.Take('}')) {
        value();
        if (in_.Peek() != '}') in_.Expect(',');
      }
      return;
    }
    const bool negative = in_.Take('-');
    const Operand operand = WordOperand(in_.Word());
    uint64_t bits = operand.value;
    if (operand.kind == Operand::Kind::integer && !IsInteger(type)) {
      in_.Fail("floating-point variables need 0f or 0d constants");
    }
    if (operand.kind == Operand::Kind::variable || operand.kind == Operand::Kind::label) {
      in_.Fail("addresses as initial values are not supported");
    }
    if (negative) bits = ~bits + 1;
    const auto* begin = reinterpret_cast<const uint8_t*>(&bits);
    variable.initial.insert(variable.initial.end(), begin, begin + bytes);
  };
  value();
  if (variable.initial.size() > variable.bytes)
    in_.Fail("more initial values than the array holds");
  variable.initial.resize(variable.bytes);
}

void Parser::Entry() {
  module_.kernels.emplace_back();
  kernel_ = &module_.kernels.back();
  kernel_->line = in_.line();
  kernel_->name = in_.Word();
  kernel_->variables = module_.variables;
  registers_.clear();
  parameters_.clear();
  labels_of_operands_.clear();
  if (in_.Take('(')) Parameters();
  EntryDirectives();
  Body();
  CheckLabels();
  kernel_ = nullptr;
}

// .param .u64 {.ptr {.space} {.align N}} name{[bytes]}
void Parser::Parameters() {
  if (in_.Take(')')) return;
  do {
    if (in_.Word() != ".param") in_.Fail("expected .param");
    std::string word = in_.Word();
    uint32_t align = 0;
    if (word == ".align") {
      align = static_cast<uint32_t>(in_.Integer());
      word = in_.Word();
    }
    const Type type = word.empty() ? Type::none : ParseType(word.substr(1));
    if (type == Type::none || type == Type::pred) in_.Fail("unknown type \"" + word + "\"");
    uint32_t bytes = static_cast<uint32_t>(SizeOf(type));
    if (align == 0) align = bytes;
    word = in_.Word();
    if (word == ".ptr") {
      word = in_.Word();
      if (word == ".global" || word == ".const" || word == ".shared" || word == ".local") {
        word = in_.Word();
      }
      if (word == ".align") {
        in_.Integer();
        word = in_.Word();
      }
    }
    if (in_.Take('[')) {
      const uint64_t count = in_.Integer();
      if (count > 32764) in_.Fail("a parameter is too large");
      bytes *= static_cast<uint32_t>(count);
      in_.Expect(']');
    }
    if (!std::has_single_bit(align)) in_.Fail("an alignment must be a power of two");
    kernel_->parameter_bytes = AlignUp(kernel_->parameter_bytes, align);
    parameters_[word] = static_cast<int>(kernel_->parameter_bytes);
    kernel_->parameters.push_back({kernel_->parameter_bytes, bytes});
    kernel_->parameter_bytes += bytes;
  } while (in_.Take(','));
  in_.Expect(')');
}

void Parser::EntryDirectives() {
  while (in_.Peek() == '.') {
    const std::string word = in_.Word();
    if (word == ".maxntid" || word == ".reqntid") {
      auto& sizes = word == ".maxntid" ? kernel_->max_threads : kernel_->required_threads;
      sizes = {1, 1, 1};
      size_t i = 0;
      do {
        if (i == 3) in_.Fail("at most three sizes");
        sizes[i++] = static_cast<uint32_t>(in_.Integer());
      } while (in_.Take(','));
    } else if (word == ".minnctapersm" || word == ".maxnreg" || word == ".maxnctapersm") {
      in_.Integer();
    } else if (word == ".pragma") {
      in_.QuotedString();
      in_.Expect(';');
    } else {
      in_.Fail("unknown directive \"" + word + "\"");
    }
  }
}

void Parser::Body() {
  in_.Expect('{');
  registers_.emplace_back();
  variables_.emplace_back();
  while (registers_.size() > 0) {
    if (in_.AtEnd()) in_.Fail("the body of " + kernel_->name + " does not end");
    if (in_.Take('{')) {
      registers_.emplace_back();
      variables_.emplace_back();
    } else if (in_.Take('}')) {
      registers_.pop_back();
      variables_.pop_back();
    } else if (!in_.Take(';')) {
      Statement();
    }
  }
}

void Parser::Statement() {
  in_.SkipSpace();
  const size_t begin = in_.position();
  if (in_.Peek() == '@') {
    ParseInstruction("", begin);
    return;
  }
  const std::string word = in_.Word();
  if (word.empty()) in_.Fail("expected an instruction");
  if (word[0] == '.') {
    if (!BodyDirective(word)) in_.Fail("unknown directive \"" + word + "\"");
    return;
  }
  if (in_.Peek() == ':') {
    in_.Expect(':');
    if (in_.TakeWord(".branchtargets")) {
      std::vector<std::string>& targets = kernel_->branches[word];
      do {
        targets.push_back(in_.Word());
        labels_of_operands_.emplace(targets.back(), in_.line());
      } while (in_.Take(','));
      in_.Expect(';');
      return;
    }
    const auto next = static_cast<uint32_t>(kernel_->instructions.size());
    if (!kernel_->labels.emplace(word, next).second)
      in_.Fail("the label " + word + " is there twice");
    return;
  }
  ParseInstruction(word, begin);
}

bool Parser::BodyDirective(const std::string& word) {
  if (word == ".reg") {
    Registers();
  } else if (word == ".shared" || word == ".local") {
    const Variable variable =
        ParseVariable(word == ".shared" ? Space::shared : Space::local, false);
    Declare(variable.name, static_cast<int>(kernel_->variables.size()), variables_);
    kernel_->variables.push_back(variable);
  } else if (word == ".pragma") {
    in_.QuotedString();
    in_.Expect(';');
  } else {
    return DebugDirective(word);
  }
  return true;
}

// .reg .b32 %r<10>, %x;
void Parser::Registers() {
  const std::string word = in_.Word();
  const Type type = word.empty() ? Type::none : ParseType(word.substr(1));
  if (type == Type::none || SizeOf(type) == 1) {
    if (type != Type::pred) in_.Fail("no registers of type \"" + word + "\"");
  }
  const auto add = [&](const std::string& name) {
    Declare(name, static_cast<int>(kernel_->registers.size()), registers_);
    kernel_->registers.push_back(type);
  };
  do {
    const std::string name = in_.Word();
    if (name.empty()) in_.Fail("expected the name of a register");
    if (!in_.Take('<')) {
      add(name);
      continue;
    }
    const uint64_t count = in_.Integer();
    if (count > 1'000'000) in_.Fail("too many registers");
    in_.Expect('>');
    for (uint64_t i = 0; i < count; ++i) add(name + std::to_string(i));
  } while (in_.Take(','));
  in_.Expect(';');
}

void Parser::Declare(const std::string& name, int index, std::vector<Scope>& scopes) {
  if (name.empty()) in_.Fail("expected a name");
  if (!scopes.back().emplace(name, index).second) in_.Fail(name + " is declared twice");
}

int Parser::FindRegister(const std::string& name) {
  for (auto scope = registers_.rbegin(); scope != registers_.rend(); ++scope) {
    if (const auto it = scope->find(name); it != scope->end()) return it->second;
  }
  return -1;
}

void Parser::ParseInstruction(const std::string& first, size_t begin) {
  Instruction instruction;
  std::string word = first;
  instruction.line = in_.line();
  if (first.empty()) {
    in_.Expect('@');
    instruction.guard_not = in_.Take('!');
    const std::string guard = in_.Word();
    instruction.guard = FindRegister(guard);
    if (instruction.guard < 0) in_.Fail("unknown predicate " + guard);
    word = in_.Word();
  }
  size_t dot = word.find('.');
  instruction.name = word.substr(0, dot);
  while (dot != std::string::npos) {
    const size_t next = word.find('.', dot + 1);
    instruction.modifiers.push_back(
        word.substr(dot + 1, next == std::string::npos ? std::string::npos : next - dot - 1));
    dot = next;
  }
  if (instruction.name == "call") in_.Fail("device functions are not supported");
  if (in_.Peek() != ';') ParseOperands(instruction);
  instruction.text = in_.Text(begin);
  in_.Expect(';');
  kernel_->instructions.push_back(std::move(instruction));
}

void Parser::ParseOperands(Instruction& instruction) {
  do {
    instruction.operands.push_back(ParseOperand());
    if (in_.Take('|')) {
      if (instruction.operands.size() != 1) in_.Fail("only a destination can be a pair");
      instruction.paired = true;
      instruction.operands.push_back(ParseOperand());
    }
  } while (in_.Take(','));
}

Operand Parser::ParseOperand() {
  Operand operand;
  if (in_.Take('{')) {
    operand.kind = Operand::Kind::vector;
    do {
      operand.items.push_back(ParseOperand());
    } while (in_.Take(','));
    in_.Expect('}');
    return operand;
  }
  if (in_.Take('[')) {
    operand.kind = Operand::Kind::address;
    operand.items.push_back(ParseOperand());
    Operand& base = operand.items[0];
    if (in_.Take('+')) {
      operand.value = in_.Integer();
    } else if (in_.Peek() == '-') {
      operand.value = in_.Integer();
    }
    in_.Expect(']');
    if (base.kind == Operand::Kind::integer || base.kind == Operand::Kind::parameter) {
      base.value += operand.value;
      operand.value = 0;
    }
    return operand;
  }
  if (in_.Take('!')) {
    operand = ParseOperand();
    operand.negated = true;
    return operand;
  }
  if (in_.Take('-')) {
    operand = WordOperand(in_.Word());
    if (operand.kind != Operand::Kind::integer) in_.Fail("only an integer can be negative");
    operand.value = ~operand.value + 1;
    return operand;
  }
  const std::string word = in_.Word();
  operand = WordOperand(word);
  if (operand.kind == Operand::Kind::variable && in_.Take('+')) operand.value = in_.Integer();
  return operand;
}

Operand Parser::WordOperand(const std::string& word) {
  Operand operand;
  operand.name = word;
  if (word.empty()) in_.Fail("expected an operand");
  if (word == "_") {
    operand.kind = Operand::Kind::sink;
    return operand;
  }
  if (std::isdigit(static_cast<unsigned char>(word[0]))) {
    const char kind = word.size() > 2 && word[0] == '0'
                          ? static_cast<char>(std::tolower(static_cast<unsigned char>(word[1])))
                          : '\0';
    std::string digits = word;
    if ((kind == 'f' && word.size() == 10) || (kind == 'd' && word.size() == 18)) {
      operand.kind = kind == 'f' ? Operand::Kind::float32 : Operand::Kind::float64;
      digits[1] = 'x';
    }
    if (!ParseInteger(digits, &operand.value)) in_.Fail("bad number \"" + word + "\"");
    return operand;
  }
  operand.reg = kernel_ == nullptr ? -1 : FindRegister(word);
  if (operand.reg >= 0) {
    operand.kind = Operand::Kind::reg;
    return operand;
  }
  if (word[0] == '%') {
    operand.kind = Operand::Kind::special;
    return operand;
  }
  if (const auto it = parameters_.find(word); kernel_ != nullptr && it != parameters_.end()) {
    operand.kind = Operand::Kind::parameter;
    operand.value = static_cast<uint64_t>(it->second);
    return operand;
  }
  for (auto scope = variables_.rbegin(); scope != variables_.rend(); ++scope) {
    if (const auto it = scope->find(word); it != scope->end()) {
      operand.kind = Operand::Kind::variable;
      operand.variable = it->second;
      return operand;
    }
  }
  operand.kind = Operand::Kind::label;
  labels_of_operands_.emplace(word, in_.line());
  return operand;
}

void Parser::CheckLabels() {
  for (const auto& [label, line] : labels_of_operands_) {
    if (kernel_->labels.count(label) == 0 && kernel_->branches.count(label) == 0) {
      throw Fault{Error::invalid_ptx, "line " + std::to_string(line) + ": unknown name \"" + label +
                                          "\" in " + kernel_->name};
    }
  }
}

}  // namespace

ParsedModule ParsePtx(const std::string& text) { return Parser(text).Parse(); }

}  // namespace fathom::cuda_sim
