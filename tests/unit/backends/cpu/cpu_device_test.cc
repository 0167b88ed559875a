// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the CPU device adds to the conformance suite: feature checks, code errors, options.
#include "backends/cpu/driver/cpu_device.h"

#include <fstream>
#include <iterator>

#include "backends/cpu/driver/cpu_features.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::cpu {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<hal::Device> OpenDevice(int threads = 2) {
  auto device = CreateDriver()->Open(0, {threads});
  EXPECT_TRUE(device.ok()) << device.status();
  return *std::move(device);
}

std::vector<uint8_t> TestImage() {
  std::ifstream file(FATHOM_TEST_IMAGE, std::ios::binary);
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {});
}

TEST(CpuDevice, ThreadsAreChecked) {
  EXPECT_FALSE(CreateDriver()->Open(0, {-1}).ok());
  EXPECT_FALSE(CreateDriver()->Open(0, {100000}).ok());
  EXPECT_EQ(OpenDevice(1)->workers(), 1);
  const int cpus = static_cast<int>(UsableCpus().cpus.size());
  EXPECT_EQ(OpenDevice(cpus)->workers(), cpus);
  EXPECT_EQ(OpenDevice(cpus + 1)->workers(), cpus);
  EXPECT_EQ(OpenDevice(0)->workers(), UsableCpus().physical);
}

TEST(CpuDevice, SupportsItsOwnFeatures) {
  const auto device = OpenDevice();
  EXPECT_TRUE(device->Supports("cpu:" + Architecture(), device->info().features).ok());
  EXPECT_TRUE(device->Supports("cpu:native", {}).ok());
}

TEST(CpuDevice, NamesEachMissingFeature) {
  const absl::Status status = OpenDevice()->Supports("cpu:future", {"quantum", "hovering"});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lacks quantum, hovering"));
}

TEST(CpuDevice, RefusesTheOtherArchitecture) {
  const std::string other = Architecture() == "x86-64" ? "cpu:aarch64" : "cpu:x86-64-v3";
  EXPECT_EQ(OpenDevice()->Supports(other, {}).code(), absl::StatusCode::kUnimplemented);
}

TEST(CpuDevice, KernelsMustMatchTheCode) {
  const auto device = OpenDevice();
  EXPECT_TRUE(device->LoadExecutable(TestImage(), {{"sum", 2, 1}}).ok());
  EXPECT_FALSE(device->LoadExecutable(TestImage(), {{"product", 2, 1}}).ok());
  EXPECT_FALSE(device->LoadExecutable(TestImage(), {{"sum", 3, 1}}).ok());
  EXPECT_FALSE(device->LoadExecutable(TestImage(), {{"sum", 2, 0}}).ok());
}

}  // namespace
}  // namespace fathom::cpu
