// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs lld on the objects of a program and checks what came out.
#include "backends/cpu/target/LinkImage.h"

#include "backends/cpu/abi/cpu_abi.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "mlir/IR/Diagnostics.h"

#ifdef FATHOM_HAVE_LLD
#include <mutex>

#include "lld/Common/Driver.h"
LLD_HAS_DRIVER(elf)
#endif

namespace fathom::cpu {
namespace {

// `log` receives the linker's messages.
bool runLinker(llvm::ArrayRef<std::string> args, llvm::StringRef directory, std::string& log) {
#ifdef FATHOM_HAVE_LLD
  // lld keeps global state: one link at a time.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  llvm::SmallVector<const char*> argv;
  for (const std::string& arg : args) argv.push_back(arg.c_str());
  llvm::raw_string_ostream os(log);
  return lld::lldMain(argv, os, os, {{lld::Gnu, &lld::elf::link}}).retCode == 0;
#else
  llvm::SmallVector<llvm::StringRef> argv(args.begin(), args.end());
  llvm::SmallString<128> messages(directory);
  llvm::sys::path::append(messages, "log");
  llvm::StringRef file = messages;
  int code = llvm::sys::ExecuteAndWait(FATHOM_LLD_PROGRAM, argv, std::nullopt,
                                       {std::nullopt, file, file}, 0, 0, &log);
  if (auto text = llvm::MemoryBuffer::getFile(file)) log += (*text)->getBuffer();
  return code == 0;
#endif
}

// Freestanding means: no library, no import, no relocation, exactly one exported symbol.
llvm::Error checkFreestanding(llvm::StringRef bytes) {
  using ELF = llvm::object::ELF64LE;
  auto file = llvm::object::ELFFile<ELF>::create(bytes);
  if (!file) return file.takeError();
  auto dynamic = file->dynamicEntries();
  if (!dynamic) return dynamic.takeError();
  for (const ELF::Dyn& entry : *dynamic) switch (entry.getTag()) {
      case llvm::ELF::DT_NEEDED:
      case llvm::ELF::DT_REL:
      case llvm::ELF::DT_RELA:
      case llvm::ELF::DT_RELR:
      case llvm::ELF::DT_JMPREL:
      case llvm::ELF::DT_TEXTREL:
      case llvm::ELF::DT_INIT:
      case llvm::ELF::DT_INIT_ARRAY:
        return llvm::createStringError("the image has a " +
                                       file->getDynamicTagAsString(entry.getTag()) + " entry");
      default:
        break;
    }
  auto sections = file->sections();
  if (!sections) return sections.takeError();
  for (const ELF::Shdr& section : *sections) {
    if (section.sh_type != llvm::ELF::SHT_DYNSYM) continue;
    auto symbols = file->symbols(&section);
    if (!symbols) return symbols.takeError();
    auto strings = file->getStringTableForSymtab(section);
    if (!strings) return strings.takeError();
    for (const ELF::Sym& symbol : symbols->drop_front()) {
      auto name = symbol.getName(*strings);
      if (!name) return name.takeError();
      if (*name != FATHOM_CPU_TABLE || symbol.isUndefined())
        return llvm::createStringError("the image has the dynamic symbol '" + *name + "'");
    }
  }
  return llvm::Error::success();
}

}  // namespace

mlir::LogicalResult linkImage(llvm::ArrayRef<llvm::StringRef> objects, mlir::Location loc,
                              llvm::SmallVectorImpl<char>& image) {
  llvm::SmallString<128> directory;
  if (std::error_code error = llvm::sys::fs::createUniqueDirectory("fathom-link", directory))
    return mlir::emitError(loc) << "cannot make a temporary directory: " << error.message();
  llvm::scope_exit removal([&] { llvm::sys::fs::remove_directories(directory, true); });
  auto path = [&](const llvm::Twine& name) {
    llvm::SmallString<128> full(directory);
    llvm::sys::path::append(full, name);
    return std::string(full);
  };

  std::string output = path("image.so");
  std::vector<std::string> args = {"ld.lld",
                                   "-shared",
                                   "-nostdlib",
                                   "--no-undefined",
                                   "--gc-sections",
                                   "--build-id=none",
                                   "--hash-style=gnu",
                                   "-Bsymbolic",
                                   "--strip-debug",
                                   "-O2",
                                   "--pack-dyn-relocs=none",
                                   "-z",
                                   "now",
                                   "-z",
                                   "noexecstack",
                                   "-z",
                                   "noseparate-code",
                                   "-o",
                                   output};
  for (auto [i, object] : llvm::enumerate(objects)) {
    std::string name = path(llvm::Twine(i) + ".o");
    std::error_code error;
    llvm::raw_fd_ostream os(name, error);
    if (!error) {
      os << object;
      os.close();
      error = os.error();
      os.clear_error();
    }
    if (error) return mlir::emitError(loc) << name << ": " << error.message();
    args.push_back(name);
  }
  std::string log;
  if (!runLinker(args, directory, log))
    return mlir::emitError(loc) << "linking the code image failed: "
                                << llvm::StringRef(log).rtrim();
  auto linked = llvm::MemoryBuffer::getFile(output);
  if (!linked) return mlir::emitError(loc) << output << ": " << linked.getError().message();
  if (llvm::Error error = checkFreestanding((*linked)->getBuffer()))
    return mlir::emitError(loc) << "linking the code image failed: "
                                << llvm::toString(std::move(error));
  image.append((*linked)->getBufferStart(), (*linked)->getBufferEnd());
  return mlir::success();
}

}  // namespace fathom::cpu
