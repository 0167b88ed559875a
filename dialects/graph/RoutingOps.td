// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Mixture of experts: the router and the grouped experts.
#ifndef FATHOM_DIALECTS_GRAPH_ROUTINGOPS_TD
#define FATHOM_DIALECTS_GRAPH_ROUTINGOPS_TD

include "dialects/graph/GraphBase.td"

def Graph_MoeRouteOp : Graph_InferredOp<"moe_route", [Pure]> {
  let summary = "which experts a token goes to, and with what weight";
  let description = [{
    s = softmax(logits), sigmoid(logits) or sqrt(softplus(logits)) per `scoring`. What is compared
    is b = s, or s + bias for `noaux_tc`. `greedy` takes the `top_k` largest b. The other methods
    first cut the E experts into `n_group` runs, score each by its largest b
    (`group_limited_greedy`) or the sum of its two largest (`noaux_tc`), and keep only the experts
    of the `topk_group` best.

        weight[t, j] = scale s[index[t, j]] (/ (sum_j s[index[t, j]] + norm_eps) if normalize)

    The bias selects and never weighs. Ties go to the lower index; slots are ordered by falling b.

    With `shared` = s > 0 every token visits s more experts, the ones behind the E routed ones:
    index[t, top_k + i] = E + i and weight[t, top_k + i] = 1 for i < s.

    Worked example (noaux_tc, sigmoid, 8 experts, 4 groups, topk_group 2, top_k 3, normalize,
    scale 2.5): logits [2, -1, .5, .3, -2, 1.5, 0, -.5] and bias [0, 0, .3, 0, -.9, -.9, .1, 0] give
    group scores [1.1497, 1.4969, -0.8632, 0.9775], so groups 1 and 0; experts [2, 0, 3]; weights
    [0.7490, 1.0598, 0.6912].

    Constraints:
    - C1: 0 < `top_k` <= E.
    - C2: `n_group` > 0 divides E and 0 < `topk_group` <= `n_group`.
    - C3: `top_k` <= `topk_group` E / `n_group`: the groups kept hold enough experts.
    - C4: bias is there if and only if the method is `noaux_tc`, and has E elements.
    - C5: `greedy` has one group.
    - C6: `noaux_tc` with several groups has at least two experts in each.
    - C7: `scale` is finite and greater than 0, `norm_eps` finite and not negative.
    - C8: `shared` is not negative.
    - C9: the results are i32 [T, top_k + shared] and f32 [T, top_k + shared].

    Example:
    ```mlir
    %index, %weight = graph.moe_route %logits bias(%b) scoring sigmoid method noaux_tc
        {top_k = 8, n_group = 8, topk_group = 4, normalize = true, scale = 2.5}
        : (tensor<?x256xf32>, tensor<256xf32>) -> (tensor<?x8xi32>, tensor<?x8xf32>)
    ```
  }];
  let arguments = (ins Graph_Rows:$logits, Optional<Graph_Vector>:$bias,
                       Graph_ScoringAttr:$scoring, Graph_MethodAttr:$method, Graph_I64:$top_k,
                       DefaultValuedAttr<Graph_I64, "1">:$n_group,
                       DefaultValuedAttr<Graph_I64, "1">:$topk_group,
                       DefaultValuedAttr<BoolAttr, "false">:$normalize,
                       DefaultValuedAttr<Graph_F64, "1.0">:$scale,
                       DefaultValuedAttr<Graph_F64, "1.0e-20">:$norm_eps,
                       DefaultValuedAttr<Graph_I64, "0">:$shared);
  let results = (outs Graph_Slots:$index, Graph_Rows:$weight);
  let assemblyFormat = [{
    $logits (`bias` `(` $bias^ `)`)? `scoring` `` $scoring `method` `` $method
    attr-dict `:` functional-type(operands, results)
  }];
}

def Graph_MoeExpertsOp
    : Graph_InferredOp<"moe_experts", [Pure, AttrSizedOperandSegments]> {
  let summary = "the experts a token was routed to, weighted and summed";
  let description = [{
        result[t] = sum_j weight[t, j] E_index[t, j](x[t])  (+ shared[t]) (+ residual[t])
        E_e(x)    = w_down[e] (silu(w_gate[e] x) * (w_up[e] x))

    Slots are summed in order. `shared` (the shared experts' output) and `residual` are the fused
    epilogue.

    Constraints:
    - C1: index and weight have the same shape [T, k].
    - C2: w_gate and w_up have the same type [E, I, H], H the width of x.
    - C3: w_down is [E, H, I].
    - C4: T of index agrees with x.
    - C5: shared and residual, if there, have the result's type.
    - C6: the result has the type of x.

    Example:
    ```mlir
    %y = graph.moe_experts %x, %index, %weight experts(%g, %u, %d) shared(%s)
        : (tensor<?x2048xf32>, tensor<?x6xi32>, tensor<?x6xf32>, tensor<64x1408x2048xbf16>,
           tensor<64x1408x2048xbf16>, tensor<64x2048x1408xbf16>, tensor<?x2048xf32>)
        -> tensor<?x2048xf32>
    ```
  }];
  let arguments = (ins Graph_Rows:$x, Graph_Slots:$index, Graph_Rows:$weight, Graph_Batch:$w_gate,
                       Graph_Batch:$w_up, Graph_Batch:$w_down, Optional<Graph_Rows>:$shared,
                       Optional<Graph_Rows>:$residual);
  let results = (outs Graph_Rows:$result);
  let assemblyFormat = [{
    $x `,` $index `,` $weight `experts` `(` $w_gate `,` $w_up `,` $w_down `)`
    (`shared` `(` $shared^ `)`)? (`residual` `(` $residual^ `)`)? attr-dict `:`
    functional-type(operands, results)
  }];
}

#endif // FATHOM_DIALECTS_GRAPH_ROUTINGOPS_TD
