// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The paged cache and the attention over it, latent and grouped-query.
#ifndef FATHOM_DIALECTS_GRAPH_ATTENTIONOPS_TD
#define FATHOM_DIALECTS_GRAPH_ATTENTIONOPS_TD

include "dialects/graph/GraphBase.td"

def Graph_LatentCompressOp : Graph_InferredOp<"latent_compress", [Pure]> {
  let summary = "the cache row of a latent model";
  let description = [{
    x holds per token a raw latent c (`rank` elements) and a key part k (`rope_dim` elements, shared
    by all heads): result = [rms_norm(c, gamma, eps) | rope(k)], with `rope` as in `graph.rope`.
    The key part is not normalised.

    Constraints:
    - C1: the width of x is `rank` + `rope_dim`, both greater than 0.
    - C2: gamma has `rank` elements.
    - C3: `rope_dim` is even, the table has that many columns and more than 512 rows.
    - C4: `positions` has T elements.
    - C5: `eps` is finite and not negative, `mscale` finite and greater than 0.
    - C6: the result has the type of x.

    Example:
    ```mlir
    %row = graph.latent_compress %c, %gamma, %positions, %table
        {rank = 512, rope_dim = 64, eps = 1.0e-6, interleaved = true}
        : (tensor<?x576xf32>, tensor<512xbf16>, tensor<?xi32>, tensor<832x64xf32>)
        -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Vector:$gamma, Graph_Ids:$positions, Graph_Table:$table,
                       Graph_I64:$rank, Graph_I64:$rope_dim, Graph_F64:$eps, BoolAttr:$interleaved,
                       DefaultValuedAttr<Graph_F64, "1.0">:$mscale);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $x `,` $gamma `,` $positions `,` $table attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_CacheAppendOp : Graph_Op<"cache_append", [Graph_WritesCache]> {
  let summary = "writes the rows of this call's tokens into the paged cache";
  let description = [{
    The row of token t goes to layer `layer`, physical page
    page_table[sequence[t], positions[t] / 64], place positions[t] mod 64. `rows` is one latent row,
    or k and v of a GQA layer, stored one after the other. Ops that read the same layer see what was
    written before them in program order.

    Constraints:
    - C1: there are one or two rows; two have the same type.
    - C2: `positions` and `sequence` have T elements.
    - C3: `layer` >= 0 and, if the module has `graph.kv`, less than its `layers`.
    - C4: if the module has `graph.kv`, the widths of the rows sum up to its `row_elements` and
      there is one row if its kind is "latent", two if it is "gqa".

    Example:
    ```mlir
    graph.cache_append %k, %v at(%positions, %sequence, %page_table) {layer = 3}
        : tensor<?x512xf32>, tensor<?x512xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
    ```
  }];
  let arguments = (ins Variadic<Graph_Rows>:$rows, Graph_Ids:$positions, Graph_Ids:$sequence,
                       Graph_Pages:$page_table, Graph_I64:$layer);
  let assemblyFormat = [{
    $rows `at` `(` $positions `,` $sequence `,` $page_table `)` attr-dict `:` type(operands)
  }];
}

def Graph_LatentAttentionOp
    : Graph_InferredOp<"latent_attention", [Graph_ReadsCache, AttrSizedOperandSegments]> {
  let summary = "attention whose keys and values are compressed into one latent row per token";
  let description = [{
    A row of q is `heads` heads of [nope | rope_dim] elements, the second part rotated. The cache
    row of token s is [c_s | k_s] (`rank` and `rope_dim` elements). kv_b is, per head, W_UK[h]
    [nope, rank] over W_UV[h] [v_dim, rank]:

        score[h, s]  = scale (q_nope[h] . (W_UK[h] c_s) + q_rope[h] . k_s),   s <= position
        result[t, h] = sum_s softmax_s(score[h, s]) W_UV[h] c_s

    `form` says how to compute that: `expanded` makes keys and values from the latent, good for many
    tokens; `absorbed` multiplies q by W_UK and the result by W_UV instead, good for one token
    (`graph.latent_attention_absorbed`); `auto` leaves the choice, per entry point, to the graph
    phase. In the expanded form the two halves may be given apart as w_uk and w_uv.

    Constraints:
    - C1: the width of q is `heads` (`nope` + `rope_dim`); all sizes are greater than 0.
    - C2: either kv_b is there or both of w_uk and w_uv are.
    - C3: kv_b is [heads (nope + v_dim), rank].
    - C4: w_uk is [heads, nope, rank], w_uv [heads, v_dim, rank], and the form is `expanded`.
    - C5: `positions` and `sequence` have T elements, `page_table` and `context_length` B rows.
    - C6: `layer` >= 0 and, if the module has `graph.kv`, less than its `layers`; its kind is
      "latent" and its `row_elements` are rank + rope_dim.
    - C7: `scale` is finite and greater than 0.
    - C8: the result is f32 [T, heads v_dim].

    Example:
    ```mlir
    %o = graph.latent_attention %q kv_b(%w)
        at(%positions, %sequence, %page_table, %context_length) form auto
        {layer = 0, heads = 16, rank = 512, nope = 128, rope_dim = 64, v_dim = 128,
         scale = 0.1147213867929261}
        : (tensor<?x3072xf32>, tensor<4096x512xbf16>, tensor<?xi32>, tensor<?xi32>,
           tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x2048xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$q, Optional<Graph_Matrix>:$kv_b, Optional<Graph_Batch>:$w_uk,
                       Optional<Graph_Batch>:$w_uv, Graph_Ids:$positions, Graph_Ids:$sequence,
                       Graph_Pages:$page_table, Graph_Ids:$context_length, Graph_I64:$layer,
                       Graph_I64:$heads, Graph_I64:$rank, Graph_I64:$nope, Graph_I64:$rope_dim,
                       Graph_I64:$v_dim, Graph_F64:$scale,
                       DefaultValuedAttr<Graph_FormAttr, "AttentionForm::Auto">:$form);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $q (`kv_b` `(` $kv_b^ `)`)? (`w_uk` `(` $w_uk^ `)`)? (`w_uv` `(` $w_uv^ `)`)?
    `at` `(` $positions `,` $sequence `,` $page_table `,` $context_length `)`
    `form` `` $form attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_LatentAttentionAbsorbedOp
    : Graph_InferredOp<"latent_attention_absorbed", [Graph_ReadsCache]> {
  let summary = "latent attention in the space of the latent";
  let description = [{
    The middle of `graph.latent_attention` in its absorbed form, one key and value head shared by
    all query heads:

        score[h, s]  = scale (q_latent[h] . c_s + q_rope[h] . k_s),   s <= position
        result[t, h] = sum_s softmax_s(score[h, s]) c_s

    q_latent[h] = W_UK[h]^T q_nope[h] is a `graph.linear` before it, W_UV[h] one after it. q is
    given for its rotated part, elements [nope, nope + rope_dim) of each head.

    Constraints:
    - C1: the width of q_latent is `heads` `rank`; all sizes are greater than 0.
    - C2: the width of q is `heads` (`nope` + `rope_dim`) and T agrees with q_latent.
    - C3: `positions` and `sequence` have T elements, `page_table` and `context_length` B rows.
    - C4: as C6 of `graph.latent_attention`.
    - C5: `scale` is finite and greater than 0.
    - C6: the result has the type of q_latent.

    Example:
    ```mlir
    %u = graph.latent_attention_absorbed %ql, %q
        at(%positions, %sequence, %page_table, %context_length)
        {layer = 0, heads = 16, rank = 512, nope = 128, rope_dim = 64, scale = 0.1147213867929261}
        : (tensor<?x8192xf32>, tensor<?x3072xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>,
           tensor<?xi32>) -> tensor<?x8192xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$q_latent, Graph_Rows:$q, Graph_Ids:$positions,
                       Graph_Ids:$sequence, Graph_Pages:$page_table, Graph_Ids:$context_length,
                       Graph_I64:$layer, Graph_I64:$heads, Graph_I64:$rank, Graph_I64:$nope,
                       Graph_I64:$rope_dim, Graph_F64:$scale);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $q_latent `,` $q `at` `(` $positions `,` $sequence `,` $page_table `,` $context_length `)`
    attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_AttentionOp : Graph_InferredOp<"attention", [Graph_ReadsCache]> {
  let summary = "grouped-query attention over the paged cache";
  let description = [{
    q is rotated, `heads` heads of `head_dim`; the cache row is [k | v], each `kv_heads` heads of
    `head_dim`. Query head h uses key and value head g = h kv_heads / heads (integer division):

        score[h, s]  = scale q[h] . k_s[g],   s <= position, s > position - window if window > 0
        result[t, h] = sum_s softmax_s(score[h, s]) v_s[g]

    With `sinks` the denominator of head h's softmax gains exp(sinks[h]). heads = kv_heads is plain
    multi-head attention.

    Constraints:
    - C1: the width of q is `heads` * `head_dim`; all sizes are greater than 0.
    - C2: `kv_heads` divides `heads`.
    - C3: sinks, if there, has `heads` elements.
    - C4: `positions` and `sequence` have T elements, `page_table` and `context_length` B rows.
    - C5: `layer` >= 0 and, if the module has `graph.kv`, less than its `layers`; its kind is "gqa"
      and its `row_elements` are 2 kv_heads head_dim.
    - C6: `scale` is finite and greater than 0, `window` >= 0.
    - C7: the result has the type of q.

    Example:
    ```mlir
    %o = graph.attention %q at(%positions, %sequence, %page_table, %context_length)
        {layer = 0, heads = 32, kv_heads = 8, head_dim = 128, scale = 0.08838834764831845}
        : (tensor<?x4096xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>)
        -> tensor<?x4096xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$q, Graph_Ids:$positions, Graph_Ids:$sequence,
                       Graph_Pages:$page_table, Graph_Ids:$context_length,
                       Optional<Graph_Vector>:$sinks, Graph_I64:$layer, Graph_I64:$heads,
                       Graph_I64:$kv_heads, Graph_I64:$head_dim, Graph_F64:$scale,
                       DefaultValuedAttr<Graph_I64, "0">:$window);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $q `at` `(` $positions `,` $sequence `,` $page_table `,` $context_length `)`
    (`sinks` `(` $sinks^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

#endif // FATHOM_DIALECTS_GRAPH_ATTENTIONOPS_TD
