// RUN: fathom-opt %s --fathom-fuse-shared-experts --split-input-file | FileCheck %s

// Two shared experts published as one MLP of twice the width.
// CHECK-LABEL: func.func @joins
// CHECK: %[[I:.*]], %[[P:.*]] = graph.moe_route {{.*}}shared = 2 : i64{{.*}} -> (tensor<?x4xi32>, tensor<?x4xf32>)
// CHECK: tensor.expand_shape {{.*}} : tensor<32x32xbf16> into tensor<2x16x32xbf16>
// CHECK: tensor.concat dim(0) {{.*}} -> tensor<6x16x32xbf16>
// CHECK: tensor.extract_slice {{.*}}[0, 0] [32, 16] [1, 1]
// CHECK: tensor.extract_slice {{.*}}[0, 16] [32, 16] [1, 1]
// CHECK: tensor.concat dim(0) {{.*}} -> tensor<6x32x16xbf16>
// CHECK: graph.moe_experts %arg0, %[[I]], %[[P]] experts({{.*}}) residual(%arg2)
// CHECK-NOT: graph.linear
func.func @joins(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %r: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %g = graph.param "mlp.experts." [0 to 4] ".gate_proj.weight" : tensor<4x16x32xbf16>
  %u = graph.param "mlp.experts." [0 to 4] ".up_proj.weight" : tensor<4x16x32xbf16>
  %d = graph.param "mlp.experts." [0 to 4] ".down_proj.weight" : tensor<4x32x16xbf16>
  %sg = graph.param "mlp.shared_experts.gate_proj.weight" : tensor<32x32xbf16>
  %su = graph.param "mlp.shared_experts.up_proj.weight" : tensor<32x32xbf16>
  %sd = graph.param "mlp.shared_experts.down_proj.weight" : tensor<32x32xbf16>
  %eg = graph.encode %g : tensor<4x16x32xbf16> -> tensor<4x16x32xf32, #graph.encoding<q8>>
  %eu = graph.encode %u : tensor<4x16x32xbf16> -> tensor<4x16x32xf32, #graph.encoding<q8>>
  %ed = graph.encode %d : tensor<4x32x16xbf16> -> tensor<4x32x16xf32, #graph.encoding<q8>>
  %esg = graph.encode %sg : tensor<32x32xbf16> -> tensor<32x32xf32, #graph.encoding<q8>>
  %esu = graph.encode %su : tensor<32x32xbf16> -> tensor<32x32xf32, #graph.encoding<q8>>
  %esd = graph.encode %sd : tensor<32x32xbf16> -> tensor<32x32xf32, #graph.encoding<q8>>
  %i, %p = graph.moe_route %l scoring softmax method greedy {top_k = 2} : (tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %h = graph.linear_swiglu %x, %esg, %esu : (tensor<?x32xf32>, tensor<32x32xf32, #graph.encoding<q8>>, tensor<32x32xf32, #graph.encoding<q8>>) -> tensor<?x32xf32>
  %s = graph.linear %h, %esd : (tensor<?x32xf32>, tensor<32x32xf32, #graph.encoding<q8>>) -> tensor<?x32xf32>
  %y = graph.moe_experts %x, %i, %p experts(%eg, %eu, %ed) shared(%s) residual(%r) : (tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x16x32xf32, #graph.encoding<q8>>, tensor<4x16x32xf32, #graph.encoding<q8>>, tensor<4x32x16xf32, #graph.encoding<q8>>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// A shared MLP of another input stays.
// CHECK-LABEL: func.func @other_input
// CHECK: graph.moe_experts {{.*}} shared(
func.func @other_input(%x: tensor<?x32xf32>, %l: tensor<?x2xf32>, %other: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %g = graph.param ["g0", "g1"] : tensor<2x32x32xbf16>
  %e = graph.encode %g : tensor<2x32x32xbf16> -> tensor<2x32x32xf32, #graph.encoding<q8>>
  %w = graph.param "s" : tensor<32x32xbf16>
  %ew = graph.encode %w : tensor<32x32xbf16> -> tensor<32x32xf32, #graph.encoding<q8>>
  %i, %p = graph.moe_route %l scoring softmax method greedy {top_k = 1} : (tensor<?x2xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  %h = graph.linear_swiglu %other, %ew, %ew : (tensor<?x32xf32>, tensor<32x32xf32, #graph.encoding<q8>>, tensor<32x32xf32, #graph.encoding<q8>>) -> tensor<?x32xf32>
  %s = graph.linear %h, %ew : (tensor<?x32xf32>, tensor<32x32xf32, #graph.encoding<q8>>) -> tensor<?x32xf32>
  %y = graph.moe_experts %x, %i, %p experts(%e, %e, %e) shared(%s) : (tensor<?x32xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<2x32x32xf32, #graph.encoding<q8>>, tensor<2x32x32xf32, #graph.encoding<q8>>, tensor<2x32x32xf32, #graph.encoding<q8>>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
