// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Threads over kernel requests; MLIR contexts are never shared between them.
#include "compiler/target/CompileRequests.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "llvm/ADT/StringSet.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

namespace fathom {
namespace {

// A request without references into the caller's context, and what became of it.
struct Job {
  std::string name, family, config;
  std::vector<std::string> errors;
  bool good = false;
};

using Compile = llvm::function_ref<mlir::LogicalResult(const RequestInThread&)>;

void serve(Job& job, size_t number, mlir::MLIRContext& context, const CodegenOptions& options,
           std::mutex& dumpMutex, Compile compile) {
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic& diagnostic) {
    if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
      job.errors.push_back(diagnostic.str());
    return mlir::success();
  });
  auto config =
      llvm::dyn_cast_or_null<mlir::DictionaryAttr>(mlir::parseAttribute(job.config, &context));
  if (config) {
    mlir::OwningOpRef<mlir::ModuleOp> module =
        mlir::ModuleOp::create(mlir::NameLoc::get(mlir::StringAttr::get(&context, job.name)));
    RequestInThread request{number, job.name, job.family, config, *module, nullptr};
    if (options.dump)
      request.dump = [&](llvm::StringRef stage, llvm::StringRef text) {
        std::lock_guard<std::mutex> lock(dumpMutex);
        options.dump(job.name, stage, text);
      };
    job.good = mlir::succeeded(compile(request));
  }
  if (!job.good && job.errors.empty())
    job.errors.push_back("kernel '" + job.name + "': lowering failed without a reason");
}

}  // namespace

mlir::LogicalResult compileRequests(llvm::ArrayRef<KernelRequest> requests,
                                    const CodegenOptions& options,
                                    const mlir::DialectRegistry& dialects, Compile compile) {
  std::vector<Job> jobs;
  llvm::StringSet<> seen;
  for (const KernelRequest& request : requests) {
    if (!seen.insert(request.name).second)
      return mlir::emitError(request.loc) << "kernel '" << request.name << "' is requested twice";
    Job& job = jobs.emplace_back();
    job.name = request.name;
    job.family = request.family;
    llvm::raw_string_ostream(job.config) << request.config;
  }
  std::atomic<size_t> next = 0;
  std::mutex dumpMutex;
  auto work = [&] {
    mlir::MLIRContext context(dialects, mlir::MLIRContext::Threading::DISABLED);
    for (size_t i; (i = next.fetch_add(1)) < jobs.size();)
      serve(jobs[i], i, context, options, dumpMutex, compile);
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min<size_t>(options.threads, jobs.size()); ++i)
    threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();

  bool good = true;
  for (auto [request, job] : llvm::zip_equal(requests, jobs)) {
    for (const std::string& error : job.errors) mlir::emitError(request.loc) << error;
    good = good && job.good;
  }
  return mlir::success(good);
}

}  // namespace fathom
