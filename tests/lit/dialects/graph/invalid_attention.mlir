// RUN: fathom-opt %s -split-input-file -verify-diagnostics

func.func @latent_compress_c1(%x: tensor<?x24xf32>, %g: tensor<16xf32>, %p: tensor<?xi32>, %t: tensor<520x4xf32>) {
  // expected-error@+1 {{C1: rank 16 and rope_dim 4 do not make up the 24 columns of x}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 4, eps = 1.0, interleaved = true} : (tensor<?x24xf32>, tensor<16xf32>, tensor<?xi32>, tensor<520x4xf32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @latent_compress_c2(%x: tensor<?x20xf32>, %g: tensor<20xf32>, %p: tensor<?xi32>, %t: tensor<520x4xf32>) {
  // expected-error@+1 {{C2: gamma has 20 elements, expected rank 16}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 4, eps = 1.0, interleaved = true} : (tensor<?x20xf32>, tensor<20xf32>, tensor<?xi32>, tensor<520x4xf32>) -> tensor<?x20xf32>
  return
}

// -----

func.func @latent_compress_c3(%x: tensor<?x20xf32>, %g: tensor<16xf32>, %p: tensor<?xi32>, %t: tensor<520x8xf32>) {
  // expected-error@+1 {{C3: rope_dim must be even and the table}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 4, eps = 1.0, interleaved = true} : (tensor<?x20xf32>, tensor<16xf32>, tensor<?xi32>, tensor<520x8xf32>) -> tensor<?x20xf32>
  return
}

// -----

func.func @latent_compress_c3_odd(%x: tensor<?x19xf32>, %g: tensor<16xf32>, %p: tensor<?xi32>, %t: tensor<520x3xf32>) {
  // expected-error@+1 {{C3: rope_dim must be even and the table}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 3, eps = 1.0, interleaved = true} : (tensor<?x19xf32>, tensor<16xf32>, tensor<?xi32>, tensor<520x3xf32>) -> tensor<?x19xf32>
  return
}

// -----

func.func @latent_compress_c4(%x: tensor<4x20xf32>, %g: tensor<16xf32>, %p: tensor<3xi32>, %t: tensor<520x4xf32>) {
  // expected-error@+1 {{C4: positions has 3 elements, x 4 rows}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 4, eps = 1.0, interleaved = true} : (tensor<4x20xf32>, tensor<16xf32>, tensor<3xi32>, tensor<520x4xf32>) -> tensor<4x20xf32>
  return
}

// -----

func.func @latent_compress_c5(%x: tensor<?x20xf32>, %g: tensor<16xf32>, %p: tensor<?xi32>, %t: tensor<520x4xf32>) {
  // expected-error@+1 {{C5: eps must be finite and not negative, mscale finite and greater than 0}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 4, eps = -1.0, interleaved = true} : (tensor<?x20xf32>, tensor<16xf32>, tensor<?xi32>, tensor<520x4xf32>) -> tensor<?x20xf32>
  return
}

// -----

func.func @latent_compress_c5_mscale(%x: tensor<?x20xf32>, %g: tensor<16xf32>, %p: tensor<?xi32>, %t: tensor<520x4xf32>) {
  // expected-error@+1 {{C5: eps must be finite and not negative, mscale finite and greater than 0}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 4, eps = 1.0, mscale = -1.0, interleaved = true} : (tensor<?x20xf32>, tensor<16xf32>, tensor<?xi32>, tensor<520x4xf32>) -> tensor<?x20xf32>
  return
}

// -----

