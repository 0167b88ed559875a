// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Methods of strings, dicts, lists and loops, and the global functions.
#include <algorithm>
#include <ctime>
#include <map>

#include "runtime/text/jinja_builtins.h"
#include "runtime/text/jinja_text.h"
#include "runtime/text/utf8.h"

namespace fathom::text::jinja {
namespace {

using Method = absl::StatusOr<Value> (*)(Context&, const Value&, const Arguments&);
using Methods = std::map<std::string_view, Method>;
using C = Context&;
using V = const Value&;
using A = const Arguments&;

// The string argument in place `index`; null when it is absent or none.
absl::StatusOr<const Value*> StringArgument(C context, std::string_view method, A args,
                                            size_t index, std::string_view name) {
  const Value* value = args.Get(index, name);
  if (value == nullptr || value->IsNone()) return nullptr;
  if (!value->IsString()) {
    return context.Error(
        Cat(method, ": expected a string for ", name, ", found ", value->KindName()));
  }
  return value;
}
absl::StatusOr<const Value*> RequiredString(C context, std::string_view method, A args,
                                            size_t index, std::string_view name) {
  FATHOM_ASSIGN_OR_RETURN(const Value* value, StringArgument(context, method, args, index, name));
  if (value == nullptr)
    return context.Error(Cat(method, ": expected a string for ", name, ", found nothing"));
  return value;
}

absl::StatusOr<Value> StringList(C context, std::vector<MarkedText> parts) {
  std::vector<Value> items;
  FATHOM_RETURN_IF_ERROR(context.CheckItems(parts.size()));
  for (MarkedText& part : parts) items.push_back(Value::String(std::move(part)));
  return NewList(context, std::move(items));
}

template <bool Left, bool Right>
absl::StatusOr<Value> StripMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("strip", args, {"chars"}));
  FATHOM_ASSIGN_OR_RETURN(const Value* chars, StringArgument(context, "strip", args, 0, "chars"));
  return NewString(
      context, Strip(self.AsText(), chars == nullptr ? nullptr : &chars->AsBytes(), Left, Right));
}

template <bool Right>
absl::StatusOr<Value> SplitMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("split", args, {"sep", "maxsplit"}));
  FATHOM_ASSIGN_OR_RETURN(const Value* separator, StringArgument(context, "split", args, 0, "sep"));
  FATHOM_ASSIGN_OR_RETURN(int64_t most, IntArgument(context, "split", args, 1, "maxsplit", -1));
  const bool limited = most >= 0;
  // One part more than a list may have is enough to be refused.
  const auto items = static_cast<int64_t>(context.limits.items);
  if (!limited || most > items) most = items;
  if (separator == nullptr) {
    if (Right && limited) return context.Unsupported("rsplit at white space with a limit");
    return StringList(context, SplitWhite(self.AsText(), most));
  }
  if (separator->AsText().empty()) return context.Error("split: the separator is empty");
  return StringList(context, Right ? SplitRight(self.AsText(), separator->AsBytes(), most)
                                   : Split(self.AsText(), separator->AsBytes(), most));
}

absl::StatusOr<Value> SplitLinesMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("splitlines", args, {"keepends"}));
  const Value* keep = args.Get(0, "keepends");
  const std::string& bytes = self.AsBytes();
  FATHOM_RETURN_IF_ERROR(context.CheckItems(static_cast<size_t>(
      std::count_if(bytes.begin(), bytes.end(), [](char c) { return c >= 0x0A && c <= 0x1E; }))));
  return StringList(context, SplitLines(self.AsText(), keep != nullptr && keep->Truthy()));
}

template <bool End>
absl::StatusOr<Value> AffixMethod(C context, V self, A args) {
  const std::string_view name = End ? "endswith" : "startswith";
  FATHOM_RETURN_IF_ERROR(context.CheckArguments(name, args, {"prefix"}));
  const Value* affix = args.Get(0, "prefix");
  if (affix == nullptr) return context.Error(Cat(name, " takes one argument"));
  std::vector<Value> choices = {*affix};
  if (affix->IsTuple()) choices = affix->AsList();
  for (const Value& choice : choices) {
    if (!choice.IsString()) {
      return context.Error(Cat(name, ": expected a string, found ", choice.KindName()));
    }
    const bool found = End ? self.AsBytes().ends_with(choice.AsBytes())
                           : self.AsBytes().starts_with(choice.AsBytes());
    if (found) return Value::Bool(true);
  }
  return Value::Bool(false);
}

