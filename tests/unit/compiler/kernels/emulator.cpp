// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Lays a dispatch out as the job of aarch64_runner.s and runs it.
#include "tests/unit/compiler/kernels/emulator.h"

#include <cstring>
#include <map>

#include "backends/cpu/abi/cpu_abi.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

namespace fathom::testing {

#ifdef FATHOM_QEMU_AARCH64
namespace {

using ELF = llvm::object::ELF64LE;

constexpr uint64_t kBase = 0x1000000000;
constexpr uint64_t kLimit = 0x10000000;

// The head of the memory that the runner reads.
struct Job {
  uint64_t code, args, firstOut, outBytes, x, y, z;
};

// The job's memory, growing; addresses are the emulated process's.
class Memory {
 public:
  uint64_t add(const void* data, size_t size, size_t align) {
    bytes_.resize((bytes_.size() + align - 1) / align * align, '\xff');
    uint64_t at = kBase + bytes_.size();
    bytes_.append(static_cast<const char*>(data), size);
    return at;
  }
  template <typename T>
  void put(uint64_t at, const T& value) {
    std::memcpy(bytes_.data() + (at - kBase), &value, sizeof value);
  }
  uint64_t end() const { return kBase + bytes_.size(); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Copies the image's segments to `memory`; answers the address of its byte 0.
llvm::Expected<uint64_t> load(const llvm::object::ELFFile<ELF>& file, Memory& memory) {
  auto headers = file.program_headers();
  if (!headers) return headers.takeError();
  std::string flat;
  for (const ELF::Phdr& header : *headers) {
    if (header.p_type != llvm::ELF::PT_LOAD) continue;
    auto contents = file.getSegmentContents(header);
    if (!contents) return contents.takeError();
    uint64_t size = header.p_vaddr + header.p_memsz;
    if (size > kLimit) return llvm::createStringError("the image is too large");
    if (flat.size() < size) flat.resize(size);
    std::memcpy(flat.data() + header.p_vaddr, contents->data(), contents->size());
  }
  return memory.add(flat.data(), flat.size(), 65536);
}

llvm::Expected<uint64_t> tableAddress(const llvm::object::ELFFile<ELF>& file) {
  auto sections = file.sections();
  if (!sections) return sections.takeError();
  for (const ELF::Shdr& section : *sections) {
    if (section.sh_type != llvm::ELF::SHT_DYNSYM) continue;
    auto symbols = file.symbols(&section);
    auto strings = file.getStringTableForSymtab(section);
    if (!symbols) return symbols.takeError();
    if (!strings) return strings.takeError();
    for (const ELF::Sym& symbol : *symbols) {
      auto name = symbol.getName(*strings);
      if (!name) return name.takeError();
      if (*name == FATHOM_CPU_TABLE) return symbol.st_value;
    }
  }
  return llvm::createStringError("no table");
}

llvm::Expected<std::string> runQemu(const std::string& input) {
  llvm::SmallString<128> in, out;
  if (llvm::sys::fs::createTemporaryFile("job", "in", in) ||
      llvm::sys::fs::createTemporaryFile("job", "out", out))
    return llvm::createStringError("no temporary file");
  llvm::FileRemover removeIn(in), removeOut(out);
  std::error_code error;
  llvm::raw_fd_ostream(in, error) << input;
  llvm::StringRef args[] = {FATHOM_QEMU_AARCH64, "-cpu", "max", FATHOM_AARCH64_RUNNER};
  std::string message;
  int code = llvm::sys::ExecuteAndWait(FATHOM_QEMU_AARCH64, args, std::nullopt,
                                       {llvm::StringRef(in), llvm::StringRef(out), std::nullopt},
                                       120, 0, &message);
  if (code != 0)
    return llvm::createStringError("the runner ended with " + llvm::Twine(code) + " " + message);
  auto text = llvm::MemoryBuffer::getFile(out);
  if (!text) return llvm::createStringError(text.getError().message());
  return (*text)->getBuffer().str();
}

llvm::Error run(const std::vector<char>& image, const std::string& name, Job job,
                const std::vector<EmulatedBuffer>& bindings, const std::vector<int64_t>& push) {
  auto file = llvm::object::ELFFile<ELF>::create({image.data(), image.size()});
  if (!file) return file.takeError();
  Memory memory;
  memory.add(&job, sizeof job, 64);
  auto base = load(*file, memory);
  if (!base) return base.takeError();
  auto offset = tableAddress(*file);
  if (!offset) return offset.takeError();

  uint64_t table = *base + *offset, scratchBytes = 0;
  const char* bytes = memory.bytes().data() - kBase + table;
  uint32_t entries = reinterpret_cast<const fathom_cpu_table*>(bytes)->entries;
  for (uint32_t i = 0; i < entries; ++i) {
    uint64_t at = offsetof(fathom_cpu_table, entry) + i * sizeof(fathom_cpu_entry);
    const auto* entry = reinterpret_cast<const fathom_cpu_entry*>(bytes + at);
    if (name != reinterpret_cast<const char*>(entry) + entry->name) continue;
    if (entry->bindings != bindings.size() || entry->push != push.size())
      return llvm::createStringError(
          "other numbers of bindings or push constants than in the table");
    job.code = table + at + entry->code;
    scratchBytes = entry->scratch_bytes;
  }
  if (!job.code) return llvm::createStringError("no kernel " + name);

  std::map<void*, uint64_t> places;
  std::vector<uint64_t> pointers;
  job.firstOut = memory.end();
  for (const EmulatedBuffer& buffer : bindings) {
    uint64_t& place = places[buffer.data];
    if (!place) place = memory.add(buffer.data, buffer.size, 64);
    pointers.push_back(place);
  }
  job.outBytes = memory.end() - job.firstOut;
  std::string scratch(scratchBytes, '\xff');
  uint64_t args[3] = {memory.add(pointers.data(), 8 * pointers.size(), 64),
                      memory.add(push.data(), 8 * push.size(), 64),
                      memory.add(scratch.data(), scratch.size(), 64)};
  job.args = memory.add(args, sizeof args, 64);
  memory.put(kBase, job);
  if (memory.end() > kBase + kLimit) return llvm::createStringError("the job is too large");

  auto result = runQemu(memory.bytes());
  if (!result) return result.takeError();
  if (result->size() != job.outBytes) return llvm::createStringError("the output is cut off");
  for (const EmulatedBuffer& buffer : bindings)
    std::memcpy(buffer.data, result->data() + (places[buffer.data] - job.firstOut), buffer.size);
  return llvm::Error::success();
}

}  // namespace

bool haveAarch64Emulator() { return true; }

std::string runEmulated(const std::vector<char>& image, const std::string& name, uint32_t x,
                        uint32_t y, uint32_t z, const std::vector<EmulatedBuffer>& bindings,
                        const std::vector<int64_t>& push) {
  return llvm::toString(run(image, name, {0, 0, 0, 0, x, y, z}, bindings, push));
}
#else
bool haveAarch64Emulator() { return false; }

std::string runEmulated(const std::vector<char>&, const std::string&, uint32_t, uint32_t, uint32_t,
                        const std::vector<EmulatedBuffer>&, const std::vector<int64_t>&) {
  return "built without an emulator";
}
#endif

}  // namespace fathom::testing
