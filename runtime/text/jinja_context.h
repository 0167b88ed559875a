// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every part of a running template shares: where it is, what it may still cost, and its
// limits.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_CONTEXT_H_
#define FATHOM_RUNTIME_TEXT_JINJA_CONTEXT_H_

#include <cstdint>
#include <ctime>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/base/status.h"
#include "runtime/text/jinja_value.h"
#include "runtime/text/strings.h"

namespace fathom::text::jinja {

struct Limits {
  int64_t steps = 1'000'000;              // expressions and statements
  Work work = int64_t{256} << 20;         // bytes and values touched by them
  size_t output_bytes = size_t{4} << 20;  // of the result and of any one string
  size_t items = 100'000;                 // of a range or any one list
  int depth = 300;  // of expressions, blocks and macro calls inside each other
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument in place `index` or called `name`; null when it was not given.
  const Value* Get(size_t index, std::string_view name) const {
    if (index < positional.size()) return &positional[index];
    for (const auto& [key, value] : named) {
      if (key == name) return &value;
    }
    return nullptr;
  }
};

struct Context {
  Limits limits;
  int64_t steps_left = 0;
  Work work = 0;
  int depth = 0;
  int line = 1;
  std::time_t now = 0;
  std::vector<std::shared_ptr<Dict>> namespaces;  // emptied at the end: they may hold each other

  std::string Where() const { return Cat("chat template: line ", line); }
  absl::Status Error(std::string_view what) const { return InputError(Where(), what); }
  absl::Status Unsupported(std::string_view what) const {
    return UnsupportedError(Where(), Cat(what, " is not supported"));
  }
  absl::Status Exhausted(std::string_view what) const {
    return absl::ResourceExhaustedError(Cat(Where(), ": ", what));
  }
  // Takes `cost` from the work that is left.
  absl::Status Charge(size_t cost) {
    work -= static_cast<Work>(cost);
    return CheckWork();
  }
  absl::Status CheckWork() const {
    return work < 0 ? Exhausted("the template does too much work") : absl::OkStatus();
  }
  absl::Status CheckLength(size_t bytes) const {
    if (bytes <= limits.output_bytes) return absl::OkStatus();
    return Exhausted(Cat("a text grows beyond ", limits.output_bytes, " bytes"));
  }
  absl::Status CheckItems(size_t count) const {
    if (count <= limits.items) return absl::OkStatus();
    return Exhausted(Cat("a list grows beyond ", limits.items, " items"));
  }
  // That `args` has no more than the parameters `names` of `function`, by place or by name.
  absl::Status CheckArguments(std::string_view function, const Arguments& args,
                              std::initializer_list<std::string_view> names) const {
    if (args.positional.size() > names.size()) {
      return Error(Cat(function, " takes at most ", names.size(), " arguments, given ",
                       args.positional.size()));
    }
    for (const auto& argument : args.named) {
      bool known = false;
      for (const std::string_view name : names) known = known || name == argument.first;
      if (!known) return Error(Cat(function, " has no argument ", argument.first));
    }
    return absl::OkStatus();
  }
};

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_CONTEXT_H_
