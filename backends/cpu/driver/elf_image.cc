// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The ELF loader: headers, segments, relocations, the table symbol, protection; each step
// bounds-checked.
#include "backends/cpu/driver/elf_image.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom::cpu {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
constexpr uint32_t kRelative = R_X86_64_RELATIVE;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
constexpr uint32_t kRelative = R_AARCH64_RELATIVE;
#else
#error "The CPU driver knows x86-64 and aarch64."
#endif

constexpr uint64_t kMaxImageBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxScratchBytes = uint64_t{1} << 30;
constexpr uint32_t kMaxKernels = 65536;
constexpr uint32_t kMaxNameBytes = 1024;

absl::Status ImageError(const std::string& what) { return InputError("code image", what); }

}  // namespace

class ElfLoader {
 public:
  explicit ElfLoader(absl::Span<const uint8_t> bytes)
      : bytes_(bytes), page_(static_cast<uint64_t>(::sysconf(_SC_PAGESIZE))) {}

  absl::StatusOr<std::unique_ptr<ElfImage>> Load() {
    FATHOM_RETURN_IF_ERROR(ReadHeaders());
    FATHOM_RETURN_IF_ERROR(CopySegments());
    FATHOM_RETURN_IF_ERROR(ReadDynamic());
    FATHOM_RETURN_IF_ERROR(Relocate());
    uint64_t table = 0;
    FATHOM_RETURN_IF_ERROR(FindTable(&table));
    FATHOM_RETURN_IF_ERROR(ReadTable(table));
    FATHOM_RETURN_IF_ERROR(Protect());
    return std::move(image_);
  }

 private:
  template <typename T>
  bool ReadFile(uint64_t offset, T* out) const {
    if (!RangeFits(offset, sizeof(T), bytes_.size())) return false;
    std::memcpy(out, bytes_.data() + offset, sizeof(T));
    return true;
  }
  template <typename T>
  bool ReadMemory(uint64_t address, T* out) const {
    if (!InSegment(address, sizeof(T), 0)) return false;
    std::memcpy(out, image_->base_ + address, sizeof(T));
    return true;
  }
  // True when [address, address + length) lies inside one loaded segment that has all of `flags`.
  bool InSegment(uint64_t address, uint64_t length, uint32_t flags) const {
    return std::any_of(loads_.begin(), loads_.end(), [&](const Elf64_Phdr& load) {
      return (load.p_flags & flags) == flags && address >= load.p_vaddr &&
             RangeFits(address - load.p_vaddr, length, load.p_memsz);
    });
  }

