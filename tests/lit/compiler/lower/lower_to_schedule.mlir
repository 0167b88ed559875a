// RUN: fathom-opt %s --fathom-assign-encodings=encoding=q8 --fathom-lower-to-schedule="targets=cpu:x86-64-v4-vnni" --split-input-file | FileCheck %s
// RUN: fathom-opt %s --fathom-assign-encodings=encoding=q8 --fathom-lower-to-schedule="targets=cpu:x86-64-v3,cpu:x86-64-v4" --split-input-file | FileCheck %s --check-prefix=TWO
// RUN: fathom-opt %s --fathom-assign-encodings=encoding=q8 --fathom-lower-to-schedule="targets=vulkan:generic" --split-input-file | FileCheck %s --check-prefix=GPU

// A weight per expression, a kernel per configuration; the norm writes the records that the projection reads.
// CHECK: schedule.weight @embed.weight : tensor<96x64xf32, #graph.encoding<q8>>
// CHECK: schedule.weight @norm.weight : tensor<64xf32, #graph.encoding<raw_f32>>
// CHECK: schedule.weight @w : tensor<64x64xf32, #graph.encoding<q8>>
// CHECK-NOT: schedule.weight @w.1
// CHECK: schedule.program @cpu_x86_64_v4_vnni target("cpu:x86-64-v4-vnni") driver("cpu")
// CHECK-SAME: kv({layers = 1 : i64, page_bytes = 2048 : i64, page_tokens = 64 : i64, row_bytes = 32 : i64})
// CHECK-DAG: schedule.kernel @embed{{.*}} family("embed")
// CHECK-DAG: schedule.kernel @[[NORM:norm[a-z0-9_.]*]] family("norm") config({{.*}}out_act = "i8"
// CHECK-DAG: schedule.kernel @[[LIN:linear_q8_64_64[a-z0-9_.]*]] family("linear") config({{.*}}epilogue = "store"
// CHECK-DAG: schedule.kernel @[[RES:linear_q8_64_64[a-z0-9_.]*]] family("linear") config({{.*}}epilogue = "residual"
// CHECK: schedule.entry @decode {
// CHECK: %[[X:.*]] = schedule.buffer "embed" transient size(T * 256)
// CHECK: schedule.dispatch @embed{{.*}} grid(T, 1, 1)
// CHECK: %[[REC:.*]] = schedule.buffer "records" transient size(T * 128)
// CHECK: schedule.barrier
// CHECK: schedule.dispatch @[[NORM]]{{.*}} grid(T, 1, 1) (%[[X]], %{{.*}}, %[[REC]])
// CHECK: schedule.barrier
// CHECK: schedule.dispatch @[[LIN]] grid(2, 1, 1) (%[[REC]], %{{.*}}, %[[Y:.*]]) push(T)
// The sum lands in the residual stream's own buffer.
// CHECK: schedule.dispatch @[[RES]] {{.*}} (%{{.*}}, %{{.*}}, %[[X]], %[[X]]) push(T)
// CHECK: %[[L:.*]] = schedule.buffer "logits" output size(R * 384)
// CHECK: schedule.dispatch @linear_q8_96_64 {{.*}}%[[L]]) push(R) label "logits"
// A GPU's projections are cut otherwise, and its buffers lie where they can be bound.
// GPU: schedule.program @vulkan_generic target("vulkan:generic") driver("vulkan") features(["dot8", "subgroup_arithmetic"])
// GPU-SAME: schedule.alignment = 256 : i64
// GPU: schedule.kernel @linear_q8_64_64{{.*}} family("linear") config({{.*}}act = "i8"{{.*}}form = "few"{{.*}}panel_tiles = 1
// GPU: schedule.dispatch @linear_q8_64_64{{.*}} grid(4, 1, T) {{.*}} push(T)
// TWO: schedule.program @cpu_x86_64_v3 target("cpu:x86-64-v3")
// TWO: schedule.program @cpu_x86_64_v4 target("cpu:x86-64-v4")
module attributes {graph.kv = {layers = 1 : i64, row_elements = 16 : i64, kind = "latent"}} {
  func.func @decode(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %sequence: tensor<?xi32>, %page_table: tensor<?x?xi32>, %context_length: tensor<?xi32>, %logit_rows: tensor<?xi32>) -> tensor<?x96xf32> {
    %e = graph.param "embed.weight" : tensor<96x64xbf16>
    %g = graph.param "norm.weight" : tensor<64xbf16>
    %w = graph.param "w" : tensor<64x64xbf16>
    %x = graph.embed %tokens, %e : (tensor<?xi32>, tensor<96x64xbf16>) -> tensor<?x64xf32>
    %n = graph.rms_norm %x, %g {eps = 1.0e-6} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xf32>
    %y = graph.linear %n, %w : (tensor<?x64xf32>, tensor<64x64xbf16>) -> tensor<?x64xf32>
    %z = graph.linear %y, %w residual(%x) : (tensor<?x64xf32>, tensor<64x64xbf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %l = graph.logits %z, %g, %e, %logit_rows {eps = 1.0e-6} : (tensor<?x64xf32>, tensor<64xbf16>, tensor<96x64xbf16>, tensor<?xi32>) -> tensor<?x96xf32>
    return %l : tensor<?x96xf32>
  }
}
