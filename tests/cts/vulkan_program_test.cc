// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whole programs on Vulkan devices: the history model, whose logits depend on every token, page and
// weight, run through runtime/exec.
#include <numeric>
#include <set>

#include "absl/strings/match.h"
#include "backends/vulkan/driver/instance.h"
#include "runtime/exec/context.h"
#include "runtime/exec/transfer.h"
#include "tests/cts/cts_fixture.h"
#include "tests/unit/backends/vulkan/test_code.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom {
namespace {

using testing::ArtifactBuilder;
using ::testing::ElementsAreArray;
using testing::ExpectedLogits;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ArtifactBuilder VulkanModel(uint32_t layers = 1) {
  ArtifactBuilder builder =
      testing::HistoryModel({.layers = layers,
                             .target = "vulkan:test",
                             .code = vulkan::Pack(vulkan::HistoryImage())});
  builder.header.programs[0]->driver = "vulkan";
  return builder;
}

class VulkanProgram : public ::testing::TestWithParam<hal::CtsDevice> {
 protected:
  void SetUp() override {
    hal::DeviceOptions options;
    options.code_cache = "off";
    auto device = hal::OpenCtsDevice(GetParam().id, options);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  void TearDown() override {
    context_.reset();
    program_.reset();
    device_.reset();
    EXPECT_THAT(hal::TakeCtsMessages(), IsEmpty());
  }
  absl::Status Load(ArtifactBuilder builder, const ProgressFunction& progress = nullptr) {
    file_ = std::make_unique<testing::TemporaryFile>(builder.Build());
    FATHOM_ASSIGN_OR_RETURN(auto artifact, Artifact::Open(file_->path()));
    FATHOM_ASSIGN_OR_RETURN(auto weights, Weights::Load(artifact, LoadMode::map));
    FATHOM_ASSIGN_OR_RETURN(program_, Program::Load(artifact, weights, *device_, progress));
    return absl::OkStatus();
  }
  absl::Status MakeContext(uint32_t pages) {
    FATHOM_ASSIGN_OR_RETURN(context_, Context::Create(program_, pages));
    return absl::OkStatus();
  }
  // Runs the last `count` of `tokens`, whose cache lies in `pages`, and compares the logits.
  void Extend(const std::string& entry, const std::vector<int32_t>& tokens, int count,
              const std::vector<int32_t>& pages, std::vector<DispatchProfile>* profile = nullptr) {
    std::vector<int32_t> positions(static_cast<size_t>(count));
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(tokens.size()) - count);
    const std::vector<int32_t> sequence(static_cast<size_t>(count), 0);
    const std::vector<int32_t> length = {static_cast<int32_t>(tokens.size())};
    const std::vector<int32_t> rows = {count - 1};
    CallInputs inputs;
    inputs.tokens = {tokens.data() + tokens.size() - count, static_cast<size_t>(count)};
    inputs.positions = positions;
    inputs.sequence = sequence;
    inputs.page_table = pages;
    inputs.context_length = length;
    inputs.logit_rows = rows;
    const auto logits = context_->Run(entry, inputs, profile);
    ASSERT_TRUE(logits.ok()) << logits.status();
    const auto row = logits->row(0, program_->vocab_size());
    EXPECT_THAT(std::vector<float>(row.begin(), row.end()),
                ElementsAreArray(ExpectedLogits(tokens, 100)));
  }

