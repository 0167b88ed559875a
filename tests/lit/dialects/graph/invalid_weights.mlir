// RUN: fathom-opt %s -split-input-file -verify-diagnostics

func.func @param_c1() {
  // expected-error@+1 {{C1: needs at least one name}}
  %0 = graph.param [] : tensor<2x16xf32>
  return
}

// -----

func.func @param_c1_empty_name() {
  // expected-error@+1 {{C1: needs at least one name}}
  %0 = graph.param "" : tensor<2x16xf32>
  return
}

// -----

func.func @param_c2() {
  // expected-error@+1 {{C2: 2 names stack to a leading dimension of 2}}
  %0 = graph.param ["a", "b"] : tensor<3x16xf32>
  return
}

// -----

func.func @param_c2_rank() {
  // expected-error@+1 {{C2: 2 names stack to a leading dimension of 2}}
  %0 = graph.param ["a", "b"] : tensor<2xf32>
  return
}

// -----

func.func @param_range() {
  // expected-error@+1 {{must hold between 1 and 2^20 names}}
  %0 = graph.param "a" [3 to 3] "b" : tensor<2x16xf32>
  return
}

// -----

func.func @param_dynamic() {
  // expected-error@+1 {{must be static tensor of a stored element type}}
  %0 = graph.param "a" : tensor<?x16xf32>
  return
}

// -----

func.func @param_stored_type() {
  // expected-error@+1 {{must be static tensor of a stored element type}}
  %0 = graph.param "a" : tensor<2x16xi1>
  return
}

// -----

func.func @param_encoded() {
  // expected-error@+1 {{must be static tensor of a stored element type}}
  %0 = graph.param "a" : tensor<2x16xf32, #graph.encoding<q8>>
  return
}

// -----

func.func @rope_table_c1() {
  // expected-error@+1 {{C1: inv_freq must hold finite numbers}}
  %0 = graph.rope_table {inv_freq = array<f64>, max_position = 4096 : i64} : tensor<520x4xf32>
  return
}

// -----

func.func @rope_table_c1_zero() {
  // expected-error@+1 {{C1: inv_freq must hold finite numbers}}
  %0 = graph.rope_table {inv_freq = array<f64: 1.0, 0.0>, max_position = 4096 : i64} : tensor<520x4xf32>
  return
}

// -----

func.func @rope_table_c2() {
  // expected-error@+1 {{C2: max_position must be in [1, 2^30], got 0}}
  %0 = graph.rope_table {inv_freq = array<f64: 1.0>, max_position = 0 : i64} : tensor<512x2xf32>
  return
}

// -----

func.func @rope_table_c3() {
  // expected-error@+1 {{C3: result #0 must be 'tensor<521x2xf32>', got 'tensor<520x2xf32>'}}
  %0 = graph.rope_table {inv_freq = array<f64: 1.0>, max_position = 4097 : i64} : tensor<520x2xf32>
  return
}

// -----

func.func @encode_c1(%w: tensor<16x16xf32, #graph.encoding<q8>>) {
  // expected-error@+1 {{C1: w is encoded already}}
  %0 = graph.encode %w : tensor<16x16xf32, #graph.encoding<q8>> -> tensor<16x16xf32, #graph.encoding<q4>>
  return
}

// -----

func.func @encode_c2(%w: tensor<16x16xf32>) {
  // expected-error@+1 {{C2: the result has no encoding}}
  %0 = graph.encode %w : tensor<16x16xf32> -> tensor<16x16xf32>
  return
}

// -----

func.func @encode_c3(%w: tensor<16x16xf32>) {
  // expected-error@+1 {{C3: the shapes differ}}
  %0 = graph.encode %w : tensor<16x16xf32> -> tensor<16x32xf32, #graph.encoding<q4>>
  return
}

// -----

// expected-error@+1 {{C1: an encoded tensor's shape is static and without 0}}
func.func private @encoding_c1(tensor<?x16xf32, #graph.encoding<q8>>)

// -----

// expected-error@+1 {{C1: an encoded tensor's shape is static and without 0}}
func.func private @encoding_c1_zero(tensor<0x16xf32, #graph.encoding<q8>>)

// -----

// expected-error@+1 {{C2: the element type of a tensor encoded as q8 is f32, got 'bf16'}}
func.func private @encoding_c2(tensor<16x16xbf16, #graph.encoding<q8>>)

// -----

// expected-error@+1 {{C2: the element type of a tensor encoded as raw_i32 is i32}}
func.func private @encoding_c2_i32(tensor<16x16xf32, #graph.encoding<raw_i32>>)

// -----

// expected-error@+1 {{C3: a tensor encoded as q4 has rank 2 or 3, got 1}}
func.func private @encoding_c3(tensor<16xf32, #graph.encoding<q4>>)

// -----

// expected-error@+1 {{'graph.model' lacks 'architecture'}}
module attributes {graph.model = {name = "a"}} {}

// -----

// expected-error@+1 {{'graph.model': 'architecture' must be a string}}
module attributes {graph.model = {name = "a", architecture = 1}} {}

// -----

// expected-error@+1 {{'graph.kv': 'kind' must be "latent" or "gqa", got "mha"}}
module attributes {graph.kv = {layers = 1 : i64, row_elements = 1 : i64, kind = "mha"}} {}

// -----

// expected-error@+1 {{'graph.kv': 'layers' is negative}}
module attributes {graph.kv = {layers = -1 : i64, row_elements = 1 : i64, kind = "gqa"}} {}

// -----

// expected-error@+1 {{'graph.kv' has 4 fields, expected 3}}
module attributes {graph.kv = {layers = 1 : i64, row_elements = 1 : i64, kind = "gqa", more = 1}} {}

// -----

// expected-error@+1 {{the graph dialect has no attribute 'graph.other'}}
module attributes {graph.other = 1} {}

// -----

// expected-error@+1 {{'graph.kv' belongs on a module}}
func.func private @kv_place() attributes {graph.kv = {}}
