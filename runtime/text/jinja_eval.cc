// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The evaluator: statements write to the current output, expressions give values; every step is
// counted.
#include "runtime/text/jinja_eval.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/text/jinja_builtins.h"
#include "runtime/text/jinja_text.h"
#include "runtime/text/utf8.h"

namespace fathom::text::jinja {
namespace {

using Kind = Expression::Kind;
using Result = absl::StatusOr<Value>;

enum class Flow { kNext, kBreak, kContinue };

class Evaluator {
 public:
  Evaluator(Scope globals, Context* context) : context_(*context) {
    scopes_.push_back(std::move(globals));
  }

  absl::StatusOr<MarkedText> Run(const Block& block) {
    MarkedText out;
    out_ = &out;
    FATHOM_RETURN_IF_ERROR(Execute(block).status());
    return out;
  }

 private:
  // One more level of nesting and one more step, while it lives.
  class Step {
   public:
    Step(Context* context, int line) : context_(*context), line_(context->line) {
      context_.line = line;
      ++context_.depth;
    }
    ~Step() {
      --context_.depth;
      context_.line = line_;
    }
    absl::Status Check() {
      if (--context_.steps_left < 0) {
        return context_.Exhausted(
            Cat("the template takes more than ", context_.limits.steps, " steps"));
      }
      if (context_.depth > context_.limits.depth) return context_.Exhausted("nested too deeply");
      return absl::OkStatus();
    }

   private:
    Context& context_;
    const int line_;
  };

  // --- variables ---
  Value Lookup(const std::string& name) const {
    for (size_t i = scopes_.size(); i > frame_; --i) {
      if (const auto it = scopes_[i - 1].find(name); it != scopes_[i - 1].end()) return it->second;
    }
    if (const auto it = scopes_[0].find(name); it != scopes_[0].end()) return it->second;
    if (IsGlobal(name)) {
      auto function = std::make_shared<Callable>();
      function->name = name;
      return Value::Of(std::move(function));
    }
    return Value::MakeUndefined(Cat("'", name, "' is undefined"));
  }

  absl::Status Assign(const std::vector<Statement::Target>& targets, const Value& value) {
    if (targets.size() == 1) return AssignOne(targets[0], value);
    if (!value.IsList() || value.AsList().size() != targets.size()) {
      return context_.Error(Cat("cannot unpack a value that is ", value.KindName(), " into ",
                                targets.size(), " variables"));
    }
    for (size_t i = 0; i < targets.size(); ++i) {
      FATHOM_RETURN_IF_ERROR(AssignOne(targets[i], value.AsList()[i]));
    }
    return absl::OkStatus();
  }

  absl::Status AssignOne(const Statement::Target& target, const Value& value) {
    if (target.attribute.empty()) {
      scopes_.back()[target.name] = value;
      return absl::OkStatus();
    }
    const Value holder = Lookup(target.name);
    if (!holder.IsDict() || holder.AsDict().role != Dict::Role::kNamespace) {
      return context_.Error(Cat("cannot set an attribute of ", target.name, ": it is ",
                                holder.KindName(), ", not a namespace"));
    }
    holder.AsDict().Set(target.attribute, value);
    return context_.CheckItems(holder.AsDict().entries.size());
  }

  absl::Status Write(const MarkedText& text) {
    FATHOM_RETURN_IF_ERROR(context_.Charge(text.size()));
    FATHOM_RETURN_IF_ERROR(context_.CheckLength(out_->size() + text.size()));
    out_->Append(text);
    return absl::OkStatus();
  }

