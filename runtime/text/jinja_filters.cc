// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The filters, by what they work on: text, numbers, lists.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "runtime/text/jinja_builtins.h"
#include "runtime/text/jinja_json.h"
#include "runtime/text/jinja_text.h"
#include "runtime/text/utf8.h"

namespace fathom::text::jinja {
namespace {

using Filter = absl::StatusOr<Value> (*)(Context&, const Value&, const Arguments&);
using C = Context&;
using V = const Value&;
using A = const Arguments&;
using Result = absl::StatusOr<Value>;

bool Flag(A args, size_t index, std::string_view name, bool fallback) {
  const Value* value = args.Get(index, name);
  return value == nullptr ? fallback : value->Truthy();
}

// Filters on text take any value, by its printed form.
absl::StatusOr<MarkedText> TextOf(C context, V value) {
  if (value.IsString()) {
    FATHOM_RETURN_IF_ERROR(context.Charge(value.AsText().size()));
    return value.AsText();
  }
  MarkedText text = ToText(value, &context.work);
  FATHOM_RETURN_IF_ERROR(context.CheckWork());
  return text;
}

absl::StatusOr<MarkedText> TextArgument(C context, std::string_view filter, A args, size_t index,
                                        std::string_view name) {
  const Value* value = args.Get(index, name);
  if (value == nullptr) return context.Error(Cat(filter, ": expected an argument ", name));
  return TextOf(context, *value);
}

// `value` by the dotted path of an attribute= argument; a part that is a number indexes.
Result Attribute(C context, Value value, V path) {
  if (path.IsInt()) return GetItem(context, value, path);
  if (!path.IsString())
    return context.Error(Cat("expected the name of an attribute, found ", path.KindName()));
  if (path.AsText().size() > 1000) return context.Error("the name of an attribute is too long");
  for (const MarkedText& part : Split(path.AsText(), ".", -1)) {
    int64_t index = 0;
    const char* end = part.bytes().data() + part.size();
    const bool number =
        std::from_chars(part.bytes().data(), end, index).ptr == end && !part.empty();
    FATHOM_ASSIGN_OR_RETURN(
        value, GetItem(context, value, number ? Value::Int(index) : Value::String(part)));
  }
  return value;
}

// --- text ---

Result Trim(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("trim", args, {"chars"}));
  FATHOM_ASSIGN_OR_RETURN(const MarkedText text, TextOf(context, value));
  const Value* chars = args.Get(0, "chars");
  const bool given = chars != nullptr && chars->IsString();
  return NewString(context, Strip(text, given ? &chars->AsBytes() : nullptr, true, true));
}

template <Case How>
Result ChangeCaseFilter(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("a filter of case", args, {}));
  FATHOM_ASSIGN_OR_RETURN(const MarkedText text, TextOf(context, value));
  return NewString(context, ChangeCase(text, How));
}

Result String(C context, V value, A args) {
  FATHOM_ASSIGN_OR_RETURN(MarkedText text, TextOf(context, value));
  return NewString(context, std::move(text));
}

Result ReplaceFilter(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("replace", args, {"old", "new", "count"}));
  FATHOM_ASSIGN_OR_RETURN(const MarkedText text, TextOf(context, value));
  FATHOM_ASSIGN_OR_RETURN(const MarkedText from, TextArgument(context, "replace", args, 0, "old"));
  FATHOM_ASSIGN_OR_RETURN(const MarkedText to, TextArgument(context, "replace", args, 1, "new"));
  FATHOM_ASSIGN_OR_RETURN(const int64_t most,
                          IntArgument(context, "replace", args, 2, "count", -1));
  FATHOM_RETURN_IF_ERROR(context.CheckLength(ReplacedSize(text, from.bytes(), to.size(), most)));
  return NewString(context, Replace(text, from.bytes(), to, most));
}

