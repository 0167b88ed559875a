// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The steps between a text and the words that are merged: the normalizer, then the pre-tokenizer.
#ifndef FATHOM_RUNTIME_TEXT_TEXT_STEPS_H_
#define FATHOM_RUNTIME_TEXT_TEXT_STEPS_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/split_pattern.h"

namespace fathom::text {

// Both classes are made from a verified buffer and copy what they need; they are used from any
// number of threads. Text is valid UTF-8 throughout. Text that a step would grow beyond
// kMaxStepBytes is an error.
inline constexpr size_t kMaxStepBytes = size_t{256} << 20;

class Normalizer {
 public:
  static absl::StatusOr<Normalizer> Create(const schema::Tokenizer& tokenizer);
  bool empty() const { return steps_.empty(); }
  void Optimize();
  absl::StatusOr<std::string> Run(std::string_view text, PatternWorkspace* workspace) const;

 private:
  struct Step {
    schema::NormalizerKind kind;
    std::string text;     // replace_text: what is replaced
    std::string content;  // prepend, replace
    bool left = false, right = false;
    std::unique_ptr<SplitPattern> pattern;
  };
  std::vector<Step> steps_;
};

class PreTokenizer {
 public:
  static absl::StatusOr<PreTokenizer> Create(const schema::Tokenizer& tokenizer);
  void Optimize();
  // Calls `word` for each word of `text` in order, none of them empty. `at_start`: `text` stands at
  // the very start of what is encoded.
  absl::Status Run(std::string_view text, bool at_start, PatternWorkspace* workspace,
                   absl::FunctionRef<absl::Status(std::string_view)> word) const;

 private:
  struct Step {
    schema::PreTokenizerKind kind;
    schema::SplitBehavior behavior;
    bool invert = false;
    std::string text;     // split_text
    std::string content;  // metaspace
    schema::PrependScheme prepend;
    bool split = false;
    std::unique_ptr<SplitPattern> pattern;
  };
  absl::Status Split(const Step& step, std::string_view text, std::vector<TextRange>* ranges,
                     PatternWorkspace* workspace) const;
  static void RewriteSpaces(const Step& step, bool at_start, std::string* text,
                            std::vector<TextRange>* ranges);
  std::vector<Step> steps_;
};

// Cuts [0, size) at `matches` (ordered, not overlapping) the way `behavior` says and appends the
// pieces that are not empty to `pieces`, shifted by `offset`.
void ApplySplit(size_t size, const std::vector<TextRange>& matches, schema::SplitBehavior behavior,
                bool invert, size_t offset, std::vector<TextRange>* pieces);

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_TEXT_STEPS_H_
