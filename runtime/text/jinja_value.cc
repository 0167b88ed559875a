// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Values: truth, equality and their text forms.
#include "runtime/text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>


namespace fathom::text::jinja {
namespace {

// Equality and printing give up below this depth; a namespace may contain itself.
constexpr int kMaxDepth = 100;
// Visiting a value costs about as much as copying so many bytes.
constexpr Work kVisit = 256;

bool EqualAt(const Value& a, const Value& b, int depth, Work* work) {
  if (depth > kMaxDepth || (*work -= kVisit) < 0) return false;
  if (a.IsNumber() && b.IsNumber()) {
    if (!a.IsFloat() && !b.IsFloat()) return a.AsInt() == b.AsInt();
    return a.AsFloat() == b.AsFloat();
  }
  if (a.IsString() && b.IsString()) {
    *work -= static_cast<Work>(std::min(a.AsText().size(), b.AsText().size()));
    return a.AsBytes() == b.AsBytes();
  }
  if (a.IsNone() || a.IsUndefined()) {
    return (a.IsNone() && b.IsNone()) || (a.IsUndefined() && b.IsUndefined());
  }
  if (a.IsList() && b.IsList()) {
    const auto &x = a.AsList(), &y = b.AsList();
    if (x.size() != y.size() || a.IsTuple() != b.IsTuple()) return false;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!EqualAt(x[i], y[i], depth + 1, work)) return false;
    }
    return true;
  }
  if (a.IsDict() && b.IsDict()) {
    if (&a.AsDict() == &b.AsDict()) return true;
    if (a.AsDict().entries.size() != b.AsDict().entries.size()) return false;
    for (const auto& [key, value] : a.AsDict().entries) {
      const Value* other = b.AsDict().Find(key);
      if (other == nullptr || !EqualAt(value, *other, depth + 1, work)) return false;
    }
    return true;
  }
  return a.IsCallable() && b.IsCallable() && a.AsCallable() == b.AsCallable();
}

// A string in quotes, as Python writes it.
void AppendQuoted(const MarkedText& text, MarkedText* out) {
  const std::string& bytes = text.bytes();
  const bool has_single = bytes.find('\'') != std::string::npos;
  const char quote = has_single && bytes.find('"') == std::string::npos ? '"' : '\'';
  out->Append(std::string(1, quote), MarkedText::kControl);
  size_t done = 0;  // what stands as it is goes over in runs
  for (size_t at = 0; at < bytes.size(); ++at) {
    const char c = bytes[at];
    std::string escape;
    if (c == quote || c == '\\') {
      escape = std::string("\\") + c;
    } else if (c == '\n' || c == '\r' || c == '\t') {
      escape = c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(c));
      escape = code;
    } else {
      continue;
    }
    out->Append(text.Substr(done, at - done));
    out->Append(escape, text.origin(at));
    done = at + 1;
  }
  out->Append(text.Substr(done));
  out->Append(std::string(1, quote), MarkedText::kControl);
}

void AppendRepr(const Value& value, int depth, Work* work, MarkedText* out) {
  const auto plain = [&](std::string_view text) { out->Append(text, MarkedText::kControl); };
  if ((*work -= kVisit) < 0) return;
  if (depth > kMaxDepth) {
    plain("...");
  } else if (value.IsString()) {
    *work -= 8 * static_cast<Work>(value.AsText().size());
    if (*work >= 0) AppendQuoted(value.AsText(), out);
  } else if (value.IsList()) {
    const auto& items = value.AsList();
    plain(value.IsTuple() ? "(" : "[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) plain(", ");
      AppendRepr(items[i], depth + 1, work, out);
    }
    if (value.IsTuple() && items.size() == 1) plain(",");
    plain(value.IsTuple() ? ")" : "]");
  } else if (value.IsDict()) {
    plain("{");
    bool first = true;
    for (const auto& [key, item] : value.AsDict().entries) {
      if (!first) plain(", ");
      first = false;
      AppendRepr(key, depth + 1, work, out);
      plain(": ");
      AppendRepr(item, depth + 1, work, out);
    }
    plain("}");
  } else if (value.IsUndefined()) {
    plain("Undefined");
  } else {
    out->Append(ToText(value, work));
  }
}

}  // namespace

