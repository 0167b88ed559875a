// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Progress on a terminal, numbers for people, and Ctrl-C.
#ifndef FATHOM_RUNTIME_TOOLS_CONSOLE_H_
#define FATHOM_RUNTIME_TOOLS_CONSOLE_H_

#include <cstdint>
#include <string>

#include "runtime/artifact/artifact.h"

namespace fathom::tools {

// A line on stderr that is rewritten in place; nothing at all when stderr is no terminal.
class ProgressLine {
 public:
  ProgressLine(std::string what, bool quiet);
  ~ProgressLine();  // wipes the line
  // Bytes; false after Ctrl-C.
  bool Update(uint64_t done, uint64_t total);
  // Any text.
  void Show(const std::string& text);
  ProgressFunction function();

 private:
  const std::string what_;
  const bool active_;
  bool shown_ = false;
  int64_t last_nanoseconds_ = 0;
};

std::string FormatBytes(uint64_t bytes);  // "8.25 GiB"
std::string FormatCount(uint64_t count);  // "15.71 B", as parameter counts are given

// From here on the first Ctrl-C only sets a flag; the second one ends the process.
void CatchInterrupt();
bool Interrupted();
void ClearInterrupt();

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_CONSOLE_H_
