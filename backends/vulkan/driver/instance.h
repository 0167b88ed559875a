// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The Vulkan loader and its instance, and how a driver of this process is set up.
#ifndef FATHOM_BACKENDS_VULKAN_DRIVER_INSTANCE_H_
#define FATHOM_BACKENDS_VULKAN_DRIVER_INSTANCE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "backends/vulkan/driver/vulkan_api.h"
#include "runtime/hal/device.h"

namespace fathom::vulkan {

struct DriverOptions {
  // With the validation layer and its synchronisation checks; an error where the layer is missing.
  bool validate = false;
  // Gets each message of the layer (warnings and errors); any thread.
  std::function<void(const std::string&)> on_message;
  // Treat memory as a discrete GPU's: only host_io buffers have a host address, nothing is
  // imported. For tests on devices whose memory is the host's.
  bool hide_host_memory = false;
  // When not 0: treat longer buffers as more than the device can allocate.
  uint64_t max_buffer_bytes = 0;
  // When not 0: treat more allocations than these as too many for the device's memory.
  uint64_t max_memory_bytes = 0;
};

// An instance with its physical devices; lives as long as what was made from it. Thread-safe after
// Create.
class Instance {
 public:
  // kUnimplemented when there is no loader ("libvulkan.so.1") or no driver behind it.
  static absl::StatusOr<std::shared_ptr<const Instance>> Create(const DriverOptions& options);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const DriverOptions& options() const { return options_; }
  // In the loader's order.
  const std::vector<VkPhysicalDevice>& physical_devices() const { return physical_devices_; }

 private:
  explicit Instance(DriverOptions options) : options_(std::move(options)) {}
  absl::Status CreateInstance();

  const DriverOptions options_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  std::vector<VkPhysicalDevice> physical_devices_;
};

// The driver with other than the default options; CreateDriver() of the registry has those.
std::unique_ptr<hal::Driver> CreateDriver(DriverOptions options);

}  // namespace fathom::vulkan

#endif  // FATHOM_BACKENDS_VULKAN_DRIVER_INSTANCE_H_
