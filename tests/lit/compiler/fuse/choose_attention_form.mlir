// RUN: fathom-opt %s --fathom-choose-attention-form | FileCheck %s

// CHECK-LABEL: func.func @decode
// CHECK-DAG: %[[HEADS:.*]] = tensor.expand_shape %{{.*}} {{.*}} : tensor<64x16xbf16> into tensor<2x32x16xbf16>
// CHECK-DAG: %[[UK:.*]] = tensor.extract_slice %[[HEADS]][0, 0, 0] [2, 16, 16]
// CHECK-DAG: %[[UV:.*]] = tensor.extract_slice %[[HEADS]][0, 16, 0] [2, 16, 16]
// CHECK: %[[UKT:.*]] = linalg.transpose ins(%[[UK]]
// CHECK: %[[QL:.*]] = graph.linear %{{.*}}, %[[UKT]] {{.*}} -> tensor<?x32xf32>
// CHECK: %[[U:.*]] = graph.latent_attention_absorbed %[[QL]], %arg0
// CHECK: %[[O:.*]] = graph.linear %[[U]], %[[UV]]
// CHECK: return %[[O]]
func.func @decode(%q: tensor<?x48xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %t: tensor<?x?xi32>, %c: tensor<?xi32>) -> tensor<?x32xf32> {
  %w = graph.param "kv_b" : tensor<64x16xbf16>
  %o = graph.latent_attention %q kv_b(%w) at(%p, %s, %t, %c) form auto {layer = 0, heads = 2, rank = 16, nope = 16, rope_dim = 8, v_dim = 16, scale = 0.5} : (tensor<?x48xf32>, tensor<64x16xbf16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return %o : tensor<?x32xf32>
}

// CHECK-LABEL: func.func @prefill
// CHECK: graph.latent_attention %arg0 w_uk(%{{.*}}) w_uv(%{{.*}}) at({{.*}}) form expanded
func.func @prefill(%q: tensor<?x48xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %t: tensor<?x?xi32>, %c: tensor<?xi32>) -> tensor<?x32xf32> {
  %w = graph.param "kv_b" : tensor<64x16xbf16>
  %o = graph.latent_attention %q kv_b(%w) at(%p, %s, %t, %c) form auto {layer = 0, heads = 2, rank = 16, nope = 16, rope_dim = 8, v_dim = 16, scale = 0.5} : (tensor<?x48xf32>, tensor<64x16xbf16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return %o : tensor<?x32xf32>
}
