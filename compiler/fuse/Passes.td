// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Graph-to-graph passes.
#ifndef FATHOM_COMPILER_FUSE_PASSES_TD
#define FATHOM_COMPILER_FUSE_PASSES_TD

include "mlir/Pass/PassBase.td"

def ChooseAttentionFormPass : Pass<"fathom-choose-attention-form", "::mlir::func::FuncOp"> {
  let summary = "Give every latent attention the form that suits its entry point";
  let description = [{
    `decode` computes one token per sequence: multiplying q by W_UK and the result by W_UV (the
    absorbed form) touches the latent cache alone, 2 (576 + 512) FLOPs per head and cached token of a
    512 + 64 model, and never expands a key. `prefill` computes many tokens: expanding a cached token
    once, 2 x 512 x 256 FLOPs per head, is shared by all of them and leaves 2 (192 + 128) per query,
    so from about 171 queries on the expanded form costs less (docs/design/002-latent-attention.md).

    Both need the two halves of kv_b apart, as views: rows of a head are `nope` rows of W_UK, then
    `v_dim` rows of W_UV. The absorbed form reads W_UK transposed.

    ```mlir
    // before, in @decode
    %o = graph.latent_attention %q kv_b(%w) at(...) form auto {heads = 2, rank = 16, nope = 16, ...}
    // after
    %uk, %uv = slices of expand_shape %w to [2, 32, 16]
    %ukt = linalg.transpose %uk permutation = [0, 2, 1]
    %nope = the first 16 elements of each head of %q
    %ql = graph.linear %nope, %ukt
    %u = graph.latent_attention_absorbed %ql, %q at(...)
    %o = graph.linear %u, %uv
    // after, in @prefill
    %o = graph.latent_attention %q w_uk(%uk) w_uv(%uv) at(...) form expanded
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::mlir::linalg::LinalgDialect",
                           "::fathom::graph::GraphDialect"];
}

def FuseSwigluPass : Pass<"fathom-fuse-swiglu", "::mlir::func::FuncOp"> {
  let summary = "Merge gate projection, up projection and SwiGLU";
  let description = [{
    Two projections of the same input whose only user is one `graph.swiglu` become one
    `graph.linear_swiglu`: the activations are read once and the two intermediate rows never reach
    memory. Projections with a bias or of different encodings stay.

    ```mlir
    // before
    %g = graph.linear %x, %wg : ...
    %u = graph.linear %x, %wu : ...
    %h = graph.swiglu %g, %u : ...
    // after
    %h = graph.linear_swiglu %x, %wg, %wu : ...
    ```
  }];
  let dependentDialects = ["::fathom::graph::GraphDialect"];
}

def FuseResidualPass : Pass<"fathom-fuse-residual", "::mlir::func::FuncOp"> {
  let summary = "Fold residual additions into the projection or the experts they follow";
  let description = [{
    `x + linear(y)` becomes the projection's residual when the projection has no other user; for the
    experts of a layer both the residual stream and the shared experts' output become addends of the
    weighted sum. One pass over memory less per addition. The sum of three terms is re-associated, so
    results change by float32 rounding.

    ```mlir
    // before
    %y = graph.linear %h, %w : ...
    %z = arith.addf %x, %y : tensor<?x64xf32>
    // after
    %z = graph.linear %h, %w residual(%x) : ...
    ```
  }];
  let dependentDialects = ["::fathom::graph::GraphDialect"];
}

def FuseSharedExpertsPass : Pass<"fathom-fuse-shared-experts", "::mlir::func::FuncOp"> {
  let summary = "Make the shared experts members of the routed ones";
  let description = [{
    The shared experts of a layer are published as one MLP of n times an expert's width. Its rows cut
    into n runs are n experts that every token visits with weight 1: they join the stacks of the
    routed ones, and the router appends them to every token's choice (`shared` of
    `graph.moe_route`). A layer has three kernels fewer, and the shared work is cut into workgroups
    together with the rest. The sum over the width is cut into n sums, so results change by float32
    rounding. Needs `fathom-fuse-swiglu` and `fathom-fuse-residual` before it.

    ```mlir
    // before: 64 experts of width 1408, shared ones of 2816 together
    %i, %p = graph.moe_route %logits ... {top_k = 6}
    %h = graph.linear_swiglu %x, %sg, %su
    %s = graph.linear %h, %sd
    %y = graph.moe_experts %x, %i, %p experts(%g, %u, %d) shared(%s) residual(%r)
    // after: 66 experts of width 1408
    %i, %p = graph.moe_route %logits ... {top_k = 6, shared = 2}
    %y = graph.moe_experts %x, %i, %p experts(%g2, %u2, %d2) residual(%r)
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::fathom::graph::GraphDialect"];
}

def MergeProjectionsPass : Pass<"fathom-merge-projections", "::mlir::func::FuncOp"> {
  let summary = "Merge projections that share an input";
  let description = [{
    Projections of the same input without bias or residual, whose weights have one encoding, become
    one with the rows of all; the results are slices of its columns. Every weight but the last must
    have a multiple of 16 rows, so that slices begin at tiles. One kernel instead of two or three, and
    more rows to share among workers. Runs after the fusions that want a projection for themselves.

    ```mlir
    // before
    %q = graph.linear %x, %wq : ... -> tensor<?x3072xf32>
    %c = graph.linear %x, %wkv : ... -> tensor<?x576xf32>
    // after
    %w = tensor.concat dim(0) the sources of %wq, %wkv, encoded
    %y = graph.linear %x, %w : ... -> tensor<?x3648xf32>
    %q = tensor.extract_slice %y[0, 0] [%T, 3072] [1, 1]
    %c = tensor.extract_slice %y[0, 3072] [%T, 576] [1, 1]
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::fathom::graph::GraphDialect"];
}

#endif // FATHOM_COMPILER_FUSE_PASSES_TD
