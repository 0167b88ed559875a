// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom devices: what this machine offers, and why some of it cannot be used.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "runtime/hal/driver_registry.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {
namespace {

nlohmann::ordered_json ToJson(const hal::DeviceInfo& info) {
  nlohmann::ordered_json limits = nlohmann::ordered_json::object();
  for (const auto& [name, value] : info.limits) limits[name] = value;
  return {{"id", info.id},
          {"name", info.name},
          {"architecture", info.architecture},
          {"driver", info.driver},
          {"usable", info.unusable.empty()},
          {"unusable_because", info.unusable},
          {"target", info.suggested_target},
          {"compute_units", info.compute_units},
          {"memory_bytes", info.memory_bytes},
          {"unified_memory", info.unified_memory},
          {"max_buffer_bytes", info.max_buffer_bytes},
          {"max_binding_bytes", info.max_binding_bytes},
          {"features", info.features},
          {"limits", limits}};
}

void Line(const char* name, const std::string& value) {
  if (!value.empty()) std::printf("           %-12s %s\n", name, value.c_str());
}

void Print(const hal::DeviceInfo& info) {
  std::printf("%-10s %s\n", info.id.c_str(), info.name.c_str());
  if (!info.unusable.empty()) Line("CANNOT USE", info.unusable);
  Line("driver", info.driver);
  if (info.compute_units != 0) {
    Line("processor", absl::StrCat(info.architecture, info.architecture.empty() ? "" : ", ",
                                   info.compute_units, " cores"));
  }
  if (info.memory_bytes != 0) Line("memory", FormatBytes(info.memory_bytes));
  Line("compile with", info.suggested_target.empty() ? "" : "--target=" + info.suggested_target);
  Line("features", absl::StrJoin(info.features, " "));
  std::vector<std::string> limits;
  for (const auto& [name, value] : info.limits) limits.push_back(name + " " + value);
  Line("limits", absl::StrJoin(limits, "; "));
}

}  // namespace

absl::Status RunDevices(bool json) {
  const hal::DriverRegistry registry = hal::MakeDriverRegistry();
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& driver : registry.drivers()) {
    const std::vector<hal::DeviceInfo> infos = driver->Devices();
    for (const hal::DeviceInfo& info : infos) {
      if (json) {
        list.push_back(ToJson(info));
      } else {
        Print(info);
      }
    }
    if (infos.empty()) {
      const std::string why(driver->Available().message());
      std::fprintf(json ? stderr : stdout, "%-10s none: %s\n", driver->name().c_str(), why.c_str());
    }
  }
  if (json) std::printf("%s\n", list.dump(2).c_str());
  return absl::OkStatus();
}

}  // namespace fathom::tools
