// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The programs that a user runs, fathom and fathom-compile, run by tests.
#ifndef FATHOM_TESTS_E2E_PROGRAMS_H_
#define FATHOM_TESTS_E2E_PROGRAMS_H_

#include <string>
#include <vector>

namespace fathom::e2e {

// A path in the system's folder for temporary files that no other call and no other process gets.
std::string TemporaryPath(const std::string& ending);

// Runs bin/fathom-compile with `arguments`; returns its exit code. *errors, if given, gets what it
// printed. `before` is shell text that runs first, such as a limit.
int RunCompiler(const std::vector<std::string>& arguments, std::string* errors = nullptr,
                const std::string& before = "");

struct ProgramResult {
  int code = -1;  // 128 + the signal, if one ended it
  std::string output, errors;
};

// Runs bin/fathom with `arguments`, which are shell text, redirections of its input included.
// `before`: shell text in front of the program, such as variables of its environment.
ProgramResult RunProgram(const std::string& arguments, const std::string& before = "");

}  // namespace fathom::e2e

#endif  // FATHOM_TESTS_E2E_PROGRAMS_H_
