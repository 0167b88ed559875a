// RUN: fathom-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{C1: the type must be an encoded tensor}}
schedule.weight @weight_c1 : tensor<16x16xf32> {
  %0 = graph.param "a" : tensor<16x16xf32>
  schedule.yield %0 : tensor<16x16xf32>
}

// -----

// expected-error@+1 {{C2: 'arith.constant' is no reference to a weight nor a view}}
schedule.weight @weight_c2 : tensor<16x16xf32, #graph.encoding<q8>> {
  %0 = arith.constant dense<0.0> : tensor<16x16xf32>
  schedule.yield %0 : tensor<16x16xf32>
}

// -----

// expected-error@+1 {{C2: 'graph.encode' is no reference to a weight nor a view}}
schedule.weight @weight_c2_encode : tensor<16x16xf32, #graph.encoding<q8>> {
  %0 = graph.param "a" : tensor<16x16xf32>
  %1 = graph.encode %0 : tensor<16x16xf32> -> tensor<16x16xf32, #graph.encoding<q8>>
  schedule.yield %0 : tensor<16x16xf32>
}

// -----

// expected-error@+1 {{C2: the body must end in schedule.yield}}
schedule.weight @weight_c2_yield : tensor<16x16xf32, #graph.encoding<q8>> {
  %0 = graph.param "a" : tensor<16x16xf32>
}

// -----

// expected-error@+1 {{C3: must yield a tensor without encoding and of the shape}}
schedule.weight @weight_c3 : tensor<16x16xf32, #graph.encoding<q8>> {
  %0 = graph.param "a" : tensor<16x32xf32>
  schedule.yield %0 : tensor<16x32xf32>
}

// -----

// expected-error@+1 {{C1: target, driver and features must not be empty strings}}
schedule.program @program_c1 target("") driver("cpu") features(["a"])  {
}

// -----

// expected-error@+1 {{C1: target, driver and features must not be empty strings}}
schedule.program @program_c1_feature target("cpu") driver("cpu") features([""])  {
}

// -----

// expected-error@+1 {{C2: kv needs the integer 'row_bytes' greater than 0}}
schedule.program @program_c2 target("cpu") driver("cpu") features(["a"]) kv({page_tokens = 64, layers = 2}) {
}

// -----

// expected-error@+1 {{C2: kv needs the integer 'layers' greater than 0}}
schedule.program @program_c2_zero target("cpu") driver("cpu") features(["a"]) kv({page_tokens = 64, layers = 0, row_bytes = 2, page_bytes = 0}) {
}

// -----

// expected-error@+1 {{C2: kv must be page_tokens, layers, row_bytes and their product page_bytes}}
schedule.program @program_c2_product target("cpu") driver("cpu") features(["a"]) kv({page_tokens = 64, layers = 2, row_bytes = 2, page_bytes = 128}) {
}

// -----

// expected-error@+1 {{C2: kv must be page_tokens, layers, row_bytes and their product page_bytes}}
schedule.program @program_c2_overflow target("cpu") driver("cpu") features(["a"]) kv({page_tokens = 4294967296, layers = 4294967296, row_bytes = 2, page_bytes = 128}) {
}

// -----

