// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Comparing devices: green where they agree, the right dispatch named where they do not.
#include "runtime/tools/verify_device.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include "gmock/gmock.h"
#include "runtime/hal/driver_registry.h"
#include "tests/unit/runtime/artifact/history_model.h"
#ifdef FATHOM_TEST_VULKAN
#include "tests/unit/backends/vulkan/test_code.h"
#endif

namespace fathom::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryFile;

class VerifyDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "fathom_reproducer_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  absl::Status Verify(const std::string& model, const std::string& device) {
    VerifyDeviceFlags flags;
    flags.model = model;
    flags.device = device;
    flags.code_cache = "off";
    flags.tokens = 70;  // more than a page
    flags.reproducer = folder_;
    return VerifyDevice(flags);
  }
  std::string folder_;
};

TEST_F(VerifyDeviceTest, ADeviceAgreesWithItself) {
  const TemporaryFile model(testing::HistoryModel().Build());
  const absl::Status status = Verify(model.path(), "cpu");
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(VerifyDeviceTest, TheFirstWrongDispatchIsNamedAndCanBeRunAgain) {
  const TemporaryFile model(testing::HistoryModel().Build());
  // The null device writes nothing at all.
  const absl::Status status = Verify(model.path(), "null");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("layers.0/append: prefill, kernel append"), HasSubstr("buffer cache["),
            HasSubstr("found 0 on null:0"), HasSubstr("--replay " + folder_)));
  const absl::Status replay = ReplayReproducer(folder_, "");
  EXPECT_EQ(replay.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(replay.message()), HasSubstr("kernel append"));
  EXPECT_TRUE(ReplayReproducer(folder_, "cpu").ok());
}

TEST_F(VerifyDeviceTest, BadReproducersAreRefused) {
  EXPECT_THAT(std::string(ReplayReproducer(folder_, "").message()), HasSubstr("case.json"));
  const TemporaryFile model(testing::HistoryModel().Build());
  ASSERT_FALSE(Verify(model.path(), "null").ok());
  std::filesystem::resize_file(folder_ + "/buffer0.before.bin", 3);
  EXPECT_THAT(std::string(ReplayReproducer(folder_, "").message()), HasSubstr("has changed"));
  std::ofstream(folder_ + "/case.json") << "{\"model\": 7}";
  EXPECT_EQ(ReplayReproducer(folder_, "").code(), absl::StatusCode::kInvalidArgument);
}

#ifdef FATHOM_TEST_VULKAN
// The history model for cpu and vulkan; `change` may spoil the Vulkan kernels.
testing::Bytes TwoPrograms(const std::function<void(vulkan::abi::ImageT&)>& change) {
  auto builder = testing::HistoryModel();
  vulkan::abi::ImageT image = vulkan::HistoryImage();
  change(image);
  auto other = testing::HistoryModel({.target = "vulkan:test"});
  auto program = std::move(other.header.programs[0]);
  program->driver = "vulkan";
  program->code = builder.AddSegment(schema::SegmentKind::code, "vulkan code", vulkan::Pack(image));
  builder.header.programs.push_back(std::move(program));
  return builder.Build();
}

TEST_F(VerifyDeviceTest, VulkanAgreesWithTheCpu) {
  const auto device = hal::MakeDriverRegistry().Open("vulkan", {});
  if (!device.ok()) GTEST_SKIP() << device.status();
  const TemporaryFile model(TwoPrograms([](auto&) {}));
  const absl::Status status = Verify(model.path(), "vulkan:0");
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(VerifyDeviceTest, AChangedConstantNamesItsKernel) {
  const auto device = hal::MakeDriverRegistry().Open("vulkan", {});
  if (!device.ok()) GTEST_SKIP() << device.status();
  const TemporaryFile model(TwoPrograms([](vulkan::abi::ImageT& image) {
    // 65536.0f, by which the logits kernel divides.
    auto& words = image.modules[2]->spirv;
    const auto constant = std::find(words.begin(), words.end(), 0x47800000u);
    ASSERT_NE(constant, words.end());
    *constant += 1 << 16;
  }));
  const absl::Status status = Verify(model.path(), "vulkan:0");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("head/logits: prefill, kernel logits of vulkan:test"),
                    HasSubstr("(2 dispatches before it agree with cpu:0)")));
  EXPECT_FALSE(ReplayReproducer(folder_, "").ok());
  EXPECT_TRUE(ReplayReproducer(folder_, "cpu").ok());
}
#endif

}  // namespace
}  // namespace fathom::tools
