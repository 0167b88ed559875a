// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Target names, profiles and their JSON form.
#include "compiler/target/Target.h"

#include <fstream>

#include "compiler/target/ProfileAttr.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"

namespace fathom {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class TargetTest : public ::testing::Test {
 protected:
  TargetTest() { registerTargets(registry); }

  TargetProfile parse(llvm::StringRef name) {
    llvm::Expected<TargetProfile> profile = parseTarget(registry, name);
    if (profile) return *profile;
    ADD_FAILURE() << llvm::toString(profile.takeError());
    return {};
  }

  std::string parseError(llvm::StringRef name) {
    llvm::Expected<TargetProfile> profile = parseTarget(registry, name);
    return profile ? "" : llvm::toString(profile.takeError());
  }

  TargetRegistry registry;
};

std::string jsonError(llvm::StringRef text) {
  llvm::Expected<llvm::json::Value> json = llvm::json::parse(text);
  if (!json) return "test: " + llvm::toString(json.takeError());
  llvm::Expected<TargetProfile> profile = TargetProfile::fromJson(*json, "p.json");
  return profile ? "" : llvm::toString(profile.takeError());
}

TEST_F(TargetTest, FixedNamesTellTheirFeatures) {
  TargetProfile v3 = parse("cpu:x86-64-v3");
  EXPECT_EQ(v3.driver, "cpu");
  EXPECT_THAT(v3.features, ElementsAre("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"));
  EXPECT_TRUE(v3.avx2 && v3.f16c && !v3.avx512 && !v3.vnni);
  EXPECT_EQ(v3.vectorBits, 256);

  TargetProfile v4 = parse("cpu:x86-64-v4");
  EXPECT_TRUE(v4.avx512 && !v4.vnni && !v4.avx512Bf16);
  EXPECT_THAT(v4.features, Contains("avx512vl"));
  EXPECT_THAT(v4.features, Not(Contains("avx512vnni")));
  EXPECT_EQ(v4.vectorBits, 512);

  EXPECT_TRUE(parse("cpu:x86-64-v4-vnni").vnni);
  EXPECT_FALSE(parse("cpu:x86-64-v4-vnni").avx512Bf16);
  EXPECT_TRUE(parse("cpu:x86-64-v4-bf16").avx512Bf16);
  EXPECT_FALSE(parse("cpu:x86-64-v4-bf16").amx);
  TargetProfile amx = parse("cpu:x86-64-v4-amx");
  EXPECT_TRUE(amx.amx && amx.vnni && amx.avx512Bf16);
  EXPECT_THAT(amx.features, Contains("amx-tile"));

  TargetProfile arm = parse("cpu:aarch64");
  EXPECT_TRUE(arm.neon && arm.f16c && !arm.dotprod && !arm.avx2);
  EXPECT_TRUE(parse("cpu:aarch64-dotprod").dotprod);
  EXPECT_EQ(parse("null").driver, "null");
}

TEST_F(TargetTest, ActivationFormFollowsTheDotProduct) {
  EXPECT_EQ(parse("cpu:x86-64-v3").activationFor("q4"), "i8");
  EXPECT_EQ(parse("cpu:x86-64-v3").activationFor("bf16"), "f32");
  EXPECT_EQ(parse("cpu:x86-64-v4-bf16").activationFor("bf16"), "bf16");
  EXPECT_EQ(parse("cpu:x86-64-v4-bf16").activationFor("f32"), "f32");
}

TEST_F(TargetTest, EveryNameParsesToItself) {
  for (const std::string& name : registry.names()) {
    if (name == "cpu:native") continue;  // may be below what is supported
    EXPECT_EQ(parse(name).name, name);
  }
}

TEST_F(TargetTest, UnknownNamesListTheKnown) {
  EXPECT_THAT(parseError("gpu:big"), HasSubstr("target 'gpu:big' is unknown"));
  EXPECT_THAT(parseError("gpu:big"), HasSubstr("cpu:x86-64-v3"));
  EXPECT_THAT(parseError("cpu:x86-64-v5"), HasSubstr("cpu:native"));
  EXPECT_THAT(parseError("null:x"), HasSubstr("expected null"));
  EXPECT_THAT(parseError(""), HasSubstr("is unknown"));
  EXPECT_THAT(parseError("no/such/file.json"), HasSubstr("no/such/file.json"));
}

TEST_F(TargetTest, JsonRoundTrip) {
  TargetProfile profile = parse("cpu:x86-64-v4-bf16");
  profile.tune = "znver4";
  profile.prefetchBytes = 1152;
  profile.weightStreams = 1;
  profile.workers = 12;
  profile.fewTokens = 0;
  profile.fewContext = 100000;
  profile.measured = DeviceRates{"this one", 30.5, 473, 236, 118};
  std::string path = ::testing::TempDir() + "/target_profile.json";
  ASSERT_FALSE(static_cast<bool>(profile.save(path)));
  TargetProfile read = parse(path);
  EXPECT_EQ(read.name, profile.name);
  EXPECT_EQ(read.triple, profile.triple);
  EXPECT_EQ(read.cpu, profile.cpu);
  EXPECT_EQ(read.tune, "znver4");
  EXPECT_EQ(read.features, profile.features);
  EXPECT_EQ(read.prefetchBytes, 1152);
  EXPECT_EQ(read.weightStreams, 1);
  EXPECT_EQ(read.workers, 12);
  EXPECT_EQ(read.fewTokens, 0);
  EXPECT_EQ(read.fewContext, 100000);
  EXPECT_TRUE(read.avx512Bf16);
  ASSERT_TRUE(read.measured);
  EXPECT_EQ(read.measured->readGBps, 30.5);
  EXPECT_EQ(read.measured->f32Gflops, 118);
  EXPECT_EQ(read.measured->device, "this one");
}

TEST_F(TargetTest, GpuJsonRoundTrip) {
  TargetProfile profile = parse("vulkan:32bit");
  ASSERT_TRUE(profile.gpu);
  EXPECT_FALSE(profile.gpu->dot8);
  EXPECT_EQ(profile.activationFor("q4"), "i8");
  EXPECT_EQ(profile.activationFor("bf16"), "f32");
  EXPECT_EQ(profile.bindingAlignment(), 256);
  EXPECT_EQ(parse("cpu:x86-64-v3").bindingAlignment(), 1);
  profile.gpu->workgroupSize = 256;
  profile.gpu->subgroupSize = 32;
  profile.gpu->nativeF16 = true;
  profile.gpu->mma = "coop";
  profile.gpu->sharesSums = false;
  profile.gpu->attentionSplits = 4;
  std::string path = ::testing::TempDir() + "/gpu_profile.json";
  ASSERT_FALSE(static_cast<bool>(profile.save(path)));
  TargetProfile read = parse(path);
  ASSERT_TRUE(read.gpu);
  EXPECT_EQ(read.gpu->isa, "spirv");
  EXPECT_EQ(read.gpu->workgroupSize, 256);
  EXPECT_EQ(read.gpu->subgroupSize, 32);
  EXPECT_TRUE(read.gpu->nativeF16);
  EXPECT_FALSE(read.gpu->dot8);
  EXPECT_EQ(read.gpu->mma, "coop");
  EXPECT_FALSE(read.gpu->sharesSums);
  EXPECT_EQ(read.gpu->attentionSplits, 4);
  EXPECT_EQ(read.gpu->maxBufferRange, profile.gpu->maxBufferRange);
}

TEST_F(TargetTest, AttributesHoldEveryField) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  for (const std::string& name : registry.names()) {
    if (name == "cpu:native") continue;
    TargetProfile profile = parse(name);
    profile.measured = DeviceRates{"this one", 30.5, 473, 236, 118};
    llvm::Expected<TargetProfile> read = profileFromAttr(profileAttr(&context, profile), "here");
    ASSERT_TRUE(static_cast<bool>(read)) << llvm::toString(read.takeError());
    EXPECT_EQ(read->toJson(), profile.toJson()) << name;
  }
  mlir::Builder builder(&context);
  auto error = [&](llvm::StringRef field, mlir::Attribute value) {
    mlir::NamedAttrList members(profileAttr(&context, parse("vulkan:generic")));
    members.set(field, value);
    llvm::Expected<TargetProfile> read = profileFromAttr(members.getDictionary(&context), "here");
    return read ? "" : llvm::toString(read.takeError());
  };
  EXPECT_THAT(error("features", builder.getI64IntegerAttr(1)), HasSubstr("here: features"));
  EXPECT_THAT(error("gpu", builder.getUnitAttr()), HasSubstr("here: gpu: expected an object"));
  EXPECT_THAT(error("prefetch_bytes", builder.getF64FloatAttr(0.5)),
              HasSubstr("here: prefetch_bytes"));
  EXPECT_THAT(error("weight_streams", builder.getI64IntegerAttr(3)),
              HasSubstr("here: weight_streams: expected an integer in [1, 2]"));
  EXPECT_THAT(error("workers", builder.getI64IntegerAttr(-1)),
              HasSubstr("here: workers: expected an integer in [0, 4096]"));
  EXPECT_THAT(error("few_tokens", builder.getI64IntegerAttr(4097)),
              HasSubstr("here: few_tokens: expected an integer in [0, 4096]"));
  EXPECT_THAT(error("few_context", builder.getI64IntegerAttr(-1)), HasSubstr("here: few_context"));
  EXPECT_THAT(error("speed", builder.getI64IntegerAttr(1)), HasSubstr("speed: unknown field"));
}

