#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Makes the PTX of the samples again; needs clang 22. The tests read the files that are committed.
set -euo pipefail
cd "$(dirname "$0")"
for name in q4_matvec rms_norm mma_matmul; do
  for arch in "sm_80 ptx80" "sm_120 ptx87"; do
    set -- $arch
    clang++-22 -x cuda --cuda-device-only -nocudainc -nocudalib --cuda-gpu-arch="$1" -O3 \
      -Xclang -target-feature -Xclang "+$2" -fno-ident -S "$name.c" -o "$name.$1.ptx"
  done
done