template <bool Suffix>
absl::StatusOr<Value> RemoveAffixMethod(C context, V self, A args) {
  FATHOM_ASSIGN_OR_RETURN(const Value* affix,
                          RequiredString(context, "removeprefix", args, 0, "prefix"));
  const MarkedText& text = self.AsText();
  const std::string& bytes = affix->AsBytes();
  if (Suffix && text.bytes().ends_with(bytes)) {
    return NewString(context, text.Substr(0, text.size() - bytes.size()));
  }
  if (!Suffix && text.bytes().starts_with(bytes))
    return NewString(context, text.Substr(bytes.size()));
  return self;
}

absl::StatusOr<Value> ReplaceMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("replace", args, {"old", "new", "count"}));
  FATHOM_ASSIGN_OR_RETURN(const Value* from, RequiredString(context, "replace", args, 0, "old"));
  FATHOM_ASSIGN_OR_RETURN(const Value* to, RequiredString(context, "replace", args, 1, "new"));
  FATHOM_ASSIGN_OR_RETURN(const int64_t most,
                          IntArgument(context, "replace", args, 2, "count", -1));
  FATHOM_RETURN_IF_ERROR(
      context.CheckLength(ReplacedSize(self.AsText(), from->AsBytes(), to->AsText().size(), most)));
  return NewString(context, Replace(self.AsText(), from->AsBytes(), to->AsText(), most));
}

// find, rfind and count: the answer in characters.
template <bool Last>
absl::StatusOr<Value> FindMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("find", args, {"sub"}));
  FATHOM_ASSIGN_OR_RETURN(const Value* part, RequiredString(context, "find", args, 0, "sub"));
  const size_t at =
      Last ? self.AsBytes().rfind(part->AsBytes()) : self.AsBytes().find(part->AsBytes());
  if (at == std::string::npos) return Value::Int(-1);
  return Value::Int(
      static_cast<int64_t>(CountChars(std::string_view(self.AsBytes()).substr(0, at))));
}

absl::StatusOr<Value> CountMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("count", args, {"sub"}));
  FATHOM_ASSIGN_OR_RETURN(const Value* part, RequiredString(context, "count", args, 0, "sub"));
  // One byte more for each occurrence.
  const size_t with = ReplacedSize(self.AsText(), part->AsBytes(), part->AsText().size() + 1, -1);
  return Value::Int(static_cast<int64_t>(with - self.AsText().size()));
}

absl::StatusOr<Value> JoinMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("join", args, {"iterable"}));
  const Value* list = args.Get(0, "iterable");
  if (list == nullptr) return context.Error("join takes one argument");
  return ApplyFilter(context, "join", *list, {{self}, {}});
}

template <Case How>
absl::StatusOr<Value> CaseMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("a method of case", args, {}));
  return NewString(context, ChangeCase(self.AsText(), How));
}

template <bool (*Is)(uint32_t)>
absl::StatusOr<Value> CharsMethod(C context, V self, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("a method of kind", args, {}));
  return Value::Bool(AllChars(self.AsBytes(), Is));
}

template <Case How>
absl::StatusOr<Value> IsCaseMethod(C context, V self, A args) {
  const bool cased = ChangeCase(self.AsText(), Case::kUpper).bytes() !=
                     ChangeCase(self.AsText(), Case::kLower).bytes();
  return Value::Bool(cased && ChangeCase(self.AsText(), How).bytes() == self.AsBytes());
}

const Methods& StringMethods() {
  static const Methods methods = {
      {"strip", StripMethod<true, true>},
      {"lstrip", StripMethod<true, false>},
      {"rstrip", StripMethod<false, true>},
      {"split", SplitMethod<false>},
      {"rsplit", SplitMethod<true>},
      {"splitlines", SplitLinesMethod},
      {"startswith", AffixMethod<false>},
      {"endswith", AffixMethod<true>},
      {"removeprefix", RemoveAffixMethod<false>},
      {"removesuffix", RemoveAffixMethod<true>},
      {"replace", ReplaceMethod},
      {"find", FindMethod<false>},
      {"rfind", FindMethod<true>},
      {"count", CountMethod},
      {"join", JoinMethod},
      {"upper", CaseMethod<Case::kUpper>},
      {"lower", CaseMethod<Case::kLower>},
      {"capitalize", CaseMethod<Case::kCapitalize>},
      {"title", CaseMethod<Case::kTitle>},
      {"isdigit", CharsMethod<IsDecimal>},
      {"isdecimal", CharsMethod<IsDecimal>},
      {"isnumeric", CharsMethod<IsDecimal>},
      {"isalpha", CharsMethod<IsLetter>},
      {"isalnum", CharsMethod<IsLetterOrDigit>},
      {"isspace", CharsMethod<IsPythonSpace>},
      {"isupper", IsCaseMethod<Case::kUpper>},
      {"islower", IsCaseMethod<Case::kLower>},
  };
  return methods;
}