  // --- statements ---
  absl::StatusOr<Flow> Execute(const Block& block) {
    for (const auto& statement : block) {
      Step step(&context_, statement->line);
      FATHOM_RETURN_IF_ERROR(step.Check());
      FATHOM_ASSIGN_OR_RETURN(const Flow flow, ExecuteOne(*statement));
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  absl::StatusOr<Flow> ExecuteOne(const Statement& statement) {
    switch (statement.kind) {
      case Statement::Kind::kText:
        FATHOM_RETURN_IF_ERROR(Write(statement.text.AsText()));
        return Flow::kNext;
      case Statement::Kind::kPrint: {
        FATHOM_ASSIGN_OR_RETURN(const Value value, Eval(*statement.expression));
        const MarkedText text = ToText(value, &context_.work);
        FATHOM_RETURN_IF_ERROR(context_.CheckWork());
        FATHOM_RETURN_IF_ERROR(Write(text));
        return Flow::kNext;
      }
      case Statement::Kind::kFor:
        return ExecuteFor(statement);
      case Statement::Kind::kIf: {
        FATHOM_ASSIGN_OR_RETURN(const Value value, Eval(*statement.expression));
        return Execute(value.Truthy() ? statement.body : statement.other);
      }
      case Statement::Kind::kSet: {
        FATHOM_ASSIGN_OR_RETURN(const Value value, Eval(*statement.expression));
        FATHOM_RETURN_IF_ERROR(Assign(statement.targets, value));
        return Flow::kNext;
      }
      case Statement::Kind::kSetBlock:
      case Statement::Kind::kFilter:
        FATHOM_RETURN_IF_ERROR(ExecuteCaptured(statement));
        return Flow::kNext;
      case Statement::Kind::kMacro: {
        auto macro = std::make_shared<Callable>();
        macro->kind = Callable::Kind::kMacro;
        macro->name = statement.macro->name;
        macro->macro = statement.macro.get();
        scopes_.back()[statement.macro->name] = Value::Of(std::move(macro));
        return Flow::kNext;
      }
      case Statement::Kind::kScope: {
        Scope scope;
        for (const auto& [name, expression] : statement.assigned) {
          FATHOM_ASSIGN_OR_RETURN(scope[name], Eval(*expression));
        }
        scopes_.push_back(std::move(scope));
        absl::StatusOr<Flow> flow = Execute(statement.body);
        scopes_.pop_back();
        return flow;
      }
      case Statement::Kind::kBreak:
        return Flow::kBreak;
      case Statement::Kind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  // {% set x %} and {% filter f %}: the body's text becomes a value.
  absl::Status ExecuteCaptured(const Statement& statement) {
    MarkedText text;
    MarkedText* const outer = std::exchange(out_, &text);
    scopes_.emplace_back();
    const absl::Status status = Execute(statement.body).status();
    scopes_.pop_back();
    out_ = outer;
    FATHOM_RETURN_IF_ERROR(status);
    FATHOM_ASSIGN_OR_RETURN(Value value, NewString(context_, std::move(text)));
    if (statement.expression != nullptr) {
      FATHOM_ASSIGN_OR_RETURN(value, EvalFilter(*statement.expression, &value));
    }
    if (statement.kind == Statement::Kind::kSetBlock) return Assign(statement.targets, value);
    const MarkedText printed = ToText(value, &context_.work);
    FATHOM_RETURN_IF_ERROR(context_.CheckWork());
    return Write(printed);
  }

  absl::StatusOr<Flow> ExecuteFor(const Statement& statement) {
    FATHOM_ASSIGN_OR_RETURN(const Value over, Eval(*statement.expression));
    FATHOM_ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(context_, over));
    if (statement.condition != nullptr) {
      std::vector<Value> kept;
      for (Value& item : items) {
        scopes_.emplace_back();
        absl::Status status = Assign(statement.targets, item);
        Result passes = Value();
        if (status.ok()) passes = Eval(*statement.condition);
        scopes_.pop_back();
        FATHOM_RETURN_IF_ERROR(status);
        FATHOM_RETURN_IF_ERROR(passes.status());
        if (passes->Truthy()) kept.push_back(std::move(item));
      }
      items = std::move(kept);
    }
    if (items.empty()) return Execute(statement.other);
    for (size_t i = 0; i < items.size(); ++i) {
      Step step(&context_, statement.line);
      FATHOM_RETURN_IF_ERROR(step.Check());
      scopes_.emplace_back();
      if (statement.uses_loop) scopes_.back()["loop"] = LoopVariable(items, i);
      absl::Status status = Assign(statement.targets, items[i]);
      absl::StatusOr<Flow> flow = Flow::kNext;
      if (status.ok()) flow = Execute(statement.body);
      scopes_.pop_back();
      FATHOM_RETURN_IF_ERROR(status);
      FATHOM_RETURN_IF_ERROR(flow.status());
      if (*flow == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  Value LoopVariable(const std::vector<Value>& items, size_t i) {
    context_.work -= 256;
    auto loop = std::make_shared<Dict>();
    loop->role = Dict::Role::kLoop;
    const auto integer = [](size_t value) { return Value::Int(static_cast<int64_t>(value)); };
    loop->Set("index", integer(i + 1));
    loop->Set("index0", integer(i));
    loop->Set("revindex", integer(items.size() - i));
    loop->Set("revindex0", integer(items.size() - i - 1));
    loop->Set("first", Value::Bool(i == 0));
    loop->Set("last", Value::Bool(i + 1 == items.size()));
    loop->Set("length", integer(items.size()));
    // Of recursion, which there is none of; nesting does not count.
    loop->Set("depth", Value::Int(1));
    loop->Set("depth0", Value::Int(0));
    loop->Set("previtem", i > 0 ? items[i - 1] : Value::MakeUndefined("there is no previous item"));
    loop->Set("nextitem",
              i + 1 < items.size() ? items[i + 1] : Value::MakeUndefined("there is no next item"));
    return Value::Of(std::move(loop));
  }

  // --- expressions ---
  Result Eval(const Expression& e) {
    Step step(&context_, e.line);
    FATHOM_RETURN_IF_ERROR(step.Check());
    return EvalOne(e);
  }

  Result EvalOne(const Expression& e) {
    switch (e.kind) {
      case Kind::kLiteral:
        return e.value;
      case Kind::kName:
        return Lookup(e.name);
      case Kind::kAttribute: {
        FATHOM_ASSIGN_OR_RETURN(const Value object, Eval(*e.children[0]));
        return GetAttribute(object, e.name);
      }
      case Kind::kItem: {
        FATHOM_ASSIGN_OR_RETURN(const Value object, Eval(*e.children[0]));
        FATHOM_ASSIGN_OR_RETURN(const Value key, Eval(*e.children[1]));
        if (key.IsList() || key.IsDict())
          return context_.Error(Cat("a ", key.KindName(), " is no index"));
        return GetItem(context_, object, key);
      }
      case Kind::kSlice:
        return EvalSlice(e);
      case Kind::kCall:
        return EvalCall(e);
      case Kind::kFilter:
        return EvalFilter(e, nullptr);
      case Kind::kTest: {
        FATHOM_ASSIGN_OR_RETURN(const Value subject, Eval(*e.children[0]));
        FATHOM_ASSIGN_OR_RETURN(const Arguments args, EvalArguments(e));
        FATHOM_ASSIGN_OR_RETURN(const bool passes, ApplyTest(context_, e.name, subject, args));
        return Value::Bool(passes);
      }
      case Kind::kNot: {
        FATHOM_ASSIGN_OR_RETURN(const Value operand, Eval(*e.children[0]));
        return Value::Bool(!operand.Truthy());
      }
      case Kind::kNegate:
        return EvalNegate(e);
      case Kind::kBinary: {
        FATHOM_ASSIGN_OR_RETURN(const Value a, Eval(*e.children[0]));
        FATHOM_ASSIGN_OR_RETURN(const Value b, Eval(*e.children[1]));
        return Binary(e.name, a, b);
      }
      case Kind::kCompare:
        return EvalCompare(e);
      case Kind::kAnd:
      case Kind::kOr: {
        FATHOM_ASSIGN_OR_RETURN(const Value left, Eval(*e.children[0]));
        if (left.Truthy() == (e.kind == Kind::kOr)) return left;
        return Eval(*e.children[1]);
      }
      case Kind::kConditional: {
        FATHOM_ASSIGN_OR_RETURN(const Value condition, Eval(*e.children[1]));
        if (condition.Truthy()) return Eval(*e.children[0]);
        if (e.children[2] != nullptr) return Eval(*e.children[2]);
        return Value::MakeUndefined("the inline if has no else");
      }
      case Kind::kList:
      case Kind::kTuple: {
        std::vector<Value> items;
        for (const ExpressionPtr& child : e.children) {
          FATHOM_ASSIGN_OR_RETURN(Value item, Eval(*child));
          items.push_back(std::move(item));
        }
        return NewList(context_, std::move(items), e.kind == Kind::kTuple);
      }
      case Kind::kDict:
        return EvalDict(e);
    }
    return Value();
  }

  Result EvalDict(const Expression& e) {
    auto dict = std::make_shared<Dict>();
    for (size_t i = 0; i + 1 < e.children.size(); i += 2) {
      FATHOM_ASSIGN_OR_RETURN(const Value key, Eval(*e.children[i]));
      FATHOM_ASSIGN_OR_RETURN(Value value, Eval(*e.children[i + 1]));
      if (key.IsList() || key.IsDict())
        return context_.Error(Cat("a ", key.KindName(), " cannot be a key"));
      FATHOM_RETURN_IF_ERROR(context_.Charge(64));
      dict->Set(key, std::move(value));
    }
    return Value::Of(std::move(dict));
  }

  Result GetAttribute(const Value& object, const std::string& name) {
    if (object.IsUndefined()) return context_.Error(object.undefined_what());
    if (name.starts_with("_")) {
      return context_.Error(
          Cat("attribute ", name, " is not allowed: only the data of messages is open"));
    }
    if (HasMethod(object, name)) {
      auto method = std::make_shared<Callable>();
      method->kind = Callable::Kind::kMethod;
      method->name = name;
      method->self = object;
      return Value::Of(std::move(method));
    }
    return GetItem(context_, object, Value::Control(name));
  }

  absl::StatusOr<Arguments> EvalArguments(const Expression& e) {
    Arguments args;
    for (size_t i = 1; i < e.children.size(); ++i) {
      FATHOM_ASSIGN_OR_RETURN(Value value, Eval(*e.children[i]));
      args.positional.push_back(std::move(value));
    }
    for (const auto& [name, expression] : e.named) {
      FATHOM_ASSIGN_OR_RETURN(Value value, Eval(*expression));
      args.named.emplace_back(name, std::move(value));
    }
    return args;
  }

  // `body` stands where a chain of filters has no input of its own.
  Result EvalFilter(const Expression& e, const Value* body) {
    Value input;
    const Expression* inner = e.children[0].get();
    if (inner == nullptr) {
      input = body == nullptr ? Value() : *body;
    } else if (body != nullptr && inner->kind == Kind::kFilter) {
      FATHOM_ASSIGN_OR_RETURN(input, EvalFilter(*inner, body));
    } else {
      FATHOM_ASSIGN_OR_RETURN(input, Eval(*inner));
    }
    FATHOM_ASSIGN_OR_RETURN(const Arguments args, EvalArguments(e));
    return ApplyFilter(context_, e.name, input, args);
  }

  Result EvalCall(const Expression& e) {
    const Expression& callee = *e.children[0];
    // A method that the object does not have is named as such, not as an undefined value.
    if (callee.kind == Kind::kAttribute) {
      FATHOM_ASSIGN_OR_RETURN(const Value object, Eval(*callee.children[0]));
      FATHOM_ASSIGN_OR_RETURN(const Value method, GetAttribute(object, callee.name));
      if (!method.IsCallable()) {
        return context_.Unsupported(
            Cat("method ", callee.name, " of a value that is ", object.KindName()));
      }
      return CallWith(e, method);
    }
    FATHOM_ASSIGN_OR_RETURN(const Value function, Eval(callee));
    if (function.IsUndefined() && callee.kind == Kind::kName) {
      return context_.Unsupported(Cat("function ", callee.name));
    }
    if (!function.IsCallable()) {
      return context_.Error(Cat("a value that is ", function.KindName(), " cannot be called"));
    }
    return CallWith(e, function);
  }

  Result CallWith(const Expression& e, const Value& function) {
    FATHOM_ASSIGN_OR_RETURN(const Arguments args, EvalArguments(e));
    const std::shared_ptr<Callable> callable = function.AsCallable();
    switch (callable->kind) {
      case Callable::Kind::kGlobal:
        return CallGlobal(context_, callable->name, args);
      case Callable::Kind::kMethod:
        return CallMethod(context_, callable->self, callable->name, args);
      case Callable::Kind::kMacro:
        return CallMacro(*callable->macro, args);
    }
    return Value();
  }

  // A macro sees its parameters and the template's own variables, not those of its caller.
  Result CallMacro(const MacroStatement& macro, const Arguments& args) {
    if (args.positional.size() > macro.parameters.size()) {
      return context_.Error(Cat("macro ", macro.name, " takes at most ", macro.parameters.size(),
                                " arguments, given ", args.positional.size()));
    }
    for (const auto& [name, value] : args.named) {
      const bool known =
          std::any_of(macro.parameters.begin(), macro.parameters.end(),
                      [&](const auto& parameter) { return parameter.first == name; });
      if (!known) return context_.Error(Cat("macro ", macro.name, " has no argument ", name));
    }
    const size_t outer_frame = std::exchange(frame_, scopes_.size());
    scopes_.emplace_back();
    MarkedText text;
    MarkedText* const outer = std::exchange(out_, &text);
    absl::Status status = BindParameters(macro, args);
    if (status.ok()) status = Execute(macro.body).status();
    out_ = outer;
    scopes_.resize(frame_);
    frame_ = outer_frame;
    FATHOM_RETURN_IF_ERROR(status);
    return NewString(context_, std::move(text));
  }

  absl::Status BindParameters(const MacroStatement& macro, const Arguments& args) {
    for (size_t i = 0; i < macro.parameters.size(); ++i) {
      const auto& [name, fallback] = macro.parameters[i];
      if (const Value* given = args.Get(i, name)) {
        scopes_.back()[name] = *given;
      } else if (fallback != nullptr) {
        FATHOM_ASSIGN_OR_RETURN(Value value, Eval(*fallback));
        scopes_.back()[name] = std::move(value);
      } else {
        scopes_.back()[name] = Value::MakeUndefined(Cat("parameter '", name, "' was not provided"));
      }
    }
    return absl::OkStatus();
  }

  Result EvalNegate(const Expression& e) {
    FATHOM_ASSIGN_OR_RETURN(const Value operand, Eval(*e.children[0]));
    if (operand.IsFloat()) return Value::Float(-operand.AsFloat());
    if (!operand.IsNumber())
      return context_.Error(Cat("cannot negate a value that is ", operand.KindName()));
    if (operand.AsInt() == INT64_MIN) return context_.Error("the number is too large");
    return Value::Int(-operand.AsInt());
  }

  Result EvalCompare(const Expression& e) {
    FATHOM_ASSIGN_OR_RETURN(Value left, Eval(*e.children[0]));
    for (size_t i = 0; i < e.names.size(); ++i) {
      FATHOM_ASSIGN_OR_RETURN(const Value right, Eval(*e.children[i + 1]));
      FATHOM_ASSIGN_OR_RETURN(const bool holds, Compare(e.names[i], left, right));
      if (!holds) return Value::Bool(false);
      left = right;
    }
    return Value::Bool(true);
  }

  absl::StatusOr<bool> Compare(const std::string& op, const Value& a, const Value& b) {
    if (op == "==" || op == "!=") {
      const bool equal = Equal(a, b, &context_.work);
      FATHOM_RETURN_IF_ERROR(context_.CheckWork());
      return equal == (op == "==");
    }
    if (op == "in" || op == "not in") {
      FATHOM_ASSIGN_OR_RETURN(const bool contains, Contains(context_, b, a));
      return contains == (op == "in");
    }
    FATHOM_ASSIGN_OR_RETURN(const int order, Order(context_, a, b));
    if (op == "<") return order < 0;
    if (op == "<=") return order <= 0;
    return op == ">" ? order > 0 : order >= 0;
  }

  Result Binary(const std::string& op, const Value& a, const Value& b) {
    if (op == "~") {
      MarkedText text = ToText(a, &context_.work);
      text.Append(ToText(b, &context_.work));
      FATHOM_RETURN_IF_ERROR(context_.CheckWork());
      return NewString(context_, std::move(text));
    }
    if (a.IsNumber() && b.IsNumber()) return Arithmetic(op, a, b);
    if (op == "+" && a.IsString() && b.IsString()) {
      FATHOM_RETURN_IF_ERROR(context_.CheckLength(a.AsText().size() + b.AsText().size()));
      MarkedText text = a.AsText();
      text.Append(b.AsText());
      return NewString(context_, std::move(text));
    }
    if (op == "+" && a.IsList() && b.IsList() && a.IsTuple() == b.IsTuple()) {
      FATHOM_RETURN_IF_ERROR(context_.CheckItems(a.AsList().size() + b.AsList().size()));
      std::vector<Value> items = a.AsList();
      items.insert(items.end(), b.AsList().begin(), b.AsList().end());
      return NewList(context_, std::move(items), a.IsTuple());
    }
    if (op == "*" && (a.IsString() || a.IsList()) && b.IsInt()) return Repeat(a, b.AsInt());
    if (op == "*" && a.IsInt() && (b.IsString() || b.IsList())) return Repeat(b, a.AsInt());
    if (op == "%" && a.IsString()) return context_.Unsupported("formatting with %");
    for (const Value* side : {&a, &b}) {
      if (side->IsUndefined()) return context_.Error(side->undefined_what());
    }
    return context_.Error(
        Cat("cannot apply ", op, " to values that are ", a.KindName(), " and ", b.KindName()));
  }

  Result Repeat(const Value& value, int64_t times) {
    const auto count = static_cast<uint64_t>(std::max<int64_t>(times, 0));
    const size_t size = value.IsString() ? value.AsText().size() : value.AsList().size();
    const size_t limit = value.IsString() ? context_.limits.output_bytes : context_.limits.items;
    if (size > 0 && count > limit / size) {
      return context_.Exhausted(
          Cat("repeating grows beyond ", limit, value.IsString() ? " bytes" : " items"));
    }
    MarkedText text;
    std::vector<Value> items;
    for (uint64_t i = 0; size > 0 && i < count; ++i) {
      if (value.IsString()) {
        text.Append(value.AsText());
      } else {
        items.insert(items.end(), value.AsList().begin(), value.AsList().end());
      }
    }
    if (value.IsString()) return NewString(context_, std::move(text));
    return NewList(context_, std::move(items), value.IsTuple());
  }

  Result Arithmetic(const std::string& op, const Value& a, const Value& b) {
    const bool divides = op == "/" || op == "//" || op == "%";
    if (divides && b.AsFloat() == 0) return context_.Error("division by zero");
    if (a.IsFloat() || b.IsFloat() || op == "/") {
      const double x = a.AsFloat(), y = b.AsFloat();
      if (op == "+") return Value::Float(x + y);
      if (op == "-") return Value::Float(x - y);
      if (op == "*") return Value::Float(x * y);
      if (op == "/") return Value::Float(x / y);
      if (op == "//") return Value::Float(std::floor(x / y));
      if (op == "**") return Value::Float(std::pow(x, y));
      const double rest = std::fmod(x, y);  // of Python: with the divisor's sign
      return Value::Float(rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest);
    }
    const int64_t x = a.AsInt(), y = b.AsInt();
    int64_t result = 0;
    bool overflow = false;
    if (op == "+") {
      overflow = __builtin_add_overflow(x, y, &result);
    } else if (op == "-") {
      overflow = __builtin_sub_overflow(x, y, &result);
    } else if (op == "*") {
      overflow = __builtin_mul_overflow(x, y, &result);
    } else if (op == "**") {
      if (y < 0) return Value::Float(std::pow(static_cast<double>(x), static_cast<double>(y)));
      result = 1;
      for (int64_t i = 0; i < y && !overflow && x != 0 && x != 1; ++i) {
        if (x == -1) {
          result = y % 2 == 0 ? 1 : -1;
          break;
        }
        overflow = __builtin_mul_overflow(result, x, &result);
      }
      if (y > 0 && (x == 0 || x == 1)) result = x;
    } else if (y == -1) {
      overflow = x == INT64_MIN;
      result = op == "//" && !overflow ? -x : 0;
    } else {
      const bool adjust = x % y != 0 && (x < 0) != (y < 0);  // towards minus infinity
      result = op == "//" ? x / y - adjust : x % y + (adjust ? y : 0);
    }
    if (overflow) return context_.Error("the number is too large");
    return Value::Int(result);
  }

  // Python's slices: bounds count from the end when negative and are cut to the size.
  Result EvalSlice(const Expression& e) {
    FATHOM_ASSIGN_OR_RETURN(const Value object, Eval(*e.children[0]));
    if (!object.IsList() && !object.IsString()) {
      return context_.Error(object.IsUndefined()
                                ? object.undefined_what()
                                : Cat("a value that is ", object.KindName(), " has no slices"));
    }
    if (object.IsString()) FATHOM_RETURN_IF_ERROR(context_.Charge(9 * object.AsText().size()));
    const auto size = static_cast<int64_t>(object.IsList() ? object.AsList().size()
                                                           : CountChars(object.AsBytes()));
    FATHOM_ASSIGN_OR_RETURN(int64_t step, SliceBound(e.children[3].get(), 1));
    if (step == 0) return context_.Error("a slice's step is zero");
    step = std::clamp<int64_t>(step, -size - 1, size + 1);
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const auto bound = [&](const Expression* expression,
                           int64_t fallback) -> absl::StatusOr<int64_t> {
      if (expression == nullptr) return fallback;
      FATHOM_ASSIGN_OR_RETURN(int64_t value, SliceBound(expression, INT64_MIN));
      if (value == INT64_MIN) return fallback;
      if (value < 0) value += size;
      return std::clamp(value, low, high);
    };
    FATHOM_ASSIGN_OR_RETURN(const int64_t start, bound(e.children[1].get(), step > 0 ? low : high));
    FATHOM_ASSIGN_OR_RETURN(const int64_t stop, bound(e.children[2].get(), step > 0 ? high : low));
    if (object.IsString())
      return NewString(context_, SliceChars(object.AsText(), start, stop, step));
    std::vector<Value> items;
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
      items.push_back(object.AsList()[static_cast<size_t>(i)]);
    }
    return NewList(context_, std::move(items), object.IsTuple());
  }

  absl::StatusOr<int64_t> SliceBound(const Expression* expression, int64_t fallback) {
    if (expression == nullptr) return fallback;
    FATHOM_ASSIGN_OR_RETURN(const Value value, Eval(*expression));
    if (value.IsNone()) return fallback;
    if (!value.IsInt() && !value.IsBool()) {
      return context_.Error(Cat("a slice's bound is ", value.KindName(), ", not an integer"));
    }
    return value.AsInt();
  }

  Context& context_;
  std::vector<Scope> scopes_;  // [0]: the template's own variables
  size_t frame_ = 0;           // the first scope of the macro that runs
  MarkedText* out_ = nullptr;
};

}  // namespace

absl::StatusOr<MarkedText> Evaluate(const Block& block, Scope globals, Context* context) {
  context->steps_left = context->limits.steps;
  context->work = context->limits.work;
  absl::StatusOr<MarkedText> result = Evaluator(std::move(globals), context).Run(block);
  // A namespace may hold itself; emptied, nothing keeps anything alive.
  for (const std::shared_ptr<Dict>& space : context->namespaces) *space = Dict();
  context->namespaces.clear();
  return result;
}

}  // namespace fathom::text::jinja
