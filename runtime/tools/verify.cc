// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom verify: every hash against its bytes.
#include <cstdio>

#include "runtime/artifact/artifact.h"
#include "runtime/base/status.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {

absl::Status RunVerify(const VerifyFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(const auto artifact, Artifact::Open(flags.model));
  ProgressLine progress("verifying", flags.quiet);
  FATHOM_RETURN_IF_ERROR(artifact->VerifyHashes(flags.threads, progress.function()));
  if (!flags.quiet) {
    std::printf("%s: header, %u segments and %u tensors are as they were written\n",
                flags.model.c_str(), artifact->header().segments()->size(),
                artifact->header().tensors()->size());
  }
  return absl::OkStatus();
}

}  // namespace fathom::tools
