// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// --device=auto: the order of devices, and what is said of those passed over.
#include "runtime/api/pick_device.h"

#include "gmock/gmock.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A device that is only asked what it is.
class FakeDevice : public hal::Device {
 public:
  explicit FakeDevice(hal::DeviceInfo info) : info_(std::move(info)) {}
  const hal::DeviceInfo& info() const override { return info_; }
  absl::Status Supports(const std::string&, absl::Span<const std::string> features) const override {
    return features.empty() ? absl::OkStatus() : absl::UnimplementedError("lacks " + features[0]);
  }
  hal::Allocator& allocator() override { std::abort(); }
  hal::Queue& queue() override { std::abort(); }
  absl::StatusOr<std::unique_ptr<hal::Executable>> LoadExecutable(
      absl::Span<const uint8_t>, std::vector<hal::KernelInterface>) override {
    return absl::InternalError("not asked for");
  }
  std::unique_ptr<hal::CommandBuffer> CreateCommandBuffer() override { return nullptr; }
  std::shared_ptr<hal::Semaphore> CreateSemaphore(uint64_t) override { return nullptr; }

 private:
  const hal::DeviceInfo info_;
};

class FakeDriver : public hal::Driver {
 public:
  FakeDriver(std::string name, std::vector<hal::DeviceInfo> infos)
      : name_(std::move(name)), infos_(std::move(infos)) {
    for (size_t i = 0; i < infos_.size(); ++i) infos_[i].id = absl::StrCat(name_, ":", i);
  }
  std::string name() const override { return name_; }
  std::vector<hal::DeviceInfo> Devices() const override { return infos_; }
  absl::Status Available() const override {
    return infos_.empty() ? absl::UnimplementedError("no library") : absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<hal::Device>> Open(size_t index,
                                                    const hal::DeviceOptions&) override {
    return std::unique_ptr<hal::Device>(std::make_unique<FakeDevice>(infos_[index]));
  }

 private:
  const std::string name_;
  std::vector<hal::DeviceInfo> infos_;
};

hal::DeviceInfo Info(bool on_host, bool unified, uint64_t memory = 1 << 30) {
  hal::DeviceInfo info;
  info.name = "fake";
  info.on_host = on_host;
  info.unified_memory = unified;
  info.memory_bytes = memory;
  return info;
}

// Programs for cpu, cuda and vulkan.
class PickDeviceTest : public ::testing::Test {
 protected:
  PickDeviceTest() {
    auto builder = testing::HistoryModel();
    for (const char* driver : {"cuda", "vulkan"}) {
      auto other = testing::HistoryModel({.target = std::string(driver) + ":test"});
      other.header.programs[0]->driver = driver;
      builder.header.programs.push_back(std::move(other.header.programs[0]));
    }
    file_ = std::make_unique<testing::TemporaryFile>(builder.Build());
  }
  void Add(const char* driver, std::vector<hal::DeviceInfo> infos) {
    registry_.Add(std::make_unique<FakeDriver>(driver, std::move(infos)));
  }
  absl::StatusOr<std::string> Pick() {
    const auto artifact = Artifact::Open(file_->path());
    if (!artifact.ok()) return artifact.status();
    const auto picked = PickDevice(**artifact, registry_, {});
    if (!picked.ok()) return picked.status();
    return picked->reason;
  }
  std::unique_ptr<testing::TemporaryFile> file_;
  hal::DriverRegistry registry_;
};

TEST_F(PickDeviceTest, DiscreteBeforeIntegratedBeforeTheCpu) {
  Add("cpu", {Info(true, true)});
  Add("vulkan", {Info(true, true), Info(false, true), Info(false, false)});
  EXPECT_THAT(*Pick(), StartsWith("vulkan:2 (fake), program vulkan:test"));
}

TEST_F(PickDeviceTest, DriversOfAKindInOrder) {
  Add("cuda", {Info(false, false)});
  Add("vulkan", {Info(false, false)});
  EXPECT_THAT(*Pick(), StartsWith("cuda:0"));
}

TEST_F(PickDeviceTest, TheCpuBeforeSoftwareGpusBeforeNothing) {
  Add("null", {Info(true, true)});
  Add("vulkan", {Info(true, true)});
  EXPECT_THAT(*Pick(), StartsWith("vulkan:0"));
  Add("cpu", {Info(true, true)});
  EXPECT_THAT(*Pick(), StartsWith("cpu:0"));
}

TEST_F(PickDeviceTest, SaysWhyADeviceIsPassedOver) {
  hal::DeviceInfo broken = Info(false, false);
  broken.unusable = "is too old";
  Add("cuda", {});
  Add("vulkan", {broken, Info(false, false, 100)});
  Add("tpu", {Info(false, false)});
  Add("cpu", {Info(true, true)});
  EXPECT_THAT(*Pick(),
              AllOf(StartsWith("cpu:0"), HasSubstr("no cuda: no library"),
                    HasSubstr("not vulkan:0: is too old"),
                    HasSubstr("not vulkan:1: its 100 bytes of memory do not hold the weights"),
                    HasSubstr("not tpu:0: ")));
}

TEST_F(PickDeviceTest, NoDeviceIsAnErrorWithEveryReason) {
  Add("tpu", {Info(false, false)});
  Add("cuda", {});
  const absl::Status status = Pick().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("no device of this machine"), HasSubstr("not tpu:0"),
                    HasSubstr("no cuda: no library")));
}

}  // namespace
}  // namespace fathom
