// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finding a device by name.
#include "runtime/hal/driver_registry.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fathom::hal {

absl::StatusOr<std::unique_ptr<Device>> DriverRegistry::Open(const std::string& id,
                                                             const DeviceOptions& options) const {
  const size_t colon = id.find(':');
  const std::string name = id.substr(0, colon);
  uint32_t index = 0;
  if (colon != std::string::npos && !absl::SimpleAtoi(id.substr(colon + 1), &index)) {
    return absl::InvalidArgumentError(
        absl::StrCat("device: expected <driver> or <driver>:<number>, found \"", id, "\""));
  }
  std::vector<std::string> names;
  for (const std::unique_ptr<Driver>& driver : drivers_) {
    names.push_back(driver->name());
    if (driver->name() != name) continue;
    const size_t count = driver->Devices().size();
    if (index < count) return driver->Open(index, options);
    if (const absl::Status status = driver->Available(); count == 0 && !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("device ", id, ": ", status.message()));
    }
    return absl::NotFoundError(
        absl::StrCat("device: expected a ", name, " device below ", count, ", found \"", id, "\""));
  }
  return absl::NotFoundError(
      absl::StrCat("device: expected one of ", absl::StrJoin(names, ", "), ", found \"", id, "\""));
}

}  // namespace fathom::hal
