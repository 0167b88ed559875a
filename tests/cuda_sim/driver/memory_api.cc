// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The driver API: memory of the device, pinned memory, copies.
#include <vector>

#include "tests/cuda_sim/driver/cuda_abi.h"
#include "tests/cuda_sim/driver/driver_api.h"

using namespace fathom::cuda_sim;  // NOLINT: the API lies outside every namespace

namespace {

// A copy that returns when it is done. The default stream is what it is ordered with.
template <typename Copy>
int Synchronous(Copy&& copy) {
  return WithContext([&](Context& context) {
    if (context.IsCapturing()) return Error::stream_capture_unsupported;
    context.DrainBlocking();
    if (context.error() == Error::ok) copy(context.memory());
    return Error::ok;
  });
}

// Work of a stream. What is copied is looked at when the stream runs.
template <typename Copy>
int Asynchronous(Stream* handle, Copy copy) {
  return WithContext([&](Context& context) {
    Stream* stream = context.FindStream(handle);
    if (stream == nullptr) return Error::invalid_handle;
    context.Give(*stream, [&context, copy] { copy(context.memory()); });
    return Error::ok;
  });
}

}  // namespace

CUDA_SIM_API cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
  return WithContext([&](Context& context) {
    *total = context.memory().limit();
    *free_bytes = *total - context.memory().used();
    return Error::ok;
  });
}

CUDA_SIM_API cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  return WithContext([&](Context& context) {
    if (bytes == 0) return Error::invalid_value;
    *address = context.memory().Allocate(bytes);
    return *address == 0 ? Error::out_of_memory : Error::ok;
  });
}

CUDA_SIM_API cuMemFree_v2(uint64_t address) {
  return WithContext([&](Context& context) {
    context.DrainAll();
    if (context.error() != Error::ok) return context.error();
    return context.memory().Free(address) ? Error::ok : Error::invalid_value;
  });
}

CUDA_SIM_API cuMemHostAlloc(void** host, size_t bytes, unsigned flags) {
  return WithContext([&](Context& context) {
    if (bytes == 0 || (flags & ~7u) != 0) return Error::invalid_value;
    return context.AllocateHost(bytes, host) == 0 ? Error::out_of_memory : Error::ok;
  });
}

CUDA_SIM_API cuMemFreeHost(void* host) {
  return WithContext(
      [&](Context& context) { return context.FreeHost(host) ? Error::ok : Error::invalid_value; });
}

CUDA_SIM_API cuMemHostGetDevicePointer_v2(uint64_t* address, void* host, unsigned flags) {
  return WithContext([&](Context& context) {
    *address = context.DeviceAddressOf(host);
    return *address == 0 || flags != 0 ? Error::invalid_value : Error::ok;
  });
}

CUDA_SIM_API cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
  return Synchronous([&](DeviceMemory& memory) { memory.Write(to, from, bytes); });
}

CUDA_SIM_API cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  return Synchronous([&](DeviceMemory& memory) { memory.Read(to, from, bytes); });
}

CUDA_SIM_API cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) {
  return Synchronous([&](DeviceMemory& memory) { memory.Copy(to, from, bytes); });
}

CUDA_SIM_API cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) {
  return Synchronous([&](DeviceMemory& memory) { memory.Fill(to, value, bytes); });
}

CUDA_SIM_API cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, Stream* stream) {
  return Asynchronous(stream, [=](DeviceMemory& memory) { memory.Write(to, from, bytes); });
}

CUDA_SIM_API cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, Stream* stream) {
  return Asynchronous(stream, [=](DeviceMemory& memory) { memory.Read(to, from, bytes); });
}

CUDA_SIM_API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream* stream) {
  return Asynchronous(stream, [=](DeviceMemory& memory) { memory.Copy(to, from, bytes); });
}

CUDA_SIM_API cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, Stream* stream) {
  return Asynchronous(stream, [=](DeviceMemory& memory) { memory.Fill(to, value, bytes); });
}
