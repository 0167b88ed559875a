// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What filters, tests, methods and the evaluator share: iteration, items, order; and the tests.
#include <algorithm>
#include <map>

#include "runtime/text/jinja_builtins.h"
#include "runtime/text/jinja_text.h"
#include "runtime/text/utf8.h"

namespace fathom::text::jinja {
namespace {

using Test = absl::StatusOr<bool> (*)(Context&, const Value&, const Arguments&);

absl::StatusOr<Value> OneArgument(Context& context, std::string_view test, const Arguments& args) {
  if (args.positional.size() != 1 || !args.named.empty()) {
    return context.Error(Cat("test ", test, " takes one argument"));
  }
  return args.positional[0];
}

absl::StatusOr<bool> IsEqual(Context& context, const Value& a, const Arguments& args) {
  FATHOM_ASSIGN_OR_RETURN(const Value b, OneArgument(context, "equalto", args));
  const bool equal = Equal(a, b, &context.work);
  FATHOM_RETURN_IF_ERROR(context.CheckWork());
  return equal;
}

template <typename Compare>
absl::StatusOr<bool> IsOrdered(Context& context, const Value& a, const Arguments& args,
                               Compare compare) {
  FATHOM_ASSIGN_OR_RETURN(const Value b, OneArgument(context, "of order", args));
  FATHOM_ASSIGN_OR_RETURN(const int order, Order(context, a, b));
  return compare(order);
}

absl::StatusOr<int64_t> Integer(Context& context, std::string_view what, const Value& value) {
  if (!value.IsInt() && !value.IsBool()) {
    return context.Error(Cat(what, ": expected an integer, found ", value.KindName()));
  }
  return value.AsInt();
}

absl::StatusOr<bool> IsDivisible(Context& context, const Value& a, const Arguments& args) {
  FATHOM_ASSIGN_OR_RETURN(const Value b, OneArgument(context, "divisibleby", args));
  FATHOM_ASSIGN_OR_RETURN(const int64_t number, Integer(context, "divisibleby", a));
  FATHOM_ASSIGN_OR_RETURN(const int64_t divisor, Integer(context, "divisibleby", b));
  if (divisor == 0) return context.Error("division by zero");
  return divisor == -1 || number % divisor == 0;
}

template <bool (Value::*Is)() const>
absl::StatusOr<bool> IsKind(Context&, const Value& value, const Arguments&) {
  return (value.*Is)();
}

const std::map<std::string_view, Test>& Tests() {
  static const std::map<std::string_view, Test> tests = [] {
    std::map<std::string_view, Test> t;
    using C = Context&;
    using V = const Value&;
    using A = const Arguments&;
    t["defined"] = [](C, V v, A) -> absl::StatusOr<bool> { return !v.IsUndefined(); };
    t["undefined"] = IsKind<&Value::IsUndefined>;
    t["none"] = IsKind<&Value::IsNone>;
    t["string"] = IsKind<&Value::IsString>;
    t["boolean"] = IsKind<&Value::IsBool>;
    t["integer"] = IsKind<&Value::IsInt>;
    t["float"] = IsKind<&Value::IsFloat>;
    t["number"] = IsKind<&Value::IsNumber>;
    t["callable"] = IsKind<&Value::IsCallable>;
    t["mapping"] = IsKind<&Value::IsDict>;
    t["sequence"] = [](C, V v, A) -> absl::StatusOr<bool> {
      return v.IsString() || v.IsList() || v.IsDict();
    };
    t["iterable"] = [](C, V v, A) -> absl::StatusOr<bool> {
      return v.IsString() || v.IsList() || v.IsDict() || v.IsUndefined();
    };
    t["true"] = [](C, V v, A) -> absl::StatusOr<bool> { return v.IsBool() && v.AsBool(); };
    t["false"] = [](C, V v, A) -> absl::StatusOr<bool> { return v.IsBool() && !v.AsBool(); };
    t["odd"] = [](C c, V v, A) -> absl::StatusOr<bool> {
      FATHOM_ASSIGN_OR_RETURN(const int64_t number, Integer(c, "odd", v));
      return number % 2 != 0;
    };
    t["even"] = [](C c, V v, A) -> absl::StatusOr<bool> {
      FATHOM_ASSIGN_OR_RETURN(const int64_t number, Integer(c, "even", v));
      return number % 2 == 0;
    };
    t["lower"] = [](C, V v, A) -> absl::StatusOr<bool> {
      return v.IsString() && ChangeCase(v.AsText(), Case::kLower).bytes() == v.AsBytes();
    };
    t["upper"] = [](C, V v, A) -> absl::StatusOr<bool> {
      return v.IsString() && ChangeCase(v.AsText(), Case::kUpper).bytes() == v.AsBytes();
    };
    t["divisibleby"] = IsDivisible;
    t["equalto"] = t["eq"] = t["=="] = t["sameas"] = IsEqual;
    t["ne"] = t["!="] = [](C c, V v, A a) -> absl::StatusOr<bool> {
      FATHOM_ASSIGN_OR_RETURN(const bool equal, IsEqual(c, v, a));
      return !equal;
    };
    t["lt"] = t["lessthan"] = t["<"] = [](C c, V v, A a) {
      return IsOrdered(c, v, a, [](int order) { return order < 0; });
    };
    t["le"] = t["<="] = [](C c, V v, A a) {
      return IsOrdered(c, v, a, [](int order) { return order <= 0; });
    };
    t["gt"] = t["greaterthan"] = t[">"] = [](C c, V v, A a) {
      return IsOrdered(c, v, a, [](int order) { return order > 0; });
    };
    t["ge"] = t[">="] = [](C c, V v, A a) {
      return IsOrdered(c, v, a, [](int order) { return order >= 0; });
    };
    t["in"] = [](C c, V v, A a) -> absl::StatusOr<bool> {
      FATHOM_ASSIGN_OR_RETURN(const Value container, OneArgument(c, "in", a));
      return Contains(c, container, v);
    };
    return t;
  }();
  return tests;
}

}  // namespace

bool IsTest(std::string_view name) { return Tests().contains(name); }

absl::StatusOr<bool> ApplyTest(Context& context, std::string_view name, const Value& input,
                               const Arguments& args) {
  const auto it = Tests().find(name);
  if (it == Tests().end()) return context.Unsupported(Cat("test ", name));
  if (input.IsString()) FATHOM_RETURN_IF_ERROR(context.Charge(input.AsText().size()));
  return it->second(context, input, args);
}

absl::StatusOr<Value> NewString(Context& context, MarkedText text) {
  FATHOM_RETURN_IF_ERROR(context.CheckLength(text.size()));
  FATHOM_RETURN_IF_ERROR(context.Charge(text.size()));
  return Value::String(std::move(text));
}

absl::StatusOr<Value> NewList(Context& context, std::vector<Value> items, bool tuple) {
  FATHOM_RETURN_IF_ERROR(context.CheckItems(items.size()));
  FATHOM_RETURN_IF_ERROR(context.Charge(16 * items.size()));
  return Value::ListOf(std::move(items), tuple);
}

absl::StatusOr<int64_t> IntArgument(Context& context, std::string_view function,
                                    const Arguments& args, size_t index, std::string_view name,
                                    int64_t fallback) {
  const Value* value = args.Get(index, name);
  if (value == nullptr || value->IsNone()) return fallback;
  if (!value->IsInt() && !value->IsBool()) {
    return context.Error(
        Cat(function, ": expected an integer for ", name, ", found ", value->KindName()));
  }
  return value->AsInt();
}

absl::StatusOr<std::vector<Value>> Iterate(Context& context, const Value& value) {
  std::vector<Value> items;
  if (value.IsList()) {
    FATHOM_RETURN_IF_ERROR(context.Charge(16 * value.AsList().size()));
    items = value.AsList();
  } else if (value.IsDict() && value.AsDict().role == Dict::Role::kPlain) {
    FATHOM_RETURN_IF_ERROR(context.Charge(16 * value.AsDict().entries.size()));
    for (const auto& [key, item] : value.AsDict().entries) items.push_back(key);
  } else if (value.IsString()) {
    FATHOM_RETURN_IF_ERROR(context.CheckItems(CountChars(value.AsBytes())));
    FATHOM_RETURN_IF_ERROR(context.Charge(64 * value.AsText().size()));
    items = Chars(value.AsText());
  } else if (!value.IsUndefined()) {
    return context.Error(Cat("a value that is ", value.KindName(), " cannot be iterated"));
  }
  return items;
}

absl::StatusOr<Value> GetItem(Context& context, const Value& value, const Value& key) {
  if (value.IsUndefined()) return context.Error(value.undefined_what());
  if (value.IsDict()) {
    if (!key.IsString()) FATHOM_RETURN_IF_ERROR(context.Charge(value.AsDict().entries.size()));
    if (const Value* found = value.AsDict().Find(key)) return *found;
    Work work = 1000;
    return Value::MakeUndefined(
        Cat(value.KindName(), " has no ", ToText(key, &work).bytes().substr(0, 100)));
  }
  const bool indexed = value.IsList() || value.IsString();
  if (!indexed || !(key.IsInt() || key.IsBool())) {
    Work work = 1000;
    return Value::MakeUndefined(Cat("a value that is ", value.KindName(), " has no ",
                                    ToText(key, &work).bytes().substr(0, 100)));
  }
  if (value.IsString()) FATHOM_RETURN_IF_ERROR(context.Charge(value.AsText().size()));
  const auto size =
      static_cast<int64_t>(value.IsList() ? value.AsList().size() : CountChars(value.AsBytes()));
  int64_t index = key.AsInt();
  if (index < 0) index += size;
  if (index < 0 || index >= size) {
    return Value::MakeUndefined(
        Cat("index ", key.AsInt(), " is outside a ", value.KindName(), " of ", size));
  }
  if (value.IsList()) return value.AsList()[static_cast<size_t>(index)];
  return NewString(context, SliceChars(value.AsText(), index, index + 1, 1));
}

absl::StatusOr<bool> Contains(Context& context, const Value& container, const Value& item) {
  if (container.IsUndefined()) return false;
  if (container.IsString()) {
    if (!item.IsString()) {
      return context.Error(Cat("in: expected a string to look for, found ", item.KindName()));
    }
    FATHOM_RETURN_IF_ERROR(context.Charge(container.AsText().size()));
    return container.AsBytes().find(item.AsBytes()) != std::string::npos;
  }
  if (container.IsDict()) {
    if (!item.IsString()) FATHOM_RETURN_IF_ERROR(context.Charge(container.AsDict().entries.size()));
    return container.AsDict().Find(item) != nullptr;
  }
  if (!container.IsList()) {
    return context.Error(Cat("in: a value that is ", container.KindName(), " contains nothing"));
  }
  for (const Value& member : container.AsList()) {
    if (Equal(member, item, &context.work)) return true;
    FATHOM_RETURN_IF_ERROR(context.CheckWork());
  }
  return false;
}

absl::StatusOr<int> Order(Context& context, const Value& a, const Value& b) {
  FATHOM_RETURN_IF_ERROR(context.Charge(1));
  const auto sign = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (a.IsNumber() && b.IsNumber()) {
    if (!a.IsFloat() && !b.IsFloat()) return sign(a.AsInt(), b.AsInt());
    return sign(a.AsFloat(), b.AsFloat());
  }
  if (a.IsString() && b.IsString()) {
    FATHOM_RETURN_IF_ERROR(context.Charge(std::min(a.AsText().size(), b.AsText().size())));
    return sign(a.AsBytes(), b.AsBytes());  // UTF-8 orders as code points do
  }
  if (a.IsList() && b.IsList()) {
    if (++context.depth > context.limits.depth) return context.Exhausted("nested too deeply");
    const auto &x = a.AsList(), &y = b.AsList();
    int order = 0;
    for (size_t i = 0; order == 0 && i < std::min(x.size(), y.size()); ++i) {
      FATHOM_ASSIGN_OR_RETURN(order, Order(context, x[i], y[i]));
    }
    --context.depth;
    return order != 0 ? order : sign(x.size(), y.size());
  }
  return context.Error(
      Cat("a value that is ", a.KindName(), " and one that is ", b.KindName(), " have no order"));
}

}  // namespace fathom::text::jinja
