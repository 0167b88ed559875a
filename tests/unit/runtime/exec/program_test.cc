// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which program is picked, and which are refused.
#include "runtime/exec/program.h"

#include "gmock/gmock.h"
#include "tests/unit/runtime/exec/exec_fixture.h"

namespace fathom {
namespace {

using ::testing::HasSubstr;
using testing::HistoryModel;
using testing::OpenModel;

#if defined(__x86_64__)
constexpr const char* kOtherArchitecture = "cpu:aarch64";
constexpr const char* kCommonFeature = "sse2";
#else
constexpr const char* kOtherArchitecture = "cpu:x86-64-v4";
constexpr const char* kCommonFeature = "neon";
#endif

TEST(Program, RefusesMissingFeaturesByName) {
  const auto model = OpenModel(HistoryModel({.features = {"sse2", "neon", "quantum"}}));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("quantum"));
}

TEST(Program, RefusesAnotherArchitecture) {
  const auto model = OpenModel(HistoryModel({.target = kOtherArchitecture}));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(kOtherArchitecture));
}

TEST(Program, PrefersTheProgramThatUsesMostFeatures) {
  auto builder = HistoryModel({.target = "cpu:plain"});
  auto other = HistoryModel({.target = "cpu:featured", .features = {kCommonFeature}});
  auto impossible = HistoryModel({.target = "cpu:future", .features = {kCommonFeature, "quantum"}});
  builder.header.programs.push_back(std::move(other.header.programs[0]));
  builder.header.programs.push_back(std::move(impossible.header.programs[0]));
  const auto model = OpenModel(std::move(builder));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->program->header().target()->str(), "cpu:featured");
}

TEST(Program, TheNullDeviceTakesAnything) {
  const auto model = OpenModel(HistoryModel({.target = kOtherArchitecture}), "null");
  EXPECT_TRUE(model.ok()) << model.status();
}

TEST(Program, RefusesAnotherSignature) {
  auto builder = HistoryModel();
  std::swap(builder.header.programs[0]->entries[0]->buffers[0],
            builder.header.programs[0]->entries[0]->buffers[1]);
  const auto model = OpenModel(std::move(builder));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("expected tokens, found positions"));
}

TEST(Program, RefusesAKernelTheCodeLacks) {
  auto builder = HistoryModel();
  builder.header.programs[0]->kernels[0]->name = "prepend";
  const auto model = OpenModel(std::move(builder));
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("prepend is missing"));
}

TEST(Program, RefusesAKernelWithOtherArguments) {
  auto builder = HistoryModel();
  builder.header.programs[0]->kernels[2]->push = 2;
  for (auto& entry : builder.header.programs[0]->entries) entry->commands[4]->push = {0, 0};
  const auto model = OpenModel(std::move(builder));
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("arguments of the kernel logits"));
}

TEST(Program, RefusesCodeThatIsNoImage) {
  const auto model = OpenModel(HistoryModel({.code = {1, 2, 3}}));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("not an ELF file"));
}

}  // namespace
}  // namespace fathom
