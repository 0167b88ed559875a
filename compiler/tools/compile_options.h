// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of fathom-compile.
#ifndef FATHOM_COMPILER_TOOLS_COMPILE_OPTIONS_H_
#define FATHOM_COMPILER_TOOLS_COMPILE_OPTIONS_H_

#include <optional>

#include "compiler/pipeline/options.h"

namespace fathom {

// Parses argv. When nothing is left to do (--help, or an error, which has been printed) the result is empty
// and *exit_code is what main returns.
std::optional<CompileOptions> ParseCompileOptions(int argc, char** argv, int* exit_code);

}  // namespace fathom

#endif  // FATHOM_COMPILER_TOOLS_COMPILE_OPTIONS_H_
