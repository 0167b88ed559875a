// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The drivers of this build and how a device is named.
#ifndef FATHOM_RUNTIME_HAL_DRIVER_REGISTRY_H_
#define FATHOM_RUNTIME_HAL_DRIVER_REGISTRY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/hal/device.h"

namespace fathom::hal {

class DriverRegistry {
 public:
  void Add(std::unique_ptr<Driver> driver) { drivers_.push_back(std::move(driver)); }
  const std::vector<std::unique_ptr<Driver>>& drivers() const { return drivers_; }

  // `id` is "<driver>" (its first device) or "<driver>:<index>". An unknown driver or index is a
  // kNotFound that lists what there is.
  absl::StatusOr<std::unique_ptr<Device>> Open(const std::string& id,
                                               const DeviceOptions& options) const;

 private:
  std::vector<std::unique_ptr<Driver>> drivers_;
};

// The drivers in FATHOM_BACKENDS, in that order (target fathom_drivers).
DriverRegistry MakeDriverRegistry();

}  // namespace fathom::hal

#endif  // FATHOM_RUNTIME_HAL_DRIVER_REGISTRY_H_