const Methods& DictMethods() {
  static const Methods methods = {
      {"items",
       [](C c, V self, A a) -> absl::StatusOr<Value> {
         FATHOM_RETURN_IF_ERROR(c.CheckArguments("items", a, {}));
         return ApplyFilter(c, "items", self, {});
       }},
      {"keys",
       [](C c, V self, A a) -> absl::StatusOr<Value> {
         FATHOM_RETURN_IF_ERROR(c.CheckArguments("keys", a, {}));
         FATHOM_ASSIGN_OR_RETURN(std::vector<Value> keys, Iterate(c, self));
         return NewList(c, std::move(keys));
       }},
      {"values",
       [](C c, V self, A a) -> absl::StatusOr<Value> {
         FATHOM_RETURN_IF_ERROR(c.CheckArguments("values", a, {}));
         std::vector<Value> values;
         for (const auto& [key, value] : self.AsDict().entries) values.push_back(value);
         return NewList(c, std::move(values));
       }},
      {"get",
       [](C c, V self, A a) -> absl::StatusOr<Value> {
         FATHOM_RETURN_IF_ERROR(c.CheckArguments("get", a, {"key", "default"}));
         const Value* key = a.Get(0, "key");
         if (key == nullptr) return c.Error("get: expected a key");
         FATHOM_ASSIGN_OR_RETURN(const Value found, GetItem(c, self, *key));
         if (!found.IsUndefined()) return found;
         const Value* fallback = a.Get(1, "default");
         return fallback == nullptr ? Value() : *fallback;
       }},
  };
  return methods;
}

const Methods& ListMethods() {
  static const Methods methods = {
      {"count",
       [](C c, V self, A a) -> absl::StatusOr<Value> {
         FATHOM_RETURN_IF_ERROR(c.CheckArguments("count", a, {"value"}));
         const Value* item = a.Get(0, "value");
         if (item == nullptr) return c.Error("count takes one argument");
         int64_t count = 0;
         for (const Value& member : self.AsList()) count += Equal(member, *item, &c.work);
         FATHOM_RETURN_IF_ERROR(c.CheckWork());
         return Value::Int(count);
       }},
      {"index",
       [](C c, V self, A a) -> absl::StatusOr<Value> {
         FATHOM_RETURN_IF_ERROR(c.CheckArguments("index", a, {"value"}));
         const Value* item = a.Get(0, "value");
         if (item == nullptr) return c.Error("index takes one argument");
         for (size_t i = 0; i < self.AsList().size(); ++i) {
           if (Equal(self.AsList()[i], *item, &c.work)) return Value::Int(static_cast<int64_t>(i));
           FATHOM_RETURN_IF_ERROR(c.CheckWork());
         }
         return c.Error("index: the value is not in the list");
       }},
  };
  return methods;
}

const Methods& LoopMethods() {
  static const Methods methods = {
      {"cycle",
       [](C c, V self, A a) -> absl::StatusOr<Value> {
         if (a.positional.empty())
           return c.Error("loop.cycle: expected the values to cycle through");
         const auto index = static_cast<size_t>(self.AsDict().Find("index0")->AsInt());
         return a.positional[index % a.positional.size()];
       }},
  };
  return methods;
}

const Methods* MethodsOf(const Value& self) {
  if (self.IsString()) return &StringMethods();
  if (self.IsList()) return &ListMethods();
  if (!self.IsDict() || self.AsDict().role == Dict::Role::kNamespace) return nullptr;
  return self.AsDict().role == Dict::Role::kLoop ? &LoopMethods() : &DictMethods();
}

// --- globals ---

absl::StatusOr<Value> Range(C context, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("range", args, {"start", "stop", "step"}));
  const size_t given = args.positional.size();
  if (given == 0) return context.Error("range takes 1 to 3 arguments");
  FATHOM_ASSIGN_OR_RETURN(const int64_t first, IntArgument(context, "range", args, 0, "start", 0));
  FATHOM_ASSIGN_OR_RETURN(const int64_t second,
                          IntArgument(context, "range", args, 1, "stop", first));
  FATHOM_ASSIGN_OR_RETURN(const int64_t step, IntArgument(context, "range", args, 2, "step", 1));
  const int64_t start = given == 1 ? 0 : first;
  const int64_t stop = given == 1 ? first : second;
  if (step == 0) return context.Error("range: the step is zero");
  // Counted without overflow: the distance of two int64 fits a uint64.
  uint64_t count = 0;
  if (step > 0 && stop > start) {
    count = (static_cast<uint64_t>(stop) - static_cast<uint64_t>(start) - 1) /
                static_cast<uint64_t>(step) +
            1;
  } else if (step < 0 && stop < start) {
    count = (static_cast<uint64_t>(start) - static_cast<uint64_t>(stop) - 1) /
                (~static_cast<uint64_t>(step) + 1) +
            1;
  }
  FATHOM_RETURN_IF_ERROR(context.CheckItems(count));
  std::vector<Value> items;
  for (uint64_t i = 0; i < count; ++i) {
    items.push_back(Value::Int(start + static_cast<int64_t>(i) * step));
  }
  return NewList(context, std::move(items));
}