Result Indent(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("indent", args, {"width", "first", "blank"}));
  FATHOM_ASSIGN_OR_RETURN(const MarkedText text, TextOf(context, value));
  const Value* width = args.Get(0, "width");
  MarkedText indent("    ", MarkedText::kControl);
  if (width != nullptr && width->IsString()) {
    indent = width->AsText();
  } else {
    FATHOM_ASSIGN_OR_RETURN(const int64_t spaces,
                            IntArgument(context, "indent", args, 0, "width", 4));
    if (spaces < 0 || spaces > 1000) return context.Error("indent: the width is out of range");
    indent = MarkedText(std::string(static_cast<size_t>(spaces), ' '), MarkedText::kControl);
  }
  const bool first = Flag(args, 1, "first", false), blank = Flag(args, 2, "blank", false);
  MarkedText out;
  std::vector<MarkedText> lines = Split(text, "\n", static_cast<int64_t>(context.limits.items));
  FATHOM_RETURN_IF_ERROR(context.CheckItems(lines.size()));
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.Append("\n", MarkedText::kControl);
    const bool indented = i == 0 ? first : blank || !Strip(lines[i], nullptr, true, false).empty();
    if (indented) out.Append(indent);
    out.Append(lines[i]);
    FATHOM_RETURN_IF_ERROR(context.CheckLength(out.size()));
  }
  return NewString(context, std::move(out));
}

Result ToJson(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments(
      "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  // Jinja's own tojson takes indent first; the form for chat templates takes ensure_ascii first. A
  // number in the first place can only be an indent.
  const Value* first = args.Get(0, "ensure_ascii");
  const Value* indent = args.Get(1, "indent");
  if (first != nullptr && first->IsInt()) indent = first;
  style.ascii = first != nullptr && first->IsBool() && first->AsBool();
  if (indent != nullptr && !indent->IsNone()) {
    if (!indent->IsInt() || indent->AsInt() < 0 || indent->AsInt() > 100) {
      return context.Error("tojson: the indent is out of range");
    }
    style.indent = static_cast<int>(indent->AsInt());
    style.item_separator = ",";
  }
  if (const Value* separators = args.Get(2, "separators");
      separators != nullptr && !separators->IsNone()) {
    if (!separators->IsList() || separators->AsList().size() != 2 ||
        !separators->AsList()[0].IsString() || !separators->AsList()[1].IsString()) {
      return context.Error("tojson: expected a pair of strings for separators");
    }
    style.item_separator = separators->AsList()[0].AsBytes();
    style.key_separator = separators->AsList()[1].AsBytes();
  }
  style.sort_keys = Flag(args, 3, "sort_keys", false);
  MarkedText out;
  FATHOM_RETURN_IF_ERROR(AppendJson(context, value, style, 0, &out));
  return NewString(context, std::move(out));
}

// --- numbers ---

Result IntFilter(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("int", args, {"default", "base"}));
  if (args.Get(1, "base") != nullptr) return context.Unsupported("int with a base");
  const Value* fallback = args.Get(0, "default");
  const Value otherwise = fallback == nullptr ? Value::Int(0) : *fallback;
  if (value.IsInt() || value.IsBool()) return Value::Int(value.AsInt());
  double number = 0;
  if (value.IsFloat()) {
    number = value.AsFloat();
  } else if (value.IsString()) {
    const std::string text = Strip(value.AsText(), nullptr, true, true).bytes();
    int64_t whole = 0;
    const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
    const char* end = text.data() + text.size();
    if (begin != end && std::from_chars(begin, end, whole).ptr == end) return Value::Int(whole);
    if (begin == end || std::from_chars(begin, end, number).ptr != end) return otherwise;
  } else {
    return otherwise;
  }
  if (!(std::fabs(number) < 9e18)) return otherwise;
  return Value::Int(static_cast<int64_t>(number));
}

Result FloatFilter(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("float", args, {"default"}));
  const Value* fallback = args.Get(0, "default");
  if (value.IsNumber()) return Value::Float(value.AsFloat());
  if (value.IsString()) {
    const std::string text = Strip(value.AsText(), nullptr, true, true).bytes();
    double number = 0;
    const char* end = text.data() + text.size();
    if (!text.empty() && std::from_chars(text.data(), end, number).ptr == end)
      return Value::Float(number);
  }
  return fallback == nullptr ? Value::Float(0) : *fallback;
}

Result Abs(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("abs", args, {}));
  if (value.IsFloat()) return Value::Float(std::fabs(value.AsFloat()));
  if (!value.IsNumber())
    return context.Error(Cat("abs: expected a number, found ", value.KindName()));
  if (value.AsInt() == INT64_MIN) return context.Error("abs: the number is too large");
  return Value::Int(std::abs(value.AsInt()));
}

