// RUN: fathom-opt %s | fathom-opt | FileCheck %s
// RUN: fathom-opt %s --cse --canonicalize | FileCheck %s --check-prefix=EFFECTS

module attributes {graph.kv = {kind = "gqa", layers = 2 : i64, row_elements = 16 : i64}} {

// CHECK-LABEL: @gqa
func.func @gqa(%q: tensor<?x32xf32>, %k: tensor<?x8xf32>, %pos: tensor<?xi32>,
               %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>)
    -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %s = graph.param "s" : tensor<4xf32>
  // CHECK: graph.cache_append %{{.*}}, %{{.*}} at(%{{.*}}, %{{.*}}, %{{.*}}) {layer = 1 : i64}
  graph.cache_append %k, %k at(%pos, %seq, %pages) {layer = 1} : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  // CHECK: graph.attention %{{.*}} at(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) sinks(%{{.*}}) {head_dim = 8 : i64, heads = 4 : i64, kv_heads = 1 : i64, layer = 1 : i64, scale = 2.500000e-01 : f64, window = 128 : i64}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) sinks(%s) {layer = 1, heads = 4, kv_heads = 1, head_dim = 8, scale = 0.25, window = 128} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<4xf32>) -> tensor<?x32xf32>
  // CHECK: graph.attention %{{.*}} at(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) {head_dim = 8 : i64, heads = 4 : i64, kv_heads = 1 : i64, layer = 1 : i64, scale = 2.500000e-01 : f64} :
  %1 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 1, heads = 4, kv_heads = 1, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return %0, %1 : tensor<?x32xf32>, tensor<?x32xf32>
}

// Reads of the cache are not merged across a write to it; an unused read goes, a write stays.
// EFFECTS-LABEL: @effects
func.func @effects(%q: tensor<?x32xf32>, %k: tensor<?x8xf32>, %pos: tensor<?xi32>,
                   %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>)
    -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  // EFFECTS-NEXT: %[[A:.*]] = graph.attention
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 1, heads = 4, kv_heads = 1, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  // EFFECTS-NEXT: graph.cache_append
  graph.cache_append %k, %k at(%pos, %seq, %pages) {layer = 1} : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  // EFFECTS-NEXT: %[[B:.*]] = graph.attention
  %1 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 1, heads = 4, kv_heads = 1, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  %2 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 1, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  // EFFECTS-NEXT: return %[[A]], %[[B]]
  return %0, %1 : tensor<?x32xf32>, tensor<?x32xf32>
}
}
