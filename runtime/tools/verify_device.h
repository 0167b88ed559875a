// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom verify --device=A --against=B: every dispatch of a program on one device, compared with
// the same dispatch on another.
#ifndef FATHOM_RUNTIME_TOOLS_VERIFY_DEVICE_H_
#define FATHOM_RUNTIME_TOOLS_VERIFY_DEVICE_H_

#include <string>

#include "absl/status/status.h"

namespace fathom::tools {

struct VerifyDeviceFlags {
  std::string model;
  std::string device;           // "vulkan:0"
  std::string against = "cpu";  // the reference
  std::string code_cache;
  int tokens = 24;         // of the prefill
  int steps = 3;           // decode steps after it
  double tolerance = 0;    // 0: 1e-4 of a row's largest value
  std::string reproducer;  // folder to write on a failure; "": fathom-reproducer
  bool quiet = false;
};

// Both programs come from one artifact. Each dispatch of the device gets the inputs that the
// reference had, so that the first one out of tolerance is the one at fault: its op, layer, kernel,
// buffer and worst element are an InternalError, and a reproducer is written.
absl::Status VerifyDevice(const VerifyDeviceFlags& flags);

// Runs the dispatch of a reproducer again; `device` "": the one it was written for.
absl::Status ReplayReproducer(const std::string& folder, const std::string& device);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_VERIFY_DEVICE_H_
