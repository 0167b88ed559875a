// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds devices by what their driver calls them.
#include "tests/e2e/test_device.h"

#include <cstdlib>
#include <filesystem>

#include "absl/strings/match.h"
#include "runtime/hal/driver_registry.h"

namespace fathom::e2e {
namespace {

constexpr char kSwiftShader[] = "/usr/lib/chromium/vk_swiftshader_icd.json";

}  // namespace

TestDevice FindDevice(const std::string& kind) {
  // The loader knows what is installed for everybody, and this beside it.
  if (std::filesystem::exists(kSwiftShader)) ::setenv("VK_ADD_DRIVER_FILES", kSwiftShader, 0);
  static const hal::DriverRegistry registry = hal::MakeDriverRegistry();
  const std::string driver_name = kind == "cpu" ? "cpu" : kind == "ptx" ? "cuda" : "vulkan";
  const char* called = kind == "lavapipe" ? "llvmpipe" : kind == "swiftshader" ? "SwiftShader" : "";
  TestDevice found{"", "no driver '" + driver_name + "' in this build"};
  for (const auto& driver : registry.drivers()) {
    if (driver->name() != driver_name) continue;
    found.missing = std::string(driver->Available().message());
    for (const hal::DeviceInfo& info : driver->Devices()) {
      found.missing = "no device called " + std::string(called);
      if (!absl::StrContains(info.name, called)) continue;
      found.missing = info.unusable;
      if (info.unusable.empty()) return {info.id, ""};
    }
  }
  return found;
}

}  // namespace fathom::e2e