Result Round(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("round", args, {"precision", "method"}));
  if (!value.IsNumber())
    return context.Error(Cat("round: expected a number, found ", value.KindName()));
  FATHOM_ASSIGN_OR_RETURN(const int64_t precision,
                          IntArgument(context, "round", args, 0, "precision", 0));
  if (precision < 0 || precision > 15) return context.Error("round: the precision is out of range");
  const Value* method = args.Get(1, "method");
  const std::string how = method != nullptr && method->IsString() ? method->AsBytes() : "common";
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.AsFloat() * scale;
  if (how == "ceil") return Value::Float(std::ceil(scaled) / scale);
  if (how == "floor") return Value::Float(std::floor(scaled) / scale);
  if (how != "common") return context.Error(Cat("round: unknown method ", how));
  return Value::Float(std::nearbyint(scaled) / scale);  // to even, as Python rounds
}

// --- any value ---

Result Default(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("default", args, {"default_value", "boolean"}));
  const bool boolean = Flag(args, 1, "boolean", false);
  if (!value.IsUndefined() && !(boolean && !value.Truthy())) return value;
  const Value* fallback = args.Get(0, "default_value");
  return fallback == nullptr ? Value::Control("") : *fallback;
}

Result Length(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("length", args, {}));
  if (value.IsString()) return Value::Int(static_cast<int64_t>(CountChars(value.AsBytes())));
  if (value.IsList()) return Value::Int(static_cast<int64_t>(value.AsList().size()));
  if (value.IsDict()) return Value::Int(static_cast<int64_t>(value.AsDict().entries.size()));
  if (value.IsUndefined()) return Value::Int(0);
  return context.Error(Cat("length: a value that is ", value.KindName(), " has no length"));
}

Result Items(C context, V value, A args) {
  std::vector<Value> items;
  if (value.IsDict()) {
    FATHOM_RETURN_IF_ERROR(context.CheckItems(value.AsDict().entries.size()));
    for (const auto& [key, item] : value.AsDict().entries) {
      items.push_back(Value::ListOf({key, item}, /*tuple=*/true));
    }
  } else if (!value.IsUndefined()) {
    return context.Error(Cat("items: expected a dict, found ", value.KindName()));
  }
  return NewList(context, std::move(items));
}

// --- lists ---

template <bool Last>
Result End(C context, V value, A args) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(context, value));
  if (items.empty())
    return Value::MakeUndefined("the first or last item of an empty list is undefined");
  return Last ? items.back() : items.front();
}

Result ListFilter(C context, V value, A args) {
  FATHOM_ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(context, value));
  return NewList(context, std::move(items));
}

Result Reverse(C context, V value, A args) {
  FATHOM_ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(context, value));
  std::reverse(items.begin(), items.end());
  if (!value.IsString()) return NewList(context, std::move(items));
  MarkedText text;
  for (const Value& item : items) text.Append(item.AsText());
  return NewString(context, std::move(text));
}

Result Join(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("join", args, {"d", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(context, value));
  MarkedText separator, out;
  if (const Value* d = args.Get(0, "d"); d != nullptr) {
    FATHOM_ASSIGN_OR_RETURN(separator, TextOf(context, *d));
  }
  const Value* attribute = args.Get(1, "attribute");
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (attribute != nullptr && !attribute->IsNone()) {
      FATHOM_ASSIGN_OR_RETURN(item, Attribute(context, item, *attribute));
    }
    if (i > 0) out.Append(separator);
    FATHOM_ASSIGN_OR_RETURN(const MarkedText text, TextOf(context, item));
    out.Append(text);
    FATHOM_RETURN_IF_ERROR(context.CheckLength(out.size()));
  }
  return NewString(context, std::move(out));
}

Arguments Rest(A args, size_t from) {
  Arguments rest;
  rest.positional.assign(args.positional.begin() + static_cast<ptrdiff_t>(from),
                         args.positional.end());
  rest.named = args.named;
  return rest;
}

Result Map(C context, V value, A args) {
  FATHOM_ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(context, value));
  const Value* attribute = args.positional.empty() ? args.Get(0, "attribute") : nullptr;
  const Value* fallback = args.positional.empty() ? args.Get(1, "default") : nullptr;
  if (attribute == nullptr && (args.positional.empty() || !args.positional[0].IsString())) {
    return context.Error("map: expected attribute= or the name of a filter");
  }
  for (Value& item : items) {
    if (attribute != nullptr) {
      FATHOM_ASSIGN_OR_RETURN(item, Attribute(context, item, *attribute));
      if (item.IsUndefined() && fallback != nullptr) item = *fallback;
    } else {
      FATHOM_ASSIGN_OR_RETURN(
          item, ApplyFilter(context, args.positional[0].AsBytes(), item, Rest(args, 1)));
    }
  }
  return NewList(context, std::move(items));
}

