// A profile that binds 16 KiB: 64 rows of 64 float32 values.
// RUN: echo '{"name": "vulkan:narrow", "driver": "vulkan", "triple": "", "cpu": "", "features": [], "gpu": {"isa": "spirv", "max_buffer_range": 16384}}' > %t.json
// RUN: fathom-opt %s --fathom-assign-encodings=encoding=f32 --fathom-lower-to-schedule="targets=%t.json" | FileCheck %s
// RUN: fathom-opt %s --fathom-assign-encodings=encoding=f32 --fathom-lower-to-schedule="targets=vulkan:generic" | FileCheck %s --check-prefix=WHOLE
// RUN: sed s/16384/16383/ %t.json > %t.less.json
// RUN: not fathom-opt %s --fathom-assign-encodings=encoding=f32 --fathom-lower-to-schedule="targets=%t.less.json" 2>&1 | FileCheck %s --check-prefix=REFUSED

// The table's rows in two dispatches, each for its own tokens.
// CHECK: schedule.kernel @[[LOW:embed[a-z0-9_.]*]] family("embed") config({{.*}}first = 0 : i64{{.*}}vocab = 64 : i64
// CHECK: schedule.kernel @[[HIGH:embed[a-z0-9_.]*]] family("embed") config({{.*}}first = 64 : i64{{.*}}vocab = 32 : i64
// CHECK: schedule.entry @decode
// CHECK: %[[W0:.*]] = schedule.use_weight @embed.weight bytes(0, 16384)
// CHECK: schedule.dispatch @[[LOW]] grid(T, 1, 1) (%tokens, %[[W0]], %[[X:.*]]) push() label "embed"
// CHECK: %[[W1:.*]] = schedule.use_weight @embed.weight bytes(16384, 8192)
// CHECK: schedule.dispatch @[[HIGH]] grid(T, 1, 1) (%tokens, %[[W1]], %[[X]]) push() label "embed"
// What fits stays whole.
// CHECK: %[[W:.*]] = schedule.use_weight @w{{$}}
// Each part of the head writes its own columns.
// CHECK: %[[L:.*]] = schedule.buffer "logits" output size(R * 384)
// CHECK: %[[H0:.*]] = schedule.use_weight @embed.weight bytes(0, 16384)
// CHECK: schedule.dispatch @linear_f32_64_64{{.*}} (%{{.*}}, %[[H0]], %[[L]]) push(R) label "logits"
// CHECK: %[[H1:.*]] = schedule.use_weight @embed.weight bytes(16384, 8192)
// CHECK: schedule.dispatch @linear_f32_32_64{{.*}} (%{{.*}}, %[[H1]], %[[L]] + 256) push(R) label "logits"

// WHOLE-NOT: bytes(
// WHOLE-NOT: first =

// REFUSED: cannot be lowered for target 'vulkan:narrow': 64 rows of its weight of type 'tensor<96x64xf32, #graph.encoding<f32>>' takes 16384 bytes, a kernel of this target can be given 16383
module attributes {graph.kv = {layers = 1 : i64, row_elements = 16 : i64, kind = "latent"}} {
  func.func @decode(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %sequence: tensor<?xi32>, %page_table: tensor<?x?xi32>, %context_length: tensor<?xi32>, %logit_rows: tensor<?xi32>) -> tensor<?x96xf32> {
    %e = graph.param "embed.weight" : tensor<96x64xbf16>
    %g = graph.param "norm.weight" : tensor<64xbf16>
    %w = graph.param "w" : tensor<64x64xbf16>
    %x = graph.embed %tokens, %e : (tensor<?xi32>, tensor<96x64xbf16>) -> tensor<?x64xf32>
    %n = graph.rms_norm %x, %g {eps = 1.0e-6} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xf32>
    %y = graph.linear %n, %w residual(%x) : (tensor<?x64xf32>, tensor<64x64xbf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %l = graph.logits %y, %g, %e, %logit_rows {eps = 1.0e-6} : (tensor<?x64xf32>, tensor<64xbf16>, tensor<96x64xbf16>, tensor<?xi32>) -> tensor<?x96xf32>
    return %l : tensor<?x96xf32>
  }
}
