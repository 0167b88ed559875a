// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Error macros of the runtime side and the one helper that words an error.
#ifndef FATHOM_RUNTIME_BASE_STATUS_H_
#define FATHOM_RUNTIME_BASE_STATUS_H_

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

// The three kinds of error and their exit codes (docs/spec/errors.md):
//   your input              kInvalidArgument, kNotFound, kDataLoss, kOutOfRange ...   exit 1
//   not supported here      kUnimplemented, kResourceExhausted, kUnavailable           exit 2
//   internal error          kInternal, kUnknown                                         exit 3
namespace fathom {

// Debian's Abseil has a string_view of its own, which a std::string_view does not convert to. Passes
// anything else through, so that StrCat can print numbers.
template <typename T>
decltype(auto) AsStrCatArgument(const T& value) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    const std::string_view view = value;
    return absl::string_view(view.data(), view.size());
  } else {
    return value;
  }
}

// Words one error: "<where>: <what>: expected <expected>, found <found>". `where` names the file and,
// after a colon, the field ("model.safetensors: header"). Example:
//   InputError("a.gguf: tensor_count", "count is too large", "at most 1000000", "4294967295")
template <typename E, typename F>
absl::Status InputError(std::string_view where, std::string_view what, const E& expected,
                        const F& found) {
  return absl::InvalidArgumentError(
      absl::StrCat(AsStrCatArgument(where), ": ", AsStrCatArgument(what), ": expected ",
                   AsStrCatArgument(expected), ", found ", AsStrCatArgument(found)));
}
inline absl::Status InputError(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(AsStrCatArgument(where), ": ", AsStrCatArgument(what)));
}
// The request is well formed but this build, device or format version cannot serve it (exit 2).
inline absl::Status UnsupportedError(std::string_view where, std::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat(AsStrCatArgument(where), ": ", AsStrCatArgument(what)));
}

// The process exit code for `status`: 0 ok, 1 your input, 2 unsupported, 3 internal.
inline int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return 2;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return 3;
    default:
      return 1;
  }
}

}  // namespace fathom

#define FATHOM_CONCAT_INNER_(a, b) a##b
#define FATHOM_CONCAT_(a, b) FATHOM_CONCAT_INNER_(a, b)

// Returns from the enclosing function when `expr` (an absl::Status) is not ok.
#define FATHOM_RETURN_IF_ERROR(expr)                  \
  do {                                                \
    if (::absl::Status fathom_status_ = (expr); !fathom_status_.ok()) return fathom_status_; \
  } while (false)

// FATHOM_ASSIGN_OR_RETURN(auto x, F()): assigns the value of a StatusOr or returns its status.
#define FATHOM_ASSIGN_OR_RETURN(lhs, expr) \
  FATHOM_ASSIGN_OR_RETURN_IMPL_(FATHOM_CONCAT_(fathom_statusor_, __LINE__), lhs, expr)
#define FATHOM_ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                                  \
  if (!statusor.ok()) return std::move(statusor).status(); \
  lhs = *std::move(statusor)

#endif  // FATHOM_RUNTIME_BASE_STATUS_H_
