// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles the kernels of a program on several threads and links them to one image.
#include "backends/cpu/target/CpuTarget.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "backends/cpu/target/EmitObject.h"
#include "backends/cpu/target/HostProfile.h"
#include "backends/cpu/target/LinkImage.h"
#include "backends/cpu/target/LowerKernel.h"
#include "compiler/kernels/Kernels.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

namespace fathom {
namespace {

using mlir::failure;
using mlir::LogicalResult;
using mlir::success;

// What a worker makes of one request: an object, or the messages of its failure.
struct Outcome {
  std::optional<cpu::KernelObject> object;
  std::vector<std::string> errors;
};

// A request without references into the caller's MLIR context, which other threads must not touch.
struct PortableRequest {
  std::string name;
  std::string family;
  std::string config;
};

class Worker {
 public:
  Worker(const TargetProfile& profile, const CodegenOptions& options, std::mutex& dumpMutex)
      : profile(profile),
        options(options),
        dumpMutex(dumpMutex),
        context(registry(), mlir::MLIRContext::Threading::DISABLED) {}

  Outcome compile(const PortableRequest& request) {
    Outcome outcome;
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic& diagnostic) {
      if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
        outcome.errors.push_back(diagnostic.str());
      return success();
    });
    mlir::FailureOr<cpu::KernelObject> object = run(request);
    if (mlir::succeeded(object))
      outcome.object = std::move(*object);
    else if (outcome.errors.empty())
      outcome.errors.push_back("kernel '" + request.name + "': lowering failed without a reason");
    return outcome;
  }

 private:
  static mlir::DialectRegistry registry() {
    mlir::DialectRegistry all;
    kernels::registerKernelDialects(all);
    cpu::registerLoweringDialects(all);
    return all;
  }

  void dump(llvm::StringRef name, llvm::StringRef stage, llvm::StringRef text) {
    std::lock_guard<std::mutex> lock(dumpMutex);
    options.dump(name, stage, text);
  }

  mlir::FailureOr<cpu::KernelObject> run(const PortableRequest& request) {
    auto config = llvm::dyn_cast_or_null<mlir::DictionaryAttr>(
        mlir::parseAttribute(request.config, &context));
    if (!config) return failure();
    mlir::OwningOpRef<mlir::ModuleOp> module =
        mlir::ModuleOp::create(mlir::NameLoc::get(mlir::StringAttr::get(&context, request.name)));
    if (failed(kernels::emitKernel(*module, request.name, request.family, config, profile)))
      return failure();
    if (options.dump) {
      std::string text;
      llvm::raw_string_ostream(text) << *module << "\n";
      dump(request.name, "mlir", text);
    }
    if (failed(cpu::lowerKernel(*module))) return failure();
    auto object =
        cpu::emitKernelObject(*module, request.name, profile, static_cast<bool>(options.dump));
    if (mlir::succeeded(object) && options.dump) {
      dump(request.name, "llvm", object->llvmIr);
      dump(request.name, "asm", object->assembly);
    }
    return object;
  }

  const TargetProfile& profile;
  const CodegenOptions& options;
  std::mutex& dumpMutex;
  mlir::MLIRContext context;
};

std::vector<Outcome> compileAll(llvm::ArrayRef<PortableRequest> requests,
                                const TargetProfile& profile, const CodegenOptions& options) {
  std::vector<Outcome> outcomes(requests.size());
  std::atomic<size_t> next = 0;
  std::mutex dumpMutex;
  auto work = [&] {
    Worker worker(profile, options, dumpMutex);
    for (size_t i; (i = next.fetch_add(1)) < requests.size();)
      outcomes[i] = worker.compile(requests[i]);
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min<size_t>(options.threads, requests.size()); ++i)
    threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return outcomes;
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
    std::vector<PortableRequest> requests;
    llvm::StringSet<> seen;
    for (const KernelRequest& kernel : kernels) {
      if (!seen.insert(kernel.name).second)
        return mlir::emitError(kernel.loc) << "kernel '" << kernel.name << "' is requested twice";
      PortableRequest& request = requests.emplace_back();
      request.name = kernel.name;
      request.family = kernel.family;
      llvm::raw_string_ostream(request.config) << kernel.config;
    }
    std::vector<Outcome> outcomes = compileAll(requests, profile, options);

    std::vector<cpu::KernelObject> objects;
    bool good = true;
    for (auto [kernel, outcome] : llvm::zip_equal(kernels, outcomes)) {
      for (const std::string& error : outcome.errors) mlir::emitError(kernel.loc) << error;
      if (outcome.object)
        objects.push_back(std::move(*outcome.object));
      else
        good = false;
    }
    if (!good) return failure();

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
