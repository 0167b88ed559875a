// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernels that this machine may not run still compile for every target, without a call to any
// library.
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

std::vector<KernelSpec> everyFamily(const std::string& kv) {
  std::string cache =
      ", kv = \"" + kv + "\", page_tokens = 64, page_bytes = 1048576";
  std::string rope = ", interleaved = true, mscale = 1.0";
  std::string latent =
      "heads = 16, rank = 48, dim = 24, scale = 0.1, q_ld = 2048, q_head_ld = 64, "
      "q_offset = 0" +
      cache;
  std::string gqa =
      "heads = 6, kv_heads = 2, head_dim = 48, scale = 0.1, q_ld = 288, window = 0" + cache;
  return {
      {"add", "add", "n = 37, ld = 48"},
      {"swiglu", "swiglu", "n = 37, gate_ld = 48, up_ld = 48, out_ld = 48"},
      {"combine", "combine", "n = 37, ld = 48, top_k = 2, shared = true"},
      {"encode_i8", "encode",
       "n = 100, groups = 1, in_ld = 112, in_offset = 0, act = \"i8\", act_stride = 192"},
      {"encode_bf16", "encode",
       "n = 100, groups = 1, in_ld = 112, in_offset = 0, act = \"bf16\", act_stride = 256"},
      {"norm", "norm",
       "n = 100, eps = 1.0e-6, in_ld = 112, in_offset = 0, rows_per_token = 1, gather = false, "
       "out_f32 = true, out_ld = 112, out_offset = 0, out_act = \"i8\", act_stride = 192"},
      {"rope", "rope",
       "heads = 2, dim = 24, in_ld = 64, in_head_ld = 24, in_offset = 0, out_ld = 64, out_head_ld "
       "= 24, "
       "out_offset = 0" +
           rope},
      {"latent_append", "latent_append",
       "rank = 48, dim = 24, eps = 1.0e-6, in_ld = 80, in_offset = 0" + rope + cache},
      {"kv_append", "kv_append",
       "kv_heads = 2, head_dim = 48, dim = 24, k_ld = 96, k_offset = 0, v_ld = 96, v_offset = 0" +
           rope + cache},
      {"route", "route",
       "experts = 40, top_k = 4, n_group = 5, topk_group = 2, scoring = \"sqrt_softplus\", method "
       "= "
       "\"noaux_tc\", normalize = true, scale = 2.5, in_ld = 48, norm_eps = 1.0e-20"},
      {"route_plan", "route_plan", "experts = 40, top_k = 4"},
      {"latent_attention", "latent_attention", latent + ", splits = 4"},
      {"latent_attention_expanded", "latent_attention_expanded",
       latent + ", nope = 32, v = 48, enc = \"q4\""},
      {"attention", "attention", gqa + ", splits = 4"},
      {"attention_prefill", "attention_prefill", gqa + ", grid_heads = 2"},
      {"attention_combine", "attention_combine", "heads = 6, width = 48, splits = 4, out_ld = 288"},
  };
}

TEST(Targets, EveryFamilyCompilesEverywhere) {
  for (const char* target : {"cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:aarch64"})
    for (const char* kv : {"f32", "bf16"})
      for (const KernelSpec& spec : everyFamily(kv)) {
        SCOPED_TRACE(std::string(target) + " " + kv);
        EXPECT_EQ(compileError(target, spec), "") << spec.name;
      }
}

}  // namespace
}  // namespace fathom::testing
