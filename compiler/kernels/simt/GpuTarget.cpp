// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names of profiles, emission of requests, what emitted kernels say of themselves.
#include "compiler/kernels/simt/GpuTarget.h"

#include "compiler/kernels/Kernels.h"
#include "llvm/ADT/StringExtras.h"
#include "mlir/IR/MLIRContext.h"

using namespace mlir;

namespace fathom::kernels::simt {

namespace {

EntryFacts factsOf(ModuleOp module, std::string entry) {
  EntryFacts facts;
  facts.entry = std::move(entry);
  module.walk([&](Operation* op) {
    if (!op->hasAttr("fathom.kernel")) return;
    auto number = [&](StringRef name) { return op->getAttrOfType<IntegerAttr>(name).getInt(); };
    facts.bindings = number("fathom.bindings");
    facts.push = number("fathom.push");
    facts.workgroup = number("fathom.workgroup");
    facts.sharedBytes = number("fathom.shared_bytes");
    ArrayRef<int64_t> views = op->getAttrOfType<DenseI64ArrayAttr>("fathom.views").asArrayRef();
    facts.views.assign(views.begin(), views.end());
    if (auto texels = op->getAttrOfType<DenseI64ArrayAttr>("fathom.texels"))
      facts.texels.assign(texels.asArrayRef().begin(), texels.asArrayRef().end());
  });
  return facts;
}

}  // namespace

std::string textOf(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module << "\n";
  return text;
}

llvm::Expected<TargetProfile> GpuTarget::profileFor(StringRef name) const {
  if (std::optional<TargetProfile> profile = profileNamed_(name)) return *profile;
  return llvm::createStringError("target '" + name + "' is unknown: expected one of " +
                                 llvm::join(names(), ", "));
}

LogicalResult GpuTarget::compileKernels(
    ArrayRef<KernelRequest> requests, const TargetProfile& profile, const CodegenOptions& options,
    DialectRegistry& loweringDialects,
    function_ref<LogicalResult(const RequestInThread&, EntryFacts)> lower) const {
  if (!profile.gpu || profile.gpu->isa != isa_) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    Location loc = requests.empty() ? Location(UnknownLoc::get(&context)) : requests[0].loc;
    return emitError(loc) << "target '" << profile.name << "': gpu: expected an object with isa '"
                          << isa_ << "', found "
                          << (profile.gpu ? "isa '" + profile.gpu->isa + "'" : "none");
  }
  registerKernelDialects(loweringDialects);
  return compileRequests(requests, options, loweringDialects, [&](const RequestInThread& request) {
    std::string entry = entryOf(request);
    if (failed(emitKernel(request.module, entry, request.family, request.config, profile)))
      return failure();
    if (request.dump) request.dump("mlir", textOf(request.module));
    return lower(request, factsOf(request.module, std::move(entry)));
  });
}

}  // namespace fathom::kernels::simt
