// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The driver API: initialisation, devices, contexts, errors.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/cuda_sim/driver/cuda_abi.h"
#include "tests/cuda_sim/driver/driver_api.h"

namespace fathom::cuda_sim {

thread_local std::vector<Context*> current_contexts;

Driver& TheDriver() {
  static Driver* driver = new Driver;  // outlives threads that call while the process ends
  return *driver;
}

namespace {

int Code(Error error) { return static_cast<int>(error); }

Error CheckDevice(int device) {
  const Driver& driver = TheDriver();
  if (!driver.initialised) return Error::not_initialized;
  return device >= 0 && device < driver.settings.devices ? Error::ok : Error::invalid_device;
}

int AttributeValue(int attribute, const Settings& settings, bool* known) {
  *known = true;
  switch (attribute) {
    case kMaxThreadsPerBlock:
    case kMaxBlockDimX:
    case kMaxBlockDimY:
      return 1024;
    case kMaxBlockDimZ:
      return 64;
    case kMaxGridDimX:
      return INT32_MAX;
    case kMaxGridDimY:
    case kMaxGridDimZ:
      return 65535;
    case kMaxSharedPerBlock:
      return 48 * 1024;
    case kMaxSharedPerBlockOptin:
      return static_cast<int>(Context(settings).max_dynamic_shared());
    case kWarpSize:
      return kLanes;
    case kMultiprocessorCount:
      return 2;
    case kIntegrated:
    case kComputeMode:
      return 0;
    case kCanMapHostMemory:
    case kUnifiedAddressing:
      return 1;
    case kComputeCapabilityMajor:
      return settings.sm / 10;
    case kComputeCapabilityMinor:
      return settings.sm % 10;
    default:
      *known = false;
      return 0;
  }
}

struct ErrorName {
  Error error;
  const char* name;
  const char* text;
};

constexpr ErrorName kErrors[] = {
    {Error::ok, "CUDA_SUCCESS", "no error"},
    {Error::invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {Error::out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {Error::not_initialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {Error::no_device, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {Error::invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {Error::invalid_image, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {Error::invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {Error::no_binary_for_gpu, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {Error::invalid_ptx, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {Error::unsupported_ptx_version, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain"},
    {Error::invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {Error::illegal_state, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed"},
    {Error::not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {Error::not_ready, "CUDA_ERROR_NOT_READY", "device not ready"},
    {Error::illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {Error::launch_out_of_resources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {Error::launch_timeout, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {Error::host_memory_not_registered, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {Error::illegal_instruction, "CUDA_ERROR_ILLEGAL_INSTRUCTION",
     "an illegal instruction was encountered"},
    {Error::misaligned_address, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {Error::launch_failed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {Error::stream_capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {Error::stream_capture_unjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
     "capturing stream has unjoined work"},
    {Error::unknown, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const ErrorName* FindError(int code) {
  for (const ErrorName& error : kErrors) {
    if (Code(error.error) == code) return &error;
  }
  return nullptr;
}

}  // namespace
}  // namespace fathom::cuda_sim

using namespace fathom::cuda_sim;  // NOLINT: the API lies outside every namespace

CUDA_SIM_API cuInit(unsigned flags) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (flags != 0) return Code(Error::invalid_value);
  driver.settings = SettingsFromEnvironment();
  if (driver.settings.devices == 0) return Code(Error::no_device);
  driver.initialised = true;
  return 0;
}

CUDA_SIM_API cuDriverGetVersion(int* version) {
  *version = SettingsFromEnvironment().driver_version;
  return 0;
}

CUDA_SIM_API cuDeviceGetCount(int* count) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (!driver.initialised) return Code(Error::not_initialized);
  *count = driver.settings.devices;
  return 0;
}

CUDA_SIM_API cuDeviceGet(int* device, int ordinal) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  *device = ordinal;
  return Code(CheckDevice(ordinal));
}

CUDA_SIM_API cuDeviceGetName(char* name, int bytes, int device) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (const Error error = CheckDevice(device); error != Error::ok) return Code(error);
  if (bytes <= 0) return Code(Error::invalid_value);
  std::snprintf(name, static_cast<size_t>(bytes), "PTX interpreter sm_%d", driver.settings.sm);
  return 0;
}

CUDA_SIM_API cuDeviceGetUuid_v2(void* uuid, int device) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (const Error error = CheckDevice(device); error != Error::ok) return Code(error);
  std::memset(uuid, 0, 16);
  std::snprintf(static_cast<char*>(uuid), 16, "ptx-sim-sm%d", driver.settings.sm);
  return 0;
}

CUDA_SIM_API cuDeviceTotalMem_v2(size_t* bytes, int device) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (const Error error = CheckDevice(device); error != Error::ok) return Code(error);
  *bytes = driver.settings.memory;
  return 0;
}

CUDA_SIM_API cuDeviceGetAttribute(int* value, int attribute, int device) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (const Error error = CheckDevice(device); error != Error::ok) return Code(error);
  bool known = false;
  *value = AttributeValue(attribute, driver.settings, &known);
  return Code(known ? Error::ok : Error::invalid_value);
}

CUDA_SIM_API cuDevicePrimaryCtxRetain(Context** context, int device) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (const Error error = CheckDevice(device); error != Error::ok) return Code(error);
  if (device != 0) return Code(Error::invalid_device);
  if (driver.retained++ == 0) {
    driver.settings = SettingsFromEnvironment();
    driver.context = std::make_unique<Context>(driver.settings);
  }
  *context = driver.context.get();
  return 0;
}

CUDA_SIM_API cuDevicePrimaryCtxRelease_v2(int device) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (const Error error = CheckDevice(device); error != Error::ok) return Code(error);
  if (driver.retained == 0) return Code(Error::invalid_context);
  if (--driver.retained == 0) {
    driver.context.reset();
  }
  return 0;
}

CUDA_SIM_API cuCtxSetCurrent(Context* context) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (context != nullptr && context != driver.context.get()) return Code(Error::invalid_context);
  if (!current_contexts.empty()) current_contexts.pop_back();
  if (context != nullptr) current_contexts.push_back(context);
  return 0;
}

CUDA_SIM_API cuCtxGetCurrent(Context** context) {
  *context = CurrentContext();
  return 0;
}

CUDA_SIM_API cuCtxPushCurrent_v2(Context* context) {
  Driver& driver = TheDriver();
  std::lock_guard lock(driver.mutex);
  if (context == nullptr || context != driver.context.get()) return Code(Error::invalid_context);
  current_contexts.push_back(context);
  return 0;
}

CUDA_SIM_API cuCtxPopCurrent_v2(Context** context) {
  if (current_contexts.empty()) return Code(Error::invalid_context);
  *context = current_contexts.back();
  current_contexts.pop_back();
  return 0;
}

CUDA_SIM_API cuCtxSynchronize() {
  return WithContext([](Context& context) {
    if (context.IsCapturing()) return Error::stream_capture_unsupported;
    context.DrainAll();
    return Error::ok;
  });
}

CUDA_SIM_API cuGetErrorName(int code, const char** name) {
  const ErrorName* error = FindError(code);
  *name = error == nullptr ? nullptr : error->name;
  return error == nullptr ? Code(Error::invalid_value) : 0;
}

CUDA_SIM_API cuGetErrorString(int code, const char** text) {
  const ErrorName* error = FindError(code);
  *text = error == nullptr ? nullptr : error->text;
  return error == nullptr ? Code(Error::invalid_value) : 0;
}
