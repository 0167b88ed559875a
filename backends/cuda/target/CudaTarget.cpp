// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles the kernels of a program to one PTX text and writes the image that the driver loads.
#include "backends/cuda/target/CudaTarget.h"

#include "backends/cuda/abi/cuda_image_generated.h"
#include "backends/cuda/target/AssemblePtx.h"
#include "backends/cuda/target/EmitPtx.h"
#include "backends/cuda/target/LowerToNvvm.h"
#include "backends/cuda/target/Profiles.h"
#include "compiler/kernels/simt/GpuTarget.h"
#include "llvm/ADT/StringExtras.h"

namespace fathom {
namespace {

using mlir::failure;
using mlir::LogicalResult;
using mlir::success;

struct Compiled {
  kernels::simt::EntryFacts facts;
  std::string ptx;
};

// A name that PTX allows and no other kernel has.
std::string entryName(size_t number, llvm::StringRef name) {
  std::string entry = "k" + std::to_string(number) + "_";
  for (char c : name) entry += llvm::isAlnum(c) ? c : '_';
  return entry;
}

LogicalResult lowerOne(const RequestInThread& request, const TargetProfile& profile,
                       Compiled& out) {
  mlir::ModuleOp module = request.module;
  if (failed(cuda::lowerToNvvm(module, profile))) return failure();
  if (request.dump) request.dump("nvvm", kernels::simt::textOf(module));
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

class CudaTarget : public kernels::simt::GpuTarget {
 public:
  CudaTarget() : GpuTarget("nvvm", cuda::profileNames, cuda::profileNamed) {}
  llvm::StringRef driver() const override { return "cuda"; }
  std::string entryOf(const RequestInThread& request) const override {
    return entryName(request.number, request.name);
  }

  LogicalResult compile(llvm::ArrayRef<KernelRequest> requests, const TargetProfile& profile,
                        llvm::SmallVectorImpl<char>& code,
                        const CodegenOptions& options) const override {
    mlir::DialectRegistry dialects;
    cuda::registerLoweringDialects(dialects);
    std::vector<Compiled> compiled(requests.size());
    auto one = [&](const RequestInThread& request, kernels::simt::EntryFacts facts) {
      Compiled& out = compiled[request.number];
      out.facts = std::move(facts);
      return lowerOne(request, profile, out);
    };
    if (failed(compileKernels(requests, profile, options, dialects, one))) return failure();
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
          options.dump(request.name, "ptxas", cuda::reportOf(assembled->log, kernel.facts.entry));
    }

    namespace abi = cuda::abi;
    const unsigned capability = cuda::capabilityOf(profile);
    flatbuffers::FlatBufferBuilder fbb;
    std::vector<flatbuffers::Offset<abi::Kernel>> entries;
    for (auto [request, kernel] : llvm::zip_equal(requests, compiled)) {
      const kernels::simt::EntryFacts& facts = kernel.facts;
      std::vector<uint32_t> workgroup = {static_cast<uint32_t>(facts.workgroup), 1, 1};
      entries.push_back(abi::CreateKernelDirect(fbb, request.name.c_str(), facts.entry.c_str(),
                                                facts.bindings, facts.push, &workgroup,
                                                /*shared_bytes=*/0));
    }
    std::vector<flatbuffers::Offset<abi::Cubin>> cubins;
    if (!cubin.empty()) cubins.push_back(abi::CreateCubinDirect(fbb, capability, &cubin));
    fbb.Finish(abi::CreateImageDirect(fbb, ptx.c_str(), &cubins, &entries, capability),
               abi::ImageIdentifier());
    auto* bytes = reinterpret_cast<const char*>(fbb.GetBufferPointer());
    code.append(bytes, bytes + fbb.GetSize());
    return success();
  }
};

}  // namespace

void registerCudaTarget(TargetRegistry& registry) { registry.add(std::make_unique<CudaTarget>()); }

}  // namespace fathom
