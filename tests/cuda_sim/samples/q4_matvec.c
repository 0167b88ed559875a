// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A sample for the interpreter: y = W x, W in tile16 q4, x in int8 groups of 32 with scale and 8 sum.
//
// Made into q4_matvec.sm_*.ptx by make_samples.sh. A block owns a tile of 16 rows, its four warps
// split K; lane = (group, j, row quad) of a superblock, so a warp reads 512 consecutive bytes.
#include "device.h"

typedef struct {
  float scale;    // of the group's 32 values
  float offset8;  // 8 scale sum: what the nibbles' offset of 8 adds up to
} group_t;

KERNEL q4_matvec(const uint4* weights, const int* x, const group_t* groups, float* y,
                 long superblocks) {
  SHARED float partial[4][16];
  const int lane = THREAD_X & 31, warp = THREAD_X >> 5;
  const int row_quad = lane & 3, j = lane >> 2 & 3, group = lane >> 4;
  const uint4* tile = weights + BLOCK_X * superblocks * 36;
  float sum[4] = {0, 0, 0, 0};
  for (long s = warp; s < superblocks; s += 4) {
    const uint4* block = tile + s * 36;
    const uint4 words = block[4 + lane];
    const half4 scales = ((const half4*)block)[group * 4 + row_quad];
    const int low = x[s * 16 + group * 8 + j], high = x[s * 16 + group * 8 + 4 + j];
    const group_t g = groups[s * 2 + group];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int dot = DP4A(words[i] & 0x0f0f0f0f, low, 0);
      dot = DP4A(words[i] >> 4 & 0x0f0f0f0f, high, dot);
      const float value = (float)dot * g.scale - (j == 0 ? g.offset8 : 0.0f);
      sum[i] += (float)scales[i] * value;
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    sum[i] += SHUFFLE_XOR(sum[i], 4);
    sum[i] += SHUFFLE_XOR(sum[i], 8);
    sum[i] += SHUFFLE_XOR(sum[i], 16);
  }
  if (lane < 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) partial[warp][row_quad * 4 + i] = sum[i];
  }
  BARRIER();
  if (THREAD_X < 16) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < 4; ++w) total += partial[w][THREAD_X];
    y[BLOCK_X * 16 + THREAD_X] = total;
  }
}
