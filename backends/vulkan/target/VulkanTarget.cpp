// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles the kernels of a program to SPIR-V and writes the image that the driver loads.
#include "backends/vulkan/target/VulkanTarget.h"

#include "backends/vulkan/abi/vulkan_image_generated.h"
#include "backends/vulkan/target/LowerToSpirv.h"
#include "backends/vulkan/target/Profiles.h"
#include "backends/vulkan/target/ValidateSpirv.h"
#include "compiler/kernels/Kernels.h"
#include "compiler/target/CompileRequests.h"
#include "llvm/ADT/StringExtras.h"
#include "mlir/IR/MLIRContext.h"

namespace fathom {
namespace {

using mlir::failure;
using mlir::LogicalResult;
using mlir::success;

// A kernel as the image tells of it.
struct Compiled {
  int64_t bindings = 0, push = 0, workgroup = 0, sharedBytes = 0;
  std::vector<uint8_t> views;
  llvm::SmallVector<uint32_t, 0> words;
};

std::string textOf(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module << "\n";
  return text;
}

LogicalResult compileOne(const RequestInThread& request, const TargetProfile& profile,
                         Compiled& out) {
  if (failed(kernels::emitKernel(request.module, request.name, request.family, request.config,
                                 profile)))
    return failure();
  mlir::ModuleOp module = request.module;
  if (request.dump) request.dump("mlir", textOf(module));
  module.walk([&](mlir::Operation* op) {
    if (!op->hasAttr("fathom.kernel")) return;
    auto number = [&](llvm::StringRef name) {
      return op->getAttrOfType<mlir::IntegerAttr>(name).getInt();
    };
    out.bindings = number("fathom.bindings");
    out.push = number("fathom.push");
    out.workgroup = number("fathom.workgroup");
    out.sharedBytes = number("fathom.shared_bytes");
    auto views = op->getAttrOfType<mlir::DenseI64ArrayAttr>("fathom.views").asArrayRef();
    out.views.assign(views.begin(), views.end());
  });
  if (failed(vulkan::lowerToSpirv(module, profile, out.words))) return failure();
  if (request.dump) {
    request.dump("spirv", textOf(module));
    request.dump("spv", {reinterpret_cast<const char*>(out.words.data()), 4 * out.words.size()});
  }
  return vulkan::validateSpirv(out.words, module.getLoc());
}

class VulkanTarget : public Target {
 public:
  llvm::StringRef driver() const override { return "vulkan"; }
  std::vector<std::string> names() const override { return vulkan::profileNames(); }

  llvm::Expected<TargetProfile> profileFor(llvm::StringRef name) const override {
    if (std::optional<TargetProfile> profile = vulkan::profileNamed(name)) return *profile;
    return llvm::createStringError("target '" + name + "' is unknown: expected one of " +
                                   llvm::join(names(), ", "));
  }

  LogicalResult compile(llvm::ArrayRef<KernelRequest> requests, const TargetProfile& profile,
                        llvm::SmallVectorImpl<char>& code,
                        const CodegenOptions& options) const override {
    // A profile may come from a file.
    if (!profile.gpu || profile.gpu->isa != "spirv") {
      mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
      mlir::Location loc =
          requests.empty() ? mlir::Location(mlir::UnknownLoc::get(&context)) : requests[0].loc;
      return mlir::emitError(loc) << "target '" << profile.name
                                  << "': gpu: expected an object with isa 'spirv', found "
                                  << (profile.gpu ? "isa '" + profile.gpu->isa + "'" : "none");
    }
    mlir::DialectRegistry dialects;
    kernels::registerKernelDialects(dialects);
    vulkan::registerLoweringDialects(dialects);
    std::vector<Compiled> compiled(requests.size());
    auto one = [&](const RequestInThread& request) {
      return compileOne(request, profile, compiled[request.number]);
    };
    if (failed(compileRequests(requests, options, dialects, one))) return failure();

    namespace abi = vulkan::abi;
    flatbuffers::FlatBufferBuilder fbb;
    std::vector<flatbuffers::Offset<abi::Module>> modules;
    std::vector<flatbuffers::Offset<abi::Kernel>> kernels;
    for (auto [request, kernel] : llvm::zip_equal(requests, compiled)) {
      auto spirv = fbb.CreateVector(kernel.words.data(), kernel.words.size());
      std::vector<uint32_t> workgroup = {static_cast<uint32_t>(kernel.workgroup), 1, 1};
      kernels.push_back(abi::CreateKernelDirect(
          fbb, request.name.c_str(), modules.size(), request.name.c_str(), kernel.bindings,
          kernel.push, &workgroup, profile.gpu->subgroupSize, &kernel.views, kernel.sharedBytes,
          /*grid_base=*/true));
      modules.push_back(abi::CreateModule(fbb, spirv));
    }
    fbb.Finish(abi::CreateImageDirect(fbb, &modules, &kernels), abi::ImageIdentifier());
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
