// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kinds of devices that end-to-end tests run on, by a name that is the same on every machine.
#ifndef FATHOM_TESTS_E2E_TEST_DEVICE_H_
#define FATHOM_TESTS_E2E_TEST_DEVICE_H_

#include <string>

namespace fathom::e2e {

struct TestDevice {
  std::string id;       // as --device takes it; empty: not on this machine
  std::string missing;  // why
};

// `kind`: "cpu", "lavapipe" (Mesa's software Vulkan), "swiftshader" (Chromium's) or "ptx" (CUDA:
// the interpreter of tests/cuda_sim, unless LD_LIBRARY_PATH leads to another driver). To be called
// before anything else of the process opens a Vulkan device: it tells the loader where SwiftShader
// lies, here and in programs started from here.
TestDevice FindDevice(const std::string& kind);

}  // namespace fathom::e2e

#endif  // FATHOM_TESTS_E2E_TEST_DEVICE_H_
