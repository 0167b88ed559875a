// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verification of code images: what is accepted, and one test for each lie.
#include "backends/vulkan/driver/image.h"

#include <functional>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/backends/vulkan/test_code.h"

namespace fathom::vulkan {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Status Read(const abi::ImageT& image, const DeviceFacts& facts = TestFacts()) {
  const std::vector<uint8_t> code = Pack(image);
  return ReadImage(code, facts).status();
}

TEST(Image, ReadsWhatWasWritten) {
  const std::vector<uint8_t> code = Pack(TestImage(8));
  const auto image = ReadImage(code, TestFacts());
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ(image->kernels.size(), 5u);
  EXPECT_EQ(image->modules.size(), 5u);
  const ImageKernel& base = image->kernels[2];
  EXPECT_EQ(base.name, "count_base");
  EXPECT_EQ(base.push, 2u);
  EXPECT_EQ(base.push_words(), 5u);
  EXPECT_EQ(image->kernels[4].subgroup_size, 8u);
  EXPECT_EQ(image->kernels[3].workgroup, (std::array<uint32_t, 3>{64, 1, 1}));
}

TEST(Image, DescriptorsAreStorageBuffersUnlessTexelsSaySo) {
  abi::ImageT source = TestImage();
  std::vector<uint8_t> code = Pack(source);
  EXPECT_THAT(ReadImage(code, TestFacts())->kernels[0].descriptors(),
              ElementsAre(VK_DESCRIPTOR_TYPE_STORAGE_BUFFER));
  source.kernels[0]->views = {0, 0};
  source.kernels[0]->texels = {16, 0};
  code = Pack(source);
  const auto image = ReadImage(code, TestFacts());
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_THAT(image->kernels[0].descriptors(), ElementsAre(VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
                                                           VK_DESCRIPTOR_TYPE_STORAGE_BUFFER));
}

struct Lie {
  const char* name;
  std::function<void(abi::ImageT&)> tell;
  absl::StatusCode code;
  const char* message;
};
void PrintTo(const Lie& lie, std::ostream* out) { *out << lie.name; }

constexpr auto kBad = absl::StatusCode::kInvalidArgument;
constexpr auto kLacking = absl::StatusCode::kUnimplemented;

const Lie kLies[] = {
    {"magic", [](auto& i) { i.modules[1]->spirv[0] = 0x03022307; }, kBad, "module 1: magic"},
    {"version", [](auto& i) { i.modules[0]->spirv[1] = 0x10700; }, kBad, "SPIR-V 1.0 to 1.6"},
    {"old", [](auto& i) { i.modules[0]->spirv[1] = 99; }, kBad, "version"},
    {"bound", [](auto& i) { i.modules[0]->spirv[3] = 0xffffffff; }, kBad, "bound"},
    {"schema", [](auto& i) { i.modules[0]->spirv[4] = 1; }, kBad, "schema"},
    {"short", [](auto& i) { i.modules[0]->spirv.resize(4); }, kBad, "length in words"},
    {"cut", [](auto& i) { i.modules[0]->spirv.resize(6); }, kBad, "length of an instruction"},
    {"zero", [](auto& i) { i.modules[0]->spirv[5] = 0; }, kBad, "length of an instruction"},
    {"no_entry", [](auto& i) { i.kernels[0]->entry = "main"; }, kBad, "no entry point \"main\""},
    {"module", [](auto& i) { i.kernels[0]->module_ = 5; }, kBad, "count: module: expected below 5"},
    {"twice", [](auto& i) { i.kernels[1]->name = "count"; }, kBad, "count: is there twice"},
    {"axes",
     [](auto& i) {
       i.kernels[0]->workgroup = {1, 1};
     },
     kBad, "length of workgroup"},
    {"workgroup", [](auto& i) { i.kernels[3]->workgroup[0] = 32; }, kBad,
     "expected 32 x 1 x 1, found 64 x 1 x 1"},
    {"view", [](auto& i) { i.kernels[0]->views = {1}; }, kBad, "views: expected numbers below 1"},
    {"bindings", [](auto& i) { i.kernels[0]->bindings = 65; }, kBad, "at most 64, found 65"},
    {"push", [](auto& i) { i.kernels[0]->push = 65; }, kBad, "push: expected at most 64"},
    {"odd_subgroup", [](auto& i) { i.kernels[4]->subgroup_size = 6; }, kBad, "power of two"},
    {"push_bytes", [](auto& i) { i.kernels[0]->push = 33; }, kLacking, "132 bytes of push"},
    {"base_bytes", [](auto& i) { i.kernels[2]->push = 30; }, kLacking, "132 bytes of push"},
    {"shared", [](auto& i) { i.kernels[3]->shared_bytes = 16385; }, kLacking,
     "needs 16385 bytes of workgroup memory; test device has 16384"},
    {"descriptors", [](auto& i) { i.kernels[0]->views.resize(5); }, kLacking, "5 storage buffers"},
    {"texels_missing",
     [](auto& i) {
       i.kernels[0]->texels = {4, 4};
     },
     kBad, "count: length of texels: expected 1, found 2"},
    {"texel_bytes", [](auto& i) { i.kernels[0]->texels = {12}; }, kBad,
     "count: texels: expected 0, 4, 8 or 16, found 12"},
    {"texel_buffers",
     [](auto& i) {
       i.kernels[0]->views.resize(3);
       i.kernels[0]->texels = {4, 8, 16};
     },
     kLacking, "needs 3 uniform texel buffers; test device has 2"},
    {"subgroup", [](auto& i) { i.kernels[4]->subgroup_size = 32; }, kLacking,
     "needs subgroups of 32 invocations; test device has 8 to 8"},
};

class ImageLies : public ::testing::TestWithParam<Lie> {};
INSTANTIATE_TEST_SUITE_P(All, ImageLies, ::testing::ValuesIn(kLies),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(ImageLies, AreFound) {
  abi::ImageT image = TestImage();
  ASSERT_TRUE(Read(image).ok());
  GetParam().tell(image);
  const absl::Status status = Read(image);
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

TEST(Image, TheDeviceMustHaveRoomForTheWorkgroup) {
  DeviceFacts facts = TestFacts();
  facts.limits.maxComputeWorkGroupInvocations = 32;
  EXPECT_THAT(std::string(Read(TestImage(), facts).message()),
              HasSubstr("reverse: needs workgroups of 64 invocations; test device has at most 32"));
  facts = TestFacts();
  facts.limits.maxComputeWorkGroupSize[0] = 63;
  EXPECT_EQ(Read(TestImage(), facts).code(), kLacking);
  facts = TestFacts();
  facts.max_workgroup_subgroups = 7;
  EXPECT_TRUE(Read(TestImage(), facts).ok());
  EXPECT_THAT(std::string(Read(TestImage(8), facts).message()),
              HasSubstr("needs 8 subgroups in a workgroup"));
}

TEST(Image, TheDeviceMustHaveTheCapabilities) {
  DeviceFacts facts = TestFacts();
  const absl::Status status = Read(TestImage(0, true), facts);
  EXPECT_EQ(status.code(), kLacking);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("module 5"), HasSubstr("Int8, which test device lacks")));
  facts.features.insert(facts.features.end(), {"int8", "storage8"});
  EXPECT_TRUE(Read(TestImage(0, true), facts).ok());
  facts.features.clear();
  EXPECT_THAT(std::string(Read(TestImage(), facts).message()),
              HasSubstr("GroupNonUniformArithmetic"));
  abi::ImageT image = TestImage();
  image.modules[0]->spirv[6] = 4442;  // what the driver never switches on
  EXPECT_THAT(std::string(Read(image).message()), HasSubstr("capability 4442"));
}

TEST(Image, BytesAtRandomNeverCrash) {
  const std::vector<uint8_t> good = Pack(TestImage(8));
  std::mt19937 random(7);
  const DeviceFacts facts = TestFacts();
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bad = good;
    for (int change = 0; change < 1 + i % 4; ++change) {
      bad[random() % bad.size()] = static_cast<uint8_t>(random());
    }
    if (i % 5 == 0) bad.resize(random() % bad.size());
    (void)ReadImage(bad, facts);
  }
  EXPECT_EQ(ReadImage({}, facts).status().code(), kBad);
}

