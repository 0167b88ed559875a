// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ops on rows: lookup, projections, norms, rotary positions, logits and sampling.
#ifndef FATHOM_DIALECTS_GRAPH_DENSEOPS_TD
#define FATHOM_DIALECTS_GRAPH_DENSEOPS_TD

include "dialects/graph/GraphBase.td"

def Graph_EmbedOp : Graph_InferredOp<"embed", [Pure]> {
  let summary = "rows of the embedding table";
  let description = [{
    result[t, :] = w[tokens[t], :]

    Constraints:
    - C1: the result is f32 [T, cols of w].

    Example:
    ```mlir
    %x = graph.embed %tokens, %w : (tensor<?xi32>, tensor<102400x2048xbf16>) -> tensor<?x2048xf32>
    ```
  }];
  let arguments = (ins Graph_Ids:$tokens, Graph_Matrix:$w);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = "$tokens `,` $w attr-dict `:` functional-type(operands, results)";
}

def Graph_LinearOp : Graph_InferredOp<"linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "a projection: x times w transposed";
  let description = [{
        w [N, K]:    result[t, n]       = sum_k x[t, k] w[n, k]          (+ bias) (+ residual)
        w [G, N, K]: result[t, g N + n] = sum_k x[t, g K + k] w[g, n, k] (+ bias) (+ residual)

    The second form is block-diagonal: one small matrix per head. `bias` and `residual` are the
    fused epilogue. `keep_f32` asks the quantize phase to encode w as f32 whatever the rest gets: a
    router's choice flips on small errors.

    Constraints:
    - C1: the width of x is K, or G K.
    - C2: bias has as many elements as the result has columns.
    - C3: residual has the result's type.
    - C4: the result is f32 [T, N], or [T, G N].

    Example:
    ```mlir
    %y = graph.linear %x, %w bias(%b) residual(%r)
        : (tensor<?x2048xf32>, tensor<512x2048xbf16>, tensor<512xbf16>, tensor<?x512xf32>)
        -> tensor<?x512xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Matrices:$w, Optional<Graph_Vector>:$bias,
                       Optional<Graph_Rows>:$residual, UnitAttr:$keep_f32);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $x `,` $w (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)? attr-dict `:`
    functional-type(operands, results)
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$x, "::mlir::Value":$w,
                                 CArg<"::mlir::Value", "{}">:$bias,
                                 CArg<"::mlir::Value", "{}">:$residual,
                                 CArg<"bool", "false">:$keepF32)>];
  let skipDefaultBuilders = 1;
}

def Graph_LinearSwigluOp : Graph_InferredOp<"linear_swiglu", [Pure]> {
  let summary = "two projections of one input and the SwiGLU between them";
  let description = [{
    result = silu(x w_gate^T) * (x w_up^T); made by the fuse phase from two `linear` and a `swiglu`.

    Constraints:
    - C1: the width of x is the number of columns of the weights.
    - C2: w_gate and w_up have the same type.
    - C3: the result is f32 [T, rows of w_gate].

    Example:
    ```mlir
    %h = graph.linear_swiglu %x, %g, %u
        : (tensor<?x2048xf32>, tensor<1408x2048xbf16>, tensor<1408x2048xbf16>)
        -> tensor<?x1408xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Matrix:$w_gate, Graph_Matrix:$w_up);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $x `,` $w_gate `,` $w_up attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_RmsNormOp : Graph_InferredOp<"rms_norm", [Pure]> {
  let summary = "root-mean-square normalisation";
  let description = [{
    y = x rsqrt(mean(x^2) + eps) gamma over the last dimension. With `groups` = g > 1 a row is g
    runs of n / g elements, each normalised by itself with the same gamma[n / g]: the per-head norm
    of q and k.

    Constraints:
    - C1: `groups` > 0 and `groups` times the length of gamma is the width of x.
    - C2: `eps` is finite and not negative.
    - C3: the result has the type of x.

    Example:
    ```mlir
    %y = graph.rms_norm %x, %gamma {eps = 1.0e-6, groups = 16}
        : (tensor<?x2048xf32>, tensor<128xbf16>) -> tensor<?x2048xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Vector:$gamma, Graph_F64:$eps,
                       DefaultValuedAttr<Graph_I64, "1">:$groups);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = "$x `,` $gamma attr-dict `:` functional-type(operands, results)";
}

def Graph_LayerNormOp : Graph_InferredOp<"layer_norm", [Pure]> {
  let summary = "layer normalisation";
  let description = [{
    y = (x - mean(x)) rsqrt(var(x) + eps) gamma (+ beta) over the last dimension; var is the mean
    of the squared deviations.

    Constraints:
    - C1: gamma has as many elements as x has columns.
    - C2: beta, if there, has as many as gamma.
    - C3: `eps` is finite and not negative.
    - C4: the result has the type of x.

    Example:
    ```mlir
    %y = graph.layer_norm %x, %gamma, %beta {eps = 1.0e-5}
        : (tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>) -> tensor<?x128xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Vector:$gamma, Optional<Graph_Vector>:$beta,
                       Graph_F64:$eps);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $x `,` $gamma (`,` $beta^)? attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_SwigluOp : Graph_InferredOp<"swiglu", [Pure]> {
  let summary = "silu(gate) times up";
  let description = [{
    result = gate / (1 + exp(-gate)) * up

    Constraints:
    - C1: gate and up have the same type.
    - C2: the result has the type of gate.

    Example:
    ```mlir
    %h = graph.swiglu %g, %u : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$gate, Graph_Rows:$up);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = "$gate `,` $up attr-dict `:` functional-type(operands, results)";
}

def Graph_RopeOp : Graph_InferredOp<"rope", [Pure]> {
  let summary = "rotary positions";
  let description = [{
    A row of x is `heads` heads of `head_dim` elements. Elements [offset, offset + dim) of each head
    are rotated, the others pass through. With c_i, s_i the cosine and sine of position p from the
    table, times `mscale`, pair i < dim/2 becomes

        (a, b) -> (a c_i - b s_i, a s_i + b c_i)

    where (a, b) are elements 2i and 2i + 1 of the rotated part if `interleaved`, else i and
    i + dim/2.

    Constraints:
    - C1: the width of x is `heads` * `head_dim`.
    - C2: `dim` is even and greater than 0, `offset` >= 0 and `offset` + `dim` <= `head_dim`.
    - C3: the table has `dim` columns and more than 512 rows.
    - C4: `positions` has T elements.
    - C5: `mscale` is finite and greater than 0.
    - C6: the result has the type of x.

    Example:
    ```mlir
    %r = graph.rope %q, %positions, %table
        {heads = 16, head_dim = 192, offset = 128, dim = 64, interleaved = true}
        : (tensor<?x3072xf32>, tensor<?xi32>, tensor<832x64xf32>) -> tensor<?x3072xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Ids:$positions, Graph_Table:$table, Graph_I64:$heads,
                       Graph_I64:$head_dim, Graph_I64:$offset, Graph_I64:$dim,
                       BoolAttr:$interleaved, DefaultValuedAttr<Graph_F64, "1.0">:$mscale);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $x `,` $positions `,` $table attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_LogitsOp : Graph_InferredOp<"logits", [Pure]> {
  let summary = "final norm and head of the rows that want logits";
  let description = [{
    result[r, v] = sum_k rms_norm(x[logit_rows[r], :], gamma, eps)[k] head[v, k]

    Gathering first means that a prefill of T tokens pays for the head of R rows only.

    Constraints:
    - C1: gamma has as many elements as x has columns.
    - C2: head has as many columns as x.
    - C3: `eps` is finite and not negative.
    - C4: the result is f32 [R, rows of head].

    Example:
    ```mlir
    %l = graph.logits %x, %gamma, %head, %rows {eps = 1.0e-6}
        : (tensor<?x2048xf32>, tensor<2048xbf16>, tensor<102400x2048xbf16>, tensor<?xi32>)
        -> tensor<?x102400xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Vector:$gamma, Graph_Matrix:$head,
                       Graph_Ids:$logit_rows, Graph_F64:$eps);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $x `,` $gamma `,` $head `,` $logit_rows attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_SampleOp : Graph_InferredOp<"sample", [Pure]> {
  let summary = "the next token of each row";
  let description = [{
    Row by row: p = softmax(logits / temperature); keep the `top_k` largest (0: all); of those the
    smallest set, largest first, whose sum reaches `top_p` of theirs; of those the ones with
    p >= `min_p` max(p); the result is the first kept id, largest first, at which the running sum
    over the kept reaches `draw` times their sum. Ties go to the lower id; temperature 0 is argmax.
    `draw` is a number in [0, 1) per row, so the op is pure and repeats itself. The runtime samples
    on the host for now: the lower phase refuses this op.

    Constraints:
    - C1: every other operand has R elements, R the rows of logits.
    - C2: the result is i32 [R].

    Example:
    ```mlir
    %id = graph.sample %logits, %temperature, %top_k, %top_p, %min_p, %draw
        : (tensor<?x512xf32>, tensor<?xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>,
           tensor<?xf32>) -> tensor<?xi32>
    ```
  }];
  let arguments = (ins Graph_Rows:$logits, Graph_Floats:$temperature, Graph_Ids:$top_k,
                       Graph_Floats:$top_p, Graph_Floats:$min_p, Graph_Floats:$draw);
  let results = (outs Graph_Ids:$result);
  let assemblyFormat = [{
    $logits `,` $temperature `,` $top_k `,` $top_p `,` $min_p `,` $draw attr-dict `:`
    functional-type(operands, results)
  }];
}

#endif // FATHOM_DIALECTS_GRAPH_DENSEOPS_TD