// What a processor or a GPU of one maker can do is published; of a generic one nothing is known.
TEST_F(TargetTest, ShippedProfilesTellPublishedRates) {
  for (const std::string& name : registry.names()) {
    if (name == "cpu:native") continue;
    TargetProfile profile = parse(name);
    const bool known = name.rfind("cpu:", 0) == 0 || name.rfind("cuda:", 0) == 0 ||
                       name == "vulkan:amd" || name == "vulkan:nvidia" || name == "vulkan:intel";
    ASSERT_EQ(profile.published.has_value(), known) << name;
    EXPECT_FALSE(profile.measured) << name;
    if (!known) continue;
    const DeviceRates& rates = *profile.published;
    EXPECT_FALSE(rates.device.empty()) << name;
    EXPECT_TRUE(rates.readGBps > 100 && rates.readGBps < 10000) << name;
    EXPECT_TRUE(rates.f32Gflops > 1000 && rates.f32Gflops <= rates.bf16Gflops) << name;
    EXPECT_LE(rates.bf16Gflops, rates.int8Gops) << name;
  }
  EXPECT_FALSE(parse("cpu:x86-64-v3").toJson() == parse("cpu:x86-64-v4").toJson());
}

TEST_F(TargetTest, GpuJsonErrorsNameTheField) {
  auto error = [](llvm::StringRef gpu) {
    return jsonError(
        (R"({"name": "vulkan:x", "driver": "vulkan", "features": [], "gpu": )" + gpu + "}").str());
  };
  EXPECT_EQ(error(R"({"isa": "spirv"})"), "");
  EXPECT_THAT(error("1"), HasSubstr("p.json: gpu: expected an object"));
  EXPECT_THAT(error("{}"), HasSubstr("p.json: gpu: isa: expected a string"));
  EXPECT_THAT(error(R"({"isa": "amdgcn"})"), HasSubstr("gpu: isa: expected 'spirv' or 'nvvm'"));
  EXPECT_THAT(error(R"({"isa": "spirv", "workgroup_size": 96})"),
              HasSubstr("workgroup_size: expected a power of two"));
  EXPECT_THAT(error(R"({"isa": "spirv", "workgroup_size": 2048})"),
              HasSubstr("workgroup_size: expected an integer in [32, 1024]"));
  EXPECT_THAT(error(R"({"isa": "spirv", "dot8": 1})"), HasSubstr("dot8: expected true or false"));
  EXPECT_THAT(error(R"({"isa": "spirv", "wave": 1})"), HasSubstr("gpu: wave: unknown field"));
}

