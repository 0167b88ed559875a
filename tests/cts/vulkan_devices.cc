// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every Vulkan device that the loader finds, under the validation layer. Each is tested twice: as
// it is, and as a device whose memory the host cannot reach ("_hidden").
#include <cstdio>
#include <mutex>

#include "absl/strings/match.h"
#include "backends/vulkan/driver/instance.h"
#include "tests/cts/cts_fixture.h"
#include "tests/unit/backends/vulkan/test_code.h"

namespace fathom::hal {
namespace {

constexpr char kHidden[] = "hidden ";

std::mutex messages_mutex;
std::vector<std::string> messages;

Driver& SharedDriver(bool hidden) {
  const auto make = [](bool hide) {
    vulkan::DriverOptions options;
    options.validate = true;
    options.hide_host_memory = hide;
    options.on_message = [](const std::string& message) {
      std::lock_guard lock(messages_mutex);
      messages.push_back(message);
    };
    return vulkan::CreateDriver(std::move(options));
  };
  static const std::unique_ptr<Driver> plain = make(false), hiding = make(true);
  return hidden ? *hiding : *plain;
}

}  // namespace

std::vector<CtsDevice> CtsDevices() {
  std::vector<CtsDevice> devices;
  const std::vector<DeviceInfo> infos = SharedDriver(false).Devices();
  if (infos.empty()) {
    // ctest shows the test as skipped for this line, see CMakeLists.txt.
    std::printf("SKIPPED, nothing was tested: %s\n",
                std::string(SharedDriver(false).Available().message()).c_str());
  }
  for (const DeviceInfo& info : infos) {
    if (!info.unusable.empty()) continue;
    std::string name = info.id;
    name[name.find(':')] = '_';
    devices.push_back({info.id, name});
    devices.push_back({kHidden + info.id, name + "_hidden"});
  }
  return devices;
}

absl::StatusOr<std::unique_ptr<Device>> OpenCtsDevice(const std::string& id,
                                                      const DeviceOptions& options) {
  const bool hidden = absl::StartsWith(id, kHidden);
  const size_t index = std::stoul(id.substr(id.find(':') + 1));
  return SharedDriver(hidden).Open(index, options);
}

std::vector<uint8_t> CtsCode(const std::string&) { return vulkan::Pack(vulkan::TestImage()); }

std::vector<std::string> TakeCtsMessages() {
  std::lock_guard lock(messages_mutex);
  return std::exchange(messages, {});
}

}  // namespace fathom::hal