// select, reject and their attr forms: keeps the items whose test (truth when none is named) is
// `Keep`.
template <bool ByAttribute, bool Keep>
Result Select(C context, V value, A args) {
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(context, value));
  constexpr size_t kTest = ByAttribute ? 1 : 0;
  if (ByAttribute && args.positional.empty())
    return context.Error("expected the name of an attribute");
  const Value* test = args.positional.size() > kTest ? &args.positional[kTest] : nullptr;
  if (test != nullptr && !test->IsString()) return context.Error("expected the name of a test");
  std::vector<Value> out;
  for (const Value& item : items) {
    Value subject = item;
    if (ByAttribute) {
      FATHOM_ASSIGN_OR_RETURN(subject, Attribute(context, item, args.positional[0]));
    }
    bool passes = subject.Truthy();
    if (test != nullptr) {
      FATHOM_ASSIGN_OR_RETURN(passes,
                              ApplyTest(context, test->AsBytes(), subject, Rest(args, kTest + 1)));
    }
    if (passes == Keep) out.push_back(item);
  }
  return NewList(context, std::move(out));
}

// What items are ordered by: an attribute of theirs, in lower case unless asked otherwise.
Result SortKey(C context, V item, const Value* attribute, bool case_sensitive) {
  Value key = item;
  if (attribute != nullptr && !attribute->IsNone()) {
    FATHOM_ASSIGN_OR_RETURN(key, Attribute(context, item, *attribute));
  }
  if (key.IsString() && !case_sensitive)
    return NewString(context, ChangeCase(key.AsText(), Case::kLower));
  return key;
}

// Sorts `items` by `keys`, stable; an error in a comparison comes back.
absl::Status SortBy(C context, std::vector<Value>* items, const std::vector<Value>& keys,
                    bool reverse) {
  std::vector<size_t> order(items->size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  // A merge sort of our own: std::sort must not see a comparison that fails half way.
  for (size_t width = 1; width < order.size(); width *= 2) {
    std::vector<size_t> merged;
    for (size_t low = 0; low < order.size(); low += 2 * width) {
      size_t a = low, b = std::min(low + width, order.size());
      const size_t a_end = b, b_end = std::min(low + 2 * width, order.size());
      while (a < a_end || b < b_end) {
        bool take_b = a == a_end;
        if (a < a_end && b < b_end) {
          FATHOM_ASSIGN_OR_RETURN(const int compared,
                                  Order(context, keys[order[b]], keys[order[a]]));
          take_b = reverse ? compared > 0 : compared < 0;
        }
        merged.push_back(take_b ? order[b++] : order[a++]);
      }
    }
    order = std::move(merged);
  }
  std::vector<Value> sorted;
  for (const size_t i : order) sorted.push_back((*items)[i]);
  *items = std::move(sorted);
  return absl::OkStatus();
}

Result Sort(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(
      context.CheckArguments("sort", args, {"reverse", "case_sensitive", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(context, value));
  std::vector<Value> keys;
  for (const Value& item : items) {
    FATHOM_ASSIGN_OR_RETURN(Value key, SortKey(context, item, args.Get(2, "attribute"),
                                               Flag(args, 1, "case_sensitive", false)));
    keys.push_back(std::move(key));
  }
  FATHOM_RETURN_IF_ERROR(SortBy(context, &items, keys, Flag(args, 0, "reverse", false)));
  return NewList(context, std::move(items));
}

Result DictSort(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(
      context.CheckArguments("dictsort", args, {"case_sensitive", "by", "reverse"}));
  FATHOM_ASSIGN_OR_RETURN(const Value pairs, Items(context, value, {}));
  std::vector<Value> items = pairs.AsList();
  const Value* by = args.Get(1, "by");
  const bool by_value = by != nullptr && by->IsString() && by->AsBytes() == "value";
  const Value index = Value::Int(by_value ? 1 : 0);
  std::vector<Value> keys;
  for (const Value& item : items) {
    FATHOM_ASSIGN_OR_RETURN(Value key,
                            SortKey(context, item, &index, Flag(args, 0, "case_sensitive", false)));
    keys.push_back(std::move(key));
  }
  FATHOM_RETURN_IF_ERROR(SortBy(context, &items, keys, Flag(args, 2, "reverse", false)));
  return NewList(context, std::move(items));
}

Result Unique(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("unique", args, {"case_sensitive", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(context, value));
  std::vector<Value> out;
  Dict seen;
  for (const Value& item : items) {
    FATHOM_ASSIGN_OR_RETURN(const Value key, SortKey(context, item, args.Get(1, "attribute"),
                                                     Flag(args, 0, "case_sensitive", false)));
    if (key.IsList() || key.IsDict())
      return context.Error(Cat("unique: a ", key.KindName(), " has no hash"));
    FATHOM_RETURN_IF_ERROR(
        context.Charge(key.IsString() ? key.AsText().size() : seen.entries.size()));
    if (seen.Find(key) != nullptr) continue;
    seen.Set(key, Value());
    out.push_back(item);
  }
  return NewList(context, std::move(out));
}

template <bool Max>
Result Extreme(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("min", args, {"case_sensitive", "attribute"}));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(context, value));
  if (items.empty()) return Value::MakeUndefined("the extreme of an empty list is undefined");
  Value best, best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(const Value key, SortKey(context, items[i], args.Get(1, "attribute"),
                                                     Flag(args, 0, "case_sensitive", false)));
    int order = 1;
    if (i > 0) {
      FATHOM_ASSIGN_OR_RETURN(order,
                              Max ? Order(context, key, best_key) : Order(context, best_key, key));
    }
    if (order > 0) best = items[i], best_key = key;
  }
  return best;
}

Result Sum(C context, V value, A args) {
  FATHOM_RETURN_IF_ERROR(context.CheckArguments("sum", args, {"attribute", "start"}));
  FATHOM_ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(context, value));
  const Value* attribute = args.Get(0, "attribute");
  const Value* start = args.Get(1, "start");
  if (start != nullptr) items.insert(items.begin(), *start);
  int64_t whole = 0;
  double number = 0;
  bool is_float = false;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (attribute != nullptr && !attribute->IsNone() && !(start != nullptr && i == 0)) {
      FATHOM_ASSIGN_OR_RETURN(item, Attribute(context, item, *attribute));
    }
    if (!item.IsNumber())
      return context.Error(Cat("sum: expected a number, found ", item.KindName()));
    is_float = is_float || item.IsFloat();
    number += item.AsFloat();
    if (!is_float && __builtin_add_overflow(whole, item.AsInt(), &whole)) {
      return context.Error("sum: the sum is too large");
    }
  }
  return is_float ? Value::Float(number) : Value::Int(whole);
}

