// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The conformance suite's devices, and what its tests share. To run the suite on one more driver:
// a file that defines the four functions below for it, and a test program of hal_cts.cc and that.
#ifndef FATHOM_TESTS_CTS_CTS_FIXTURE_H_
#define FATHOM_TESTS_CTS_CTS_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/hal/device.h"

namespace fathom::hal {

struct CtsDevice {
  std::string id;    // "cpu:0"
  std::string name;  // "cpu_0", part of the test's name
};
inline void PrintTo(const CtsDevice& device, std::ostream* out) { *out << device.id; }

// The devices to test; empty when the machine has none.
std::vector<CtsDevice> CtsDevices();
absl::StatusOr<std::unique_ptr<Device>> OpenCtsDevice(const std::string& id,
                                                      const DeviceOptions& options);
// A code image with the kernels `count` (1 binding, 2 push constants: out[(z rows + y) columns + x]
// += 1 for workgroup x, y, z) and `sum` (2, 1: out[0] = in[0] + ... + in[n - 1]).
std::vector<uint8_t> CtsCode(const std::string& id);
// What a checking layer complained of since the last call.
std::vector<std::string> TakeCtsMessages();

class HalCts : public ::testing::TestWithParam<CtsDevice> {
 protected:
  void SetUp() override {
    DeviceOptions options;
    options.threads = 3;
    options.code_cache = "off";
    auto device = OpenCtsDevice(GetParam().id, options);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    auto executable =
        device_->LoadExecutable(CtsCode(GetParam().id), {{"count", 1, 2}, {"sum", 2, 1}});
    ASSERT_TRUE(executable.ok()) << executable.status();
    executable_ = *std::move(executable);
  }
  void TearDown() override {
    executable_.reset();
    device_.reset();
    EXPECT_THAT(TakeCtsMessages(), ::testing::IsEmpty());
  }
  bool computes() const { return GetParam().id.rfind("null", 0) != 0; }
  std::shared_ptr<Buffer> Allocate(uint64_t size, MemoryUse use = MemoryUse::host_io) {
    auto buffer = device_->allocator().Allocate(size, use);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    return *std::move(buffer);
  }
  // Adds 1 to each of `n` u32 of `buffer`, one workgroup each.
  Dispatch Count(const BufferRef& buffer, uint32_t n) {
    push_ = {n, 1};
    bindings_ = {buffer};
    return {executable_.get(), 0, {n, 1, 1}, bindings_, push_, "count"};
  }
  absl::Status SubmitAndWait(CommandBuffer* commands, DispatchTimes* times = nullptr) {
    auto done = device_->CreateSemaphore(0);
    absl::Status status = device_->queue().Submit({commands, {}, {{done, 1}}, times});
    return status.ok() ? done->Wait(1) : status;
  }
  static std::vector<uint32_t> Words(const Buffer& buffer, size_t n) {
    const auto* words = reinterpret_cast<const uint32_t*>(buffer.host());
    return {words, words + n};
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Executable> executable_;
  std::vector<int64_t> push_;
  std::vector<BufferRef> bindings_;
};

}  // namespace fathom::hal

#endif  // FATHOM_TESTS_CTS_CTS_FIXTURE_H_
