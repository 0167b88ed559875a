// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds stop strings in text that arrives in pieces, and never lets part of one through.
#ifndef FATHOM_RUNTIME_SESSION_STOP_STRINGS_H_
#define FATHOM_RUNTIME_SESSION_STOP_STRINGS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fathom {

class StopStrings {
 public:
  static constexpr size_t kMaxStrings = 256;
  static constexpr size_t kMaxBytes = 1024;
  // InvalidArgument: an empty string, one above kMaxBytes, more than kMaxStrings.
  static absl::StatusOr<StopStrings> Create(std::vector<std::string> strings);

  // Takes the next piece and returns the text that may be shown now: everything that cannot be part
  // of a stop string any more. Once one is complete, found() is true and what follows it is
  // dropped.
  std::string Add(std::string_view text);
  // The text still held back, at the end of a generation that found no stop string.
  std::string Finish();
  bool found() const { return found_; }

 private:
  explicit StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {}

  std::vector<std::string> strings_;
  std::string held_;
  bool found_ = false;
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_SESSION_STOP_STRINGS_H_
