// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs the phases. State between phases is the module; codegen adds the code of each program.
#include "compiler/pipeline/Pipeline.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "compiler/emit/EmitArtifact.h"
#include "compiler/pipeline/tokenizer_segment.h"
#include "compiler/target/ProfileAttr.h"
#include "compiler/target/Target.h"
#include "dialects/schedule/Schedule.h"
#include "frontend/config/open_model.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "models/registry.h"
#include "runtime/base/status.h"

using namespace mlir;

namespace fathom {
namespace {

// Where a dump finds its weights again.
constexpr char kSourceAttr[] = "fathom.source";
constexpr char kWeightsAttr[] = "fathom.weights";
constexpr char kQuantizeAttr[] = "fathom.quantize";

class Compilation {
 public:
  explicit Compilation(const CompileOptions& options) : options(options) {
    registerFathomDialects(dialects);
    context.appendDialectRegistry(dialects);
    context.loadAllAvailableDialects();
    registerTargets(targets);
  }

  absl::Status run();

 private:
  absl::Status runPhase(Phase phase);
  absl::Status import();
  absl::Status readDump();
  absl::Status openModel(const std::string& path, const std::string& weights);
  llvm::Expected<TargetProfile> profileOf(schedule::ProgramOp program);
  absl::Status checkTargets();
  absl::Status codegen();
  absl::Status emit();
  absl::Status writeHeader();
  absl::Status writeModule(const std::string& path);
  absl::Status phaseError(Phase phase);
  void say(const std::string& line) {
    if (!options.quiet) fprintf(stderr, "%s\n", line.c_str());
  }

  CompileOptions options;
  DialectRegistry dialects;
  MLIRContext context;
  TargetRegistry targets;
  OwningOpRef<ModuleOp> module;
  std::optional<OpenedModel> model;
  std::vector<std::vector<char>> code;
  std::string source;  // the checkpoint's path
  std::string detail;  // what a phase has to tell beside its time
};

std::string humanBytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) bytes /= 1024, ++unit;
  return absl::StrFormat(unit ? "%.2f %s" : "%.0f %s", bytes, units[unit]);
}

// True for a config.json, and for a directory that holds no weights.
bool isConfigAlone(const std::string& path) {
  if (StringRef(path).ends_with(".json")) return true;
  if (!llvm::sys::fs::is_directory(path)) return false;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(path, error), end; it != end && !error; it.increment(error))
    if (StringRef(it->path()).ends_with(".safetensors")) return false;
  return true;
}

absl::Status Compilation::openModel(const std::string& path, const std::string& weights) {
  source = path;
  // A header says nothing about values, so any weights of the right shapes will do.
  const bool any = options.header_only && weights.empty() && isConfigAlone(path);
  FATHOM_ASSIGN_OR_RETURN(model, OpenModel(path, any ? "random:1" : weights));
  for (const std::string& note : model->notes) say(absl::StrCat("  note: ", note));
  return absl::OkStatus();
}

absl::Status Compilation::import() {
  FATHOM_RETURN_IF_ERROR(openModel(options.input, options.weights));
  FailureOr<OwningOpRef<ModuleOp>> built = buildModel(&context, model->config, *model->weights);
  if (failed(built)) return phaseError(Phase::kImport);
  module = std::move(*built);
  module->getOperation()->setAttr(kSourceAttr, StringAttr::get(&context, options.input));
  module->getOperation()->setAttr(kWeightsAttr, StringAttr::get(&context, options.weights));
  module->getOperation()->setAttr(kQuantizeAttr, StringAttr::get(&context, options.quantize));
  auto attr = module->getOperation()->getAttrOfType<DictionaryAttr>("graph.model");
  detail = absl::StrFormat("%s, %.2f B parameters", cast<StringAttr>(attr.get("architecture")).str(),
                           cast<IntegerAttr>(attr.get("parameters")).getInt() / 1e9);
  return absl::OkStatus();
}

absl::Status Compilation::readDump() {
  module = parseSourceFile<ModuleOp>(options.input, &context);
  if (!module) return absl::InvalidArgumentError(absl::StrCat(options.input, ": cannot be read as IR"));
  auto text = [&](const char* name) {
    auto attr = module->getOperation()->getAttrOfType<StringAttr>(name);
    return attr ? attr.str() : std::string();
  };
  if (text(kSourceAttr).empty())
    return InputError(options.input, absl::StrCat("attribute ", kSourceAttr), "the checkpoint's path", "none");
  if (!text(kQuantizeAttr).empty()) options.quantize = text(kQuantizeAttr);
  return openModel(text(kSourceAttr), text(kWeightsAttr));
}

