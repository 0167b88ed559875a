// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom-compile: the one program that links MLIR.
#include <cstdio>

#include "compiler/pipeline/Pipeline.h"
#include "compiler/tools/compile_options.h"
#include "runtime/base/status.h"

int main(int argc, char** argv) {
  int exitCode = 0;
  auto options = fathom::ParseCompileOptions(argc, argv, &exitCode);
  if (!options) return exitCode;
  const absl::Status status = options->print_profile.empty() ? fathom::compileModel(*options)
                                                             : fathom::printProfile(options->print_profile);
  if (!status.ok()) fprintf(stderr, "fathom compile: %s\n", std::string(status.message()).c_str());
  return fathom::ExitCode(status);
}
