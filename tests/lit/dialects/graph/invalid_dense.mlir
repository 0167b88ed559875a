// RUN: fathom-opt %s -split-input-file -verify-diagnostics

func.func @embed_c1(%t: tensor<?xi32>, %w: tensor<96x32xf32>) {
  // expected-error@+1 {{C1: result #0 must be 'tensor<?x32xf32>', got 'tensor<?x96xf32>'}}
  %0 = graph.embed %t, %w : (tensor<?xi32>, tensor<96x32xf32>) -> tensor<?x96xf32>
  return
}

// -----

func.func @linear_c1(%x: tensor<?x32xf32>, %w: tensor<16x64xf32>) {
  // expected-error@+1 {{C1: x has 32 columns, the weight 'tensor<16x64xf32>' takes 64}}
  %0 = graph.linear %x, %w : (tensor<?x32xf32>, tensor<16x64xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_c1_batched(%x: tensor<?x32xf32>, %w: tensor<3x16x8xf32>) {
  // expected-error@+1 {{C1: x has 32 columns, the weight 'tensor<3x16x8xf32>' takes 24}}
  %0 = graph.linear %x, %w : (tensor<?x32xf32>, tensor<3x16x8xf32>) -> tensor<?x48xf32>
  return
}

// -----

func.func @linear_c2(%x: tensor<?x32xf32>, %w: tensor<16x32xf32>, %b: tensor<32xf32>) {
  // expected-error@+1 {{C2: bias has 32 elements, expected 16}}
  %0 = graph.linear %x, %w bias(%b) : (tensor<?x32xf32>, tensor<16x32xf32>, tensor<32xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_c3(%x: tensor<?x32xf32>, %w: tensor<16x32xf32>) {
  // expected-error@+1 {{C3: residual must be 'tensor<?x16xf32>', got 'tensor<?x32xf32>'}}
  %0 = graph.linear %x, %w residual(%x) : (tensor<?x32xf32>, tensor<16x32xf32>, tensor<?x32xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_c4(%x: tensor<?x32xf32>, %w: tensor<16x32xf32>) {
  // expected-error@+1 {{C4: result #0 must be 'tensor<?x16xf32>'}}
  %0 = graph.linear %x, %w : (tensor<?x32xf32>, tensor<16x32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @linear_raw_weight(%x: tensor<?x32xf32>, %w: tensor<16x32xf32, #graph.encoding<raw_f32>>) {
  // expected-error@+1 {{operand #1 must be weight matrix}}
  %0 = graph.linear %x, %w : (tensor<?x32xf32>, tensor<16x32xf32, #graph.encoding<raw_f32>>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_f64_rows(%x: tensor<?x32xf64>, %w: tensor<16x32xf32>) {
  // expected-error@+1 {{operand #0 must be rows [T, n] of f32}}
  %0 = graph.linear %x, %w : (tensor<?x32xf64>, tensor<16x32xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_swiglu_c1(%x: tensor<?x32xf32>, %w: tensor<16x64xf32>) {
  // expected-error@+1 {{C1: x has 32 columns, w_gate 64}}
  %0 = graph.linear_swiglu %x, %w, %w : (tensor<?x32xf32>, tensor<16x64xf32>, tensor<16x64xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_swiglu_c2(%x: tensor<?x32xf32>, %w: tensor<16x32xf32>, %u: tensor<16x32xbf16>) {
  // expected-error@+1 {{C2: w_gate is 'tensor<16x32xf32>', w_up 'tensor<16x32xbf16>'}}
  %0 = graph.linear_swiglu %x, %w, %u : (tensor<?x32xf32>, tensor<16x32xf32>, tensor<16x32xbf16>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_swiglu_c3(%x: tensor<?x32xf32>, %w: tensor<16x32xf32>) {
  // expected-error@+1 {{C3: result #0 must be 'tensor<?x16xf32>'}}
  %0 = graph.linear_swiglu %x, %w, %w : (tensor<?x32xf32>, tensor<16x32xf32>, tensor<16x32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rms_norm_c1(%x: tensor<?x32xf32>, %g: tensor<8xf32>) {
  // expected-error@+1 {{C1: 3 groups of 8 elements do not make up the 32 columns of x}}
  %0 = graph.rms_norm %x, %g {eps = 1.0e-6, groups = 3} : (tensor<?x32xf32>, tensor<8xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rms_norm_c1_overflow(%x: tensor<?x32xf32>, %g: tensor<8xf32>) {
  // expected-error@+1 {{C1: 4611686018427387908 groups of 8}}
  %0 = graph.rms_norm %x, %g {eps = 1.0e-6, groups = 4611686018427387908} : (tensor<?x32xf32>, tensor<8xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rms_norm_c2(%x: tensor<?x32xf32>, %g: tensor<32xf32>) {
  // expected-error@+1 {{C2: eps must be finite and not negative}}
  %0 = graph.rms_norm %x, %g {eps = -1.0} : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rms_norm_c2_nan(%x: tensor<?x32xf32>, %g: tensor<32xf32>) {
  // expected-error@+1 {{C2: eps must be finite and not negative}}
  %0 = graph.rms_norm %x, %g {eps = 0x7FF8000000000000 : f64} : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rms_norm_c3(%x: tensor<?x32xf32>, %g: tensor<32xf32>) {
  // expected-error@+1 {{C3: result #0 must be 'tensor<?x32xf32>'}}
  %0 = graph.rms_norm %x, %g {eps = 1.0} : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @layer_norm_c1(%x: tensor<?x32xf32>, %g: tensor<16xf32>) {
  // expected-error@+1 {{C1: gamma has 16 elements, x 32 columns}}
  %0 = graph.layer_norm %x, %g {eps = 1.0} : (tensor<?x32xf32>, tensor<16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @layer_norm_c2(%x: tensor<?x32xf32>, %g: tensor<32xf32>, %b: tensor<16xf32>) {
  // expected-error@+1 {{C2: beta has 16 elements, gamma 32}}
  %0 = graph.layer_norm %x, %g, %b {eps = 1.0} : (tensor<?x32xf32>, tensor<32xf32>, tensor<16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @layer_norm_c3(%x: tensor<?x32xf32>, %g: tensor<32xf32>) {
  // expected-error@+1 {{C3: eps must be finite and not negative}}
  %0 = graph.layer_norm %x, %g {eps = -1.0} : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @layer_norm_c4(%x: tensor<?x32xf32>, %g: tensor<32xf32>) {
  // expected-error@+1 {{C4: result #0 must be 'tensor<?x32xf32>'}}
  %0 = graph.layer_norm %x, %g {eps = 1.0} : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<1x32xf32>
  return
}

// -----

func.func @swiglu_c1(%x: tensor<?x32xf32>, %y: tensor<?x16xf32>) {
  // expected-error@+1 {{C1: gate is 'tensor<?x32xf32>', up 'tensor<?x16xf32>'}}
  %0 = graph.swiglu %x, %y : (tensor<?x32xf32>, tensor<?x16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @swiglu_c2(%x: tensor<?x32xf32>) {
  // expected-error@+1 {{C2: result #0 must be 'tensor<?x32xf32>'}}
  %0 = graph.swiglu %x, %x : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @rope_c1(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<520x8xf32>) {
  // expected-error@+1 {{C1: 3 heads of 16 elements do not make up the 32 columns of x}}
  %0 = graph.rope %x, %p, %t {heads = 3, head_dim = 16, offset = 8, dim = 8, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x8xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rope_c2(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<520x8xf32>) {
  // expected-error@+1 {{C2: dim 8 at offset 9 must be even and inside a head of 16}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = 9, dim = 8, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x8xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rope_c2_odd(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<520x7xf32>) {
  // expected-error@+1 {{C2: dim 7 at offset 0 must be even}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = 0, dim = 7, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x7xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rope_c2_negative(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<520x8xf32>) {
  // expected-error@+1 {{C2: dim 8 at offset -8}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = -8, dim = 8, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x8xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rope_c3(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<520x16xf32>) {
  // expected-error@+1 {{C3: the table must have more than 512 rows of dim = 8 columns}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = 8, dim = 8, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x16xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rope_c3_rows(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<512x8xf32>) {
  // expected-error@+1 {{C3: the table must have more than 512 rows of dim = 8 columns}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = 8, dim = 8, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<512x8xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rope_c4(%x: tensor<4x32xf32>, %p: tensor<3xi32>, %t: tensor<520x8xf32>) {
  // expected-error@+1 {{C4: positions has 3 elements, x 4 rows}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = 8, dim = 8, interleaved = true} : (tensor<4x32xf32>, tensor<3xi32>, tensor<520x8xf32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @rope_c5(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<520x8xf32>) {
  // expected-error@+1 {{C5: mscale must be finite and greater than 0}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = 8, dim = 8, mscale = 0.0, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x8xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @rope_c6(%x: tensor<?x32xf32>, %p: tensor<?xi32>, %t: tensor<520x8xf32>) {
  // expected-error@+1 {{C6: result #0 must be 'tensor<?x32xf32>'}}
  %0 = graph.rope %x, %p, %t {heads = 2, head_dim = 16, offset = 8, dim = 8, interleaved = true} : (tensor<?x32xf32>, tensor<?xi32>, tensor<520x8xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @logits_c1(%x: tensor<?x32xf32>, %g: tensor<16xf32>, %h: tensor<96x32xf32>, %r: tensor<?xi32>) {
  // expected-error@+1 {{C1: gamma has 16 elements, x 32 columns}}
  %0 = graph.logits %x, %g, %h, %r {eps = 1.0} : (tensor<?x32xf32>, tensor<16xf32>, tensor<96x32xf32>, tensor<?xi32>) -> tensor<?x96xf32>
  return
}

// -----

func.func @logits_c2(%x: tensor<?x32xf32>, %g: tensor<32xf32>, %h: tensor<96x16xf32>, %r: tensor<?xi32>) {
  // expected-error@+1 {{C2: head has 16 columns, x 32}}
  %0 = graph.logits %x, %g, %h, %r {eps = 1.0} : (tensor<?x32xf32>, tensor<32xf32>, tensor<96x16xf32>, tensor<?xi32>) -> tensor<?x96xf32>
  return
}

// -----

func.func @logits_c3(%x: tensor<?x32xf32>, %g: tensor<32xf32>, %h: tensor<96x32xf32>, %r: tensor<?xi32>) {
  // expected-error@+1 {{C3: eps must be finite and not negative}}
  %0 = graph.logits %x, %g, %h, %r {eps = -1.0} : (tensor<?x32xf32>, tensor<32xf32>, tensor<96x32xf32>, tensor<?xi32>) -> tensor<?x96xf32>
  return
}

// -----

func.func @logits_c4(%x: tensor<?x32xf32>, %g: tensor<32xf32>, %h: tensor<96x32xf32>, %r: tensor<?xi32>) {
  // expected-error@+1 {{C4: result #0 must be 'tensor<?x96xf32>'}}
  %0 = graph.logits %x, %g, %h, %r {eps = 1.0} : (tensor<?x32xf32>, tensor<32xf32>, tensor<96x32xf32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @sample_c1(%l: tensor<4x9xf32>, %f: tensor<3xf32>, %k: tensor<4xi32>) {
  // expected-error@+1 {{C1: an operand has 3 elements, logits 4 rows}}
  %0 = graph.sample %l, %f, %k, %f, %f, %f : (tensor<4x9xf32>, tensor<3xf32>, tensor<4xi32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<4xi32>
  return
}

// -----

func.func @sample_c2(%l: tensor<4x9xf32>, %f: tensor<4xf32>, %k: tensor<4xi32>) {
  // expected-error@+1 {{C2: result #0 must be 'tensor<4xi32>'}}
  %0 = graph.sample %l, %f, %k, %f, %f, %f : (tensor<4x9xf32>, tensor<4xf32>, tensor<4xi32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<3xi32>
  return
}