absl::Status Compilation::phaseError(Phase phase) {
  const std::string message =
      absl::StrCat("phase ", std::string(kPhaseNames[static_cast<size_t>(phase)]), " failed (see above)");
  switch (phase) {
    case Phase::kImport:
    case Phase::kGraph:
    case Phase::kQuantize:
      return absl::InvalidArgumentError(message);
    case Phase::kLower:
      return absl::UnimplementedError(message);
    default:
      return absl::InternalError(message);
  }
}

// The profile that the program was lowered for: its target's name alone does not tell when the profile
// came from a file, or from another machine's cpu:native.
llvm::Expected<TargetProfile> Compilation::profileOf(schedule::ProgramOp program) {
  Attribute attr = program->getAttr(kProfileAttr);
  if (!attr) return parseTarget(targets, program.getTarget());
  const std::string where = ("program @" + program.getSymName() + ": " + kProfileAttr).str();
  auto members = dyn_cast<DictionaryAttr>(attr);
  if (!members) return llvm::createStringError(where + ": expected a dictionary");
  auto profile = profileFromAttr(members, where);
  if (profile && profile->name != program.getTarget())
    return llvm::createStringError(where + ": name: expected '" + program.getTarget() +
                                   "', the program's target, found '" + profile->name + "'");
  return profile;
}

// Every --target must name a profile, and no two may have one name: programs are told apart by it.
absl::Status Compilation::checkTargets() {
  std::map<std::string, std::string> seen;  // profile's name -> the value that gave it
  for (const std::string& target : options.targets) {
    auto profile = parseTarget(targets, target);
    if (!profile) return absl::InvalidArgumentError(llvm::toString(profile.takeError()));
    auto [it, inserted] = seen.try_emplace(profile->name, target);
    if (!inserted)
      return InputError("--target=" + target, "profile's name", "one that no other --target has",
                        absl::StrCat("'", profile->name, "', as --target=", it->second, " has"));
  }
  return absl::OkStatus();
}

absl::Status Compilation::codegen() {
  code.clear();
  for (auto program : module->getOps<schedule::ProgramOp>()) {
    auto profile = profileOf(program);
    if (!profile) return absl::InvalidArgumentError(llvm::toString(profile.takeError()));
    const Target* target = targets.find(profile->driver);
    if (!target)
      return InputError(absl::StrCat("program @", program.getSymName().str(), ": ", kProfileAttr.str(), ": driver"),
                        "no such backend in this build", llvm::join(targets.names(), ", "), profile->driver);
    std::vector<KernelRequest> requests;
    for (auto kernel : program.getBody().front().getOps<schedule::KernelOp>())
      requests.push_back({kernel.getSymName().str(), kernel.getFamily().str(), kernel.getConfig(), kernel.getLoc()});
    CodegenOptions codegenOptions;
    codegenOptions.threads = options.threads;
    if (!options.dump_code_to.empty()) {
      llvm::sys::fs::create_directories(options.dump_code_to);
      codegenOptions.dump = [&](StringRef kernel, StringRef stage, StringRef text) {
        std::error_code error;
        llvm::raw_fd_ostream file(
            (options.dump_code_to + "/" + program.getSymName() + "." + kernel + "." + stage).str(), error);
        if (!error) file << text;
      };
    }
    llvm::SmallVector<char> image;
    if (failed(target->compile(requests, *profile, image, codegenOptions))) return phaseError(Phase::kCodegen);
    absl::StrAppend(&detail, detail.empty() ? "" : "; ", program.getTarget().str(), ": ", requests.size(),
                    " kernels, ", humanBytes(image.size()));
    code.emplace_back(image.begin(), image.end());
  }
  return absl::OkStatus();
}

absl::Status Compilation::emit() {
  emit::EmitOptions emitOptions;
  emitOptions.output = options.output;
  if (options.write == "cached") emitOptions.write = Caching::cached;
  if (options.write == "direct") emitOptions.write = Caching::direct;
  emitOptions.quantization = options.quantize;
  emitOptions.code = code;
  emitOptions.threads = options.threads;
  FATHOM_ASSIGN_OR_RETURN(emitOptions.tokenizer, TokenizerSegment(*model, source));
  if (emitOptions.tokenizer.empty()) say("  note: the checkpoint has no tokenizer; the artifact takes token ids only");
  emitOptions.notes = absl::StrFormat(R"({"quantize": "%s", "weights": "%s"})", options.quantize, options.weights);
  const bool terminal = !options.quiet && isatty(2);
  int shown = -1;
  emitOptions.progress = [&](uint64_t done, uint64_t total) {
    const int percent = static_cast<int>(100.0 * done / total);
    if (terminal && percent != shown) fprintf(stderr, "\r[8/8] emit       %3d %% of %s ", shown = percent, humanBytes(total).c_str());
  };
  emit::EmitStats stats;
  emitOptions.stats = &stats;
  emitOptions.note = [&](const std::string& note) { say("  note: " + note); };
  if (options.reuse != "off") emitOptions.reuse = options.reuse.empty() ? options.output : options.reuse;
  emitOptions.reuse_required = !options.reuse.empty();
  absl::Status status = emit::emitArtifact(*module, *model->weights, emitOptions);
  if (terminal) fprintf(stderr, "\r\033[K");
  uint64_t size = 0;
  if (status.ok() && !llvm::sys::fs::file_size(options.output, size)) detail = absl::StrCat(options.output, ", ", humanBytes(size));
  if (stats.reused > 0) absl::StrAppend(&detail, ", ", stats.reused, " of ", stats.tensors, " weights reused");
  return status;
}

