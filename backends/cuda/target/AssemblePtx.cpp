// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs ptxas on files in the system's folder for temporary files.
#include "backends/cuda/target/AssemblePtx.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/IR/Diagnostics.h"

namespace fathom::cuda {

mlir::FailureOr<Assembled> assemblePtx(const std::string& ptx, const TargetProfile& profile,
                                       mlir::Location loc) {
  auto program = llvm::sys::findProgramByName("ptxas");
  if (!program) return Assembled();
  llvm::SmallString<128> paths[3];
  const char* suffixes[3] = {"ptx", "cubin", "log"};
  for (int i = 0; i < 3; ++i)
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("fathom", suffixes[i], paths[i]))
      return mlir::emitError(loc) << "a temporary file for ptxas cannot be made: "
                                  << error.message();
  llvm::FileRemover remove[3] = {llvm::FileRemover(paths[0]), llvm::FileRemover(paths[1]),
                                 llvm::FileRemover(paths[2])};
  {
    std::error_code error;
    llvm::raw_fd_ostream file(paths[0], error);
    file << ptx;
    file.close();
    if (!error) error = file.error();
    file.clear_error();
    if (error) return mlir::emitError(loc) << paths[0] << ": " << error.message();
  }
  std::string arch = "-arch=" + profile.cpu;
  std::optional<llvm::StringRef> redirects[3] = {llvm::StringRef(), paths[2].str(), paths[2].str()};
  const int code = llvm::sys::ExecuteAndWait(
      *program, {*program, arch, "-v", paths[0].str(), "-o", paths[1].str()}, std::nullopt,
      redirects);
  Assembled out;
  if (auto log = llvm::MemoryBuffer::getFile(paths[2])) out.log = (*log)->getBuffer().str();
  if (code != 0)
    return mlir::emitError(loc) << "ptxas refuses the code for target '" << profile.name
                                << "': " << out.log;
  auto cubin = llvm::MemoryBuffer::getFile(paths[1]);
  if (!cubin) return mlir::emitError(loc) << paths[1] << ": " << cubin.getError().message();
  out.cubin.assign((*cubin)->getBufferStart(), (*cubin)->getBufferEnd());
  return out;
}

std::string reportOf(llvm::StringRef log, llvm::StringRef entry) {
  const std::string begins = ("Compiling entry function '" + entry + "'").str();
  std::string report;
  bool own = false;
  while (!log.empty()) {
    auto [line, rest] = log.split('\n');
    log = rest;
    if (line.contains("Compiling entry function")) own = line.contains(begins);
    if (!own) continue;
    if (line.consume_front("ptxas info")) line = line.ltrim().ltrim(':').ltrim();
    report += (line.trim() + "\n").str();
  }
  return report;
}

}  // namespace fathom::cuda
