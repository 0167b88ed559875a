// RUN: fathom-opt %s --fathom-assign-encodings=encoding=q4 | FileCheck %s
// RUN: not fathom-opt %s --fathom-assign-encodings=encoding=q3 2>&1 | FileCheck %s --check-prefix=BAD

// BAD: encoding: expected f32, bf16, q8 or q4, found 'q3'

// CHECK-LABEL: func.func @encodes
// CHECK: graph.encode %{{.*}} : tensor<32x64xbf16> -> tensor<32x64xf32, #graph.encoding<f32>>
// CHECK: graph.encode %{{.*}} : tensor<32x64xbf16> -> tensor<32x64xf32, #graph.encoding<q4>>
// CHECK: graph.encode %{{.*}} : tensor<64xbf16> -> tensor<64xf32, #graph.encoding<raw_f32>>
// Two users of one weight share its encoding.
// CHECK-NOT: graph.encode
func.func @encodes(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %w = graph.param "w" : tensor<32x64xbf16>
  %g = graph.param "g" : tensor<64xbf16>
  %n = graph.rms_norm %x, %g {eps = 1.0e-6} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xf32>
  %a = graph.linear %n, %w : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %b = graph.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  %r = graph.linear %x, %w {keep_f32} : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
  return %a, %b, %r : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}
