// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom verify: every hash against its bytes, or one device against another.
#include <cstdio>

#include "runtime/artifact/artifact.h"
#include "runtime/base/status.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {

absl::Status RunVerify(const VerifyFlags& flags) {
  if (!flags.replay.empty()) return ReplayReproducer(flags.replay, flags.on_device.device);
  if (flags.model.empty()) return InputError("verify", "expected an artifact or --replay");
  if (!flags.on_device.device.empty()) {
    VerifyDeviceFlags on_device = flags.on_device;
    on_device.model = flags.model;
    on_device.quiet = flags.quiet;
    return VerifyDevice(on_device);
  }
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
