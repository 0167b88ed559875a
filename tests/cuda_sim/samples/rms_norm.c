// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A sample for the interpreter: RMS norm of rows, by shuffles and shared memory.
#include "device.h"

KERNEL rms_norm(const float* x, const float* gamma, float* y, long n, float eps) {
  SHARED float sums[8];
  const int lane = THREAD_X & 31, warp = THREAD_X >> 5;
  const float* row = x + BLOCK_X * n;
  float sum = 0;
  for (long i = THREAD_X; i < n; i += 256) sum += row[i] * row[i];
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) sum += SHUFFLE_XOR(sum, distance);
  if (lane == 0) sums[warp] = sum;
  BARRIER();
  float total = 0;
#pragma unroll
  for (int w = 0; w < 8; ++w) total += sums[w];
  const float scale = __nvvm_rsqrt_approx_f(total / (float)n + eps);
  for (long i = THREAD_X; i < n; i += 256) y[BLOCK_X * n + i] = row[i] * scale * gamma[i];
}
