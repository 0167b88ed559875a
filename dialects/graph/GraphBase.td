// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The graph dialect itself: its enums, the encoding attribute and the types its ops take.
#ifndef FATHOM_DIALECTS_GRAPH_GRAPHBASE_TD
#define FATHOM_DIALECTS_GRAPH_GRAPHBASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/TensorEncoding.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Graph_Dialect : Dialect {
  let name = "graph";
  let cppNamespace = "::fathom::graph";
  let summary = "A model as its author would name its parts.";
  let description = [{
    One op per idea a model author would name; everything else is upstream `tensor`, `arith`,
    `math` and `linalg`. Values are tensors; only `graph.cache_append` has a side effect.

    **Rows.** An activation is a float32 tensor `[T, n]`: one row per token of the flattened batch.
    T is the only dynamic size of an activation (R, the number of rows that want logits, takes its
    place after `graph.logits`). A residual connection is `arith.addf`.

    **Weights** are `graph.param`: names in the checkpoint, not bytes. Views of them are upstream
    ops: `tensor.extract_slice`, `tensor.expand_shape`, `tensor.collapse_shape`, `tensor.concat`,
    `linalg.transpose`. The quantize phase puts `graph.encode` between a view and its user; from
    there on the weight's type carries `#graph.encoding<...>`.

    **Entry points** are `func.func @prefill` and `@decode` of one signature:

    ```mlir
    func.func @decode(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %sequence: tensor<?xi32>,
                      %page_table: tensor<?x?xi32>, %context_length: tensor<?xi32>,
                      %logit_rows: tensor<?xi32>) -> tensor<?x102400xf32>
    ```
    `tokens`, `positions` and `sequence` have T elements, `page_table` is [B, P], `context_length`
    [B] (tokens of the sequence after this call), `logit_rows` [R] (indices into T). Tokens of one
    sequence are contiguous and in increasing position. A token at position p of sequence b sees the
    cache rows 0..p of b.

    **The module** carries two attributes, which the dialect verifies:
    - `graph.model = {name, architecture, parameters, context_length, vocab_size, hidden_size,
      layers}`: two strings, then integers;
    - `graph.kv = {layers, row_elements, kind}`: how many cache layers there are, the elements of
      one token's row of one layer, and `"latent"` or `"gqa"`.

    **Constraints** are numbered per op (C1, C2, ...); the verifier's message starts with the
    number. "T agrees" means: equal, or one of the two is dynamic.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
}

//===-- Enums and attributes ----------------------------------------------------------------===//

class Graph_Enum<string name, string text, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, text, cases> {
  let cppNamespace = "::fathom::graph";
  let genSpecializedAttr = 0;
}

def Graph_Encoding : Graph_Enum<"Encoding", "how a weight is stored in the artifact", [
  I32EnumAttrCase<"RawF32", 0, "raw_f32">, I32EnumAttrCase<"RawI32", 1, "raw_i32">,
  I32EnumAttrCase<"F32", 2, "f32">, I32EnumAttrCase<"BF16", 3, "bf16">,
  I32EnumAttrCase<"Q8", 4, "q8">, I32EnumAttrCase<"Q4", 5, "q4">]>;

def Graph_EncodingAttr : AttrDef<Graph_Dialect, "Encoding",
    [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let mnemonic = "encoding";
  let summary = "how a weight is stored in the artifact";
  let description = [{
    The encoding of a tensor type: `tensor<2048x7168xf32, #graph.encoding<q4>>`. The layouts are in
    encodings.md: `raw_f32` and `raw_i32` are plain row-major, the others are matrices in `tile16`.
    The element type is what the values mean (f32, or i32 for `raw_i32`), not how they are stored.

    Constraints:
    - C1: the shape is static and no dimension is 0.
    - C2: the element type is i32 for `raw_i32`, else f32.
    - C3: the rank is 2 (rows, cols) or 3 (batch, rows, cols) unless the encoding is raw.
  }];
  let parameters = (ins EnumParameter<Graph_Encoding>:$kind);
  let assemblyFormat = "`<` $kind `>`";
}

def Graph_Form : Graph_Enum<"AttentionForm", "how latent attention is computed", [
  I32EnumAttrCase<"Auto", 0, "auto">, I32EnumAttrCase<"Absorbed", 1, "absorbed">,
  I32EnumAttrCase<"Expanded", 2, "expanded">]>;
def Graph_FormAttr : EnumAttr<Graph_Dialect, Graph_Form, "form">;

def Graph_Scoring : Graph_Enum<"Scoring", "router logits to scores", [
  I32EnumAttrCase<"Softmax", 0, "softmax">, I32EnumAttrCase<"Sigmoid", 1, "sigmoid">,
  I32EnumAttrCase<"SqrtSoftplus", 2, "sqrt_softplus">]>;
def Graph_ScoringAttr : EnumAttr<Graph_Dialect, Graph_Scoring, "scoring">;

def Graph_Method : Graph_Enum<"RouteMethod", "how experts are chosen", [
  I32EnumAttrCase<"Greedy", 0, "greedy">,
  I32EnumAttrCase<"GroupLimitedGreedy", 1, "group_limited_greedy">,
  I32EnumAttrCase<"NoauxTc", 2, "noaux_tc">]>;
def Graph_MethodAttr : EnumAttr<Graph_Dialect, Graph_Method, "method">;

// Upstream's I64Attr and F64Attr hand out uint64_t and APFloat; sizes and scales are better plain.
def Graph_I64 : TypedAttrBase<I64, "IntegerAttr",
    And<[CPred<"::llvm::isa<::mlir::IntegerAttr>($_self)">,
         CPred<"::llvm::cast<::mlir::IntegerAttr>($_self).getType().isSignlessInteger(64)">]>,
    "64-bit integer"> {
  let returnType = "int64_t";
  let convertFromStorage = "$_self.getInt()";
  let constBuilderCall = "$_builder.getI64IntegerAttr($0)";
}
def Graph_F64 : TypedAttrBase<F64, "FloatAttr",
    And<[CPred<"::llvm::isa<::mlir::FloatAttr>($_self)">,
         CPred<"::llvm::cast<::mlir::FloatAttr>($_self).getType().isF64()">]>,
    "64-bit float"> {
  let returnType = "double";
  let convertFromStorage = "$_self.getValueAsDouble()";
  let constBuilderCall = "$_builder.getF64FloatAttr($0)";
}

//===-- Types -------------------------------------------------------------------------------===//

class Graph_Type<string test, string text>
    : Type<CPred<"::fathom::graph::" # test>, text, "::mlir::RankedTensorType">;

def Graph_Rows : Graph_Type<"isRows($_self)", "rows [T, n] of f32 with static n">;
def Graph_Ids : Graph_Type<"isIds($_self, 1)", "vector of i32">;
def Graph_Pages : Graph_Type<"isIds($_self, 2)", "page table [B, P] of i32">;
def Graph_Slots : Graph_Type<"isIds($_self, 2)", "expert ids [T, k] of i32">;
def Graph_Floats : Graph_Type<"isFloats($_self)", "vector of f32, one element per row">;
def Graph_Stored : Graph_Type<"isStored($_self)", "static tensor of a stored element type">;
def Graph_Any : Graph_Type<"isWeight($_self)", "weight: static tensor, encoded or not">;
def Graph_Matrix : Graph_Type<"isMatrix($_self, 2, 2)", "weight matrix [rows, cols]">;
def Graph_Batch : Graph_Type<"isMatrix($_self, 3, 3)", "weight matrices [batch, rows, cols]">;
def Graph_Matrices : Graph_Type<"isMatrix($_self, 2, 3)",
    "weight matrix [rows, cols] or matrices [batch, rows, cols]">;
def Graph_Vector : Graph_Type<"isPlain($_self, 1)", "plain weight vector">;
def Graph_Table : Graph_Type<"isPlain($_self, 2)", "plain table [rows, dim]">;

//===-- Ops ---------------------------------------------------------------------------------===//

class Graph_Op<string mnemonic, list<Trait> traits = []>
    : Op<Graph_Dialect, mnemonic, traits> {
  let hasVerifier = 1;
}

// An op whose result types follow from its operands and attributes.
class Graph_InferredOp<string mnemonic, list<Trait> traits = []>
    : Graph_Op<mnemonic, !listconcat(traits, [InferTypeOpAdaptor])>;

def Graph_KvCache : Resource<"::fathom::graph::KvCacheResource">;
def Graph_ReadsCache : MemoryEffects<[MemRead<Graph_KvCache>]>;
def Graph_WritesCache : MemoryEffects<[MemWrite<Graph_KvCache>]>;

#endif // FATHOM_DIALECTS_GRAPH_GRAPHBASE_TD
