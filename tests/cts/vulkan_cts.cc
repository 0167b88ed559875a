// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What only a GPU driver does: workgroup memory, subgroups, large grids, pipeline caches.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "absl/strings/match.h"
#include "runtime/base/status.h"
#include "tests/cts/cts_fixture.h"
#include "tests/unit/backends/vulkan/test_code.h"

namespace fathom::hal {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

class VulkanCts : public HalCts {
 protected:
  absl::Status Load(const std::vector<uint8_t>& code, std::vector<KernelInterface> kernels) {
    auto loaded = device_->LoadExecutable(code, std::move(kernels));
    if (loaded.ok()) executable_ = *std::move(loaded);
    return loaded.status();
  }
  absl::Status Run(std::array<uint32_t, 3> grid, std::vector<BufferRef> bindings,
                   std::vector<int64_t> push) {
    auto commands = device_->CreateCommandBuffer();
    FATHOM_RETURN_IF_ERROR(
        commands->Append({executable_.get(), 0, grid, bindings, push, "layers.3.test"}));
    FATHOM_RETURN_IF_ERROR(commands->End());
    return SubmitAndWait(commands.get());
  }
  bool HasFeature(const std::string& feature) const {
    for (const std::string& have : device_->info().features) {
      if (have == feature) return true;
    }
    return false;
  }
  // The sizes that kernels can ask for.
  std::vector<uint32_t> SubgroupSizes() const {
    std::vector<uint32_t> sizes;
    for (uint32_t n = 1; n <= 128; n *= 2) {
      if (HasFeature(absl::StrCat("subgroup_", n))) sizes.push_back(n);
    }
    return sizes;
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, VulkanCts, ::testing::ValuesIn(CtsDevices()),
                         [](const auto& info) { return info.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(VulkanCts);

TEST_P(VulkanCts, SaysWhatTheDeviceIs) {
  const DeviceInfo& info = device_->info();
  EXPECT_THAT(info.driver, HasSubstr("Vulkan 1.3"));
  EXPECT_GT(info.memory_bytes, 0u);
  EXPECT_FALSE(SubgroupSizes().empty());
  std::map<std::string, std::string> limits(info.limits.begin(), info.limits.end());
  EXPECT_NE(limits["subgroup size"], "");
  EXPECT_NE(limits["storage buffer range"], "");
  // The test names the size it wants to run at, where the driver lets it choose.
  if (const char* size = std::getenv("FATHOM_TEST_SUBGROUP"); size != nullptr) {
    EXPECT_EQ(limits["subgroup size"], size);
  }
}

// The suite's silence means something: the layer is there, checks synchronisation, and is heard.
TEST_P(VulkanCts, AMissingBarrierIsReported) {
  auto buffer = Allocate(1024), sum = Allocate(256);
  std::memset(buffer->host(), 0, buffer->size());
  for (const bool barrier : {true, false}) {
    auto commands = device_->CreateCommandBuffer();
    ASSERT_TRUE(commands->Append(Count({buffer.get()}, 1)).ok());
    if (barrier) {
      ASSERT_TRUE(commands->Barrier().ok());
    }
    push_ = {1};
    bindings_ = {{buffer.get()}, {sum.get()}};
    ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"}).ok());
    ASSERT_TRUE(commands->End().ok());
    ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
    const std::vector<std::string> messages = TakeCtsMessages();
    if (barrier) {
      EXPECT_THAT(messages, ::testing::IsEmpty());
    } else {
      EXPECT_THAT(messages, ::testing::Contains(HasSubstr("SYNC-HAZARD-")));
    }
  }
}

TEST_P(VulkanCts, WorkgroupMemoryIsShared) {
  ASSERT_TRUE(Load(CtsCode(""), {{"reverse", 2, 0}}).ok());
  auto in = Allocate(4 * 640), out = Allocate(4 * 640);
  auto* words = reinterpret_cast<uint32_t*>(in->host());
  for (uint32_t i = 0; i < 640; ++i) words[i] = i;
  ASSERT_TRUE(Run({10, 1, 1}, {{in.get()}, {out.get()}}, {}).ok());
  const auto reversed = Words(*out, 640);
  for (uint32_t i = 0; i < 640; ++i) EXPECT_EQ(reversed[i], i / 64 * 64 + 63 - i % 64);
}

TEST_P(VulkanCts, SubgroupsHaveTheSizeAskedFor) {
  auto out = Allocate(4 * 640);
  for (uint32_t size : SubgroupSizes()) {
    ASSERT_TRUE(Load(vulkan::Pack(vulkan::TestImage(size)), {{"subgroup", 1, 0}}).ok());
    std::memset(out->host(), 0, out->size());
    ASSERT_TRUE(Run({10, 1, 1}, {{out.get()}}, {}).ok());
    EXPECT_THAT(Words(*out, 640), Each(size));
  }
}

TEST_P(VulkanCts, AKernelForAnySubgroupSizeRuns) {
  ASSERT_TRUE(Load(CtsCode(""), {{"subgroup", 1, 0}}).ok());
  auto out = Allocate(4 * 64);
  ASSERT_TRUE(Run({1, 1, 1}, {{out.get()}}, {}).ok());
  const std::vector<uint32_t> sizes = SubgroupSizes();
  EXPECT_THAT(Words(*out, 64),
              Each(AllOf(::testing::Ge(sizes.front()), ::testing::Le(sizes.back()))));
}

TEST_P(VulkanCts, RefusesSubgroupSizesItDoesNotHave) {
  const std::vector<uint32_t> sizes = SubgroupSizes();
  const uint32_t wrong = sizes.back() == 128 ? sizes.front() / 2 : sizes.back() * 2;
  const absl::Status status = Load(vulkan::Pack(vulkan::TestImage(wrong)), {{"subgroup", 1, 0}});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(absl::StrCat("needs subgroups of ", wrong)),
                    HasSubstr("--target=vulkan:generic")));
}

TEST_P(VulkanCts, SeveralViewsShowOneBinding) {
  const std::vector<uint8_t> code = vulkan::Pack(vulkan::TestImage(0, true));
  const absl::Status status = Load(code, {{"views", 2, 0}});
  if (!HasFeature("int8") || !HasFeature("storage8")) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(status.message()), HasSubstr("lacks"));
    return;
  }
  ASSERT_TRUE(status.ok()) << status;
  auto in = Allocate(1024), out = Allocate(1024);
  auto* words = reinterpret_cast<uint32_t*>(in->host());
  for (uint32_t i = 0; i < 256; ++i) words[i] = 0x01020300 + i;
  ASSERT_TRUE(Run({64, 1, 1}, {{in.get(), 256}, {out.get()}}, {}).ok());
  for (uint32_t i = 0; i < 64; ++i) {
    EXPECT_EQ(Words(*out, 64)[i], 0x01020300 + (64 + i) + (64 + i) % 256);
  }
}

