/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A code image as the compiler makes them, written by hand: the kernels that runtime tests call. */
#include "backends/cpu/abi/cpu_abi.h"

#define KERNEL __attribute__((visibility("hidden"), used)) void

/* tokens, positions, sequence, page_table, cache; push: P */
KERNEL test_append(const fathom_cpu_args* args, uint32_t t, uint32_t y, uint32_t z) {
  const int32_t* tokens = args->bindings[0];
  const int32_t* positions = args->bindings[1];
  const int32_t* sequence = args->bindings[2];
  const int32_t* page_table = args->bindings[3];
  uint32_t* cache = args->bindings[4];
  const int64_t page = page_table[sequence[t] * args->push[0] + positions[t] / 64];
  cache[page * 64 + positions[t] % 64] = (uint32_t)tokens[t] + 1;
}

/* positions, sequence, page_table, logit_rows, cache, hashes; push: P */
KERNEL test_history(const fathom_cpu_args* args, uint32_t r, uint32_t y, uint32_t z) {
  const int32_t* positions = args->bindings[0];
  const int32_t* sequence = args->bindings[1];
  const int32_t* page_table = args->bindings[2];
  const int32_t* logit_rows = args->bindings[3];
  const uint32_t* cache = args->bindings[4];
  uint32_t* hashes = args->bindings[5];
  const int32_t t = logit_rows[r];
  uint32_t hash = 0;
  for (int32_t p = 0; p <= positions[t]; ++p) {
    const int64_t page = page_table[sequence[t] * args->push[0] + p / 64];
    hash = hash * 31 + cache[page * 64 + p % 64];
  }
  hashes[r] = hash;
}

/* hashes, gain, logits; push: vocabulary */
KERNEL test_logits(const fathom_cpu_args* args, uint32_t r, uint32_t y, uint32_t z) {
  const uint32_t* hashes = args->bindings[0];
  const float* gain = args->bindings[1];
  const int64_t vocab = args->push[0];
  float* row = (float*)args->bindings[2] + r * ((vocab + 15) / 16 * 16);
  for (int64_t v = 0; v < vocab; ++v) {
    const uint32_t mixed = (hashes[r] * 2654435761u + (uint32_t)v * 40503u) >> 16;
    row[v] = (float)mixed / 65536.0f * gain[v];
  }
}

/* out: u32[grid]; push: columns, rows. out[(z rows + y) columns + x] += 1 */
KERNEL test_count(const fathom_cpu_args* args, uint32_t x, uint32_t y, uint32_t z) {
  uint32_t* out = args->bindings[0];
  out[(z * args->push[1] + y) * args->push[0] + x] += 1;
}

/* in: u32[n], out: u32[1]; push: n. Sums what an earlier dispatch wrote; uses its scratch. */
KERNEL test_sum(const fathom_cpu_args* args, uint32_t x, uint32_t y, uint32_t z) {
  const uint32_t* in = args->bindings[0];
  uint32_t* out = args->bindings[1];
  volatile uint32_t* scratch = args->scratch;
  for (int64_t i = 0; i < 1000; ++i) scratch[i] = x;
  uint32_t sum = 0;
  for (int64_t i = 0; i < args->push[0]; ++i) sum += in[i];
  for (int64_t i = 0; i < 1000; ++i) sum += scratch[i] != x;
  out[x] = sum;
}

/* out: f32[1]. The smallest normal number halved: 0 when subnormals are flushed. */
KERNEL test_float_mode(const fathom_cpu_args* args, uint32_t x, uint32_t y, uint32_t z) {
  volatile float smallest = 1.17549435e-38f;
  float* out = args->bindings[0];
  out[16 * x] = smallest * 0.5f;
}

/* clang-format off */
#define ENTRY(n, symbol, label, bindings, push, scratch)      \
  "1" #n ": .long " symbol " - 1" #n "b\n"                    \
  "   .long 2" #n "f - 1" #n "b\n"                            \
  "   .long " #bindings ", " #push "\n"                       \
  "   .quad " #scratch "\n"                                   \
  "   .pushsection .rodata.names,\"a\"\n"                     \
  "2" #n ": .asciz \"" label "\"\n"                           \
  "   .popsection\n"
/* clang-format on */

__asm__(
    "   .section .rodata.table,\"a\"\n"
    "   .balign 8\n"
    "   .globl fathom_cpu_table\n"
    "   .type fathom_cpu_table, %object\n"
    "fathom_cpu_table:\n"
    "   .quad 0x3155504346\n"
    "   .long 1, 6\n" /* ABI, entries */
    ENTRY(1, "test_append", "append", 5, 1, 0)
    ENTRY(2, "test_history", "history", 6, 1, 0)
    ENTRY(3, "test_logits", "logits", 3, 1, 0)
    ENTRY(4, "test_count", "count", 1, 2, 0)
    ENTRY(5, "test_sum", "sum", 2, 1, 4000)
    ENTRY(6, "test_float_mode", "float_mode", 1, 0, 0)
    "   .size fathom_cpu_table, . - fathom_cpu_table\n"
    "   .text\n");
