// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// JSON in and out of templates, in Python's spelling.
#include "runtime/text/jinja_json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "runtime/text/utf8.h"

namespace fathom::text::jinja {
namespace {

constexpr int kMaxDepth = 100;

void AppendEscapedUnit(uint32_t unit, char origin, MarkedText* out) {
  char escape[8];
  std::snprintf(escape, sizeof escape, "\\u%04x", unit);
  out->Append(escape, origin);
}

void AppendString(const MarkedText& text, bool ascii, MarkedText* out) {
  out->Append("\"", MarkedText::kControl);
  const std::string& bytes = text.bytes();
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Char c = ReadUtf8(bytes, at);
    const char origin = text.origin(at);
    switch (c.code) {
      case '"':
        out->Append("\\\"", origin);
        break;
      case '\\':
        out->Append("\\\\", origin);
        break;
      case '\n':
        out->Append("\\n", origin);
        break;
      case '\r':
        out->Append("\\r", origin);
        break;
      case '\t':
        out->Append("\\t", origin);
        break;
      case '\b':
        out->Append("\\b", origin);
        break;
      case '\f':
        out->Append("\\f", origin);
        break;
      default:
        if (c.code < 0x20 || (ascii && c.code > 0x7E && c.code < 0x10000)) {
          AppendEscapedUnit(c.code, origin, out);
        } else if (ascii && c.code > 0x7E) {
          AppendEscapedUnit(0xD800 + ((c.code - 0x10000) >> 10), origin, out);
          AppendEscapedUnit(0xDC00 + ((c.code - 0x10000) & 0x3FF), origin, out);
        } else {
          out->Append(text.Substr(at, c.length));
        }
    }
    at += c.length;
  }
  out->Append("\"", MarkedText::kControl);
}

std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return FloatText(value);
}

// A key as json.dumps writes it: strings as they are, other scalars by their JSON spelling.
absl::StatusOr<MarkedText> KeyText(Context& context, const Value& key) {
  const auto plain = [](std::string_view text) { return MarkedText(text, MarkedText::kControl); };
  if (key.IsString()) return key.AsText();
  if (key.IsNone()) return plain("null");
  if (key.IsBool()) return plain(key.AsBool() ? "true" : "false");
  if (key.IsInt()) return plain(std::to_string(key.AsInt()));
  if (key.IsFloat()) return plain(NumberText(key.AsFloat()));
  return context.Error(Cat("tojson: a ", key.KindName(), " cannot be a key"));
}

absl::Status AppendDict(Context& context, const Dict& dict, const JsonStyle& style, int level,
                        std::string_view between, std::string_view before_end, MarkedText* out) {
  const auto plain = [&](std::string_view text) { out->Append(text, MarkedText::kControl); };
  std::vector<const std::pair<Value, Value>*> entries;
  for (const auto& entry : dict.entries) entries.push_back(&entry);
  if (style.sort_keys) {
    for (const auto* entry : entries) {
      if (!entry->first.IsString())
        return context.Unsupported("tojson: sort_keys of keys that are no strings");
    }
    std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
      return a->first.AsBytes() < b->first.AsBytes();
    });
  }
  plain("{");
  bool first = true;
  for (const auto* entry : entries) {
    if (!first) plain(style.item_separator);
    plain(between);
    first = false;
    FATHOM_ASSIGN_OR_RETURN(const MarkedText key, KeyText(context, entry->first));
    AppendString(key, style.ascii, out);
    plain(style.key_separator);
    FATHOM_RETURN_IF_ERROR(AppendJson(context, entry->second, style, level + 1, out));
  }
  if (!first) plain(before_end);
  plain("}");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Value> FromJson(const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  if (depth > kMaxDepth) {
    return InputError("chat template: input", "nested too deeply",
                      Cat("at most ", kMaxDepth, " levels"), "more");
  }
  const auto text = [](const std::string& bytes) -> absl::StatusOr<Value> {
    if (FindInvalidUtf8(bytes) != std::string_view::npos) {
      return InputError("chat template: input", "a text is not valid UTF-8");
    }
    return Value::String(MarkedText(bytes, MarkedText::kContent));
  };
  switch (json.type()) {
    case Type::boolean:
      return Value::Bool(json.get<bool>());
    case Type::number_integer:
      return Value::Int(json.get<int64_t>());
    case Type::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) return Value::Float(json.get<double>());
      return Value::Int(json.get<int64_t>());
    case Type::number_float:
      return Value::Float(json.get<double>());
    case Type::string:
      return text(json.get_ref<const std::string&>());
    case Type::array: {
      std::vector<Value> items;
      for (const auto& item : json) {
        FATHOM_ASSIGN_OR_RETURN(Value value, FromJson(item, depth + 1));
        items.push_back(std::move(value));
      }
      return Value::ListOf(std::move(items));
    }
    case Type::object: {
      auto dict = std::make_shared<Dict>();
      for (const auto& [name, item] : json.items()) {
        FATHOM_ASSIGN_OR_RETURN(const Value key, text(name));
        FATHOM_ASSIGN_OR_RETURN(Value value, FromJson(item, depth + 1));
        dict->Set(key, std::move(value));
      }
      return Value::Of(std::move(dict));
    }
    default:
      return Value();
  }
}

absl::Status AppendJson(Context& context, const Value& value, const JsonStyle& style, int level,
                        MarkedText* out) {
  const auto plain = [&](std::string_view text) { out->Append(text, MarkedText::kControl); };
  FATHOM_RETURN_IF_ERROR(context.Charge(256 + (value.IsString() ? 8 * value.AsText().size() : 0)));
  FATHOM_RETURN_IF_ERROR(context.CheckLength(out->size()));
  if (level > kMaxDepth) return context.Error("tojson: the value is nested too deeply");
  std::string between, before_end;
  if (style.indent >= 0) {
    const auto width = static_cast<size_t>(style.indent);
    between = "\n" + std::string(width * static_cast<size_t>(level + 1), ' ');
    before_end = "\n" + std::string(width * static_cast<size_t>(level), ' ');
  }
  if (value.IsNone()) {
    plain("null");
  } else if (value.IsBool()) {
    plain(value.AsBool() ? "true" : "false");
  } else if (value.IsInt()) {
    plain(std::to_string(value.AsInt()));
  } else if (value.IsFloat()) {
    plain(NumberText(value.AsFloat()));
  } else if (value.IsString()) {
    AppendString(value.AsText(), style.ascii, out);
  } else if (value.IsList()) {
    plain("[");
    bool first = true;
    for (const Value& item : value.AsList()) {
      if (!first) plain(style.item_separator);
      plain(between);
      first = false;
      FATHOM_RETURN_IF_ERROR(AppendJson(context, item, style, level + 1, out));
    }
    if (!first) plain(before_end);
    plain("]");
  } else if (value.IsDict() && value.AsDict().role == Dict::Role::kPlain) {
    return AppendDict(context, value.AsDict(), style, level, between, before_end, out);
  } else {
    return context.Error(Cat("tojson: a value that is ", value.KindName(), " is no JSON"));
  }
  return absl::OkStatus();
}

}  // namespace fathom::text::jinja
