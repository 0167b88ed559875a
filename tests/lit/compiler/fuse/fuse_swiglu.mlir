// RUN: fathom-opt %s --fathom-fuse-swiglu --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @merges
// CHECK: graph.linear_swiglu %arg0, %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<32x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xf32>
// CHECK-NOT: graph.swiglu
func.func @merges(%x: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %wg = graph.param "gate" : tensor<32x64xbf16>
  %wu = graph.param "up" : tensor<32x64xbf16>
  %g = graph.linear %x, %wg : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %u = graph.linear %x, %wu : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %h = graph.swiglu %g, %u : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %h : tensor<?x32xf32>
}

// -----

// A projection that somebody else reads stays.
// CHECK-LABEL: func.func @other_user
// CHECK-NOT: linear_swiglu
// CHECK: graph.swiglu
func.func @other_user(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %wg = graph.param "gate" : tensor<32x64xbf16>
  %wu = graph.param "up" : tensor<32x64xbf16>
  %g = graph.linear %x, %wg : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %u = graph.linear %x, %wu : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %h = graph.swiglu %g, %u : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %h, %g : tensor<?x32xf32>, tensor<?x32xf32>
}

// -----

// Different inputs stay apart.
// CHECK-LABEL: func.func @other_input
// CHECK-NOT: linear_swiglu
func.func @other_input(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %w = graph.param "w" : tensor<32x64xbf16>
  %g = graph.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %u = graph.linear %y, %w : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %h = graph.swiglu %g, %u : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %h : tensor<?x32xf32>
}
