// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The drivers that run on any machine: cpu and null, with kernels made by the C compiler.
#include <fstream>
#include <iterator>

#include "runtime/hal/driver_registry.h"
#include "tests/cts/cts_fixture.h"

namespace fathom::hal {

std::vector<CtsDevice> CtsDevices() {
  std::vector<CtsDevice> devices;
  const DriverRegistry registry = MakeDriverRegistry();
  for (const auto& driver : registry.drivers()) {
    if (driver->name() != "cpu" && driver->name() != "null") continue;
    for (const DeviceInfo& info : driver->Devices()) {
      std::string name = info.id;
      name[name.find(':')] = '_';
      devices.push_back({info.id, name});
    }
  }
  return devices;
}

absl::StatusOr<std::unique_ptr<Device>> OpenCtsDevice(const std::string& id,
                                                      const DeviceOptions& options) {
  return MakeDriverRegistry().Open(id, options);
}

// The kernels of tests/unit/backends/test_kernels.c.
std::vector<uint8_t> CtsCode(const std::string&) {
  std::ifstream file(FATHOM_TEST_IMAGE, std::ios::binary);
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> TakeCtsMessages() { return {}; }

}  // namespace fathom::hal