// expected-error@+1 {{C3: holds kernels and entries, got 'func.func'}}
schedule.program @program_c3 target("cpu") driver("cpu") features(["a"])  {
  func.func private @f()
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  // expected-error@+1 {{C1: family must not be empty}}
  schedule.kernel @kernel_c1 family("") config({}) bindings(2) push(1)
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  // expected-error@+1 {{C2: bindings must be greater than 0 and push not negative, got 0 and 1}}
  schedule.kernel @kernel_c2 family("add") config({}) bindings(0) push(1)
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  // expected-error@+1 {{C2: bindings must be greater than 0 and push not negative, got 2 and -1}}
  schedule.kernel @kernel_c2_push family("add") config({}) bindings(2) push(-1)
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  // expected-error@+1 {{C1: holds buffers, weights, layers of the cache, dispatches and barriers, got 'graph.param'}}
  schedule.entry @entry_c1 {
    %0 = graph.param "a" : tensor<16xf32>
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  // expected-error@+1 {{C2: two inputs, outputs or caches are called "a"}}
  schedule.entry @entry_c2 {
    %0 = schedule.buffer "a" input size(T)
    %1 = schedule.buffer "a" output size(T)
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  // expected-error@+1 {{C2: has two kv_cache buffers}}
  schedule.entry @entry_c2_cache {
    %0 = schedule.buffer "a" kv_cache size(0)
    %1 = schedule.buffer "b" kv_cache size(0)
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  // expected-error@+1 {{C3: arena is no valid size: T mod 16}}
  schedule.entry @entry_c3 arena(T mod 16) {
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  // expected-error@+1 {{C4: buffer "a" has no offset although there is an arena}}
  schedule.entry @entry_c4 arena(T) {
    %0 = schedule.buffer "a" transient size(T)
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  // expected-error@+1 {{C4: buffer "a" has an offset although there is no arena}}
  schedule.entry @entry_c4_none {
    %0 = schedule.buffer "a" transient size(T) offset(0)
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @buffer_c1 {
    // expected-error@+1 {{C1: the name must not be empty}}
    %0 = schedule.buffer "" input size(T)
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @buffer_c2 {
    // expected-error@+1 {{C2: not a valid size: T mod 3}}
    %0 = schedule.buffer "a" input size(T mod 3)
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @buffer_c2_symbols {
    // expected-error@+1 {{C2: not a valid size: d0}}
    %0 = "schedule.buffer"() <{name = "a", kind = #schedule<buffer_kind input>, size = affine_map<(d0) -> (d0)>}> : () -> !schedule.buffer
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @buffer_c3 {
    // expected-error@+1 {{C3: only a transient buffer has an offset, this is input}}
    %0 = schedule.buffer "a" input size(T) offset(0)
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @use_weight_c1 {
    // expected-error@+1 {{C1: the module has no weight @w}}
    %0 = schedule.use_weight @w
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c1 {
    %0 = schedule.buffer "a" transient size(T)
    // expected-error@+1 {{C1: the program has no kernel @q}}
    schedule.dispatch @q grid(1, 1, 1) (%0, %0) push(T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c2 {
    %0 = schedule.buffer "a" transient size(T)
    // expected-error@+1 {{C2: passes 1 buffers, @k has 2 bindings}}
    schedule.dispatch @k grid(1, 1, 1) (%0) push(T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c2_offset {
    %0 = schedule.buffer "a" transient size(T)
    // expected-error@+1 {{C2: each of the 2 buffers needs an offset that is not negative}}
    schedule.dispatch @k grid(1, 1, 1) (%0, %0 + -4) push(T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c3 {
    %0 = schedule.buffer "a" transient size(T)
    // expected-error@+1 {{C3: not a valid size: T mod 2}}
    schedule.dispatch @k grid(1, T mod 2, 1) (%0, %0) push(T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c3_push {
    %0 = schedule.buffer "a" transient size(T)
    // expected-error@+1 {{C3: not a valid size: T mod 2}}
    schedule.dispatch @k grid(1, 1, 1) (%0, %0) push(T mod 2) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c4 {
    %0 = schedule.buffer "a" transient size(T)
    // expected-error@+1 {{C4: passes 2 push values, @k has 1}}
    schedule.dispatch @k grid(1, 1, 1) (%0, %0) push(T, T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_grid {
    %0 = schedule.buffer "a" transient size(T)
    // expected-error@+1 {{attribute 'grid' failed to satisfy constraint}}
    schedule.dispatch @k grid(1, 1) (%0, %0) push(T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c5 {
    %0 = schedule.buffer "kv" kv_cache size(0)
    // expected-error@+1 {{C5: binds the cache as a whole; bind a layer of it}}
    schedule.dispatch @k grid(1, 1, 1) (%0, %0) push(T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(1)
  schedule.entry @dispatch_c5_offset {
    %0 = schedule.buffer "kv" kv_cache size(0)
    %1 = schedule.use_cache %0 layer 7
    // expected-error@+1 {{C5: binds a layer of the cache from byte 64 on}}
    schedule.dispatch @k grid(1, 1, 1) (%1, %1 + 64) push(T) label ""
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.entry @use_cache_c1 {
    %0 = schedule.buffer "x" transient size(T)
    // expected-error@+1 {{C1: the operand must be a kv_cache buffer}}
    %1 = schedule.use_cache %0 layer 0
  }
}

// -----

schedule.program @p target("cpu") driver("cpu") features([]) kv({layers = 2, page_bytes = 8192, page_tokens = 64, row_bytes = 64}) {
  schedule.entry @use_cache_c2 {
    %0 = schedule.buffer "kv" kv_cache size(0)
    // expected-error@+1 {{C2: no layer 2 in a cache of 2 layers}}
    %1 = schedule.use_cache %0 layer 2
  }
}

// -----

schedule.weight @w : tensor<16x16xf32, #graph.encoding<q8>> {
  %0 = graph.param "a" : tensor<16x16xf32>
  schedule.yield %0 : tensor<16x16xf32>
}
schedule.program @p target("cpu") driver("cpu") features([]) {
  schedule.entry @use_weight_c2 {
    // expected-error@+1 {{C2: expected an offset that is not negative and a length greater than 0}}
    %0 = schedule.use_weight @w bytes(0, 0)
  }
}
