// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A sample for the interpreter: C = A B^T in f16 by mma.sync, fed by cp.async and ldmatrix.
//
// A block of four warps computes 64 x 32 of C; warp w the rows 16 w. Tiles of K = 32 come by
// asynchronous copies into two buffers, one ahead of the other.
#include "device.h"

enum { kRows = 64, kColumns = 32, kDepth = 32, kStride = 40 };  // 80 bytes: no bank conflicts

__attribute__((device)) static inline void CopyAsync(void* to, const void* from) {
  const unsigned address =
      (unsigned)(unsigned long)(__attribute__((address_space(3))) void*)to;
  __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from)
                   : "memory");
}

__attribute__((device)) static inline uint4 LoadMatrices(const void* row) {
  const unsigned address =
      (unsigned)(unsigned long)(__attribute__((address_space(3))) const void*)row;
  uint4 d;
  unsigned a, b, c, e;
  __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(a), "=r"(b), "=r"(c), "=r"(e)
                   : "r"(address)
                   : "memory");
  d[0] = a, d[1] = b, d[2] = c, d[3] = e;
  return d;
}

__attribute__((device)) static inline void Multiply(float4* c, uint4 a, unsigned b0, unsigned b1) {
  float x = (*c)[0], y = (*c)[1], z = (*c)[2], w = (*c)[3];
  __asm__ volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(x), "+f"(y), "+f"(z), "+f"(w)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  (*c)[0] = x, (*c)[1] = y, (*c)[2] = z, (*c)[3] = w;
}

KERNEL mma_matmul(const _Float16* a, const _Float16* b, float* c, long k, long columns) {
  SHARED _Float16 a_tile[2][kRows][kStride];
  SHARED _Float16 b_tile[2][kColumns][kStride];
  const int lane = THREAD_X & 31, warp = THREAD_X >> 5;
  const long first_row = (long)BLOCK_X * kRows, first_column = (long)BLOCK_Y * kColumns;
  float4 sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = 0;
  const int copy_row = THREAD_X >> 2, copy_column = (THREAD_X & 3) * 8;
  const long steps = k / kDepth;
  for (long s = -1; s < steps; ++s) {
    if (s + 1 < steps) {
      const long from = (s + 1) * kDepth + copy_column;
      const int buffer = (int)(s + 1) & 1;
      for (int half = 0; half < 2; ++half) {
        const int row = copy_row + 32 * half;
        CopyAsync(&a_tile[buffer][row][copy_column], a + (first_row + row) * k + from);
      }
      CopyAsync(&b_tile[buffer][copy_row][copy_column], b + (first_column + copy_row) * k + from);
    }
    __asm__ volatile("cp.async.commit_group;" ::: "memory");
    if (s < 0) continue;
    __asm__ volatile("cp.async.wait_group 1;" ::: "memory");
    BARRIER();
    const int buffer = (int)s & 1;
#pragma unroll
    for (int kk = 0; kk < kDepth; kk += 16) {
      const uint4 fragment =
          LoadMatrices(&a_tile[buffer][16 * warp + (lane & 15)][kk + (lane >> 4) * 8]);
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        const int row = 16 * pair + (lane & 7) + (lane >> 4) * 8;
        const uint4 w = LoadMatrices(&b_tile[buffer][row][kk + (lane >> 3 & 1) * 8]);
        Multiply(&sums[2 * pair], fragment, w[0], w[1]);
        Multiply(&sums[2 * pair + 1], fragment, w[2], w[3]);
      }
    }
    BARRIER();
  }
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const long row = first_row + 16 * warp + (lane >> 2), column = first_column + 8 * n + (lane & 3) * 2;
    *(float2*)(c + row * columns + column) = sums[n].xy;
    *(float2*)(c + (row + 8) * columns + column) = sums[n].zw;
  }
}
