// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The filters, tests, methods and global functions that templates may use.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_BUILTINS_H_
#define FATHOM_RUNTIME_TEXT_JINJA_BUILTINS_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/text/jinja_context.h"

namespace fathom::text::jinja {

// Each behaves as in Jinja with Python values. InvalidArgument: wrong arguments; ResourceExhausted:
// over a limit; Unimplemented: a name outside the subset.
bool IsFilter(std::string_view name);
absl::StatusOr<Value> ApplyFilter(Context& context, std::string_view name, const Value& input,
                                  const Arguments& args);

bool IsTest(std::string_view name);
absl::StatusOr<bool> ApplyTest(Context& context, std::string_view name, const Value& input,
                               const Arguments& args);

// Methods of strings, dicts, lists and loops.
bool HasMethod(const Value& self, std::string_view name);
absl::StatusOr<Value> CallMethod(Context& context, const Value& self, std::string_view name,
                                 const Arguments& args);

// range, namespace, dict, raise_exception, strftime_now.
bool IsGlobal(std::string_view name);
absl::StatusOr<Value> CallGlobal(Context& context, std::string_view name, const Arguments& args);

// --- shared by these and the evaluator ---
// The argument of `function` in place `index`; `fallback` when it is absent or none.
absl::StatusOr<int64_t> IntArgument(Context& context, std::string_view function,
                                    const Arguments& args, size_t index, std::string_view name,
                                    int64_t fallback);
// The items a loop over `value` sees: members, keys or characters. Undefined has none.
absl::StatusOr<std::vector<Value>> Iterate(Context& context, const Value& value);
// value[key] without methods; undefined when there is none.
absl::StatusOr<Value> GetItem(Context& context, const Value& value, const Value& key);
absl::StatusOr<bool> Contains(Context& context, const Value& container, const Value& item);
// Python's order: -1, 0 or 1. InvalidArgument for kinds that have none.
absl::StatusOr<int> Order(Context& context, const Value& a, const Value& b);
absl::StatusOr<Value> NewString(Context& context, MarkedText text);
absl::StatusOr<Value> NewList(Context& context, std::vector<Value> items, bool tuple = false);

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_BUILTINS_H_
