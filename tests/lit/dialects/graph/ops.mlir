// RUN: fathom-opt %s | fathom-opt | FileCheck %s
// RUN: fathom-opt %s --mlir-print-op-generic | fathom-opt | FileCheck %s

// CHECK: module attributes {graph.kv = {kind = "latent", layers = 1 : i64, row_elements = 20 : i64}
module attributes {
  graph.kv = {kind = "latent", layers = 1 : i64, row_elements = 20 : i64},
  graph.model = {name = "tiny", architecture = "deepseek_v3", parameters = 1234 : i64,
                 context_length = 4096 : i64, vocab_size = 96 : i64, hidden_size = 32 : i64,
                 layers = 1 : i64}} {

// CHECK-LABEL: @weights
func.func @weights() {
  // CHECK: graph.param "model.norm.weight" : tensor<32xbf16>
  %0 = graph.param "model.norm.weight" : tensor<32xbf16>
  // CHECK: graph.param "experts." [8 to 11] ".up_proj.weight" : tensor<3x16x32xf8E4M3FN>
  %1 = graph.param ["experts.8.up_proj.weight", "experts.9.up_proj.weight", "experts.10.up_proj.weight"] : tensor<3x16x32xf8E4M3FN>
  // CHECK: graph.param "layers.2.experts." [0 to 3] ".w1" : tensor<3x16x32xf16>
  %2 = graph.param "layers.2.experts." [0 to 3] ".w1" : tensor<3x16x32xf16>
  // CHECK: graph.param ["a", "b"] : tensor<2x16xf32>
  %3 = graph.param ["a", "b"] : tensor<2x16xf32>
  // A leading zero is no running number.
  // CHECK: graph.param ["e.08", "e.09"] : tensor<2x16xf32>
  %4 = graph.param ["e.08", "e.09"] : tensor<2x16xf32>
  // CHECK: graph.param "a\22b" : tensor<4xi32>
  %5 = graph.param "a\22b" : tensor<4xi32>
  // CHECK: graph.encode %{{.*}} : tensor<3x16x32xf16> -> tensor<3x16x32xf32, #graph.encoding<q4>>
  %6 = graph.encode %2 : tensor<3x16x32xf16> -> tensor<3x16x32xf32, #graph.encoding<q4>>
  // CHECK: graph.encode %{{.*}} : tensor<4xi32> -> tensor<4xi32, #graph.encoding<raw_i32>>
  %7 = graph.encode %5 : tensor<4xi32> -> tensor<4xi32, #graph.encoding<raw_i32>>
  // CHECK: graph.rope_table {inv_freq = array<f64: 1.000000e+00, 1.000000e-02>, max_position = 4097 : i64} : tensor<521x4xf32>
  %8 = graph.rope_table {inv_freq = array<f64: 1.0, 0.01>, max_position = 4097 : i64} : tensor<521x4xf32>
  return
}

// CHECK-LABEL: @dense
func.func @dense(%tokens: tensor<?xi32>, %x: tensor<?x32xf32>, %positions: tensor<?xi32>,
                 %table: tensor<520x8xf32>, %rows: tensor<?xi32>) {
  %emb = graph.param "e" : tensor<96x32xbf16>
  %g = graph.param "g" : tensor<32xbf16>
  %g8 = graph.param "g8" : tensor<8xbf16>
  %w = graph.param "w" : tensor<32x32xbf16>
  %wb = graph.param "wb" : tensor<4x8x8xbf16>
  %wq = graph.encode %w : tensor<32x32xbf16> -> tensor<32x32xf32, #graph.encoding<q8>>
  // CHECK: graph.embed %{{.*}}, %{{.*}} : (tensor<?xi32>, tensor<96x32xbf16>) -> tensor<?x32xf32>
  %0 = graph.embed %tokens, %emb : (tensor<?xi32>, tensor<96x32xbf16>) -> tensor<?x32xf32>
  // CHECK: graph.linear %{{.*}}, %{{.*}} {keep_f32} : (tensor<?x32xf32>, tensor<32x32xbf16>) -> tensor<?x32xf32>
  %1 = graph.linear %x, %w {keep_f32} : (tensor<?x32xf32>, tensor<32x32xbf16>) -> tensor<?x32xf32>
  // CHECK: graph.linear %{{.*}}, %{{.*}} bias(%{{.*}}) residual(%{{.*}}) :
  %2 = graph.linear %x, %wq bias(%g) residual(%0) : (tensor<?x32xf32>, tensor<32x32xf32, #graph.encoding<q8>>, tensor<32xbf16>, tensor<?x32xf32>) -> tensor<?x32xf32>
  // CHECK: graph.linear %{{.*}}, %{{.*}} residual(%{{.*}}) :
  %3 = graph.linear %x, %wb residual(%0) : (tensor<?x32xf32>, tensor<4x8x8xbf16>, tensor<?x32xf32>) -> tensor<?x32xf32>
  // CHECK: graph.linear_swiglu
  %4 = graph.linear_swiglu %x, %w, %w : (tensor<?x32xf32>, tensor<32x32xbf16>, tensor<32x32xbf16>) -> tensor<?x32xf32>
  // CHECK: graph.rms_norm %{{.*}}, %{{.*}} {eps = 9.9999999999999995E-7 : f64, groups = 4 : i64}
  %5 = graph.rms_norm %x, %g8 {eps = 1.0e-6, groups = 4} : (tensor<?x32xf32>, tensor<8xbf16>) -> tensor<?x32xf32>
  // CHECK: graph.rms_norm %{{.*}}, %{{.*}} {eps = 9.9999999999999995E-7 : f64} :
  %6 = graph.rms_norm %x, %g {eps = 1.0e-6} : (tensor<?x32xf32>, tensor<32xbf16>) -> tensor<?x32xf32>
  // CHECK: graph.layer_norm %{{.*}}, %{{.*}}, %{{.*}} {eps
  %7 = graph.layer_norm %x, %g, %g {eps = 1.0e-5} : (tensor<?x32xf32>, tensor<32xbf16>, tensor<32xbf16>) -> tensor<?x32xf32>
  // CHECK: graph.layer_norm %{{.*}}, %{{.*}} {eps
  %8 = graph.layer_norm %x, %g {eps = 1.0e-5} : (tensor<?x32xf32>, tensor<32xbf16>) -> tensor<?x32xf32>
  // CHECK: graph.swiglu
  %9 = graph.swiglu %x, %7 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  // CHECK: graph.rope %{{.*}}, %{{.*}}, %{{.*}} {dim = 8 : i64, head_dim = 16 : i64, heads = 2 : i64, interleaved = true, offset = 8 : i64} :
  %10 = graph.rope %x, %positions, %table {heads = 2, head_dim = 16, offset = 8, dim = 8, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x8xf32>) -> tensor<?x32xf32>
  // CHECK: graph.logits
  %11 = graph.logits %x, %g, %emb, %rows {eps = 1.0e-6} : (tensor<?x32xf32>, tensor<32xbf16>, tensor<96x32xbf16>, tensor<?xi32>) -> tensor<?x96xf32>
  return
}

// CHECK-LABEL: @sample
func.func @sample(%logits: tensor<?x96xf32>, %f: tensor<?xf32>, %k: tensor<?xi32>) -> tensor<?xi32> {
  // CHECK: graph.sample
  %0 = graph.sample %logits, %f, %k, %f, %f, %f : (tensor<?x96xf32>, tensor<?xf32>, tensor<?xi32>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

// CHECK-LABEL: @latent
func.func @latent(%x: tensor<?x20xf32>, %q: tensor<?x24xf32>, %ql: tensor<?x32xf32>,
                  %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>,
                  %len: tensor<?xi32>, %table: tensor<520x4xf32>) {
  %g = graph.param "g" : tensor<16xbf16>
  %kvb = graph.param "kvb" : tensor<32x16xbf16>
  %uk = graph.param "uk" : tensor<2x8x16xbf16>
  // CHECK: %[[ROW:.*]] = graph.latent_compress
  %row = graph.latent_compress %x, %g, %pos, %table {rank = 16, rope_dim = 4, eps = 1.0e-6, interleaved = true} : (tensor<?x20xf32>, tensor<16xbf16>, tensor<?xi32>, tensor<520x4xf32>) -> tensor<?x20xf32>
  // CHECK: graph.cache_append %[[ROW]] at(%{{.*}}, %{{.*}}, %{{.*}}) {layer = 0 : i64} : tensor<?x20xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  graph.cache_append %row at(%pos, %seq, %pages) {layer = 0} : tensor<?x20xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  // CHECK: graph.latent_attention %{{.*}} kv_b(%{{.*}}) at(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) form auto
  %0 = graph.latent_attention %q kv_b(%kvb) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xbf16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  // CHECK: graph.latent_attention %{{.*}} w_uk(%{{.*}}) w_uv(%{{.*}}) at(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) form expanded
  %1 = graph.latent_attention %q w_uk(%uk) w_uv(%uk) at(%pos, %seq, %pages, %len) form expanded {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<2x8x16xbf16>, tensor<2x8x16xbf16>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  // CHECK: graph.latent_attention_absorbed
  %2 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = 0.25} : (tensor<?x32xf32>, tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}

// CHECK-LABEL: @routing
func.func @routing(%x: tensor<?x32xf32>, %logits: tensor<?x8xf32>) -> tensor<?x32xf32> {
  %b = graph.param "b" : tensor<8xf32>
  %g = graph.param "g." [0 to 8] "" : tensor<8x16x32xbf16>
  %d = graph.param "d." [0 to 8] "" : tensor<8x32x16xbf16>
  // CHECK: %[[I:.*]], %[[W:.*]] = graph.moe_route %{{.*}} bias(%{{.*}}) scoring sigmoid method noaux_tc {n_group = 4 : i64, normalize = true, scale = 2.500000e+00 : f64, top_k = 3 : i64, topk_group = 2 : i64}
  %i, %w = graph.moe_route %logits bias(%b) scoring sigmoid method noaux_tc {top_k = 3, n_group = 4, topk_group = 2, normalize = true, scale = 2.5} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  // CHECK: graph.moe_route %{{.*}} scoring softmax method greedy {top_k = 2 : i64}
  %i2, %w2 = graph.moe_route %logits scoring softmax method greedy {top_k = 2} : (tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  // CHECK: graph.moe_experts %{{.*}}, %[[I]], %[[W]] experts(%{{.*}}, %{{.*}}, %{{.*}}) shared(%{{.*}}) residual(%{{.*}}) :
  %0 = graph.moe_experts %x, %i, %w experts(%g, %g, %d) shared(%x) residual(%x) : (tensor<?x32xf32>, tensor<?x3xi32>, tensor<?x3xf32>, tensor<8x16x32xbf16>, tensor<8x16x32xbf16>, tensor<8x32x16xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  // CHECK: graph.moe_experts %{{.*}}, %{{.*}}, %{{.*}} experts(%{{.*}}, %{{.*}}, %{{.*}}) :
  %1 = graph.moe_experts %0, %i2, %w2 experts(%g, %g, %d) : (tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x16x32xbf16>, tensor<8x16x32xbf16>, tensor<8x32x16xbf16>) -> tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}
}
