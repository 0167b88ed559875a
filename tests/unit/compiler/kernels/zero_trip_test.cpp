// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A loop that runs zero times hands on what it was given. LLVM 22's conversion of scf.for to SPIR-V loses the initial
// values of such a loop; lowerToSpirv makes a while of it first, and this is the test that it must.
#include "backends/cuda/abi/cuda_image_generated.h"
#include "backends/cuda/target/EmitPtx.h"
#include "backends/cuda/target/LowerToNvvm.h"
#include "backends/vulkan/abi/vulkan_image_generated.h"
#include "backends/vulkan/target/LowerToSpirv.h"
#include "compiler/kernels/Kernels.h"
#include "gtest/gtest.h"
#include "mlir/Parser/Parser.h"
#include "tests/unit/compiler/kernels/gpu_device.h"
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

constexpr int kLanes = 64;

// Workgroup g counts from bounds[2 g] to bounds[2 g + 1]. It carries an integer, which becomes the sum of the counts,
// and a float, which doubles; a loop inside, of which the same is true, adds `lane` each time. 3 words come out of
// every lane.
constexpr char kKernel[] = R"mlir(
gpu.module @zero_trip {
  gpu.func @zero_trip(%bounds: memref<?xi32>, %out: memref<?xi32>) kernel attributes {
      fathom.bindings = 2 : i64, fathom.kernel, fathom.push = 0 : i64, fathom.shared_bytes = 0 : i64,
      fathom.views = array<i64: 0, 1>, fathom.workgroup = 64 : i64} {
    %lane = gpu.thread_id x
    %group = gpu.block_id x
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c3 = arith.constant 3 : index
    %c64 = arith.constant 64 : index
    %at = arith.muli %group, %c2 : index
    %next = arith.addi %at, %c1 : index
    %begin32 = memref.load %bounds[%at] : memref<?xi32>
    %end32 = memref.load %bounds[%next] : memref<?xi32>
    %begin = arith.index_cast %begin32 : i32 to index
    %end = arith.index_cast %end32 : i32 to index
    %lane32 = arith.index_cast %lane : index to i32
    %start = arith.constant 1000 : i32
    %first = arith.addi %start, %lane32 : i32
    %half = arith.constant 0.5 : f32
    %two = arith.constant 2.0 : f32
    %minus = arith.constant -7 : i32
    %r:3 = scf.for %i = %begin to %end step %c1 iter_args(%a = %first, %b = %half, %c = %minus) -> (i32, f32, i32) {
      %i32 = arith.index_cast %i : index to i32
      %sum = arith.addi %a, %i32 : i32
      %double = arith.mulf %b, %two : f32
      %inner = scf.for %j = %c2 to %i step %c1 iter_args(%d = %c) -> (i32) {
        %more = arith.addi %d, %lane32 : i32
        scf.yield %more : i32
      }
      scf.yield %sum, %double, %inner : i32, f32, i32
    }
    %bits = arith.bitcast %r#1 : f32 to i32
    %base = arith.muli %group, %c64 : index
    %index = arith.addi %base, %lane : index
    %place = arith.muli %index, %c3 : index
    %place1 = arith.addi %place, %c1 : index
    %place2 = arith.addi %place, %c2 : index
    memref.store %r#0, %out[%place] : memref<?xi32>
    memref.store %bits, %out[%place1] : memref<?xi32>
    memref.store %r#2, %out[%place2] : memref<?xi32>
    gpu.return
  }
}
)mlir";

std::vector<char> bytesOf(const flatbuffers::FlatBufferBuilder& fbb) {
  auto* begin = reinterpret_cast<const char*>(fbb.GetBufferPointer());
  return {begin, begin + fbb.GetSize()};
}

