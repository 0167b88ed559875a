// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom-compile's flags, parsed by CLI11. Kept apart from MLIR: CLI11 reports by exceptions.
#include "compiler/tools/compile_options.h"

#include <CLI/CLI.hpp>

namespace fathom {

std::optional<CompileOptions> ParseCompileOptions(int argc, char** argv, int* exit_code) {
  CompileOptions options;
  CLI::App app{"Compiles a model into one .fathom file."};
  app.name("fathom compile");
  app.footer("Example: fathom compile ./deepseek-v2-lite --target=cpu:native --quantize=q4 -o v2-lite.fathom");
  std::vector<std::string> phases(kPhaseNames.begin(), kPhaseNames.end());
  std::string from = "import", to = "emit";
  app.add_option("input", options.input,
                 "Checkpoint: a directory (config.json, *.safetensors), a config.json, a .gguf file; or an IR "
                 "dump with --compile-from");
  app.add_option("-o,--output", options.output, "The artifact to write (or IR, with --compile-to)");
  app.add_option("--target", options.targets,
                 "cpu:native (default), cpu:x86-64-v3, cpu:x86-64-v4, cpu:x86-64-v4-vnni, cpu:x86-64-v4-amx, cpu:aarch64, vulkan:generic, "
                 "cuda:sm_80 ..., null, or a profile in FILE.json; repeat it for a file with several variants")
      ->delimiter(',');
  app.add_option("--quantize", options.quantize, "Encoding of the weights (default q8)")
      ->check(CLI::IsMember({"f32", "bf16", "q8", "q4"}));
  app.add_option("--weights", options.weights, "random:SEED: random weights from config.json alone");
  app.add_option("--reuse", options.reuse,
                 "An earlier artifact: weights that it holds encoded from the same values are copied (default: the "
                 "output, if it is there; off: encode everything)");
  app.add_option("--write", options.write,
                 "cached: the artifact stays in the page cache for the next reader; direct: past it, where the file "
                 "system can; auto: direct above a quarter of the memory available")
      ->check(CLI::IsMember({"auto", "cached", "direct"}))
      ->capture_default_str();
  app.add_option("--compile-to", to, "Stop after this phase and write its IR")->check(CLI::IsMember(phases));
  app.add_option("--compile-from", from, "Start at this phase; the input is the IR dump of the one before")
      ->check(CLI::IsMember(phases));
  app.add_option("--dump-phases-to", options.dump_phases_to, "Directory for the IR after every phase");
  app.add_option("--dump-code-to", options.dump_code_to, "Directory for every kernel's MLIR, LLVM IR and assembly");
  app.add_flag("--print-ir-after-all", options.print_ir_after_all, "Print the IR after every pass");
  app.add_option("-t,--threads", options.threads, "Threads (default: one per core)")->check(CLI::NonNegativeNumber);
  app.add_option("--print-profile", options.print_profile,
                 "Print the profile of a target (JSON, what --target=FILE.json reads) and do nothing else");
  app.add_flag("--header-only", options.header_only,
               "Write what fathom plan reads instead: the artifact's header, without code or weights; a config.json is "
               "enough (-o -: to stdout)");
  app.add_flag("-q,--quiet", options.quiet, "No progress");
  try {
    app.parse(argc, argv);
    if (options.print_profile.empty()) {
      if (options.input.empty()) throw CLI::RequiredError("input");
      if (options.output.empty()) throw CLI::RequiredError("--output");
    }
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error) == 0 ? 0 : 1;
    return std::nullopt;
  }
  if (options.targets.empty()) options.targets = {"cpu:native"};
  options.compile_from = *ParsePhase(from);
  options.compile_to = *ParsePhase(to);
  if (options.compile_from > options.compile_to) {
    fprintf(stderr, "fathom compile: --compile-from=%s comes after --compile-to=%s\n", from.c_str(), to.c_str());
    *exit_code = 1;
    return std::nullopt;
  }
  if (options.compile_from == Phase::kEmit) {
    fprintf(stderr, "fathom compile: --compile-from: machine code is not part of the IR; start at codegen\n");
    *exit_code = 1;
    return std::nullopt;
  }
  if (options.header_only && options.compile_to != Phase::kEmit) {
    fprintf(stderr, "fathom compile: --header-only: what it writes is made in the last phase; expected no --compile-to\n");
    *exit_code = 1;
    return std::nullopt;
  }
  return options;
}

}  // namespace fathom
