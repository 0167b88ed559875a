// RUN: fathom-opt %s | fathom-opt | FileCheck %s
// RUN: fathom-opt %s --mlir-print-op-generic | fathom-opt | FileCheck %s

// CHECK: schedule.weight @layers.0.uk : tensor<2x8x16xf32, #graph.encoding<q8>> {
schedule.weight @layers.0.uk : tensor<2x8x16xf32, #graph.encoding<q8>> {
  %0 = graph.param "kv_b" : tensor<32x16xbf16>
  %1 = tensor.expand_shape %0 [[0, 1], [2]] output_shape [2, 16, 16] : tensor<32x16xbf16> into tensor<2x16x16xbf16>
  %2 = tensor.extract_slice %1[0, 0, 0] [2, 8, 16] [1, 1, 1] : tensor<2x16x16xbf16> to tensor<2x8x16xbf16>
  // CHECK: schedule.yield %{{.*}} : tensor<2x8x16xbf16>
  schedule.yield %2 : tensor<2x8x16xbf16>
}
schedule.weight @layers.0.ukt : tensor<2x16x8xf32, #graph.encoding<f32>> {
  %0 = graph.param "uk" : tensor<2x8x16xbf16>
  %1 = tensor.empty() : tensor<2x16x8xbf16>
  %2 = linalg.transpose ins(%0 : tensor<2x8x16xbf16>) outs(%1 : tensor<2x16x8xbf16>) permutation = [0, 2, 1]
  schedule.yield %2 : tensor<2x16x8xbf16>
}
schedule.weight @rope : tensor<520x4xf32, #graph.encoding<raw_f32>> {
  %0 = graph.rope_table {inv_freq = array<f64: 1.0, 0.01>, max_position = 4096 : i64} : tensor<520x4xf32>
  schedule.yield %0 : tensor<520x4xf32>
}

// CHECK: schedule.program @p target("cpu:x86-64-v4") driver("cpu") features(["avx512f"]) kv({layers = 2 : i64, page_bytes = 8192 : i64, page_tokens = 64 : i64, row_bytes = 64 : i64}) {
schedule.program @p target("cpu:x86-64-v4") driver("cpu") features(["avx512f"]) kv({layers = 2, page_bytes = 8192, page_tokens = 64, row_bytes = 64}) {
  // CHECK: schedule.kernel @experts_0 family("experts") config({eps = 1.000000e+00 : f64, rows = 16 : i64}) bindings(3) push(1)
  schedule.kernel @experts_0 family("experts") config({eps = 1.0, rows = 16}) bindings(3) push(1)
  schedule.kernel @add_0 family("add") config({}) bindings(2) push(0)
  // CHECK: schedule.entry @decode arena(T * 128 + 64) {
  schedule.entry @decode arena(T * 128 + 64) {
    // CHECK: %[[X:.*]] = schedule.buffer "x" transient size(T * 64) offset(0)
    %x = schedule.buffer "x" transient size(T * 64) offset(0)
    // CHECK: %[[Y:.*]] = schedule.buffer "y.out" transient size((T + 1) * 64) offset(T * 64)
    %y = schedule.buffer "y.out" transient size((T + 1) * 64) offset(T * 64)
    // CHECK: schedule.buffer "page_table" input size(B * P * 4)
    %p = schedule.buffer "page_table" input size(B * P * 4)
    // CHECK: schedule.buffer "logits" output size((R * 97 + 15) floordiv 16 * 64)
    %l = schedule.buffer "logits" output size(((R * 97 + 15) floordiv 16) * 64)
    // CHECK: %[[KV:.*]] = schedule.buffer "kv" kv_cache size(0)
    %kv = schedule.buffer "kv" kv_cache size(0)
    // CHECK: %[[LAYER:.*]] = schedule.use_cache %[[KV]] layer 1
    %layer = schedule.use_cache %kv layer 1
    // CHECK: %[[W:.*]] = schedule.use_weight @layers.0.uk
    %w = schedule.use_weight @layers.0.uk
    // CHECK: schedule.use_weight @layers.0.uk bytes(1088, 2176)
    %part = schedule.use_weight @layers.0.uk bytes(1088, 2176)
    // CHECK: schedule.dispatch @experts_0 grid(11, min(64, T * 6), T ceildiv 16) (%[[X]], %[[W]] + 4096, %[[Y]]) push(T) label "layers.0/up"
    schedule.dispatch @experts_0 grid(11, min(64, T * 6), T ceildiv 16) (%x, %w + 4096, %y + 0) push(T) label "layers.0/up"
    // CHECK: schedule.barrier
    schedule.barrier
    // CHECK: schedule.dispatch @add_0 grid(T * (T ceildiv 2), 1, 1) (%{{.*}}, %[[LAYER]]) push() label ""
    schedule.dispatch @add_0 grid(T * (T ceildiv 2), 1, 1) (%x, %layer) push() label ""
  }
  // CHECK: schedule.entry @prefill {
  schedule.entry @prefill {
    %x = schedule.buffer "x" transient size(T * 64)
  }
}
// CHECK: schedule.program @null target("null") driver("null") features([]) {
schedule.program @null target("null") driver("null") features([]) {
}
