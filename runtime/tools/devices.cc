// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom devices: what this machine offers.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "runtime/hal/driver_registry.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {

absl::Status RunDevices(bool json) {
  const hal::DriverRegistry registry = hal::MakeDriverRegistry();
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& driver : registry.drivers()) {
    for (const hal::DeviceInfo& info : driver->Devices()) {
      if (json) {
        list.push_back({{"id", info.id},
                        {"name", info.name},
                        {"architecture", info.architecture},
                        {"compute_units", info.compute_units},
                        {"memory_bytes", info.memory_bytes},
                        {"features", info.features}});
        continue;
      }
      std::printf("%-8s %s\n", info.id.c_str(), info.name.c_str());
      if (info.compute_units != 0) {
        std::printf("         %s, %u cores, %s\n", info.architecture.c_str(), info.compute_units,
                    FormatBytes(info.memory_bytes).c_str());
        std::printf("         %s\n", absl::StrJoin(info.features, " ").c_str());
      }
    }
  }
  if (json) std::printf("%s\n", list.dump(2).c_str());
  return absl::OkStatus();
}

}  // namespace fathom::tools