TEST(Features, TheErrorNamesWhatIsMissingAndWhatWouldHelp) {
  const DeviceFacts facts = TestFacts();
  EXPECT_TRUE(CheckFeatures(facts, "vulkan:0", "vulkan:generic", {}).ok());
  const absl::Status status = CheckFeatures(facts, "vulkan:0", "vulkan:generic",
                                            {"subgroup_arithmetic", "storage8", "float16"});
  EXPECT_EQ(status.code(), kLacking);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("lacks storage8, float16"), HasSubstr("--target=vulkan:32bit")));
  EXPECT_THAT(
      std::string(CheckFeatures(facts, "vulkan:0", "vulkan:amd", {"subgroup_64"}).message()),
      HasSubstr("--target=vulkan:generic"));
  EXPECT_THAT(
      std::string(CheckFeatures(facts, "vulkan:0", "vulkan:32bit", {"invocations_256"}).message()),
      HasSubstr("--target=cpu:native"));
}

TEST(Features, NumbersHoldForLessToo) {
  const DeviceFacts facts = TestFacts();
  for (const char* has : {"invocations_128", "invocations_64", "shared_16k", "range_128m",
                          "range_100m", "texels_4m", "texels_3m", "subgroup_8"}) {
    EXPECT_TRUE(facts.Has(has)) << has;
  }
  for (const char* lacks :
       {"invocations_256", "shared_32k", "range_129m", "texels_5m", "subgroup_4", "int8",
        "shared_k", "shared_x", "", "range_99999999999999999999999m"}) {
    EXPECT_FALSE(facts.Has(lacks)) << lacks;
  }
}

}  // namespace
}  // namespace fathom::vulkan
