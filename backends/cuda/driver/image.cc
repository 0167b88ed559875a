// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verifying a code image.
#include "backends/cuda/driver/image.h"

#include <elf.h>

#include <cstring>
#include <set>

#include "absl/strings/str_join.h"
#include "backends/cuda/abi/cuda_image_generated.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom::cuda {
namespace {

constexpr char kWhere[] = "code image";
constexpr uint32_t kMaxParameters = 512;  // of 8 bytes: CUDA takes 4096 bytes
constexpr uint32_t kMaxKernels = 1 << 16;

// The driver is given no length with a cubin: whatever its headers point at must be there.
bool IsWholeElf(absl::Span<const uint8_t> bytes) {
  Elf64_Ehdr header;
  if (bytes.size() < sizeof(header)) return false;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      (header.e_shnum != 0 && header.e_shentsize != sizeof(Elf64_Shdr)) ||
      (header.e_phnum != 0 && header.e_phentsize != sizeof(Elf64_Phdr)) ||
      !RangeFits(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr), bytes.size()) ||
      !RangeFits(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), bytes.size())) {
    return false;
  }
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    std::memcpy(&section, bytes.data() + header.e_shoff + i * sizeof(section), sizeof(section));
    if (section.sh_type != SHT_NOBITS &&
        !RangeFits(section.sh_offset, section.sh_size, bytes.size())) {
      return false;
    }
  }
  for (uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    if (!RangeFits(segment.p_offset, segment.p_filesz, bytes.size())) return false;
  }
  return true;
}

absl::StatusOr<ImageKernel> ReadKernel(const abi::Kernel& stored, const GpuFacts& facts) {
  ImageKernel kernel;
  kernel.name = stored.name()->str();
  kernel.entry = stored.entry()->str();
  const std::string where = absl::StrCat(kWhere, ": kernel ", kernel.name);
  kernel.bindings = stored.bindings();
  kernel.push = stored.push();
  kernel.shared_bytes = stored.shared_bytes();
  // A name that ends early would be another name for the driver.
  if (kernel.entry.empty() || kernel.entry.find('\0') != std::string::npos) {
    return InputError(where, "its entry has no name");
  }
  if (uint64_t{kernel.bindings} + kernel.push > kMaxParameters) {
    return InputError(where, "bindings and push constants",
                      absl::StrCat("at most ", kMaxParameters),
                      uint64_t{kernel.bindings} + kernel.push);
  }
  if (stored.workgroup()->size() != 3) {
    return InputError(where, "workgroup", "3 sizes", stored.workgroup()->size());
  }
  uint64_t threads = 1;
  for (uint32_t d = 0; d < 3; ++d) {
    const uint32_t size = stored.workgroup()->Get(d);
    if (size == 0 || size > 1 << 16) {
      return InputError(where, "workgroup", "sizes of 1 to 65536", size);
    }
    kernel.workgroup[d] = size;
    threads *= size;
  }
  for (uint32_t d = 0; d < 3; ++d) {
    if (threads <= facts.max_threads && kernel.workgroup[d] <= facts.max_block[d]) continue;
    return UnsupportedError(
        where,
        absl::StrCat("needs blocks of ", absl::StrJoin(kernel.workgroup, " x "), " threads; ",
                     facts.name, " has at most ", absl::StrJoin(facts.max_block, " x "), ", ",
                     facts.max_threads, " in all"));
  }
  if (kernel.shared_bytes > facts.max_shared_optin) {
    return UnsupportedError(
        where, absl::StrCat("needs ", kernel.shared_bytes, " bytes of shared memory; ", facts.name,
                            " has ", facts.max_shared_optin));
  }
  return kernel;
}

}  // namespace

absl::StatusOr<Image> ReadImage(absl::Span<const uint8_t> code, const GpuFacts& facts) {
  flatbuffers::Verifier::Options options;
  options.max_tables = 2 * kMaxKernels;
  flatbuffers::Verifier verifier(code.data(), code.size(), options);
  if (code.size() < 8 || !abi::ImageBufferHasIdentifier(code.data()) ||
      !abi::VerifyImageBuffer(verifier)) {
    return InputError(kWhere, "it is damaged or not one for CUDA");
  }
  const abi::Image& stored = *abi::GetImage(code.data());
  if (stored.sm() > facts.sm) {
    return UnsupportedError(
        kWhere, absl::StrCat("made for sm_", stored.sm(), "; ", facts.name, " is sm_", facts.sm));
  }
  Image image;
  image.ptx = stored.ptx()->c_str();
  if (std::strlen(image.ptx) != stored.ptx()->size() || stored.ptx()->size() == 0) {
    return InputError(kWhere, "ptx", "a text without NUL",
                      absl::StrCat(stored.ptx()->size(), " bytes with one"));
  }
  if (stored.cubins() != nullptr) {
    for (const abi::Cubin* cubin : *stored.cubins()) {
      const absl::Span<const uint8_t> bytes(cubin->bytes()->data(), cubin->bytes()->size());
      if (!IsWholeElf(bytes)) {
        return InputError(
            kWhere, absl::StrCat("the cubin for sm_", cubin->arch(), " is no whole ELF file"));
      }
      if (cubin->arch() == facts.sm) image.cubin = bytes;
    }
  }
  std::set<std::string> names;
  for (const abi::Kernel* kernel : *stored.kernels()) {
    FATHOM_ASSIGN_OR_RETURN(ImageKernel read, ReadKernel(*kernel, facts));
    if (!names.insert(read.name).second) {
      return InputError(kWhere, "the kernel " + read.name + " is there twice");
    }
    image.kernels.push_back(std::move(read));
  }
  return image;
}

}  // namespace fathom::cuda
