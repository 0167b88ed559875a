// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Loads the ELF shared object of a code segment into memory, without the system's dynamic linker.
#ifndef FATHOM_BACKENDS_CPU_DRIVER_ELF_IMAGE_H_
#define FATHOM_BACKENDS_CPU_DRIVER_ELF_IMAGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "backends/cpu/abi/cpu_abi.h"

namespace fathom::cpu {

// One kernel of an image; `code` is executable as long as the image lives.
struct ImageKernel {
  std::string name;
  fathom_cpu_kernel code = nullptr;
  uint32_t bindings = 0;
  uint32_t push = 0;
  uint64_t scratch_bytes = 0;
};

// A position-independent shared object for this machine's architecture with no imports, no
// thread-local storage, no initialisers and no relocations but RELATIVE. No page is ever writable
// and executable. Every offset is checked against the bytes given; what the code does once called
// is not.
class ElfImage {
 public:
  static absl::StatusOr<std::unique_ptr<ElfImage>> Load(absl::Span<const uint8_t> bytes);
  ~ElfImage();
  ElfImage(const ElfImage&) = delete;
  ElfImage& operator=(const ElfImage&) = delete;

  // What fathom_cpu_table lists.
  const std::vector<ImageKernel>& kernels() const { return kernels_; }

 private:
  friend class ElfLoader;
  ElfImage(uint8_t* base, uint64_t size) : base_(base), size_(size) {}

  uint8_t* const base_;
  const uint64_t size_;
  std::vector<ImageKernel> kernels_;
};

}  // namespace fathom::cpu

#endif  // FATHOM_BACKENDS_CPU_DRIVER_ELF_IMAGE_H_
