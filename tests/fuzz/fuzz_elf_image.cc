// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code images: loading, never running.
#include "backends/cpu/driver/elf_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)fathom::cpu::ElfImage::Load({data, size});
  return 0;
}