func.func @latent_compress_c6(%x: tensor<?x20xf32>, %g: tensor<16xf32>, %p: tensor<?xi32>, %t: tensor<520x4xf32>) {
  // expected-error@+1 {{C6: result #0 must be 'tensor<?x20xf32>'}}
  %0 = graph.latent_compress %x, %g, %p, %t {rank = 16, rope_dim = 4, eps = 1.0, interleaved = true} : (tensor<?x20xf32>, tensor<16xf32>, tensor<?xi32>, tensor<520x4xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @cache_append_c1(%r0: tensor<?x8xf32>, %r1: tensor<?x8xf32>, %r2: tensor<?x8xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>) {
  // expected-error@+1 {{C1: takes one row, or two of the same type, got 3}}
  graph.cache_append %r0, %r1, %r2 at(%pos, %seq, %pages) {layer = 0} : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  return
}

// -----

func.func @cache_append_c1_types(%r0: tensor<?x8xf32>, %r1: tensor<?x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>) {
  // expected-error@+1 {{C1: takes one row, or two of the same type}}
  graph.cache_append %r0, %r1 at(%pos, %seq, %pages) {layer = 0} : tensor<?x8xf32>, tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  return
}

// -----

func.func @cache_append_c2(%r0: tensor<4x20xf32>, %pos: tensor<?xi32>, %seq: tensor<3xi32>, %pages: tensor<?x?xi32>) {
  // expected-error@+1 {{C2: sequence has 3 elements for 4 tokens}}
  graph.cache_append %r0 at(%pos, %seq, %pages) {layer = 0} : tensor<4x20xf32>, tensor<?xi32>, tensor<3xi32>, tensor<?x?xi32>
  return
}

// -----

module attributes {graph.kv = {kind = "latent", layers = 1 : i64, row_elements = 20 : i64}} {
func.func @cache_append_c3(%r0: tensor<?x20xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>) {
  // expected-error@+1 {{C3: layer 1 of a cache of 1 layers}}
  graph.cache_append %r0 at(%pos, %seq, %pages) {layer = 1} : tensor<?x20xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  return
}
}

// -----

func.func @cache_append_c3_negative(%r0: tensor<?x20xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>) {
  // expected-error@+1 {{C3: layer -1 is negative}}
  graph.cache_append %r0 at(%pos, %seq, %pages) {layer = -1} : tensor<?x20xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  return
}

// -----

module attributes {graph.kv = {kind = "latent", layers = 1 : i64, row_elements = 20 : i64}} {
func.func @cache_append_c4(%r0: tensor<?x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>) {
  // expected-error@+1 {{C4: needs a latent cache with rows of 24 elements, graph.kv is latent with 20}}
  graph.cache_append %r0 at(%pos, %seq, %pages) {layer = 0} : tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  return
}
}

// -----

module attributes {graph.kv = {kind = "latent", layers = 1 : i64, row_elements = 20 : i64}} {
func.func @cache_append_c4_kind(%r0: tensor<?x10xf32>, %r1: tensor<?x10xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>) {
  // expected-error@+1 {{C4: needs a gqa cache with rows of 20 elements, graph.kv is latent with 20}}
  graph.cache_append %r0, %r1 at(%pos, %seq, %pages) {layer = 0} : tensor<?x10xf32>, tensor<?x10xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>
  return
}
}

// -----

func.func @latent_attention_c1(%q: tensor<?x32xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C1: 2 heads of 8 + 4 elements do not make up the 32 columns of q}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c1_zero(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C1: 0 heads of 8 + 4 elements}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 0, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c1_rank(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C1: 2 heads of 8 + 4 elements}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 0, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c2(%q: tensor<?x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C2: takes either kv_b or both of w_uk and w_uv}}
  %0 = graph.latent_attention %q at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c2_half(%q: tensor<?x24xf32>, %w_uk: tensor<2x8x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C2: takes either kv_b or both of w_uk and w_uv}}
  %0 = graph.latent_attention %q w_uk(%w_uk) at(%pos, %seq, %pages, %len) form expanded {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<2x8x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c2_all(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %w_uk: tensor<2x8x16xf32>, %w_uv: tensor<2x8x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C2: takes either kv_b or both of w_uk and w_uv}}
  %0 = graph.latent_attention %q kv_b(%kv_b) w_uk(%w_uk) w_uv(%w_uv) at(%pos, %seq, %pages, %len) form expanded {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c3(%q: tensor<?x24xf32>, %kv_b: tensor<16x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C3: kv_b must be [32, 16], got 'tensor<16x16xf32>'}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<16x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c4(%q: tensor<?x24xf32>, %w_uk: tensor<2x8x16xf32>, %w_uv: tensor<2x8x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C4: w_uk and w_uv need the form expanded}}
  %0 = graph.latent_attention %q w_uk(%w_uk) w_uv(%w_uv) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c4_shape(%q: tensor<?x24xf32>, %w_uk: tensor<2x8x16xf32>, %w_uv: tensor<2x16x8xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C4: w_uk must be [2, 8, 16] and w_uv [2, 8, 16]}}
  %0 = graph.latent_attention %q w_uk(%w_uk) w_uv(%w_uv) at(%pos, %seq, %pages, %len) form expanded {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<2x8x16xf32>, tensor<2x16x8xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c5(%q: tensor<4x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<3xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C5: positions has 3 elements for 4 tokens}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<4x24xf32>, tensor<32x16xf32>, tensor<3xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<4x16xf32>
  return
}

// -----

func.func @latent_attention_c5_pages(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<2x?xi32>, %len: tensor<3xi32>) {
  // expected-error@+1 {{C5: page_table has 2 rows, context_length 3 elements}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<2x?xi32>, tensor<3xi32>) -> tensor<?x16xf32>
  return
}

// -----

module attributes {graph.kv = {kind = "latent", layers = 1 : i64, row_elements = 20 : i64}} {
func.func @latent_attention_c6(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C6: layer 1 of a cache of 1 layers}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 1, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}
}

// -----

func.func @latent_attention_c6_negative(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C6: layer -1 is negative}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = -1, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

module attributes {graph.kv = {kind = "gqa", layers = 1 : i64, row_elements = 32 : i64}} {
func.func @latent_attention_c6_kind(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C6: needs a latent cache with rows of 20 elements, graph.kv is gqa with 32}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}
}

