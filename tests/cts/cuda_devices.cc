// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every CUDA device that the driver finds: the PTX interpreter of tests/cuda_sim, or a GPU. Each is
// tested twice: as it is, and with a driver that has no graphs ("_plain").
#include <cstdio>

#include "absl/strings/match.h"
#include "backends/cuda/driver/cuda_device.h"
#include "tests/cts/cts_fixture.h"
#include "tests/unit/backends/cuda/test_code.h"

namespace fathom::hal {
namespace {

constexpr char kPlain[] = "plain ";

Driver& SharedDriver(bool graphs) {
  const auto make = [](bool with_graphs) {
    cuda::DriverOptions options;
    options.graphs = with_graphs;
    return cuda::CreateDriver(std::move(options));
  };
  static const std::unique_ptr<Driver> plain = make(false), whole = make(true);
  return graphs ? *whole : *plain;
}

}  // namespace

std::vector<CtsDevice> CtsDevices() {
  std::vector<CtsDevice> devices;
  const std::vector<DeviceInfo> infos = SharedDriver(true).Devices();
  if (infos.empty()) {
    // ctest shows the test as skipped for this line, see CMakeLists.txt.
    std::printf("SKIPPED, nothing was tested: %s\n",
                std::string(SharedDriver(true).Available().message()).c_str());
  }
  for (const DeviceInfo& info : infos) {
    if (!info.unusable.empty()) continue;
    std::string name = info.id;
    name[name.find(':')] = '_';
    devices.push_back({info.id, name});
    devices.push_back({kPlain + info.id, name + "_plain"});
  }
  return devices;
}

absl::StatusOr<std::unique_ptr<Device>> OpenCtsDevice(const std::string& id,
                                                      const DeviceOptions& options) {
  const bool plain = absl::StartsWith(id, kPlain);
  const size_t index = std::stoul(id.substr(id.find(':') + 1));
  return SharedDriver(!plain).Open(index, options);
}

std::vector<uint8_t> CtsCode(const std::string&) { return cuda::Pack(cuda::TestImage()); }

std::vector<std::string> TakeCtsMessages() { return {}; }

}  // namespace fathom::hal
