// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where weights come from: references into the checkpoint, RoPE tables, encodings.
#ifndef FATHOM_DIALECTS_GRAPH_WEIGHTOPS_TD
#define FATHOM_DIALECTS_GRAPH_WEIGHTOPS_TD

include "dialects/graph/GraphBase.td"

def Graph_ParamOp : Graph_Op<"param", [Pure]> {
  let summary = "a weight by reference into the checkpoint";
  let description = [{
    The tensor called `names[0]` in the checkpoint; with several names, those tensors of equal shape
    stacked along a new leading dimension (the experts of a layer; one expert may have a leading 1).
    The checkpoint's index knows file, offset and stored type, so a dump stays small and can be read
    again beside its checkpoint. The element type is the stored one (f8E4M3FN for fp8, whose block
    scales the reader applies); block types of GGUF and stacks of several types count as f32.

    Names that differ only in one running number are printed as a range.

    Constraints:
    - C1: there is at least one name and no name is empty.
    - C2: with E > 1 names the leading dimension is E and the rank at least 2.

    Example:
    ```mlir
    %q = graph.param "model.layers.0.self_attn.q_proj.weight" : tensor<3072x2048xbf16>
    %e = graph.param "model.layers.1.mlp.experts." [0 to 64] ".up_proj.weight"
        : tensor<64x1408x2048xbf16>
    %l = graph.param ["a.weight", "b.weight"] : tensor<2x16x16xf32>
    ```
  }];
  let arguments = (ins StrArrayAttr:$names);
  let results = (outs Graph_Stored:$result);
  let assemblyFormat = "custom<Names>($names) attr-dict `:` type($result)";
  let builders = [
    OpBuilder<(ins "::mlir::RankedTensorType":$type, "::llvm::StringRef":$name)>];
}

def Graph_RopeTableOp : Graph_InferredOp<"rope_table", [Pure]> {
  let summary = "cosines and sines of the rotary angles, in two levels";
  let description = [{
    Row j < 512 holds cos(j f_i), i < dim/2, then sin(j f_i); row 512 + j holds the same for
    512 j f_i, where f = `inv_freq`, made in float64. The angle of position p is composed from rows
    p mod 512 and 512 + p / 512, so 163840 positions take 832 rows.

    Constraints:
    - C1: `inv_freq` is not empty and every element is finite and greater than 0.
    - C2: 0 < `max_position` <= 2^30.
    - C3: the result is f32 [512 + ceil(max_position / 512), 2 len(inv_freq)], not encoded.

    Example:
    ```mlir
    %t = graph.rope_table {inv_freq = array<f64: 1.0, 1.0e-2>, max_position = 4096 : i64}
        : tensor<520x4xf32>
    ```
  }];
  let arguments = (ins DenseF64ArrayAttr:$inv_freq, Graph_I64:$max_position);
  let results = (outs Graph_Table:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Graph_EncodeOp : Graph_Op<"encode", [Pure]> {
  let summary = "a weight in the encoding it has in the artifact";
  let description = [{
    result = the nearest values to w that the encoding can hold, stored in its layout. The quantize
    phase inserts it; the fuse phase merges views across it; the lower phase turns it and the views
    before it into one `schedule.weight`.

    Constraints:
    - C1: w has no encoding.
    - C2: the result has an encoding.
    - C3: the shapes are equal.

    Example:
    ```mlir
    %e = graph.encode %w : tensor<3072x2048xbf16> -> tensor<3072x2048xf32, #graph.encoding<q4>>
    ```
  }];
  let arguments = (ins Graph_Any:$w);
  let results = (outs Graph_Any:$result);
  let assemblyFormat = "$w attr-dict `:` type($w) `->` type($result)";
  let builders = [OpBuilder<(ins "::mlir::Value":$w, "::fathom::graph::Encoding":$encoding)>];
}

#endif // FATHOM_DIALECTS_GRAPH_WEIGHTOPS_TD
