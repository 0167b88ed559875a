// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes that decide how weights are stored.
#ifndef FATHOM_COMPILER_QUANTIZE_PASSES_TD
#define FATHOM_COMPILER_QUANTIZE_PASSES_TD

include "mlir/Pass/PassBase.td"

def AssignEncodingsPass : Pass<"fathom-assign-encodings", "::mlir::func::FuncOp"> {
  let summary = "Give every weight the encoding it has in the artifact";
  let description = [{
    Puts a `graph.encode` between each weight and its users. Matrices get the encoding of the option;
    vectors and RoPE tables are `raw_f32`; projections marked `keep_f32` (routers) get `f32`. Nothing
    is read from the checkpoint: bytes are made when the artifact is written.

    ```mlir
    // before
    %y = graph.linear %x, %w : (tensor<?x64xf32>, tensor<32x64xbf16>) -> tensor<?x32xf32>
    // after, encoding=q4
    %e = graph.encode %w : tensor<32x64xbf16> -> tensor<32x64xf32, #graph.encoding<q4>>
    %y = graph.linear %x, %e : (tensor<?x64xf32>, tensor<32x64xf32, #graph.encoding<q4>>) -> ...
    ```
  }];
  let options = [
    Option<"encoding", "encoding", "std::string", /*default=*/"\"q8\"",
           "encoding of the matrices: f32, bf16, q8 or q4">];
  let dependentDialects = ["::fathom::graph::GraphDialect"];
}

#endif // FATHOM_COMPILER_QUANTIZE_PASSES_TD
