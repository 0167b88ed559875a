// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles the kernels of a program to one PTX text and writes the image that the driver loads.
#include "backends/cuda/target/CudaTarget.h"

#include "backends/cuda/abi/cuda_image_generated.h"
#include "backends/cuda/target/AssemblePtx.h"
#include "backends/cuda/target/EmitPtx.h"
#include "backends/cuda/target/LowerToNvvm.h"
#include "backends/cuda/target/Profiles.h"
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
  std::string entry, ptx;
  int64_t bindings = 0, push = 0, workgroup = 0;
};

std::string textOf(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module << "\n";
  return text;
}

// A name that PTX allows and no other kernel has.
std::string entryName(size_t number, llvm::StringRef name) {
  std::string entry = "k" + std::to_string(number) + "_";
  for (char c : name) entry += llvm::isAlnum(c) ? c : '_';
  return entry;
}

LogicalResult compileOne(const RequestInThread& request, const TargetProfile& profile,
                         Compiled& out) {
  mlir::ModuleOp module = request.module;
  out.entry = entryName(request.number, request.name);
  if (failed(kernels::emitKernel(module, out.entry, request.family, request.config, profile)))
    return failure();
  if (request.dump) request.dump("mlir", textOf(module));
  module.walk([&](mlir::Operation* op) {
    if (!op->hasAttr("fathom.kernel")) return;
    auto number = [&](llvm::StringRef name) {
      return op->getAttrOfType<mlir::IntegerAttr>(name).getInt();
    };
    out.bindings = number("fathom.bindings");
    out.push = number("fathom.push");
    out.workgroup = number("fathom.workgroup");
  });
  if (failed(cuda::lowerToNvvm(module, profile))) return failure();
  if (request.dump) request.dump("nvvm", textOf(module));
  std::string llvmIr;
  mlir::FailureOr<std::string> ptx =
      cuda::emitPtx(module, profile, request.dump ? &llvmIr : nullptr);
  if (failed(ptx)) return failure();
  out.ptx = std::move(*ptx);
  if (request.dump) {
    request.dump("llvm", llvmIr);
    request.dump("ptx", out.ptx);
  }
  return success();
}

class CudaTarget : public Target {
 public:
  llvm::StringRef driver() const override { return "cuda"; }
  std::vector<std::string> names() const override { return cuda::profileNames(); }

  llvm::Expected<TargetProfile> profileFor(llvm::StringRef name) const override {
    if (std::optional<TargetProfile> profile = cuda::profileNamed(name)) return *profile;
    return llvm::createStringError("target '" + name + "' is unknown: expected one of " +
                                   llvm::join(names(), ", "));
  }

  LogicalResult compile(llvm::ArrayRef<KernelRequest> requests, const TargetProfile& profile,
                        llvm::SmallVectorImpl<char>& code,
                        const CodegenOptions& options) const override {
    // A profile may come from a file.
    if (!profile.gpu || profile.gpu->isa != "nvvm") {
      mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
      mlir::Location loc =
          requests.empty() ? mlir::Location(mlir::UnknownLoc::get(&context)) : requests[0].loc;
      return mlir::emitError(loc) << "target '" << profile.name
                                  << "': gpu: expected an object with isa 'nvvm', found "
                                  << (profile.gpu ? "isa '" + profile.gpu->isa + "'" : "none");
    }
    mlir::DialectRegistry dialects;
    kernels::registerKernelDialects(dialects);
    cuda::registerLoweringDialects(dialects);
    std::vector<Compiled> compiled(requests.size());
    auto one = [&](const RequestInThread& request) {
      return compileOne(request, profile, compiled[request.number]);
    };
    if (failed(compileRequests(requests, options, dialects, one))) return failure();
    std::vector<std::string> texts;
    for (const Compiled& kernel : compiled) texts.push_back(kernel.ptx);
    const std::string ptx = cuda::joinPtx(texts);
    std::vector<uint8_t> cubin;
    if (!requests.empty()) {
      mlir::FailureOr<cuda::Assembled> assembled =
          cuda::assemblePtx(ptx, profile, requests.front().loc);
      if (failed(assembled)) return failure();
      cubin = std::move(assembled->cubin);
      if (options.dump && !cubin.empty())
        for (auto [request, kernel] : llvm::zip_equal(requests, compiled))
          options.dump(request.name, "ptxas", cuda::reportOf(assembled->log, kernel.entry));
    }

    namespace abi = cuda::abi;
    const unsigned capability = cuda::capabilityOf(profile);
    flatbuffers::FlatBufferBuilder fbb;
    std::vector<flatbuffers::Offset<abi::Kernel>> kernels;
    for (auto [request, kernel] : llvm::zip_equal(requests, compiled)) {
      std::vector<uint32_t> workgroup = {static_cast<uint32_t>(kernel.workgroup), 1, 1};
      kernels.push_back(abi::CreateKernelDirect(fbb, request.name.c_str(), kernel.entry.c_str(),
                                                kernel.bindings, kernel.push, &workgroup,
                                                /*shared_bytes=*/0));
    }
    std::vector<flatbuffers::Offset<abi::Cubin>> cubins;
    if (!cubin.empty()) cubins.push_back(abi::CreateCubinDirect(fbb, capability, &cubin));
    fbb.Finish(abi::CreateImageDirect(fbb, ptx.c_str(), &cubins, &kernels, capability),
               abi::ImageIdentifier());
    auto* bytes = reinterpret_cast<const char*>(fbb.GetBufferPointer());
    code.append(bytes, bytes + fbb.GetSize());
    return success();
  }
};

}  // namespace

void registerCudaTarget(TargetRegistry& registry) { registry.add(std::make_unique<CudaTarget>()); }

}  // namespace fathom