  std::unique_ptr<testing::TemporaryFile> file_;
  std::unique_ptr<hal::Device> device_;
  std::shared_ptr<const Program> program_;
  std::unique_ptr<Context> context_;
};

INSTANTIATE_TEST_SUITE_P(Devices, VulkanProgram, ::testing::ValuesIn(hal::CtsDevices()),
                         [](const auto& info) { return info.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(VulkanProgram);

std::vector<int32_t> SomeTokens(size_t count) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(i * 37 % 100);
  return tokens;
}

TEST_P(VulkanProgram, PrefillThenDecode) {
  ASSERT_TRUE(Load(VulkanModel()).ok());
  ASSERT_TRUE(MakeContext(16).ok());
  std::vector<int32_t> tokens = SomeTokens(130);
  Extend("prefill", tokens, 130, {5, 2, 9});
  for (int i = 0; i < 5; ++i) {
    tokens.push_back(i);
    Extend("decode", tokens, 1, {5, 2, 9});
  }
  std::vector<DispatchProfile> profile;
  tokens.push_back(7);
  Extend("decode", tokens, 1, {5, 2, 9}, &profile);
  ASSERT_EQ(profile.size(), 3u);
  EXPECT_EQ(profile[1].label, "layers.0/history");
}

// With 19 layers, that is in several buffers of three.
TEST_P(VulkanProgram, TheCacheKeepsItsContentWhenItGrows) {
  for (const uint32_t layers : {1u, 19u}) {
    context_.reset();
    ASSERT_TRUE(Load(VulkanModel(layers)).ok());
    ASSERT_TRUE(MakeContext(program_->max_cache_pages() < 4000 ? 400 : 4000).ok());
    std::vector<int32_t> first = SomeTokens(100);
    Extend("prefill", first, 100, {0, 15});
    for (int32_t page : {16, 40, 333}) {
      Extend("prefill", SomeTokens(20), 20, {page});
      first.push_back(page % 100);
      Extend("decode", first, 1, {0, 15});
    }
  }
}

// What a device can bind limits a layer, not the layers together.
TEST_P(VulkanProgram, LayersTogetherMayExceedABinding) {
  ASSERT_TRUE(Load(VulkanModel()).ok());
  const uint32_t most = program_->max_cache_pages();
  ASSERT_TRUE(Load(VulkanModel(3)).ok());
  EXPECT_EQ(program_->max_cache_pages(), most);
  EXPECT_EQ(program_->page_bytes(), 3 * 256u);
  if (uint64_t{most} * 256 > (200u << 20)) GTEST_SKIP() << "too much memory for a test";
  ASSERT_TRUE(MakeContext(most).ok());
  Extend("prefill", SomeTokens(100), 100, {static_cast<int32_t>(most) - 1, 0});
}

TEST_P(VulkanProgram, ACacheBeyondTheDeviceIsRefusedWithWhatFits) {
  ASSERT_TRUE(Load(VulkanModel()).ok());
  const uint32_t most = program_->max_cache_pages();
  ASSERT_LT(most, uint32_t{INT32_MAX});
  EXPECT_TRUE(MakeContext(most).ok());
  const absl::Status status = MakeContext(most + 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(most, " pages")));
}

TEST_P(VulkanProgram, AnArtifactForOthersIsRefusedWithATarget) {
  const absl::Status status = Load(testing::HistoryModel());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--target=vulkan:generic would add one"));
}

TEST_P(VulkanProgram, AMissingFeatureIsRefusedByName) {
  ArtifactBuilder builder = VulkanModel();
  builder.header.programs[0]->features = {"subgroup_arithmetic", "quantum"};
  const absl::Status status = Load(std::move(builder));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lacks quantum"));
}

TEST_P(VulkanProgram, LoadingIsReportedAndCanBeStopped) {
  const bool hidden = absl::StartsWith(GetParam().id, "hidden");
  uint64_t last = 0;
  ASSERT_TRUE(Load(VulkanModel(), [&](uint64_t done, uint64_t total) {
                EXPECT_LE(done, total);
                last = done;
                return true;
              }).ok());
  // Imported weights need no time.
  EXPECT_EQ(last != 0, hidden);
  if (hidden) {
    EXPECT_EQ(Load(VulkanModel(), [](uint64_t, uint64_t) { return false; }).code(),
              absl::StatusCode::kCancelled);
  }
}

TEST_P(VulkanProgram, TransfersGoBothWaysInParts) {
  // More than two parts of 16 MiB.
  std::vector<uint8_t> bytes((33 << 20) + 12345), back(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  auto buffer = device_->allocator().Allocate(bytes.size() + 64, hal::MemoryUse::transient);
  ASSERT_TRUE(buffer.ok());
  ASSERT_TRUE(Upload(*device_, bytes, {buffer->get(), 64}).ok());
  ASSERT_TRUE(Download(*device_, {buffer->get(), 64}, absl::MakeSpan(back)).ok());
  EXPECT_TRUE(bytes == back);
  EXPECT_FALSE(Upload(*device_, bytes, {buffer->get(), 128}).ok());
  EXPECT_FALSE(Download(*device_, {buffer->get(), 128}, absl::MakeSpan(back)).ok());
}

// A device on which the old and the new cache do not fit beside each other.
class VulkanShortage : public VulkanProgram {
 protected:
  void SetUp() override {
    vulkan::DriverOptions options;
    options.hide_host_memory = absl::StartsWith(GetParam().id, "hidden");
    // A block of 64 MiB for what is small, and 120 MiB for the cache.
    options.max_memory_bytes = uint64_t{184} << 20;
    driver_ = vulkan::CreateDriver(options);
    hal::DeviceOptions device_options;
    device_options.code_cache = "off";
    auto device = driver_->Open(0, device_options);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  std::unique_ptr<hal::Driver> driver_;
};

INSTANTIATE_TEST_SUITE_P(Devices, VulkanShortage, ::testing::ValuesIn(hal::CtsDevices()),
                         [](const auto& info) { return info.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(VulkanShortage);

TEST_P(VulkanShortage, ACacheGrowsThroughTheHostsMemory) {
  constexpr int32_t kMegabyte = 4096;  // pages of 256 bytes
  ASSERT_TRUE(Load(VulkanModel()).ok());
  ASSERT_TRUE(MakeContext(128 * kMegabyte - 1).ok());
  std::vector<int32_t> tokens = SomeTokens(100);
  Extend("prefill", tokens, 100, {3, 60 * kMegabyte});
  // 100 MiB beside 60 are too many, and so are 90.
  Extend("prefill", SomeTokens(20), 20, {90 * kMegabyte});
  tokens.push_back(5);
  Extend("decode", tokens, 1, {3, 60 * kMegabyte});
  // 125 MiB are too many by themselves: the call fails, and what was there stays.
  const std::vector<int32_t> one = {1}, zero = {0}, far = {125 * kMegabyte};
  CallInputs inputs;
  inputs.tokens = inputs.context_length = one;
  inputs.positions = inputs.sequence = inputs.logit_rows = zero;
  inputs.page_table = far;
  const absl::Status status = context_->Run("prefill", inputs).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("KV cache of"));
  tokens.push_back(6);
  Extend("decode", tokens, 1, {3, 60 * kMegabyte});
}

// A device that allocates at most 64 KiB: the weights lie in several buffers.
TEST(VulkanPieces, WeightsAreSplitBetweenTensors) {
  const std::vector<hal::CtsDevice> devices = hal::CtsDevices();
  if (devices.empty()) GTEST_SKIP() << "no Vulkan device";
  vulkan::DriverOptions options;
  options.max_buffer_bytes = 64 << 10;
  for (const bool hide : {false, true}) {
    options.hide_host_memory = hide;
    auto driver = vulkan::CreateDriver(options);
    auto device = driver->Open(0, {});
    ASSERT_TRUE(device.ok()) << device.status();
    const auto load = [&](size_t tensor_bytes) -> absl::StatusOr<std::shared_ptr<const Program>> {
      ArtifactBuilder builder = VulkanModel();
      for (int i = 0; i < 5; ++i) {
        builder.AddTensor(1, absl::StrCat("filler.", i), {tensor_bytes / 4},
                          schema::Encoding::raw_f32,
                          testing::Bytes(tensor_bytes, static_cast<uint8_t>(i)));
      }
      testing::TemporaryFile file(builder.Build());
      FATHOM_ASSIGN_OR_RETURN(auto artifact, Artifact::Open(file.path()));
      FATHOM_ASSIGN_OR_RETURN(auto weights, Weights::Load(artifact, LoadMode::map));
      return Program::Load(artifact, weights, **device);
    };
    const auto program = load(40000);
    ASSERT_TRUE(program.ok()) << program.status();
    std::set<const hal::Buffer*> buffers;
    for (uint32_t t = 0; t < 6; ++t) {
      const uint64_t length = (*program)->artifact().header().tensors()->Get(t)->length();
      const hal::BufferRef ref = (*program)->TensorRef(t, 0, length);
      buffers.insert(ref.buffer);
      ASSERT_LE(ref.offset + ref.bytes, ref.buffer->size());
      std::vector<uint8_t> bytes(ref.bytes);
      ASSERT_TRUE(Download(**device, ref, absl::MakeSpan(bytes)).ok());
      if (t > 0) {
        EXPECT_THAT(bytes, ::testing::Each(t - 1));
      }
    }
    EXPECT_GE(buffers.size(), 5u);
    EXPECT_THAT(std::string(load(70000).status().message()),
                ::testing::AllOf(HasSubstr("filler.0"), HasSubstr("allocates at most 65536")));
  }
}

}  // namespace
}  // namespace fathom