  absl::Status ReadHeaders() {
    Elf64_Ehdr header;
    if (!ReadFile(0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
      return ImageError("not an ELF file");
    }
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_type != ET_DYN) {
      return ImageError("not a 64-bit little-endian shared object");
    }
    if (header.e_machine != kMachine) {
      return UnsupportedError("code image",
                              absl::StrCat("made for another architecture: expected ELF machine ",
                                           kMachine, ", found ", header.e_machine));
    }
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > 64) {
      return ImageError("bad program header table");
    }
    uint64_t end = 0;
    for (uint32_t i = 0; i < header.e_phnum; ++i) {
      Elf64_Phdr segment;
      uint64_t at;
      if (!CheckedAdd<uint64_t>(header.e_phoff, i * sizeof(segment), &at) ||
          !ReadFile(at, &segment)) {
        return ImageError("the program headers lie outside the image");
      }
      if (segment.p_type == PT_TLS) return ImageError("thread-local storage is not allowed");
      if (segment.p_type == PT_INTERP) return ImageError("an interpreter is not allowed");
      if (segment.p_type == PT_DYNAMIC) dynamic_ = segment;
      if (segment.p_type == PT_LOAD) FATHOM_RETURN_IF_ERROR(AddLoad(segment, &end));
    }
    if (loads_.empty()) return ImageError("nothing to load");
    if (dynamic_.p_type != PT_DYNAMIC) return ImageError("no dynamic section");
    memory_bytes_ = RoundUp(end, page_);
    return absl::OkStatus();
  }

  absl::Status AddLoad(const Elf64_Phdr& load, uint64_t* end) {
    uint64_t load_end;
    if (!RangeFits(load.p_offset, load.p_filesz, bytes_.size()) || load.p_filesz > load.p_memsz ||
        !CheckedAdd<uint64_t>(load.p_vaddr, load.p_memsz, &load_end) || load_end > kMaxImageBytes) {
      return ImageError("a segment lies outside the image");
    }
    if ((load.p_flags & PF_W) != 0 && (load.p_flags & PF_X) != 0) {
      return ImageError("a segment is writable and executable");
    }
    // Ascending and on pages of their own, so that each can have its own protection.
    if (load.p_vaddr / page_ * page_ < *end) return ImageError("segments share a page or overlap");
    *end = RoundUp(load_end, page_);
    loads_.push_back(load);
    return absl::OkStatus();
  }

  absl::Status CopySegments() {
    void* memory =
        ::mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat("code image: no memory for ", memory_bytes_, " bytes"));
    }
    image_.reset(new ElfImage(static_cast<uint8_t*>(memory), memory_bytes_));
    for (const Elf64_Phdr& load : loads_) {
      std::memcpy(image_->base_ + load.p_vaddr, bytes_.data() + load.p_offset, load.p_filesz);
    }
    return absl::OkStatus();
  }

  absl::Status ReadDynamic() {
    for (uint64_t at = 0;; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn entry;
      if (at + sizeof(entry) > dynamic_.p_memsz || !ReadMemory(dynamic_.p_vaddr + at, &entry)) {
        return ImageError("the dynamic section has no end");
      }
      const uint64_t value = entry.d_un.d_val;
      switch (entry.d_tag) {
        case DT_NULL:
          return absl::OkStatus();
        case DT_NEEDED:
          return ImageError("depends on another library");
        case DT_INIT:
        case DT_FINI:
          if (value != 0) return ImageError("an initialiser is not allowed");
          break;
        case DT_INIT_ARRAYSZ:
        case DT_FINI_ARRAYSZ:
        case DT_PREINIT_ARRAYSZ:
          if (value != 0) return ImageError("an initialiser is not allowed");
          break;
        case DT_REL:
        case DT_RELR:
        case DT_JMPREL:
        case DT_TEXTREL:
          return ImageError("a relocation other than RELATIVE is not allowed");
        case DT_RELA:
          rela_ = value;
          break;
        case DT_RELASZ:
          rela_bytes_ = value;
          break;
        case DT_SYMTAB:
          symbols_ = value;
          break;
        case DT_STRTAB:
          strings_ = value;
          break;
        case DT_STRSZ:
          string_bytes_ = value;
          break;
        case DT_HASH:
          hash_ = value;
          break;
        case DT_GNU_HASH:
          gnu_hash_ = value;
          break;
        default:
          break;
      }
    }
  }

  absl::Status Relocate() {
    if (rela_bytes_ % sizeof(Elf64_Rela) != 0 ||
        (rela_bytes_ != 0 && !InSegment(rela_, rela_bytes_, 0))) {
      return ImageError("the relocations lie outside the image");
    }
    for (uint64_t at = 0; at < rela_bytes_; at += sizeof(Elf64_Rela)) {
      Elf64_Rela relocation;
      std::memcpy(&relocation, image_->base_ + rela_ + at, sizeof(relocation));
      if (ELF64_R_TYPE(relocation.r_info) != kRelative) {
        return ImageError("a relocation other than RELATIVE is not allowed");
      }
      // Data only, so that no relocation rewrites code.
      if (!InSegment(relocation.r_offset, 8, PF_W)) {
        return ImageError("a relocation lies outside writable data");
      }
      const uint64_t value = reinterpret_cast<uint64_t>(image_->base_) + relocation.r_addend;
      std::memcpy(image_->base_ + relocation.r_offset, &value, sizeof(value));
    }
    return absl::OkStatus();
  }

  // The number of dynamic symbols; ELF has it only in its hash tables.
  absl::Status CountSymbols(uint32_t* count) const {
    uint32_t words[4];
    if (hash_ != 0) {
      if (!ReadMemory(hash_, &words)) return ImageError("the hash table lies outside the image");
      *count = words[1];
      return absl::OkStatus();
    }
    if (gnu_hash_ == 0 || !ReadMemory(gnu_hash_, &words)) {
      return ImageError("no symbol hash table");
    }
    const uint64_t buckets = gnu_hash_ + 16 + uint64_t{words[2]} * 8;
    uint32_t last = 0;
    for (uint64_t i = 0; i < words[0]; ++i) {
      uint32_t bucket;
      if (!ReadMemory(buckets + i * 4, &bucket)) return ImageError("bad symbol hash table");
      last = std::max(last, bucket);
    }
    if (last < words[1]) {
      *count = words[1];
      return absl::OkStatus();
    }
    // The chain of the last bucket ends at the last symbol; the end has its lowest bit set.
    const uint64_t chains = buckets + uint64_t{words[0]} * 4;
    for (uint64_t i = last;; ++i) {
      uint32_t chain;
      if (!ReadMemory(chains + (i - words[1]) * 4, &chain))
        return ImageError("bad symbol hash table");
      if ((chain & 1) != 0) {
        *count = static_cast<uint32_t>(i + 1);
        return absl::OkStatus();
      }
    }
  }

  // Reads the NUL-terminated string at `address`, at most kMaxNameBytes long.
  bool ReadString(uint64_t address, std::string* out) const {
    out->clear();
    for (char c; out->size() <= kMaxNameBytes; out->push_back(c)) {
      if (!ReadMemory(address + out->size(), &c)) return false;
      if (c == '\0') return true;
    }
    return false;
  }

  absl::Status FindTable(uint64_t* table) const {
    uint32_t count = 0;
    FATHOM_RETURN_IF_ERROR(CountSymbols(&count));
    bool found = false;
    for (uint64_t i = 1; i < count; ++i) {
      Elf64_Sym symbol;
      if (!ReadMemory(symbols_ + i * sizeof(symbol), &symbol)) {
        return ImageError("the symbol table lies outside the image");
      }
      std::string name;
      if (symbol.st_name >= string_bytes_ || !ReadString(strings_ + symbol.st_name, &name)) {
        return ImageError("a symbol name lies outside the image");
      }
      if (symbol.st_shndx == SHN_UNDEF) return ImageError("imports the symbol " + name);
      if (name == FATHOM_CPU_TABLE) {
        *table = symbol.st_value;
        found = true;
      }
    }
    if (!found) return ImageError("exports no " FATHOM_CPU_TABLE);
    return absl::OkStatus();
  }

  absl::Status ReadTable(uint64_t at) const {
    fathom_cpu_table table;
    if (at % alignof(fathom_cpu_table) != 0 || !ReadMemory(at, &table)) {
      return ImageError("the kernel table lies outside the image");
    }
    if (table.magic != FATHOM_CPU_MAGIC) return ImageError("the kernel table has a wrong magic");
    if (table.abi != FATHOM_CPU_ABI) {
      return UnsupportedError("code image", absl::StrCat("kernel ABI: expected ", FATHOM_CPU_ABI,
                                                         ", found ", table.abi));
    }
    if (table.entries > kMaxKernels) return ImageError("the kernel table is too long");
    for (uint32_t i = 0; i < table.entries; ++i) {
      const uint64_t entry_at = at + sizeof(table) + i * sizeof(fathom_cpu_entry);
      fathom_cpu_entry entry;
      if (!ReadMemory(entry_at, &entry))
        return ImageError("the kernel table lies outside the image");
      // Negative offsets wrap to huge addresses, which no segment holds.
      const uint64_t code = entry_at + static_cast<int64_t>(entry.code);
      ImageKernel kernel;
      if (!ReadString(entry_at + static_cast<int64_t>(entry.name), &kernel.name)) {
        return ImageError(absl::StrCat("kernel ", i, ": its name lies outside the image"));
      }
      if (!InSegment(code, 1, PF_X)) {
        return ImageError(
            absl::StrCat("kernel ", kernel.name, ": its code lies outside the image"));
      }
      if (entry.scratch_bytes > kMaxScratchBytes) {
        return ImageError(absl::StrCat("kernel ", kernel.name, ": scratch: expected at most ",
                                       kMaxScratchBytes, " bytes, found ", entry.scratch_bytes));
      }
      kernel.code = reinterpret_cast<fathom_cpu_kernel>(image_->base_ + code);
      kernel.bindings = entry.bindings;
      kernel.push = entry.push;
      kernel.scratch_bytes = entry.scratch_bytes;
      image_->kernels_.push_back(std::move(kernel));
    }
    return absl::OkStatus();
  }

  absl::Status Protect() const {
    __builtin___clear_cache(reinterpret_cast<char*>(image_->base_),
                            reinterpret_cast<char*>(image_->base_) + memory_bytes_);
    // First nothing, so that what lies between segments is never reachable.
    if (::mprotect(image_->base_, memory_bytes_, PROT_NONE) != 0) return ProtectError();
    for (const Elf64_Phdr& load : loads_) {
      const uint64_t begin = load.p_vaddr / page_ * page_;
      const int protection = ((load.p_flags & PF_R) != 0 ? PROT_READ : 0) |
                             ((load.p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
                             ((load.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
      const uint64_t length = RoundUp(load.p_vaddr + load.p_memsz - begin, page_);
      if (length != 0 && ::mprotect(image_->base_ + begin, length, protection) != 0) {
        return ProtectError();
      }
    }
    return absl::OkStatus();
  }

  static absl::Status ProtectError() {
    return absl::UnavailableError(
        absl::StrCat("code image: the system refuses executable memory: ", std::strerror(errno)));
  }

  const absl::Span<const uint8_t> bytes_;
  const uint64_t page_;
  std::vector<Elf64_Phdr> loads_;
  Elf64_Phdr dynamic_ = {};
  uint64_t memory_bytes_ = 0;
  uint64_t rela_ = 0, rela_bytes_ = 0, symbols_ = 0, strings_ = 0, string_bytes_ = 0;
  uint64_t hash_ = 0, gnu_hash_ = 0;
  std::unique_ptr<ElfImage> image_;
};

absl::StatusOr<std::unique_ptr<ElfImage>> ElfImage::Load(absl::Span<const uint8_t> bytes) {
  return ElfLoader(bytes).Load();
}

ElfImage::~ElfImage() { ::munmap(base_, size_); }

}  // namespace fathom::cpu