std::vector<char> vulkanImage(mlir::ModuleOp module, const TargetProfile& profile) {
  namespace abi = vulkan::abi;
  llvm::SmallVector<uint32_t> words;
  if (failed(vulkan::lowerToSpirv(module, profile, words))) return {};
  flatbuffers::FlatBufferBuilder fbb;
  const std::vector<uint32_t> workgroup = {kLanes, 1, 1};
  const std::vector<uint8_t> views = {0, 1};
  std::vector<flatbuffers::Offset<abi::Module>> modules = {
      abi::CreateModule(fbb, fbb.CreateVector(words.data(), words.size()))};
  std::vector<flatbuffers::Offset<abi::Kernel>> kernels = {abi::CreateKernelDirect(
      fbb, "zero_trip", 0, "zero_trip", 2, 0, &workgroup, 0, &views, 0, /*grid_base=*/true)};
  fbb.Finish(abi::CreateImageDirect(fbb, &modules, &kernels), abi::ImageIdentifier());
  return bytesOf(fbb);
}

std::vector<char> cudaImage(mlir::ModuleOp module, const TargetProfile& profile) {
  namespace abi = cuda::abi;
  if (failed(cuda::lowerToNvvm(module, profile))) return {};
  mlir::FailureOr<std::string> ptx = cuda::emitPtx(module, profile, nullptr);
  if (failed(ptx)) return {};
  flatbuffers::FlatBufferBuilder fbb;
  const std::vector<uint32_t> workgroup = {kLanes, 1, 1};
  std::vector<flatbuffers::Offset<abi::Kernel>> kernels = {
      abi::CreateKernelDirect(fbb, "zero_trip", "zero_trip", 2, 0, &workgroup, 0)};
  std::vector<flatbuffers::Offset<abi::Cubin>> cubins;
  fbb.Finish(abi::CreateImageDirect(fbb, cuda::joinPtx({*ptx}).c_str(), &cubins, &kernels, 80), abi::ImageIdentifier());
  return bytesOf(fbb);
}

TEST(ZeroTrip, ALoopThatNeverRunsKeepsItsInitialValues) {
  if (gpuProfiles().empty()) GTEST_SKIP() << "no device of a GPU target";
  for (const std::string& name : gpuProfiles()) {
    const TargetProfile profile = profileNamed(name);
    mlir::DialectRegistry dialects;
    kernels::registerKernelDialects(dialects);
    vulkan::registerLoweringDialects(dialects);
    cuda::registerLoweringDialects(dialects);
    mlir::MLIRContext context(dialects, mlir::MLIRContext::Threading::DISABLED);
    context.loadAllAvailableDialects();
    auto module = mlir::parseSourceString<mlir::ModuleOp>(kKernel, &context);
    ASSERT_TRUE(module);
    const std::vector<char> code =
        profile.driver == "vulkan" ? vulkanImage(*module, profile) : cudaImage(*module, profile);
    ASSERT_FALSE(code.empty()) << name;

    // No trip: equal bounds, an end before the beginning, both 0. Then one trip, and some of which the inner loop
    // skips the first three (i = 0, 1, 2).
    std::vector<int32_t> bounds = {5, 5, 9, 3, 0, 0, 4, 5, 0, 6};
    const int groups = static_cast<int>(bounds.size()) / 2;
    std::vector<int32_t> out(3 * kLanes * groups, -1);
    GpuImage image(profile.driver, code);
    ASSERT_EQ(image.run("zero_trip", {static_cast<uint32_t>(groups), 1, 1},
                        {{bounds.data(), 4 * bounds.size()}, {out.data(), 4 * out.size()}}, {}),
              "")
        << name;
    for (int group = 0; group < groups; ++group) {
      for (int lane = 0; lane < kLanes; ++lane) {
        int32_t sum = 1000 + lane, inner = -7;
        float doubled = 0.5f;
        for (int32_t i = bounds[2 * group]; i < bounds[2 * group + 1]; ++i) {
          sum += i;
          doubled *= 2;
          for (int32_t j = 2; j < i; ++j) inner += lane;
        }
        const int32_t* found = &out[3 * (group * kLanes + lane)];
        float value;
        std::memcpy(&value, &found[1], 4);
        ASSERT_EQ(found[0], sum) << name << ", workgroup " << group << ", lane " << lane;
        ASSERT_EQ(value, doubled) << name << ", workgroup " << group << ", lane " << lane;
        ASSERT_EQ(found[2], inner) << name << ", workgroup " << group << ", lane " << lane;
      }
    }
  }
}

}  // namespace
}  // namespace fathom::testing