Result Same(C, V value, A) { return value; }

const std::map<std::string_view, Filter>& Filters() {
  static const std::map<std::string_view, Filter> filters = {
      {"abs", Abs},
      {"capitalize", ChangeCaseFilter<Case::kCapitalize>},
      {"count", Length},
      {"d", Default},
      {"default", Default},
      {"dictsort", DictSort},
      {"first", End<false>},
      {"float", FloatFilter},
      {"indent", Indent},
      {"int", IntFilter},
      {"items", Items},
      {"join", Join},
      {"last", End<true>},
      {"length", Length},
      {"list", ListFilter},
      {"lower", ChangeCaseFilter<Case::kLower>},
      {"map", Map},
      {"max", Extreme<true>},
      {"min", Extreme<false>},
      {"reject", Select<false, false>},
      {"rejectattr", Select<true, false>},
      {"replace", ReplaceFilter},
      {"reverse", Reverse},
      {"round", Round},
      {"safe", Same},
      {"select", Select<false, true>},
      {"selectattr", Select<true, true>},
      {"sort", Sort},
      {"string", String},
      {"sum", Sum},
      {"title", ChangeCaseFilter<Case::kTitle>},
      {"tojson", ToJson},
      {"trim", Trim},
      {"unique", Unique},
      {"upper", ChangeCaseFilter<Case::kUpper>},
  };
  return filters;
}

}  // namespace

bool IsFilter(std::string_view name) { return Filters().contains(name); }

absl::StatusOr<Value> ApplyFilter(Context& context, std::string_view name, const Value& input,
                                  const Arguments& args) {
  const auto it = Filters().find(name);
  if (it == Filters().end()) return context.Unsupported(Cat("filter ", name));
  // map can name map: bounded like any nesting.
  if (++context.depth > context.limits.depth) return context.Exhausted("nested too deeply");
  FATHOM_RETURN_IF_ERROR(context.Charge(1));
  absl::StatusOr<Value> result = it->second(context, input, args);
  --context.depth;
  return result;
}

}  // namespace fathom::text::jinja
