// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Choosing the device that suits an artifact.
#ifndef FATHOM_RUNTIME_API_PICK_DEVICE_H_
#define FATHOM_RUNTIME_API_PICK_DEVICE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/artifact/artifact.h"
#include "runtime/hal/driver_registry.h"

namespace fathom {

struct PickedDevice {
  std::unique_ptr<hal::Device> device;
  // Why this one: "vulkan:0 (...), program vulkan:amd; not cuda:0: ...".
  std::string reason;
};

// The first that can run `artifact`, of GPUs with memory of their own, then GPUs that share the
// host's, then the CPU, then GPUs made of software; within a kind, drivers in the registry's order.
// A device that lacks a program of the artifact, a feature, or memory for the weights is passed
// over; the null device is never picked. kUnimplemented with every reason when none is left.
absl::StatusOr<PickedDevice> PickDevice(const Artifact& artifact,
                                        const hal::DriverRegistry& registry,
                                        const hal::DeviceOptions& options);

// Bytes of the artifact's weight segments.
uint64_t WeightBytes(const Artifact& artifact);

}  // namespace fathom

#endif  // FATHOM_RUNTIME_API_PICK_DEVICE_H_