TEST_P(VulkanCts, GridsBeyondTheDevicesAreCut) {
  constexpr uint32_t kColumns = 70000, kRows = 2;  // most drivers end at 65535
  auto buffer = Allocate(4 * kColumns * kRows);
  std::memset(buffer->host(), 0, buffer->size());
  ASSERT_TRUE(Load(CtsCode(""), {{"count_base", 1, 2}}).ok());
  ASSERT_TRUE(Run({kColumns, kRows, 1}, {{buffer.get()}}, {kColumns, kRows}).ok());
  EXPECT_THAT(Words(*buffer, kColumns * kRows), Each(1u));
}

TEST_P(VulkanCts, AGridThatCannotBeCutIsRefused) {
  auto buffer = Allocate(4 * 128);
  ASSERT_TRUE(Load(CtsCode(""), {{"count", 1, 2}}).ok());
  const absl::Status status = Run({1, 1, 1u << 31}, {{buffer.get()}}, {1, 1});
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("layers.3.test"));
}

TEST_P(VulkanCts, PushConstantsHave32Bits) {
  auto buffer = Allocate(1024);
  ASSERT_TRUE(Load(CtsCode(""), {{"count", 1, 2}}).ok());
  for (int64_t value : {int64_t{INT32_MAX} + 1, int64_t{INT32_MIN} - 1, INT64_MAX}) {
    EXPECT_EQ(Run({1, 1, 1}, {{buffer.get()}}, {1, value}).code(), absl::StatusCode::kOutOfRange);
  }
}

