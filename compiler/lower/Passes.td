// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From graph ops to kernels.
#ifndef FATHOM_COMPILER_LOWER_PASSES_TD
#define FATHOM_COMPILER_LOWER_PASSES_TD

include "mlir/Pass/PassBase.td"

def LowerToSchedulePass : Pass<"fathom-lower-to-schedule", "::mlir::ModuleOp"> {
  let summary = "Turn the entry points into one program of kernels and dispatches per target";
  let description = [{
    Every graph op becomes dispatches of kernels of the catalogue (docs/spec/kernels.md), chosen by the
    op, the encodings of its weights and the capabilities of the target. Activations are encoded once
    per value and form, as late as a product wants them. Weight expressions become `schedule.weight`,
    shared by all programs. The functions are erased.

    ```mlir
    // before
    func.func @decode(...) -> ... {
      %y = graph.rms_norm %x, %gamma {eps = 1.0e-6} : ...
      %z = graph.linear %y, %w : ...
    // after, target=cpu:x86-64-v4
    schedule.weight @w : tensor<...> { ... }
    schedule.program @cpu_x86_64_v4 target("cpu:x86-64-v4") ... {
      schedule.kernel @norm_64 family("norm") config({...}) bindings(3) push(0)
      schedule.entry @decode {
        schedule.dispatch @norm_64 grid(...) (%x, %gamma, %records) push() label "..."
        schedule.dispatch @linear_q8_32x64 ...
    ```
  }];
  let options = [
    ListOption<"targets", "targets", "std::string", "names of targets: cpu:native, cpu:x86-64-v4 ...">,
    Option<"cacheElement", "cache", "std::string", /*default=*/"\"bf16\"",
           "element type of the key-value cache: f32 or bf16">];
  let dependentDialects = ["::fathom::schedule::ScheduleDialect"];
}

#endif // FATHOM_COMPILER_LOWER_PASSES_TD
