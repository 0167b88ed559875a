// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles the kernels of a program on several threads and links them to one image.
#include "backends/cpu/target/CpuTarget.h"

#include "backends/cpu/target/EmitObject.h"
#include "backends/cpu/target/HostProfile.h"
#include "backends/cpu/target/LinkImage.h"
#include "backends/cpu/target/LowerKernel.h"
#include "compiler/kernels/Kernels.h"
#include "compiler/target/CompileRequests.h"
#include "llvm/ADT/StringExtras.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

namespace fathom {
namespace {

using mlir::failure;
using mlir::LogicalResult;
using mlir::success;

// The object of one request, in the module and context of its thread.
mlir::FailureOr<cpu::KernelObject> compileOne(const RequestInThread& request,
                                              const TargetProfile& profile) {
  if (failed(kernels::emitKernel(request.module, request.name, request.family, request.config,
                                 profile)))
    return failure();
  if (request.dump) {
    std::string text;
    llvm::raw_string_ostream(text) << request.module << "\n";
    request.dump("mlir", text);
  }
  if (failed(cpu::lowerKernel(request.module))) return failure();
  auto object =
      cpu::emitKernelObject(request.module, request.name, profile, static_cast<bool>(request.dump));
  if (mlir::succeeded(object) && request.dump) {
    request.dump("llvm", object->llvmIr);
    request.dump("asm", object->assembly);
  }
  return object;
}

class CpuTarget : public Target {
 public:
  llvm::StringRef driver() const override { return "cpu"; }

  std::vector<std::string> names() const override {
    std::vector<std::string> names = cpu::fixedProfileNames();
    names.insert(names.begin(), "cpu:native");
    return names;
  }

  llvm::Expected<TargetProfile> profileFor(llvm::StringRef name) const override {
    if (name == "cpu:native") return cpu::hostProfile();
    if (std::optional<TargetProfile> profile = cpu::fixedProfile(name)) return *profile;
    return llvm::createStringError("target '" + name + "' is unknown: expected one of " +
                                   llvm::join(names(), ", "));
  }

  LogicalResult compile(llvm::ArrayRef<KernelRequest> kernels, const TargetProfile& profile,
                        llvm::SmallVectorImpl<char>& code,
                        const CodegenOptions& options) const override {
    if (profile.gpu)
      return mlir::emitError(kernels.empty() ? mlir::UnknownLoc::get(&fallback()) : kernels[0].loc)
             << "target '" << profile.name << "': gpu: a CPU has none";
    mlir::DialectRegistry dialects;
    kernels::registerKernelDialects(dialects);
    cpu::registerLoweringDialects(dialects);
    std::vector<cpu::KernelObject> objects(kernels.size());
    auto one = [&](const RequestInThread& request) -> LogicalResult {
      mlir::FailureOr<cpu::KernelObject> object = compileOne(request, profile);
      if (mlir::failed(object)) return failure();
      objects[request.number] = std::move(*object);
      return success();
    };
    if (failed(compileRequests(kernels, options, dialects, one))) return failure();

    mlir::Location loc =
        kernels.empty() ? mlir::Location(mlir::UnknownLoc::get(&fallback())) : kernels.front().loc;
    mlir::FailureOr<cpu::Bytes> tableObject = cpu::emitTableObject(objects, profile, loc);
    if (failed(tableObject)) return failure();
    llvm::SmallVector<llvm::StringRef> inputs;
    inputs.push_back({tableObject->data(), tableObject->size()});
    for (const cpu::KernelObject& object : objects)
      inputs.push_back({object.object.data(), object.object.size()});
    return cpu::linkImage(inputs, loc, code);
  }

 private:
  // A context for messages about a program without kernels, which has no location of its own.
  static mlir::MLIRContext& fallback() {
    static mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    return context;
  }
};

}  // namespace

void registerCpuTarget(TargetRegistry& registry) { registry.add(std::make_unique<CpuTarget>()); }

}  // namespace fathom