TEST_P(VulkanCts, KernelsMustBeInTheImage) {
  EXPECT_THAT(std::string(Load(CtsCode(""), {{"absent", 1, 0}}).message()),
              HasSubstr("the kernel absent is missing"));
  EXPECT_THAT(std::string(Load(CtsCode(""), {{"count", 2, 2}}).message()),
              HasSubstr("expected 2 bindings, 2 push constants, found 1 and 2"));
  EXPECT_EQ(Load({1, 2, 3, 4}, {}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(VulkanCts, BuildingIsReportedAndCanBeStopped) {
  const std::vector<KernelInterface> kernels = {{"count", 1, 2}, {"sum", 2, 1}, {"reverse", 2, 0}};
  std::vector<uint64_t> seen;
  DeviceOptions options;
  options.code_cache = "off";
  options.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 3u);
    seen.push_back(done);
    return true;
  };
  auto device = OpenCtsDevice(GetParam().id, options);
  ASSERT_TRUE(device.ok());
  EXPECT_TRUE((*device)->LoadExecutable(CtsCode(""), kernels).ok());
  EXPECT_THAT(seen, ::testing::ElementsAre(1, 2, 3));
  options.progress = [](uint64_t, uint64_t) { return false; };
  device = OpenCtsDevice(GetParam().id, options);
  EXPECT_EQ((*device)->LoadExecutable(CtsCode(""), kernels).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_P(VulkanCts, ABrokenPipelineCacheIsReplaced) {
  const std::filesystem::path folder =
      ::testing::TempDir() + "fathom_cts_" + GetParam().name + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  DeviceOptions options;
  options.code_cache = folder.string();
  const auto load = [&] {
    auto device = OpenCtsDevice(GetParam().id, options);
    ASSERT_TRUE(device.ok());
    ASSERT_TRUE((*device)->LoadExecutable(CtsCode(""), {{"count", 1, 2}}).ok());
  };
  load();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "the driver keeps its code elsewhere";
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  const std::filesystem::path file = std::filesystem::directory_iterator(folder)->path();
  const auto good = std::filesystem::file_size(file);
  load();  // from the file
  std::ofstream(file, std::ios::binary) << "no cache at all";
  load();
  EXPECT_EQ(std::filesystem::file_size(file), good);
  std::filesystem::remove_all(folder);
}

TEST_P(VulkanCts, HiddenMemoryHasNoAddress) {
  const bool hidden = absl::StartsWith(GetParam().id, "hidden");
  for (MemoryUse use : {MemoryUse::weights, MemoryUse::transient, MemoryUse::cache}) {
    const bool reachable = Allocate(4096, use)->host() != nullptr;
    if (hidden) {
      EXPECT_FALSE(reachable);
    } else if (device_->info().unified_memory) {
      EXPECT_TRUE(reachable);
    }
  }
}

TEST_P(VulkanCts, ManySmallBuffersShareAllocations) {
  // More than the 4096 allocations that a driver has to give.
  std::vector<std::shared_ptr<Buffer>> buffers;
  for (int i = 0; i < 5000; ++i) buffers.push_back(Allocate(1 + i % 300, MemoryUse::host_io));
  for (size_t i = 0; i < buffers.size(); ++i) {
    std::memset(buffers[i]->host(), static_cast<int>(i), buffers[i]->size());
  }
  for (size_t i = 0; i < buffers.size(); ++i) {
    ASSERT_EQ(buffers[i]->host()[0], static_cast<uint8_t>(i));
    ASSERT_EQ(buffers[i]->host()[buffers[i]->size() - 1], static_cast<uint8_t>(i));
  }
}

}  // namespace
}  // namespace fathom::hal
