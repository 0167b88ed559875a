// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The cache file: round trip, and every kind of file that must be ignored.
#include "backends/vulkan/driver/pipeline_cache.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/backends/vulkan/test_code.h"

namespace fathom::vulkan {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PipelineCache : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "fathom_pipeline_cache_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    path_ = PipelineCachePath(folder_ + "/deep", facts_, code_);
    VkPipelineCacheHeaderVersionOne header = {};
    header.headerSize = sizeof(header);
    header.headerVersion = VK_PIPELINE_CACHE_HEADER_VERSION_ONE;
    header.vendorID = facts_.vendor_id;
    header.deviceID = facts_.device_id;
    data_.resize(sizeof(header) + 100, 42);
    std::memcpy(data_.data(), &header, sizeof(header));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::vector<char> ReadFile() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void WriteFile(const std::vector<char>& bytes) const {
    std::ofstream file(path_, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  DeviceFacts facts_ = TestFacts();
  const std::vector<uint8_t> code_ = {1, 2, 3};
  std::string folder_, path_;
  std::vector<uint8_t> data_;
};

TEST_F(PipelineCache, ComesBackAsItWasStored) {
  EXPECT_THAT(LoadPipelineCache(path_, facts_), IsEmpty());
  ASSERT_TRUE(StorePipelineCache(path_, data_).ok());
  EXPECT_EQ(LoadPipelineCache(path_, facts_), data_);
  data_.push_back(1);
  ASSERT_TRUE(StorePipelineCache(path_, data_).ok());
  EXPECT_EQ(LoadPipelineCache(path_, facts_), data_);
  // Nothing else is left in the folder.
  const auto folder = std::filesystem::path(path_).parent_path();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST_F(PipelineCache, OneFilePerDriverDeviceAndCode) {
  DeviceFacts driver = facts_, device = facts_;
  driver.driver_uuid[3] = 1;
  device.device_id = 8;
  const std::string folder = folder_ + "/deep";
  EXPECT_NE(PipelineCachePath(folder, driver, code_), path_);
  EXPECT_NE(PipelineCachePath(folder, device, code_), path_);
  EXPECT_NE(PipelineCachePath(folder, facts_, {code_.data(), 2}), path_);
  EXPECT_EQ(PipelineCachePath("off", facts_, code_), "");
}

TEST_F(PipelineCache, EveryDamageIsIgnored) {
  ASSERT_TRUE(StorePipelineCache(path_, data_).ok());
  const std::vector<char> good = ReadFile();
  for (size_t i = 0; i < good.size(); ++i) {
    if (i >= 12 && i < 16) continue;  // the header's spare word
    std::vector<char> bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    WriteFile(bad);
    EXPECT_THAT(LoadPipelineCache(path_, facts_), IsEmpty()) << "byte " << i;
  }
  for (size_t length = 0; length < good.size(); length += 7) {
    WriteFile({good.begin(), good.begin() + static_cast<ptrdiff_t>(length)});
    EXPECT_THAT(LoadPipelineCache(path_, facts_), IsEmpty()) << length << " bytes";
  }
  std::vector<char> longer = good;
  longer.push_back(0);
  WriteFile(longer);
  EXPECT_THAT(LoadPipelineCache(path_, facts_), IsEmpty());
  WriteFile(good);
  EXPECT_EQ(LoadPipelineCache(path_, facts_), data_);
}

TEST_F(PipelineCache, WhatAnotherDriverMadeIsIgnored) {
  ASSERT_TRUE(StorePipelineCache(path_, data_).ok());
  DeviceFacts other = facts_;
  other.cache_uuid[15] = 1;
  EXPECT_THAT(LoadPipelineCache(path_, other), IsEmpty());
  other = facts_;
  other.vendor_id = 1;
  EXPECT_THAT(LoadPipelineCache(path_, other), IsEmpty());
  other = facts_;
  other.device_id = 1;
  EXPECT_THAT(LoadPipelineCache(path_, other), IsEmpty());
  // A driver's own header that lies about its size.
  const uint32_t size = 1 << 20;
  std::memcpy(data_.data(), &size, sizeof(size));
  ASSERT_TRUE(StorePipelineCache(path_, data_).ok());
  EXPECT_THAT(LoadPipelineCache(path_, facts_), IsEmpty());
}

TEST_F(PipelineCache, AFolderThatCannotBeMadeIsAnError) {
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ + "/deep") << "a file where the folder should be";
  const absl::Status status = StorePipelineCache(path_, data_);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
}

}  // namespace
}  // namespace fathom::vulkan
