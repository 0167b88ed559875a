// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading PTX character by character: white space, words, numbers, the position for messages.
#ifndef FATHOM_TESTS_CUDA_SIM_PTX_PTX_READER_H_
#define FATHOM_TESTS_CUDA_SIM_PTX_PTX_READER_H_

#include <string>
#include <string_view>

#include "tests/cuda_sim/types.h"

namespace fathom::cuda_sim {

class PtxReader {
 public:
  explicit PtxReader(const std::string& text) : text_(text) {}

  // Skips white space and comments.
  void SkipSpace();
  bool AtEnd() {
    SkipSpace();
    return at_ >= text_.size();
  }
  char Peek() {
    SkipSpace();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  // Takes `c` if it comes next.
  bool Take(char c);
  void Expect(char c);
  // The longest run of letters, digits and _ $ % . (and :: inside it); empty if none comes.
  std::string Word();
  // Takes `word` if the next word is that one.
  bool TakeWord(std::string_view word);
  uint64_t Integer();  // decimal, 0x, 0b or octal; with a sign or a trailing U
  std::string QuotedString();
  // Skips a { } block, nested ones included.
  void SkipBlock();

  int line() const { return line_; }
  size_t position() const { return at_; }
  // The text from `begin` to here, white space and comments squeezed.
  std::string Text(size_t begin) const;
  [[noreturn]] void Fail(const std::string& what);

 private:
  const std::string& text_;
  size_t at_ = 0;
  int line_ = 1;
};

// The value of an integer literal; false when `word` is not one.
bool ParseInteger(std::string_view word, uint64_t* value);

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_PTX_PTX_READER_H_
