/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* What generated CPU code and the CPU driver agree on. Plain C, no libc. */
#ifndef FATHOM_BACKENDS_CPU_ABI_CPU_ABI_H_
#define FATHOM_BACKENDS_CPU_ABI_CPU_ABI_H_

#include <stdint.h>

#define FATHOM_CPU_MAGIC 0x3155504346ull /* "FCPU1" */
#define FATHOM_CPU_ABI 1u
/* The one exported symbol of a code image: a fathom_cpu_table. */
#define FATHOM_CPU_TABLE "fathom_cpu_table"

/* Arguments of one dispatch. All pointers are 64-byte aligned. */
typedef struct fathom_cpu_args {
  void* const* bindings; /* one pointer per buffer argument */
  const int64_t* push;   /* the push constants, in order */
  void* scratch;         /* at least the kernel's scratch_bytes, private to the worker, not cleared */
} fathom_cpu_args;

/* Computes workgroup (x, y, z). Workgroups of one dispatch run in any order, concurrently. */
typedef void (*fathom_cpu_kernel)(const fathom_cpu_args* args, uint32_t x, uint32_t y, uint32_t z);

/* Offsets are relative to the field's own struct, so an image needs no relocation. */
typedef struct fathom_cpu_entry {
  int32_t code;           /* (char*)this + code is the fathom_cpu_kernel */
  int32_t name;           /* (char*)this + name is its NUL-terminated name */
  uint32_t bindings;
  uint32_t push;
  uint64_t scratch_bytes;
} fathom_cpu_entry;

typedef struct fathom_cpu_table {
  uint64_t magic;
  uint32_t abi;
  uint32_t entries;
  fathom_cpu_entry entry[];
} fathom_cpu_table;

#endif /* FATHOM_BACKENDS_CPU_ABI_CPU_ABI_H_ */