Value Value::MakeUndefined(std::string what) {
  return Value(Undefined{std::make_shared<const std::string>(std::move(what))});
}
Value Value::String(MarkedText text) {
  return Value(std::make_shared<const MarkedText>(std::move(text)));
}
Value Value::ListOf(std::vector<Value> items, bool tuple) {
  auto list = std::make_shared<List>();
  list->items = std::move(items);
  list->tuple = tuple;
  return Of(std::move(list));
}
const std::vector<Value>& Value::AsList() const {
  return std::get<std::shared_ptr<List>>(data_)->items;
}
bool Value::IsTuple() const { return IsList() && std::get<std::shared_ptr<List>>(data_)->tuple; }

bool Value::Truthy() const {
  if (IsBool()) return AsBool();
  if (IsInt()) return AsInt() != 0;
  if (IsFloat()) return AsFloat() != 0;
  if (IsString()) return !AsText().empty();
  if (IsList()) return !AsList().empty();
  if (IsDict()) return AsDict().role != Dict::Role::kPlain || !AsDict().entries.empty();
  return IsCallable();
}

std::string_view Value::KindName() const {
  if (IsUndefined()) return "undefined";
  if (IsNone()) return "none";
  if (IsBool()) return "boolean";
  if (IsInt()) return "integer";
  if (IsFloat()) return "float";
  if (IsString()) return "string";
  if (IsList()) return IsTuple() ? "tuple" : "list";
  if (IsDict()) {
    return AsDict().role == Dict::Role::kNamespace ? "namespace"
           : AsDict().role == Dict::Role::kLoop    ? "loop"
                                                   : "dict";
  }
  return "function";
}

const Value* Dict::Find(std::string_view key) const {
  const auto it = by_name_.find(key);
  return it == by_name_.end() ? nullptr : &entries[it->second].second;
}

const Value* Dict::Find(const Value& key) const {
  if (key.IsString()) return Find(key.AsBytes());
  Work work = INT64_MAX;  // other keys are scalars
  for (const auto& [other, value] : entries) {
    if (!other.IsString() && Equal(other, key, &work)) return &value;
  }
  return nullptr;
}

void Dict::Set(const Value& key, Value value) {
  if (const Value* found = Find(key)) {
    const_cast<Value&>(*found) = std::move(value);
    return;
  }
  if (key.IsString()) by_name_.emplace(key.AsBytes(), entries.size());
  entries.emplace_back(key, std::move(value));
}

bool Equal(const Value& a, const Value& b, Work* work) { return EqualAt(a, b, 0, work); }

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::fabs(value);
  // Python writes an exponent only outside [1e-4, 1e16).
  const auto format = size != 0 && (size < 1e-4 || size >= 1e16) ? std::chars_format::scientific
                                                                 : std::chars_format::fixed;
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value, format);
  std::string text(buffer, result.ptr);
  if (format == std::chars_format::fixed && text.find('.') == std::string::npos) text += ".0";
  return text;
}

MarkedText ToText(const Value& value, Work* work) {
  if (value.IsString()) return value.AsText();
  if (value.IsUndefined()) return {};
  const auto plain = [](std::string_view text) { return MarkedText(text, MarkedText::kControl); };
  if (value.IsNone()) return plain("None");
  if (value.IsBool()) return plain(value.AsBool() ? "True" : "False");
  if (value.IsInt()) return plain(std::to_string(value.AsInt()));
  if (value.IsFloat()) return plain(FloatText(value.AsFloat()));
  if (value.IsCallable()) return plain("<function " + value.AsCallable()->name + ">");
  return Repr(value, work);
}

MarkedText Repr(const Value& value, Work* work) {
  MarkedText out;
  AppendRepr(value, 0, work, &out);
  return out;
}

}  // namespace fathom::text::jinja
