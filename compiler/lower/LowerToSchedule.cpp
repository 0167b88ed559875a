// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The lower phase: one program per target, then the functions go.
#include "compiler/lower/Passes.h"
#include "compiler/lower/ProgramLowering.h"
#include "compiler/target/ProfileAttr.h"
#include "compiler/target/Target.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace fathom::lower {
#define GEN_PASS_DEF_LOWERTOSCHEDULEPASS
#include "compiler/lower/Passes.h.inc"
}  // namespace fathom::lower

using namespace mlir;

namespace {

constexpr int64_t kPageTokens = 64;

struct LowerToSchedule : fathom::lower::impl::LowerToSchedulePassBase<LowerToSchedule> {
  using LowerToSchedulePassBase::LowerToSchedulePassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (cacheElement != "f32" && cacheElement != "bf16") {
      module.emitError("fathom-lower-to-schedule: cache: expected f32 or bf16, found '") << cacheElement << "'";
      return signalPassFailure();
    }
    auto kv = module->getAttrOfType<DictionaryAttr>("graph.kv");
    if (!kv) {
      module.emitError("expected the attribute graph.kv = {layers, row_elements, kind}");
      return signalPassFailure();
    }
    fathom::TargetRegistry registry;
    fathom::registerTargets(registry);
    fathom::lower::WeightTable weights(module);
    SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
    for (const std::string& target : targets) {
      auto profile = fathom::parseTarget(registry, target);
      if (!profile) {
        module.emitError(llvm::toString(profile.takeError()));
        return signalPassFailure();
      }
      if (failed(lowerFor(module, *profile, weights, kv, functions))) return signalPassFailure();
    }
    for (func::FuncOp function : functions) function.erase();
  }

  struct Few {
    int64_t tokens = 0, context = 0;
  };

  // By vectors, latent attention of prompts first expands keys and values of the whole context, rank
  // (nope + v) products a head for each of its tokens, and then takes nope + dim + v for each token
  // of the prompt; that of steps takes 2 rank + dim and expands nothing. Behind a context the two met
  // at 0.65 to 1 of where these sums do; up to half of it steps are the faster ones
  // (docs/design/014-what-binds-on-a-cpu.md).
  static Few fewBesideExpanding(DictionaryAttr config) {
    constexpr int64_t kMostTokens = 64;
    auto value = [&](StringRef name) { return config.getAs<IntegerAttr>(name).getInt(); };
    const int64_t rank = value("rank"), expanded = value("nope") + value("v");
    const int64_t more = 2 * rank - expanded;  // products a head of a step
    const int64_t tokens = more > 0 ? rank * expanded / more / 2 : kMostTokens;
    return {std::min(tokens, kMostTokens), fathom::TargetProfile::kMaxFewContext};
  }

  // Up to where the kernels of steps serve a prompt better than those of prefill.
  static void sayWhatFewTokensTake(fathom::schedule::ProgramOp program, const fathom::TargetProfile& profile) {
    if (profile.driver != "cpu" || !profile.fewTokens) return;
    Few few;
    for (auto kernel : program.getOps<fathom::schedule::KernelOp>()) {
      auto form = kernel.getConfig().getAs<StringAttr>("form");
      if (profile.amx && form && form.getValue() == "many") few = {profile.fewTokens, profile.fewContext};
      if (!profile.amx && kernel.getFamily() == "latent_attention_expanded")
        few = fewBesideExpanding(kernel.getConfig());
    }
    if (!few.tokens) return;
    Builder builder(program.getContext());
    for (auto entry : program.getOps<fathom::schedule::EntryOp>()) {
      if (entry.getSymName() != "decode") continue;
      entry->setAttr(fathom::kFewTokensAttr, builder.getI64IntegerAttr(few.tokens));
      entry->setAttr(fathom::kFewContextAttr, builder.getI64IntegerAttr(few.context));
    }
  }

  LogicalResult lowerFor(ModuleOp module, const fathom::TargetProfile& profile,
                         fathom::lower::WeightTable& weights, DictionaryAttr kv,
                         ArrayRef<func::FuncOp> functions) {
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    auto integer = [&](StringRef key) { return cast<IntegerAttr>(kv.get(key)).getInt(); };
    const int64_t layers = integer("layers");
    const int64_t rowBytes = integer("row_elements") * (cacheElement == "f32" ? 4 : 2);
    const int64_t pageBytes = kPageTokens * layers * rowBytes;
    NamedAttrList cache;
    cache.set("layers", builder.getI64IntegerAttr(layers));
    cache.set("page_bytes", builder.getI64IntegerAttr(pageBytes));
    cache.set("page_tokens", builder.getI64IntegerAttr(kPageTokens));
    cache.set("row_bytes", builder.getI64IntegerAttr(rowBytes));
    std::string symbol = profile.name;
    for (char& c : symbol)
      if (!llvm::isAlnum(c)) c = '_';
    // Names of profiles from files may differ in punctuation only.
    while (SymbolTable::lookupSymbolIn(module, symbol)) symbol += '_';
    SmallVector<StringRef> features(profile.features.begin(), profile.features.end());
    auto program = fathom::schedule::ProgramOp::create(builder, module.getLoc(), symbol, profile.name,
                                                       profile.driver, features,
                                                       cache.getDictionary(&getContext()));
    program->setAttr(fathom::kProfileAttr, fathom::profileAttr(&getContext(), profile));
    // Where transient buffers may begin, for the memory planner.
    if (profile.bindingAlignment() > 1)
      program->setAttr("schedule.alignment", builder.getI64IntegerAttr(profile.bindingAlignment()));
    fathom::lower::ProgramLowering lowering(program, profile, weights);
    lowering.cacheElement = cacheElement;
    lowering.pageTokens = kPageTokens;
    lowering.rowBytes = rowBytes;
    for (func::FuncOp function : functions)
      if (failed(lowering.lowerEntry(function))) return failure();
    sayWhatFewTokensTake(program, profile);
    // What not every device of the kind binds, the loader must find on the device.
    if (std::optional<std::string> word = profile.bindingFeature(lowering.longestBinding)) {
      features.push_back(*word);
      llvm::sort(features);
      program.setFeaturesAttr(builder.getStrArrayAttr(features));
    }
    return success();
  }
};

}  // namespace
