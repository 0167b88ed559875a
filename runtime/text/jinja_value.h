// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The values of the template language: Python's, with strings that remember which bytes a user
// wrote.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_VALUE_H_
#define FATHOM_RUNTIME_TEXT_JINJA_VALUE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fathom::text::jinja {

// A string and the origin of each of its bytes: kControl for what the template's author wrote,
// kContent for what came in with the messages. Every operation carries the origins along, so that
// what a user wrote is known for sure at the end, however the template cut and joined it.
class MarkedText {
 public:
  static constexpr char kControl = 0;
  static constexpr char kContent = 1;

  MarkedText() = default;
  MarkedText(std::string_view bytes, char origin) : bytes_(bytes), origins_(bytes.size(), origin) {}

  const std::string& bytes() const { return bytes_; }
  char origin(size_t at) const { return origins_[at]; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  void Append(const MarkedText& other) {
    bytes_ += other.bytes_;
    origins_ += other.origins_;
  }
  void Append(std::string_view bytes, char origin) {
    bytes_ += bytes;
    origins_.append(bytes.size(), origin);
  }
  MarkedText Substr(size_t at, size_t length = std::string::npos) const {
    MarkedText out;
    out.bytes_ = bytes_.substr(at, length);
    out.origins_ = origins_.substr(at, length);
    return out;
  }

 private:
  std::string bytes_;
  std::string origins_;  // as many as bytes
};

class Value;
struct List;
struct Dict;
struct Callable;

struct Undefined {
  std::shared_ptr<const std::string> what;  // "'tools' is undefined", for errors
};
struct None {};

// Cheap to copy: strings and containers are shared and never change once made, but for namespaces.
class Value {
 public:
  using Text = std::shared_ptr<const MarkedText>;

  Value() : data_(None{}) {}
  static Value MakeUndefined(std::string what);
  static Value Bool(bool value) { return Value(value); }
  static Value Int(int64_t value) { return Value(value); }
  static Value Float(double value) { return Value(value); }
  static Value String(MarkedText text);
  static Value Control(std::string_view text) {
    return String(MarkedText(text, MarkedText::kControl));
  }
  static Value Of(std::shared_ptr<List> list) { return Value(std::move(list)); }
  static Value Of(std::shared_ptr<Dict> dict) { return Value(std::move(dict)); }
  static Value Of(std::shared_ptr<Callable> callable) { return Value(std::move(callable)); }
  static Value ListOf(std::vector<Value> items, bool tuple = false);

  bool IsUndefined() const { return std::holds_alternative<Undefined>(data_); }
  bool IsNone() const { return std::holds_alternative<None>(data_); }
  bool IsBool() const { return std::holds_alternative<bool>(data_); }
  bool IsInt() const { return std::holds_alternative<int64_t>(data_); }
  bool IsFloat() const { return std::holds_alternative<double>(data_); }
  bool IsNumber() const { return IsInt() || IsFloat() || IsBool(); }
  bool IsString() const { return std::holds_alternative<Text>(data_); }
  bool IsList() const { return std::holds_alternative<std::shared_ptr<List>>(data_); }
  bool IsDict() const { return std::holds_alternative<std::shared_ptr<Dict>>(data_); }
  bool IsCallable() const { return std::holds_alternative<std::shared_ptr<Callable>>(data_); }

  // Each only for a value of that kind. AsInt also of a bool, AsFloat of any number.
  const std::string& undefined_what() const { return *std::get<Undefined>(data_).what; }
  bool AsBool() const { return std::get<bool>(data_); }
  int64_t AsInt() const { return IsBool() ? AsBool() : std::get<int64_t>(data_); }
  double AsFloat() const {
    return IsFloat() ? std::get<double>(data_) : static_cast<double>(AsInt());
  }
  const MarkedText& AsText() const { return *std::get<Text>(data_); }
  const std::string& AsBytes() const { return AsText().bytes(); }
  const std::vector<Value>& AsList() const;
  Dict& AsDict() const { return *std::get<std::shared_ptr<Dict>>(data_); }
  const std::shared_ptr<Callable>& AsCallable() const {
    return std::get<std::shared_ptr<Callable>>(data_);
  }
  bool IsTuple() const;

  bool Truthy() const;
  // What the kind is called in errors: "string", "integer" ...
  std::string_view KindName() const;

 private:
  template <typename T>
  explicit Value(T data) : data_(std::move(data)) {}

  std::variant<Undefined, None, bool, int64_t, double, Text, std::shared_ptr<List>,
               std::shared_ptr<Dict>, std::shared_ptr<Callable>>
      data_;
};

struct List {
  std::vector<Value> items;
  bool tuple = false;
};

// Keeps the order of insertion. Keys are strings, numbers, booleans or none.
struct Dict {
  enum class Role { kPlain, kNamespace, kLoop };

  // Nullptr when there is none.
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  void Set(const Value& key, Value value);
  void Set(std::string_view key, Value value) { Set(Value::Control(key), std::move(value)); }

  std::vector<std::pair<Value, Value>> entries;
  Role role = Role::kPlain;

 private:
  std::map<std::string, size_t, std::less<>> by_name_;  // of string keys
};

struct MacroStatement;  // jinja_ast.h

// A macro, a global function, or a method bound to its object.
struct Callable {
  enum class Kind { kMacro, kGlobal, kMethod };
  Kind kind = Kind::kGlobal;
  std::string name;
  Value self;                             // method
  const MacroStatement* macro = nullptr;  // macro
};

// What an operation may still cost, in bytes and values touched. Shared containers can stand for a
// tree much larger than the memory they take, so everything that walks one counts down and stops
// below zero; its result means nothing then.
using Work = int64_t;

// Python's ==: numbers by value, containers by their members.
bool Equal(const Value& a, const Value& b, Work* work);

// str(value): what {{ value }} prints. repr(value): the same with quotes around strings.
MarkedText ToText(const Value& value, Work* work);
MarkedText Repr(const Value& value, Work* work);

// A float as Python prints it: 1.0, 0.1, 1e+16.
std::string FloatText(double value);

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_VALUE_H_
