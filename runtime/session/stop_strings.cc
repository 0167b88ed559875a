// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Matching stop strings across pieces.
#include "runtime/session/stop_strings.h"

#include <algorithm>
#include <utility>

#include "runtime/base/status.h"

namespace fathom {

absl::StatusOr<StopStrings> StopStrings::Create(std::vector<std::string> strings) {
  if (strings.size() > kMaxStrings) {
    return InputError("stop strings", "count", absl::StrCat("at most ", kMaxStrings),
                      strings.size());
  }
  for (const std::string& string : strings) {
    if (string.empty() || string.size() > kMaxBytes) {
      return InputError("stop string", "length", absl::StrCat("1 to ", kMaxBytes, " bytes"),
                        string.size());
    }
  }
  return StopStrings(std::move(strings));
}

std::string StopStrings::Add(std::string_view text) {
  if (found_) return "";
  held_.append(text);
  // The stop string that begins first wins; held_ never holds a whole one from before.
  size_t first = std::string::npos;
  for (const std::string& string : strings_) first = std::min(first, held_.find(string));
  if (first != std::string::npos) {
    found_ = true;
    return std::exchange(held_, "").substr(0, first);
  }
  // Holds back the longest end of the text that some stop string begins with.
  size_t hold = 0;
  for (const std::string& string : strings_) {
    for (size_t n = std::min(string.size() - 1, held_.size()); n > hold; --n) {
      if (held_.compare(held_.size() - n, n, string, 0, n) == 0) hold = n;
    }
  }
  std::string shown = held_.substr(0, held_.size() - hold);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::Finish() { return std::exchange(held_, ""); }

}  // namespace fathom