absl::Status Compilation::writeHeader() {
  emit::EmitOptions emitOptions;
  emitOptions.quantization = options.quantize;
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, emit::emitHeader(*module, emitOptions));
  std::error_code error;
  llvm::raw_fd_ostream file(options.output, error);  // "-" is stdout
  if (!error) {
    file.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    file.flush();
    error = file.error();
    file.clear_error();
  }
  if (error) return absl::InvalidArgumentError(absl::StrCat(options.output, ": cannot be written: ", error.message()));
  detail = absl::StrCat(humanBytes(bytes.size()), " of header");
  return absl::OkStatus();
}

absl::Status Compilation::writeModule(const std::string& path) {
  std::error_code error;
  llvm::raw_fd_ostream file(path, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be written: ", error.message()));
  // Locations carry the labels of the dispatches, so that a compilation that starts here has them too.
  module->print(file, OpPrintingFlags().enableDebugInfo());
  file << "\n";
  file.close();
  if (file.has_error()) {
    error = file.error();
    file.clear_error();
    return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be written: ", error.message()));
  }
  return absl::OkStatus();
}

absl::Status Compilation::runPhase(Phase phase) {
  detail.clear();
  if (phase == Phase::kImport) return import();
  if (phase == Phase::kCodegen) return options.header_only ? absl::OkStatus() : codegen();
  if (phase == Phase::kEmit) return options.header_only ? writeHeader() : emit();
  PassManager manager(&context);
  addPhasePasses(manager, phase, options);
  if (options.print_ir_after_all) {
    context.disableMultithreading();
    manager.enableIRPrinting([](Pass*, Operation*) { return false; }, [](Pass*, Operation*) { return true; },
                             /*printModuleScope=*/false, /*printAfterOnlyOnChange=*/true);
  }
  return failed(manager.run(*module)) ? phaseError(phase) : absl::OkStatus();
}

absl::Status Compilation::run() {
  if (options.threads <= 0) options.threads = std::max(1u, std::thread::hardware_concurrency());
  FATHOM_RETURN_IF_ERROR(checkTargets());
  if (options.compile_from != Phase::kImport) FATHOM_RETURN_IF_ERROR(readDump());
  if (!options.dump_phases_to.empty())
    if (std::error_code error = llvm::sys::fs::create_directories(options.dump_phases_to))
      return absl::InvalidArgumentError(absl::StrCat(options.dump_phases_to, ": cannot be made: ", error.message()));
  const auto start = std::chrono::steady_clock::now();
  auto seconds = [](auto from) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  };
  for (int i = static_cast<int>(options.compile_from); i <= static_cast<int>(options.compile_to); ++i) {
    const auto begin = std::chrono::steady_clock::now();
    absl::Status status = runPhase(static_cast<Phase>(i));
    if (!status.ok()) {
      if (status.code() == absl::StatusCode::kInternal && module) {
        const std::string reproducer = options.output + ".reproducer.mlir";
        if (writeModule(reproducer).ok()) say(absl::StrCat("the module was written to ", reproducer));
      }
      return status;
    }
    say(absl::StrFormat("[%d/8] %-9s %7.2f s  %s", i + 1, std::string(kPhaseNames[i]), seconds(begin), detail));
    if (!options.dump_phases_to.empty() && i < static_cast<int>(Phase::kEmit))
      FATHOM_RETURN_IF_ERROR(writeModule(absl::StrFormat("%s/%02d.%s.mlir", options.dump_phases_to, i + 1,
                                                         std::string(kPhaseNames[i]))));
  }
  if (options.compile_to != Phase::kEmit) FATHOM_RETURN_IF_ERROR(writeModule(options.output));
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  say(absl::StrFormat("done in %.2f s, peak memory %s", seconds(start), humanBytes(usage.ru_maxrss * 1024.0)));
  return absl::OkStatus();
}

}  // namespace

absl::Status printProfile(const std::string& target) {
  TargetRegistry targets;
  registerTargets(targets);
  auto profile = parseTarget(targets, target);
  if (!profile) return absl::InvalidArgumentError(llvm::toString(profile.takeError()));
  llvm::outs() << llvm::formatv("{0:2}", profile->toJson()) << "\n";
  return absl::OkStatus();
}

absl::Status compileModel(const CompileOptions& options) { return Compilation(options).run(); }

}  // namespace fathom