// dict(...) and namespace(...): a dict or pairs, then named values.
absl::StatusOr<Value> MakeDict(C context, A args, Dict::Role role) {
  if (args.positional.size() > 1)
    return context.Error("dict takes at most one argument that is not named");
  auto dict = std::make_shared<Dict>();
  dict->role = role;
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    if (from.IsDict()) {
      for (const auto& [key, value] : from.AsDict().entries) dict->Set(key, value);
    } else {
      FATHOM_ASSIGN_OR_RETURN(const std::vector<Value> pairs, Iterate(context, from));
      for (const Value& pair : pairs) {
        if (!pair.IsList() || pair.AsList().size() != 2 || pair.AsList()[0].IsList() ||
            pair.AsList()[0].IsDict()) {
          return context.Error("dict: expected pairs of a key and a value");
        }
        dict->Set(pair.AsList()[0], pair.AsList()[1]);
      }
    }
  }
  for (const auto& [name, value] : args.named) dict->Set(name, value);
  FATHOM_RETURN_IF_ERROR(context.CheckItems(dict->entries.size()));
  FATHOM_RETURN_IF_ERROR(context.Charge(64 + 16 * dict->entries.size()));
  if (role == Dict::Role::kNamespace) context.namespaces.push_back(dict);
  return Value::Of(std::move(dict));
}

absl::StatusOr<Value> RaiseException(C context, A args) {
  if (args.positional.size() != 1) return context.Error("raise_exception takes one argument");
  const MarkedText message = ToText(args.positional[0], &context.work);
  return context.Error(std::string_view(message.bytes()).substr(0, 1000));
}

// The local time. Only plain conversions: strftime's own widths could ask for any length.
absl::StatusOr<Value> StrftimeNow(C context, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("strftime_now", args, {"format"}));
  FATHOM_ASSIGN_OR_RETURN(const Value* format,
                          RequiredString(context, "strftime_now", args, 0, "format"));
  std::tm time{};
  localtime_r(&context.now, &time);
  std::string out;
  const std::string& text = format->AsBytes();
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    std::string conversion = "%";
    if (at + 1 < text.size() && text[at + 1] == '-') conversion += text[++at];
    const char kind = at + 1 < text.size() ? text[++at] : '\0';
    if (kind == '\0' ||
        std::string_view("aAbBcdDeFHIjmMnpRSTuUVwWxXyYZz%").find(kind) == std::string_view::npos) {
      return context.Unsupported(Cat("strftime_now: %", std::string(1, kind == '\0' ? ' ' : kind)));
    }
    conversion += kind;
    char buffer[128];
    out.append(buffer, std::strftime(buffer, sizeof buffer, conversion.c_str(), &time));
    FATHOM_RETURN_IF_ERROR(context.CheckLength(out.size()));
  }
  return NewString(context, MarkedText(out, MarkedText::kControl));
}

}  // namespace

bool HasMethod(const Value& self, std::string_view name) {
  const Methods* methods = MethodsOf(self);
  return methods != nullptr && methods->contains(name);
}

absl::StatusOr<Value> CallMethod(Context& context, const Value& self, std::string_view name,
                                 const Arguments& args) {
  const Methods* methods = MethodsOf(self);
  if (methods == nullptr || !methods->contains(name)) {
    return context.Unsupported(Cat("method ", name, " of a value that is ", self.KindName()));
  }
  FATHOM_RETURN_IF_ERROR(context.Charge(1 + (self.IsString() ? self.AsText().size() : 0)));
  return methods->find(name)->second(context, self, args);
}

bool IsGlobal(std::string_view name) {
  return name == "range" || name == "dict" || name == "namespace" || name == "raise_exception" ||
         name == "strftime_now";
}

absl::StatusOr<Value> CallGlobal(Context& context, std::string_view name, const Arguments& args) {
  if (name == "range") return Range(context, args);
  if (name == "dict") return MakeDict(context, args, Dict::Role::kPlain);
  if (name == "namespace") return MakeDict(context, args, Dict::Role::kNamespace);
  if (name == "raise_exception") return RaiseException(context, args);
  return StrftimeNow(context, args);
}

}  // namespace fathom::text::jinja
