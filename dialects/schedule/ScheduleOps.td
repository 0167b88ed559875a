// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The schedule dialect: weights, programs, kernels, entry points and their command lists.
#ifndef FATHOM_DIALECTS_SCHEDULE_SCHEDULEOPS_TD
#define FATHOM_DIALECTS_SCHEDULE_SCHEDULEOPS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Schedule_Dialect : Dialect {
  let name = "schedule";
  let cppNamespace = "::fathom::schedule";
  let summary = "The program that the artifact holds.";
  let description = [{
    What the lower and schedule phases make of a graph, and what emit writes one to one: the weights
    of the model, and one `schedule.program` per target with its kernels and entry points. An entry
    point is a flat command list over buffers; there is no control flow.

    **Sizes** are integer expressions over the four symbols of a call: `T` tokens, `B` sequences,
    `P` pages per sequence, `R` rows that want logits. They are made of the symbols, constants, `+`,
    `*`, `floordiv` and `ceildiv`; `min(a, b)` may stand around the whole. In memory a size is an
    `AffineMapAttr` of no dimensions and the symbols T, B, P, R in this order, whose results are the
    arguments of the minimum. "Valid size" below means exactly that.

    ```mlir
    schedule.weight @layers.0.attn.q : tensor<3072x2048xf32, #graph.encoding<q4>> {
      %0 = graph.param "model.layers.0.self_attn.q_proj.weight" : tensor<3072x2048xbf16>
      schedule.yield %0 : tensor<3072x2048xbf16>
    }
    schedule.program @cpu_x86_64_v4 target("cpu:x86-64-v4") driver("cpu") features(["avx512f"])
        kv({layers = 27, page_bytes = 1990656, page_tokens = 64, row_bytes = 1152}) {
      schedule.kernel @linear_0 family("linear") config({cols = 2048, rows = 3072})
          bindings(3) push(1)
      schedule.entry @decode arena(T * 20480) {
        %x = schedule.buffer "x" transient size(T * 8192) offset(0)
        %q = schedule.buffer "q" transient size(T * 12288) offset(T * 8192)
        %w = schedule.use_weight @layers.0.attn.q
        schedule.dispatch @linear_0 grid(48, 1, 1) (%x, %w, %q) push(T) label "layers.0.attn/q"
        schedule.barrier
      }
    }
    ```
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Schedule_BufferType : TypeDef<Schedule_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "memory that a kernel's argument can point at";
}

def Schedule_BufferKind : I32EnumAttr<"BufferKind", "where a buffer's memory comes from", [
  I32EnumAttrCase<"Transient", 0, "transient">, I32EnumAttrCase<"Input", 1, "input">,
  I32EnumAttrCase<"Output", 2, "output">, I32EnumAttrCase<"KvCache", 3, "kv_cache">]> {
  let cppNamespace = "::fathom::schedule";
  let genSpecializedAttr = 0;
}
def Schedule_BufferKindAttr : EnumAttr<Schedule_Dialect, Schedule_BufferKind, "buffer_kind">;

def Schedule_I64 : TypedAttrBase<I64, "IntegerAttr",
    And<[CPred<"::llvm::isa<::mlir::IntegerAttr>($_self)">,
         CPred<"::llvm::cast<::mlir::IntegerAttr>($_self).getType().isSignlessInteger(64)">]>,
    "64-bit integer"> {
  let returnType = "int64_t";
  let convertFromStorage = "$_self.getInt()";
  let constBuilderCall = "$_builder.getI64IntegerAttr($0)";
}
def Schedule_Grid : ConfinedAttr<AffineMapArrayAttr, [ArrayCount<3>]>;

class Schedule_Op<string mnemonic, list<Trait> traits = []>
    : Op<Schedule_Dialect, mnemonic, traits> {
  let hasVerifier = 1;
}

//===-- Weights -----------------------------------------------------------------------------===//

def Schedule_WeightOp : Schedule_Op<"weight",
    [Symbol, IsolatedFromAbove, SingleBlock, NoRegionArguments, HasParent<"::mlir::ModuleOp">]> {
  let summary = "a tensor of the artifact's weight segment";
  let description = [{
    The body says how the tensor is made from the checkpoint, the type how it is stored. Programs
    share weights, so a weight stands in the module, outside every program.

    Constraints:
    - C1: the type is an encoded tensor.
    - C2: the body holds `graph.param`, `graph.rope_table`, views of them (tensor.extract_slice,
      expand_shape, collapse_shape, concat, empty, linalg.transpose) and ends in `schedule.yield`.
    - C3: what is yielded is not encoded and has the type's shape.

    Example:
    ```mlir
    schedule.weight @head : tensor<512x256xf32, #graph.encoding<q8>> {
      %0 = graph.param "lm_head.weight" : tensor<512x256xbf16>
      schedule.yield %0 : tensor<512x256xbf16>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `:` $type attr-dict-with-keyword $body";
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::llvm::cast<::mlir::RankedTensorType>(getType());
    }
    /// The yielded value: the weight's expression.
    ::mlir::Value getYielded();
  }];
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::RankedTensorType":$type)>];
}

def Schedule_YieldOp : Op<Schedule_Dialect, "yield",
    [Pure, Terminator, HasParent<"WeightOp">]> {
  let summary = "the value of a weight's body";
  let description = [{
    Example: `schedule.yield %0 : tensor<512x256xbf16>`
  }];
  let arguments = (ins AnyRankedTensor:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

//===-- Programs ----------------------------------------------------------------------------===//

def Schedule_ProgramOp : Schedule_Op<"program",
    [Symbol, SymbolTable, IsolatedFromAbove, SingleBlock, NoTerminator, NoRegionArguments,
     HasParent<"::mlir::ModuleOp">]> {
  let summary = "everything one target runs";
  let description = [{
    `driver` is the runtime driver that loads the program's code, `features` what a device must
    have. `kv` is the paged cache: a page holds `page_tokens` tokens of every layer, `row_bytes` per
    token and layer. Each layer keeps its part of all pages in a range of its own.

    Two attributes beside these: `schedule.profile`, the target's profile that the program was
    lowered for, which codegen takes (without it, the profile that `target` names), and
    `schedule.alignment`, what the memory planner aligns transient buffers to.

    Constraints:
    - C1: `target` and `driver` are not empty, nor is a feature.
    - C2: `kv`, if there, has the integers page_tokens, layers, row_bytes and page_bytes, all
      greater than 0, and page_bytes = page_tokens * layers * row_bytes.
    - C3: the body holds kernels and entries only.

    Example:
    ```mlir
    schedule.program @p target("cpu:x86-64-v4") driver("cpu") features(["avx512f"])
        kv({layers = 2, page_bytes = 8192, page_tokens = 64, row_bytes = 64}) {
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$target, StrAttr:$driver,
                       StrArrayAttr:$features, OptionalAttr<DictionaryAttr>:$kv);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `target` `(` $target `)` `driver` `(` $driver `)` `features` `(` $features `)`
    (`kv` `(` $kv^ `)`)? attr-dict-with-keyword $body
  }];
  let skipDefaultBuilders = 1;
  let builders = [
    OpBuilder<(ins "::llvm::StringRef":$name, "::llvm::StringRef":$target,
                   "::llvm::StringRef":$driver, "::llvm::ArrayRef<::llvm::StringRef>":$features,
                   "::mlir::DictionaryAttr":$kv)>];
}

def Schedule_KernelOp : Schedule_Op<"kernel", [Symbol, HasParent<"ProgramOp">]> {
  let summary = "a kernel of the program";
  let description = [{
    `family` names an entry of the kernel catalogue (kernels.md), `config` its compile-time
    constants; `bindings` and `push` count what a dispatch passes.

    Constraints:
    - C1: `family` is not empty.
    - C2: `bindings` > 0 and `push` >= 0.

    Example:
    ```mlir
    schedule.kernel @add_0 family("add") config({ld = 2048, n = 2048}) bindings(3) push(0)
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$family, DictionaryAttr:$config,
                       Schedule_I64:$bindings, Schedule_I64:$push);
  let assemblyFormat = [{
    $sym_name `family` `(` $family `)` `config` `(` $config `)`
    `bindings` `(` custom<Count>($bindings) `)` `push` `(` custom<Count>($push) `)` attr-dict
  }];
}

def Schedule_EntryOp : Schedule_Op<"entry",
    [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator, NoRegionArguments,
     HasParent<"ProgramOp">]> {
  let summary = "an entry point: buffers and the command list over them";
  let description = [{
    Buffers and weights are declared before their use; the commands are the dispatches and barriers
    in order. Dispatches between two barriers may run at once. `arena` is the size of the memory
    that holds the transient buffers; the memory planner sets it with their offsets.

    Constraints:
    - C1: the body holds buffers, weights, layers of the cache, dispatches and barriers only.
    - C2: the names of inputs, outputs and the cache are unique, and there is at most one kv_cache.
    - C3: `arena`, if there, is a valid size.
    - C4: with an arena every transient buffer has an offset, without one none has.

    Example:
    ```mlir
    schedule.entry @decode arena(T * 64) {
      %x = schedule.buffer "x" transient size(T * 64) offset(0)
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<AffineMapAttr>:$arena);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name (`arena` `(` custom<Size>($arena)^ `)`)? attr-dict-with-keyword $body
  }];
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name)>];
}

