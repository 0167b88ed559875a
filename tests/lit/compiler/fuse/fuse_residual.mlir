// RUN: fathom-opt %s --fathom-fuse-residual --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @into_linear
// CHECK: graph.linear %arg1, %{{.*}} residual(%arg0)
// CHECK-NOT: arith.addf
func.func @into_linear(%x: tensor<?x32xf32>, %h: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %w = graph.param "w" : tensor<32x64xbf16>
  %y = graph.linear %h, %w : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %z = arith.addf %x, %y : tensor<?x32xf32>
  return %z : tensor<?x32xf32>
}

// -----

// The residual stream and the shared experts' output both go into the weighted sum.
// CHECK-LABEL: func.func @into_experts
// CHECK: %[[SHARED:.*]] = graph.linear
// CHECK: graph.moe_experts {{.*}} shared(%[[SHARED]]) residual(%arg0)
// CHECK-NOT: arith.addf
func.func @into_experts(%x: tensor<?x32xf32>, %n: tensor<?x32xf32>, %index: tensor<?x2xi32>, %weight: tensor<?x2xf32>) -> tensor<?x32xf32> {
  %g = graph.param ["g0", "g1"] : tensor<2x16x32xbf16>
  %u = graph.param ["u0", "u1"] : tensor<2x16x32xbf16>
  %d = graph.param ["d0", "d1"] : tensor<2x32x16xbf16>
  %w = graph.param "shared" : tensor<32x32xbf16>
  %y = graph.moe_experts %n, %index, %weight experts(%g, %u, %d) : (tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<2x16x32xbf16>, tensor<2x16x32xbf16>, tensor<2x32x16xbf16>) -> tensor<?x32xf32>
  %s = graph.linear %n, %w : (tensor<?x32xf32>, tensor<32x32xbf16>) -> tensor<?x32xf32>
  %ys = arith.addf %y, %s : tensor<?x32xf32>
  %z = arith.addf %x, %ys : tensor<?x32xf32>
  return %z : tensor<?x32xf32>
}

// -----

// A projection with another user keeps its own result.
// CHECK-LABEL: func.func @other_user
// CHECK: arith.addf
func.func @other_user(%x: tensor<?x32xf32>, %h: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %w = graph.param "w" : tensor<32x64xbf16>
  %y = graph.linear %h, %w : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %z = arith.addf %x, %y : tensor<?x32xf32>
  return %z, %y : tensor<?x32xf32>, tensor<?x32xf32>
}