// -----

func.func @latent_attention_c7(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C7: scale must be finite and greater than 0}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.0} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @latent_attention_c8(%q: tensor<?x24xf32>, %kv_b: tensor<32x16xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C8: result #0 must be 'tensor<?x16xf32>'}}
  %0 = graph.latent_attention %q kv_b(%kv_b) at(%pos, %seq, %pages, %len) form auto {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, v_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<32x16xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @latent_attention_absorbed_c1(%ql: tensor<?x30xf32>, %q: tensor<?x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C1: 2 heads of rank 16 do not make up the 30 columns of q_latent}}
  %0 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = 0.25} : (tensor<?x30xf32>, tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x30xf32>
  return
}

// -----

func.func @latent_attention_absorbed_c2(%ql: tensor<4x32xf32>, %q: tensor<4x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C2: q must have 4 rows of 2 heads of 8 + 4 elements, got 'tensor<4x32xf32>'}}
  %0 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = 0.25} : (tensor<4x32xf32>, tensor<4x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @latent_attention_absorbed_c2_rows(%ql: tensor<4x32xf32>, %q: tensor<3x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C2: q must have 4 rows of 2 heads of 8 + 4 elements, got 'tensor<3x24xf32>'}}
  %0 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = 0.25} : (tensor<4x32xf32>, tensor<3x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @latent_attention_absorbed_c3(%ql: tensor<4x32xf32>, %q: tensor<4x24xf32>, %pos: tensor<?xi32>, %seq: tensor<3xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C3: sequence has 3 elements for 4 tokens}}
  %0 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = 0.25} : (tensor<4x32xf32>, tensor<4x24xf32>, tensor<?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<4x32xf32>
  return
}

// -----

module attributes {graph.kv = {kind = "latent", layers = 1 : i64, row_elements = 20 : i64}} {
func.func @latent_attention_absorbed_c4(%ql: tensor<?x32xf32>, %q: tensor<?x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C4: layer 1 of a cache of 1 layers}}
  %0 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 1, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = 0.25} : (tensor<?x32xf32>, tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}
}

// -----

func.func @latent_attention_absorbed_c5(%ql: tensor<?x32xf32>, %q: tensor<?x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C5: scale must be finite and greater than 0}}
  %0 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = -1.0} : (tensor<?x32xf32>, tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @latent_attention_absorbed_c6(%ql: tensor<?x32xf32>, %q: tensor<?x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C6: result #0 must be 'tensor<?x32xf32>'}}
  %0 = graph.latent_attention_absorbed %ql, %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 2, rank = 16, nope = 8, rope_dim = 4, scale = 0.25} : (tensor<?x32xf32>, tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @attention_c1(%q: tensor<?x24xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C1: 4 heads of 8 elements do not make up the 24 columns of q}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 2, head_dim = 8, scale = 0.25} : (tensor<?x24xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  return
}

// -----

func.func @attention_c2(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C2: kv_heads 3 does not divide heads 4}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 3, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @attention_c2_zero(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C2: kv_heads 0 does not divide heads 4}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 0, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @attention_c3(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{C3: sinks has 2 elements, expected 4}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) sinks(%s) {layer = 0, heads = 4, kv_heads = 2, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<2xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @attention_c4(%q: tensor<4x32xf32>, %pos: tensor<3xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C4: positions has 3 elements for 4 tokens}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 2, head_dim = 8, scale = 0.25} : (tensor<4x32xf32>, tensor<3xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<4x32xf32>
  return
}

// -----

module attributes {graph.kv = {kind = "gqa", layers = 1 : i64, row_elements = 32 : i64}} {
func.func @attention_c5(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C5: layer 1 of a cache of 1 layers}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 1, heads = 4, kv_heads = 2, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}
}

// -----

module attributes {graph.kv = {kind = "gqa", layers = 1 : i64, row_elements = 32 : i64}} {
func.func @attention_c5_row(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C5: needs a gqa cache with rows of 16 elements, graph.kv is gqa with 32}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 1, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}
}

// -----

func.func @attention_c6(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C6: scale must be finite and greater than 0, window not negative}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 2, head_dim = 8, scale = 0.0} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @attention_c6_window(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C6: scale must be finite and greater than 0, window not negative}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 2, head_dim = 8, scale = 0.25, window = -1} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @attention_c7(%q: tensor<?x32xf32>, %pos: tensor<?xi32>, %seq: tensor<?xi32>, %pages: tensor<?x?xi32>, %len: tensor<?xi32>) {
  // expected-error@+1 {{C7: result #0 must be 'tensor<?x32xf32>'}}
  %0 = graph.attention %q at(%pos, %seq, %pages, %len) {layer = 0, heads = 4, kv_heads = 2, head_dim = 8, scale = 0.25} : (tensor<?x32xf32>, tensor<?xi32>, tensor<?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}
