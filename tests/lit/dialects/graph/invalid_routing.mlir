// RUN: fathom-opt %s -split-input-file -verify-diagnostics

func.func @moe_route_c1(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C1: top_k must be in [1, 8], got 0}}
  %i, %w = graph.moe_route %l scoring softmax method greedy {top_k = 0} : (tensor<?x8xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  return
}

// -----

func.func @moe_route_c1_many(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C1: top_k must be in [1, 8], got 9}}
  %i, %w = graph.moe_route %l scoring softmax method greedy {top_k = 9} : (tensor<?x8xf32>) -> (tensor<?x9xi32>, tensor<?x9xf32>)
  return
}

// -----

func.func @moe_route_c2(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C2: n_group 3 must divide 8 experts}}
  %i, %w = graph.moe_route %l scoring softmax method group_limited_greedy {top_k = 3, n_group = 3} : (tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c2_topk_group(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C2: n_group 4 must divide 8 experts and topk_group 5 be in [1, n_group]}}
  %i, %w = graph.moe_route %l scoring softmax method group_limited_greedy {top_k = 3, n_group = 4, topk_group = 5} : (tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c3(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C3: 1 groups of 2 experts hold fewer than top_k = 3}}
  %i, %w = graph.moe_route %l scoring softmax method group_limited_greedy {top_k = 3, n_group = 4, topk_group = 1} : (tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c4(%l: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error@+1 {{C4: a bias belongs to noaux_tc and only to it, the method is greedy}}
  %i, %w = graph.moe_route %l bias(%b) scoring softmax method greedy {top_k = 3} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c4_missing(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C4: a bias belongs to noaux_tc and only to it, the method is noaux_tc}}
  %i, %w = graph.moe_route %l scoring softmax method noaux_tc {top_k = 3} : (tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c4_length(%l: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{C4: bias has 4 elements, expected 8}}
  %i, %w = graph.moe_route %l bias(%b) scoring softmax method noaux_tc {top_k = 3} : (tensor<?x8xf32>, tensor<4xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c5(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C5: greedy has one group, got n_group = 4}}
  %i, %w = graph.moe_route %l scoring softmax method greedy {top_k = 3, n_group = 4, topk_group = 2} : (tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c6(%l: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error@+1 {{C6: noaux_tc scores a group by its two best experts, it has one}}
  %i, %w = graph.moe_route %l bias(%b) scoring softmax method noaux_tc {top_k = 3, n_group = 8, topk_group = 4} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c7(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C7: scale must be finite and greater than 0, norm_eps finite and not negative}}
  %i, %w = graph.moe_route %l scoring softmax method greedy {top_k = 3, scale = 0.0} : (tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c7_eps(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C7: scale must be finite and greater than 0, norm_eps finite and not negative}}
  %i, %w = graph.moe_route %l scoring softmax method greedy {top_k = 3, norm_eps = -1.0} : (tensor<?x8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c8(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C8: shared must not be negative, got -1}}
  %i, %w = graph.moe_route %l scoring softmax method greedy {top_k = 3, shared = -1} : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @moe_route_c9(%l: tensor<?x8xf32>) {
  // expected-error@+1 {{C9: result #0 must be 'tensor<?x3xi32>', got 'tensor<?x2xi32>'}}
  %i, %w = graph.moe_route %l scoring softmax method greedy {top_k = 3} : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @moe_experts_c1(%x: tensor<?x32xf32>, %i: tensor<?x3xi32>, %w: tensor<?x2xf32>, %g: tensor<8x16x32xf32>, %u: tensor<8x16x32xf32>, %d: tensor<8x32x16xf32>) {
  // expected-error@+1 {{C1: index is 'tensor<?x3xi32>', weight 'tensor<?x2xf32>'}}
  %0 = graph.moe_experts %x, %i, %w experts(%g, %u, %d) : (tensor<?x32xf32>, tensor<?x3xi32>, tensor<?x2xf32>, tensor<8x16x32xf32>, tensor<8x16x32xf32>, tensor<8x32x16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @moe_experts_c2(%x: tensor<?x32xf32>, %i: tensor<?x3xi32>, %w: tensor<?x3xf32>, %g: tensor<8x16x64xf32>, %u: tensor<8x16x64xf32>, %d: tensor<8x32x16xf32>) {
  // expected-error@+1 {{C2: w_gate and w_up must have one type [E, I, 32]}}
  %0 = graph.moe_experts %x, %i, %w experts(%g, %u, %d) : (tensor<?x32xf32>, tensor<?x3xi32>, tensor<?x3xf32>, tensor<8x16x64xf32>, tensor<8x16x64xf32>, tensor<8x32x16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @moe_experts_c2_up(%x: tensor<?x32xf32>, %i: tensor<?x3xi32>, %w: tensor<?x3xf32>, %g: tensor<8x16x32xf32>, %u: tensor<8x24x32xf32>, %d: tensor<8x32x16xf32>) {
  // expected-error@+1 {{C2: w_gate and w_up must have one type [E, I, 32]}}
  %0 = graph.moe_experts %x, %i, %w experts(%g, %u, %d) : (tensor<?x32xf32>, tensor<?x3xi32>, tensor<?x3xf32>, tensor<8x16x32xf32>, tensor<8x24x32xf32>, tensor<8x32x16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @moe_experts_c3(%x: tensor<?x32xf32>, %i: tensor<?x3xi32>, %w: tensor<?x3xf32>, %g: tensor<8x16x32xf32>, %u: tensor<8x16x32xf32>, %d: tensor<8x16x32xf32>) {
  // expected-error@+1 {{C3: w_down must be [8, 32, 16], got 'tensor<8x16x32xf32>'}}
  %0 = graph.moe_experts %x, %i, %w experts(%g, %u, %d) : (tensor<?x32xf32>, tensor<?x3xi32>, tensor<?x3xf32>, tensor<8x16x32xf32>, tensor<8x16x32xf32>, tensor<8x16x32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @moe_experts_c4(%x: tensor<4x32xf32>, %i: tensor<3x3xi32>, %w: tensor<3x3xf32>, %g: tensor<8x16x32xf32>, %u: tensor<8x16x32xf32>, %d: tensor<8x32x16xf32>) {
  // expected-error@+1 {{C4: index has 3 rows, x 4}}
  %0 = graph.moe_experts %x, %i, %w experts(%g, %u, %d) : (tensor<4x32xf32>, tensor<3x3xi32>, tensor<3x3xf32>, tensor<8x16x32xf32>, tensor<8x16x32xf32>, tensor<8x32x16xf32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @moe_experts_c5(%x: tensor<?x32xf32>, %i: tensor<?x3xi32>, %w: tensor<?x3xf32>, %g: tensor<8x16x32xf32>, %u: tensor<8x16x32xf32>, %d: tensor<8x32x16xf32>, %s: tensor<?x16xf32>) {
  // expected-error@+1 {{C5: shared and residual must be 'tensor<?x32xf32>', got 'tensor<?x16xf32>'}}
  %0 = graph.moe_experts %x, %i, %w experts(%g, %u, %d) shared(%s) : (tensor<?x32xf32>, tensor<?x3xi32>, tensor<?x3xf32>, tensor<8x16x32xf32>, tensor<8x16x32xf32>, tensor<8x32x16xf32>, tensor<?x16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @moe_experts_c6(%x: tensor<?x32xf32>, %i: tensor<?x3xi32>, %w: tensor<?x3xf32>, %g: tensor<8x16x32xf32>, %u: tensor<8x16x32xf32>, %d: tensor<8x32x16xf32>) {
  // expected-error@+1 {{C6: result #0 must be 'tensor<?x32xf32>'}}
  %0 = graph.moe_experts %x, %i, %w experts(%g, %u, %d) : (tensor<?x32xf32>, tensor<?x3xi32>, tensor<?x3xf32>, tensor<8x16x32xf32>, tensor<8x16x32xf32>, tensor<8x32x16xf32>) -> tensor<?x16xf32>
  return
}