//===-- Buffers and commands ----------------------------------------------------------------===//

def Schedule_BufferOp : Schedule_Op<"buffer",
    [HasParent<"EntryOp">, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "memory of an entry point";
  let description = [{
    `transient` memory lies in the arena at `offset` and holds nothing between calls; `input` and
    `output` are the caller's, found by name; `kv_cache` is the paged cache, which dispatches reach
    layer by layer (`schedule.use_cache`). `size` is in bytes; how large the cache is, the runtime
    decides, so its size here is 0.

    Constraints:
    - C1: the name is not empty.
    - C2: `size` and `offset` are valid sizes.
    - C3: only a transient buffer has an offset.

    Example:
    ```mlir
    %a = schedule.buffer "plan" transient size(T * 24 + 2056)
    %t = schedule.buffer "tokens" input size(T * 4)
    ```
  }];
  let arguments = (ins StrAttr:$name, Schedule_BufferKindAttr:$kind, AffineMapAttr:$size,
                       OptionalAttr<AffineMapAttr>:$offset);
  let results = (outs Schedule_BufferType:$result);
  let assemblyFormat = [{
    $name $kind `size` `(` custom<Size>($size) `)` (`offset` `(` custom<Size>($offset)^ `)`)?
    attr-dict
  }];
}

def Schedule_UseWeightOp : Schedule_Op<"use_weight",
    [HasParent<"EntryOp">, Pure,
     DeclareOpInterfaceMethods<SymbolUserOpInterface>,
     DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "the memory of a weight, or of a part of it";
  let description = [{
    With `bytes(offset, length)` the part that begins `offset` bytes into the weight's encoded form:
    of a weight that is more than the target binds at once, each dispatch takes a part.

    Constraints:
    - C1: the module around the program has a `schedule.weight` of that name.
    - C2: `offset` is not negative, `length` is greater than 0; there are both or none.

    Example:
    ```mlir
    %w = schedule.use_weight @layers.0.attn.q
    %half = schedule.use_weight @head bytes(65536, 65536)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight, OptionalAttr<Schedule_I64>:$offset,
                       OptionalAttr<Schedule_I64>:$length);
  let results = (outs Schedule_BufferType:$result);
  let assemblyFormat = [{
    $weight (`bytes` `(` custom<Count>($offset)^ `,` custom<Count>($length) `)`)? attr-dict
  }];
  let skipDefaultBuilders = 1;
  let builders = [
    OpBuilder<(ins "::mlir::FlatSymbolRefAttr":$weight)>,
    OpBuilder<(ins "::mlir::FlatSymbolRefAttr":$weight, "int64_t":$offset, "int64_t":$length)>];
}

def Schedule_UseCacheOp : Schedule_Op<"use_cache",
    [HasParent<"EntryOp">, Pure,
     DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "the memory of one layer of the cache";
  let description = [{
    Page p of the layer begins page_tokens * row_bytes * p bytes into it.

    Constraints:
    - C1: the operand is a kv_cache buffer.
    - C2: `layer` is not negative, and below the layers of the program's cache.

    Example: `%k = schedule.use_cache %kv_cache layer 3`
  }];
  let arguments = (ins Schedule_BufferType:$cache, Schedule_I64:$layer);
  let results = (outs Schedule_BufferType:$result);
  let assemblyFormat = "$cache `layer` custom<Count>($layer) attr-dict";
}

def Schedule_DispatchOp : Schedule_Op<"dispatch",
    [HasParent<"EntryOp">, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs a kernel over a grid of workgroups";
  let description = [{
    The grid is x, y, z; a size of 0 runs nothing. A binding is a buffer and a constant number of
    bytes into it. `push` are the kernel's int64 arguments. `label` says in profiles and errors
    where in the model this is.

    Constraints:
    - C1: the program has the kernel.
    - C2: there are as many buffers as the kernel has bindings, and as many offsets, none negative.
    - C3: grid and push are valid sizes.
    - C4: there are as many push values as the kernel has.
    - C5: of the cache a layer is bound, from its beginning on.

    Example:
    ```mlir
    schedule.dispatch @experts_0 grid(11, min(64, T * 6), 1) (%x, %w, %plan, %y + 64) push(T)
        label "layers.3.mlp.experts/down"
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Schedule_Grid:$grid,
                       Variadic<Schedule_BufferType>:$buffers, DenseI64ArrayAttr:$offsets,
                       AffineMapArrayAttr:$push, StrAttr:$label);
  let assemblyFormat = [{
    $kernel `grid` `` custom<Sizes>($grid) custom<Bindings>($buffers, type($buffers), $offsets)
    `push` `` custom<Sizes>($push) `label` $label attr-dict
  }];
}

def Schedule_BarrierOp : Op<Schedule_Dialect, "barrier", [HasParent<"EntryOp">]> {
  let summary = "everything before is done and visible before anything after starts";
  let description = [{
    Example: `schedule.barrier`
  }];
  let assemblyFormat = "attr-dict";
}

#endif // FATHOM_DIALECTS_SCHEDULE_SCHEDULEOPS_TD
