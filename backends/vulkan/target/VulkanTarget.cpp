// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles the kernels of a program to SPIR-V and writes the image that the driver loads.
#include "backends/vulkan/target/VulkanTarget.h"

#include "backends/vulkan/abi/vulkan_image_generated.h"
#include "backends/vulkan/target/LowerToSpirv.h"
#include "backends/vulkan/target/Profiles.h"
#include "backends/vulkan/target/ValidateSpirv.h"
#include "compiler/kernels/simt/GpuTarget.h"

namespace fathom {
namespace {

using mlir::failure;
using mlir::LogicalResult;
using mlir::success;

struct Compiled {
  kernels::simt::EntryFacts facts;
  llvm::SmallVector<uint32_t, 0> words;
};

LogicalResult lowerOne(const RequestInThread& request, const TargetProfile& profile,
                       Compiled& out) {
  mlir::ModuleOp module = request.module;
  if (failed(vulkan::lowerToSpirv(module, profile, out.words))) return failure();
  if (request.dump) {
    request.dump("spirv", kernels::simt::textOf(module));
    request.dump("spv", {reinterpret_cast<const char*>(out.words.data()), 4 * out.words.size()});
  }
  return vulkan::validateSpirv(out.words, module.getLoc());
}

class VulkanTarget : public kernels::simt::GpuTarget {
 public:
  VulkanTarget() : GpuTarget("spirv", vulkan::profileNames, vulkan::profileNamed) {}
  llvm::StringRef driver() const override { return "vulkan"; }

  LogicalResult compile(llvm::ArrayRef<KernelRequest> requests, const TargetProfile& profile,
                        llvm::SmallVectorImpl<char>& code,
                        const CodegenOptions& options) const override {
    mlir::DialectRegistry dialects;
    vulkan::registerLoweringDialects(dialects);
    std::vector<Compiled> compiled(requests.size());
    auto one = [&](const RequestInThread& request, kernels::simt::EntryFacts facts) {
      Compiled& out = compiled[request.number];
      out.facts = std::move(facts);
      return lowerOne(request, profile, out);
    };
    if (failed(compileKernels(requests, profile, options, dialects, one))) return failure();

    namespace abi = vulkan::abi;
    flatbuffers::FlatBufferBuilder fbb;
    std::vector<flatbuffers::Offset<abi::Module>> modules;
    std::vector<flatbuffers::Offset<abi::Kernel>> entries;
    for (auto [request, kernel] : llvm::zip_equal(requests, compiled)) {
      auto spirv = fbb.CreateVector(kernel.words.data(), kernel.words.size());
      const kernels::simt::EntryFacts& facts = kernel.facts;
      std::vector<uint32_t> workgroup = {static_cast<uint32_t>(facts.workgroup), 1, 1};
      entries.push_back(abi::CreateKernelDirect(
          fbb, request.name.c_str(), modules.size(), facts.entry.c_str(), facts.bindings,
          facts.push, &workgroup, profile.gpu->subgroupSize, &facts.views, facts.sharedBytes,
          /*grid_base=*/true, facts.texels.empty() ? nullptr : &facts.texels));
      modules.push_back(abi::CreateModule(fbb, spirv));
    }
    fbb.Finish(abi::CreateImageDirect(fbb, &modules, &entries), abi::ImageIdentifier());
    auto* bytes = reinterpret_cast<const char*>(fbb.GetBufferPointer());
    code.append(bytes, bytes + fbb.GetSize());
    return success();
  }
};

}  // namespace

void registerVulkanTarget(TargetRegistry& registry) {
  registry.add(std::make_unique<VulkanTarget>());
}

}  // namespace fathom
