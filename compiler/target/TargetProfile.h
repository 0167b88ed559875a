// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// TargetProfile: what a pass or an emitter may ask about the machine it compiles for.
#ifndef FATHOM_COMPILER_TARGET_TARGETPROFILE_H_
#define FATHOM_COMPILER_TARGET_TARGETPROFILE_H_

#include <string>

namespace fathom {

struct TargetProfile {
  std::string name;      // as in --target, e.g. "cpu:x86-64-v4"
  std::string triple;    // LLVM's, e.g. "x86_64-unknown-linux-gnu"
  std::string cpu;       // LLVM's -mcpu
  std::string features;  // LLVM's -mattr, may be empty
  bool avx512 = false;      // F, BW, DQ, VL
  bool vnni = false;        // vpdpbusd
  bool avx512Bf16 = false;  // vdpbf16ps
  bool f16c = false;        // f16 <-> f32
  bool dotprod = false;     // AArch64 sdot
};

}  // namespace fathom

#endif  // FATHOM_COMPILER_TARGET_TARGETPROFILE_H_
