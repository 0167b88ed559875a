// RUN: fathom-opt %s --fathom-merge-projections --split-input-file | FileCheck %s

// The last weight may end inside a tile; the third begins there and stays.
// CHECK-LABEL: func.func @merges
// CHECK: %[[W:.*]] = tensor.concat dim(0) %{{.*}}, %{{.*}} : (tensor<32x64xbf16>, tensor<20x64xbf16>) -> tensor<52x64xbf16>
// CHECK: %[[E:.*]] = graph.encode %[[W]] : tensor<52x64xbf16> -> tensor<52x64xf32, #graph.encoding<q4>>
// CHECK: %[[Y:.*]] = graph.linear %arg0, %[[E]]
// CHECK: %[[Q:.*]] = tensor.extract_slice %[[Y]][0, 0] [%{{.*}}, 32] [1, 1]
// CHECK: %[[C:.*]] = tensor.extract_slice %[[Y]][0, 32] [%{{.*}}, 20] [1, 1]
// CHECK: %[[D:.*]] = graph.linear %arg0
// CHECK: return %[[Q]], %[[C]], %[[D]]
func.func @merges(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x20xf32>, tensor<?x16xf32>) {
  %a = graph.param "q" : tensor<32x64xbf16>
  %ea = graph.encode %a : tensor<32x64xbf16> -> tensor<32x64xf32, #graph.encoding<q4>>
  %q = graph.linear %x, %ea : (tensor<?x64xf32>, tensor<32x64xf32, #graph.encoding<q4>>) -> tensor<?x32xf32>
  %b = graph.param "kv" : tensor<20x64xbf16>
  %eb = graph.encode %b : tensor<20x64xbf16> -> tensor<20x64xf32, #graph.encoding<q4>>
  %c = graph.linear %x, %eb : (tensor<?x64xf32>, tensor<20x64xf32, #graph.encoding<q4>>) -> tensor<?x20xf32>
  %w = graph.param "w" : tensor<16x64xbf16>
  %ew = graph.encode %w : tensor<16x64xbf16> -> tensor<16x64xf32, #graph.encoding<q4>>
  %d = graph.linear %x, %ew : (tensor<?x64xf32>, tensor<16x64xf32, #graph.encoding<q4>>) -> tensor<?x16xf32>
  return %q, %c, %d : tensor<?x32xf32>, tensor<?x20xf32>, tensor<?x16xf32>
}

// -----

// Other encodings, biases and inputs stay apart.
// CHECK-LABEL: func.func @stays
// CHECK-NOT: tensor.concat
func.func @stays(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %a = graph.param "a" : tensor<32x64xbf16>
  %b = graph.param "b" : tensor<32xbf16>
  %e4 = graph.encode %a : tensor<32x64xbf16> -> tensor<32x64xf32, #graph.encoding<q4>>
  %e8 = graph.encode %a : tensor<32x64xbf16> -> tensor<32x64xf32, #graph.encoding<q8>>
  %p = graph.linear %x, %e4 : (tensor<?x64xf32>, tensor<32x64xf32, #graph.encoding<q4>>) -> tensor<?x32xf32>
  %q = graph.linear %x, %e8 : (tensor<?x64xf32>, tensor<32x64xf32, #graph.encoding<q8>>) -> tensor<?x32xf32>
  %r = graph.linear %x, %e4 bias(%b) : (tensor<?x64xf32>, tensor<32x64xf32, #graph.encoding<q4>>, tensor<32xbf16>) -> tensor<?x32xf32>
  %s = graph.linear %y, %e4 : (tensor<?x64xf32>, tensor<32x64xf32, #graph.encoding<q4>>) -> tensor<?x32xf32>
  return %p, %q, %r, %s : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}
