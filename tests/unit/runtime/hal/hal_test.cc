// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the abstraction itself does: semaphores, and finding a device by name.
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/hal/driver_registry.h"
#include "runtime/hal/semaphore.h"

namespace fathom::hal {
namespace {

using ::testing::HasSubstr;

TEST(HostSemaphore, CountsUp) {
  HostSemaphore semaphore(3);
  EXPECT_EQ(semaphore.value(), 3u);
  EXPECT_TRUE(semaphore.Wait(3, absl::ZeroDuration()).ok());
  EXPECT_EQ(semaphore.Wait(4, absl::Milliseconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(semaphore.Signal(7).ok());
  EXPECT_TRUE(semaphore.Wait(5, absl::ZeroDuration()).ok());
  EXPECT_FALSE(semaphore.Signal(7).ok());
  EXPECT_FALSE(semaphore.Signal(6).ok());
  EXPECT_EQ(semaphore.value(), 7u);
}

TEST(HostSemaphore, WakesAWaiter) {
  HostSemaphore semaphore;
  std::thread waker([&] { EXPECT_TRUE(semaphore.Signal(1).ok()); });
  EXPECT_TRUE(semaphore.Wait(1, absl::InfiniteDuration()).ok());
  waker.join();
}

TEST(HostSemaphore, CarriesTheFirstFailure) {
  HostSemaphore semaphore(2);
  std::thread failer([&] { semaphore.Fail(absl::DataLossError("first")); });
  EXPECT_EQ(semaphore.Wait(3, absl::InfiniteDuration()).code(), absl::StatusCode::kDataLoss);
  failer.join();
  semaphore.Fail(absl::AbortedError("second"));
  EXPECT_EQ(semaphore.status().message(), "first");
  EXPECT_EQ(semaphore.Signal(3).message(), "first");
  EXPECT_TRUE(semaphore.Wait(2, absl::ZeroDuration()).ok());  // reached before it failed
}

class FakeDriver : public Driver {
 public:
  std::string name() const override { return "fake"; }
  std::vector<DeviceInfo> Devices() const override { return {DeviceInfo{}, DeviceInfo{}}; }
  absl::StatusOr<std::unique_ptr<Device>> Open(size_t index, const DeviceOptions&) override {
    return absl::AbortedError("opened " + std::to_string(index));
  }
};

TEST(DriverRegistry, FindsDevicesByName) {
  DriverRegistry registry;
  registry.Add(std::make_unique<FakeDriver>());
  const auto open = [&](const char* id) {
    return std::string(registry.Open(id, {}).status().message());
  };
  EXPECT_EQ(open("fake"), "opened 0");
  EXPECT_EQ(open("fake:0"), "opened 0");
  EXPECT_EQ(open("fake:1"), "opened 1");
  EXPECT_THAT(open("fake:2"), HasSubstr("below 2"));
  EXPECT_THAT(open("fake:x"), HasSubstr("<number>"));
  EXPECT_THAT(open("fake:"), HasSubstr("<number>"));
  EXPECT_THAT(open("fake:-1"), HasSubstr("<number>"));
  EXPECT_THAT(open("tpu"), HasSubstr("expected one of fake"));
  EXPECT_THAT(open(""), HasSubstr("expected one of fake"));
}

}  // namespace
}  // namespace fathom::hal