TEST_F(TargetTest, JsonErrorsNameFileAndField) {
  EXPECT_THAT(jsonError("[]"), HasSubstr("p.json: expected an object"));
  EXPECT_THAT(jsonError(R"({"driver": "cpu", "features": []})"),
              HasSubstr("p.json: name: expected a string"));
  EXPECT_THAT(jsonError(R"({"name": "cpu:x", "driver": "cpu"})"), HasSubstr("p.json: features"));
  EXPECT_THAT(jsonError(R"({"name": "cpu:x", "driver": "cpu", "features": [1]})"),
              HasSubstr("p.json: features"));
  EXPECT_THAT(jsonError(R"({"name": "gpu:x", "driver": "cpu", "features": []})"),
              HasSubstr("p.json: name: expected a name that begins with the driver"));
  EXPECT_THAT(jsonError(R"({"name": "cpu:x", "driver": "cpu", "features": [], "speed": 1})"),
              HasSubstr("p.json: speed: unknown field"));
  EXPECT_THAT(jsonError(R"({"name": "cpu:x", "driver": "cpu", "features": [],
                            "measured": {"read_gbps": -1}})"),
              HasSubstr("p.json: measured: read_gbps"));
  EXPECT_THAT(jsonError(R"({"name": "cpu:x", "driver": "cpu", "features": [],
                            "published": {"device": 1}})"),
              HasSubstr("p.json: published: device"));
}

TEST_F(TargetTest, FilesOfAnotherBackendAreRefused) {
  std::string path = ::testing::TempDir() + "/other.json";
  std::ofstream(path) << R"({"name": "gpu:x", "driver": "gpu", "features": []})";
  EXPECT_THAT(parseError(path), HasSubstr("driver: no backend 'gpu'"));
  std::ofstream(path) << R"({"name": )";
  EXPECT_THAT(parseError(path), HasSubstr("other.json"));
}

}  // namespace
}  // namespace fathom
