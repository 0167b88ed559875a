// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A regular expression that cuts text, with bounds that turn a slow pattern into an error instead
// of a hang.
#ifndef FATHOM_RUNTIME_TEXT_SPLIT_PATTERN_H_
#define FATHOM_RUNTIME_TEXT_SPLIT_PATTERN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fathom::text {

struct TextRange {
  size_t begin;
  size_t end;
};

// What matching needs besides the pattern: memory, and the time that all patterns of one call may
// take together. That time is generous, about a thousand times what the published patterns need,
// and only there so that a hostile pattern cannot occupy the program. One per call, not shared
// between threads.
class PatternWorkspace {
 public:
  // `text_bytes`: of all the text this workspace will see.
  explicit PatternWorkspace(size_t text_bytes);
  ~PatternWorkspace();

 private:
  friend class SplitPattern;
  struct State;
  std::unique_ptr<State> state_;
};

// Compiled once, used from any number of threads.
class SplitPattern {
 public:
  // `where` names the pattern in errors. PCRE2 syntax; \C is refused.
  static absl::StatusOr<std::unique_ptr<SplitPattern>> Compile(std::string_view pattern,
                                                               std::string_view where);
  ~SplitPattern();

  // Makes machine code of the pattern where the system allows it. Not needed for correctness.
  void Optimize();

  // The matches in valid UTF-8 `text`, left to right, never overlapping. Look-around sees `text`
  // only. An empty match at the end of the match before is skipped. ResourceExhausted when a match
  // needs more steps than allowed or the workspace's time is spent.
  absl::Status FindAll(std::string_view text, PatternWorkspace* workspace,
                       absl::FunctionRef<void(TextRange)> found) const;

 private:
  struct Code;
  explicit SplitPattern(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
  std::string where_;
};

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_SPLIT_PATTERN_H_
