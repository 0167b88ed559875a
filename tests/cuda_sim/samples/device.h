// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names for what the samples need of a device, over clang's NVPTX builtins; no CUDA header is used.
#ifndef FATHOM_TESTS_CUDA_SIM_SAMPLES_DEVICE_H_
#define FATHOM_TESTS_CUDA_SIM_SAMPLES_DEVICE_H_

#define KERNEL extern "C" __attribute__((global)) void
#define SHARED static __attribute__((shared, aligned(16)))
#define THREAD_X ((int)__nvvm_read_ptx_sreg_tid_x())
#define BLOCK_X ((int)__nvvm_read_ptx_sreg_ctaid_x())
#define BLOCK_Y ((int)__nvvm_read_ptx_sreg_ctaid_y())
#define BARRIER() __syncthreads()
#define SHUFFLE_XOR(v, distance) __nvvm_shfl_sync_bfly_f32(~0u, v, distance, 31)

typedef unsigned uint4 __attribute__((ext_vector_type(4)));
typedef float float2 __attribute__((ext_vector_type(2)));
typedef float float4 __attribute__((ext_vector_type(4)));
typedef _Float16 half2 __attribute__((ext_vector_type(2)));
typedef _Float16 half4 __attribute__((ext_vector_type(4)));

__attribute__((device)) static inline int DP4A(unsigned a, int b, int c) {
  int d;
  __asm__("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

#endif  // FATHOM_TESTS_CUDA_SIM_SAMPLES_DEVICE_H_
