// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How targets cut the work of a kernel into workgroups.
#include <algorithm>

#include "compiler/kernels/Kernels.h"
#include "compiler/kernels/WeightLayout.h"
#include "compiler/kernels/simd/HeadShapes.h"
#include "compiler/kernels/simt/Shape.h"
#include "llvm/ADT/StringSwitch.h"
#include "mlir/IR/Builders.h"

namespace fathom::kernels {
namespace {

int64_t number(mlir::DictionaryAttr config, llvm::StringRef name, int64_t otherwise) {
  auto attr = config.getAs<mlir::IntegerAttr>(name);
  return attr ? attr.getInt() : otherwise;
}

bool flag(mlir::DictionaryAttr config, llvm::StringRef name) {
  auto attr = config.getAs<mlir::BoolAttr>(name);
  return attr && attr.getValue();
}

llvm::StringRef word(mlir::DictionaryAttr config, llvm::StringRef name) {
  auto attr = config.getAs<mlir::StringAttr>(name);
  return attr ? attr.getValue() : llvm::StringRef();
}

simt::ProjectionShape projectionShape(const GpuProfile& gpu, mlir::DictionaryAttr config) {
  auto given = [&](llvm::StringRef name) {
    llvm::StringRef form = word(config, name);
    return !form.empty() && form != "none";
  };
  auto rows = config.getAs<mlir::IntegerAttr>("rows");
  return simt::ProjectionShape::of(
      gpu, {word(config, "form"), word(config, "enc"), word(config, "act"),
            word(config, "epilogue"), config.contains("experts"),
            given("out_act") || given("head_act"), rows ? rows.getInt() : 0});
}

std::optional<Enc> encodingOf(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<Enc>>(name)
      .Case("f32", Enc::f32)
      .Case("bf16", Enc::bf16)
      .Case("q8", Enc::q8)
      .Case("q4", Enc::q4)
      .Default(std::nullopt);
}

// Into how many workgroups attention of steps cuts a token's heads on a CPU.
int64_t headWorkgroups(const TargetProfile& profile, llvm::StringRef family,
                       mlir::DictionaryAttr config) {
  auto value = [&](llvm::StringRef name) { return number(config, name, 1); };
  if (family == "attention") return GroupedShape::of(profile, value("kv_heads")).workgroups;
  auto shape = LatentShape::of(profile, value("heads"), value("rank"), value("dim"),
                               value("page_tokens"), word(config, "kv") == "bf16");
  return shape.workgroups(value("heads"));
}

// The grid as a list of arguments of a minimum for each of x, y, z.
using Extents = std::array<llvm::SmallVector<mlir::AffineExpr, 2>, 3>;

class GridOf {
 public:
  GridOf(const TargetProfile& profile, llvm::StringRef family, mlir::DictionaryAttr config,
         mlir::AffineExpr rows, mlir::AffineExpr sequences)
      : profile(profile), family(family), config(config), rows(rows), sequences(sequences) {}

  Extents get() const {
    if (family == "linear" || family == "experts") return projection();
    if (profile.gpu) {
      std::optional<Extents> own = onGpu();
      if (own) return *own;
    }
    if (family == "route_plan" || (family == "route" && flag(config, "plan")))
      return {{{one()}, {one()}, {one()}}};
    if (family == "norm") return over({rows}, {of("rows_per_token")});
    if (family == "encode") return over({rows}, {of("groups")});
    if (family == "attention_combine") return over({rows}, {of("heads")});
    if (family == "latent_attention" || family == "attention")
      return over({of("splits")}, {rows}, {constant(headWorkgroups(profile, family, config))});
    if (family == "latent_attention_expanded") return over({of("heads")}, {sequences});
    if (family == "attention_prefill") return over({of("grid_heads")}, {sequences});
    return over({rows});
  }

 private:
  using Extent = llvm::SmallVector<mlir::AffineExpr, 2>;

  mlir::AffineExpr constant(int64_t v) const {
    return mlir::getAffineConstantExpr(v, config.getContext());
  }
  mlir::AffineExpr one() const { return constant(1); }
  int64_t value(llvm::StringRef name) const { return number(config, name, 1); }
  mlir::AffineExpr of(llvm::StringRef name) const { return constant(value(name)); }
  Extents over(Extent x, Extent y = {}, Extent z = {}) const {
    if (y.empty()) y = {one()};
    if (z.empty()) z = {one()};
    return {{std::move(x), std::move(y), std::move(z)}};
  }

  Extents projection() const {
    int64_t tiles = ceilDiv(value("rows"), kTileRows);
    Extent panels = {constant(ceilDiv(tiles, value("panel_tiles")))};
    if (family == "experts") return over(panels, {of("experts"), rows * value("top_k")});
    if (!word(config, "norm").empty()) return over(panels, {rows});
    if (!profile.gpu) return over(panels, {of("batch")});
    int64_t tokens = projectionShape(*profile.gpu, config).tokens;
    return over(panels, {of("batch")}, {rows.ceilDiv(tokens)});
  }

  // Families whose kernels for GPUs do not follow the grid of the CPU's.
  std::optional<Extents> onGpu() const {
    const GpuProfile& gpu = *profile.gpu;
    if (family == "latent_attention") {
      auto shape = simt::AttentionShape::decode(gpu, value("heads"), value("rank") + value("dim"),
                                                value("rank"));
      return over({of("splits")}, {rows}, {constant(ceilDiv(value("heads"), shape.queries))});
    }
    if (family == "attention") {
      int64_t group = value("heads") / std::max<int64_t>(1, value("kv_heads"));
      auto shape = simt::AttentionShape::decode(gpu, group, value("head_dim"), value("head_dim"));
      return over({of("splits")}, {rows},
                  {constant(value("kv_heads") * ceilDiv(group, shape.queries))});
    }
    if (family == "attention_prefill") {
      auto shape = simt::AttentionShape::prefill(gpu, value("head_dim"), value("head_dim"));
      return over({of("heads")}, {rows.ceilDiv(shape.queries)});
    }
    if (family == "latent_attention_expanded") {
      auto shape = simt::AttentionShape::prefill(gpu, value("rank") + value("dim"), value("rank"));
      return over({of("heads")}, {rows.ceilDiv(shape.queries)});
    }
    return std::nullopt;
  }

  const TargetProfile& profile;
  llvm::StringRef family;
  mlir::DictionaryAttr config;
  mlir::AffineExpr rows, sequences;
};

}  // namespace

// The libraries for CPUs and for GPUs have all of them.
bool fuses(const TargetProfile&, Fusion fusion, bool manyTokens) {
  switch (fusion) {
    case Fusion::kRecordsOut:
    case Fusion::kHeadRecords:
    case Fusion::kCombineNorm:
    case Fusion::kAppendNorm:
      return true;
    // These do something once for a token that many tokens would share, or one token at a time.
    case Fusion::kNormLinear:
    case Fusion::kRoutePlan:
    case Fusion::kRotateQuery:
    case Fusion::kMergeSplits:
      return !manyTokens;
  }
  return false;
}

int64_t linearPanelTiles(const TargetProfile& profile, mlir::DictionaryAttr config) {
  if (profile.gpu) return projectionShape(*profile.gpu, config).tiles;
  int64_t rows = number(config, "rows", 0), cols = number(config, "cols", 0);
  std::optional<Enc> enc = encodingOf(word(config, "enc"));
  if (rows < 1 || cols < 1 || rows > kMaxExtent || cols > kMaxExtent || !enc) return 1;
  WeightLayout layout(*enc, rows, cols);
  // What is merged for a head should be merged once.
  if (number(config, "splits", 0)) return roundUp(layout.tiles, 2);
  int64_t bytes = layout.tileBytes * (word(config, "epilogue") == "swiglu" ? 2 : 1);
  // 256 KB are long enough for a stream to get going and stay in the L2 beside the activations. Not
  // fewer than 32 workgroups while a pair of tiles each allows it.
  constexpr int64_t kBytes = 256 << 10, kWorkgroups = 32;
  int64_t tiles = std::min(kBytes / bytes, layout.tiles / kWorkgroups);
  return std::clamp<int64_t>(tiles / 2 * 2, 2, std::max<int64_t>(2, roundUp(layout.tiles, 2)));
}

// Matrix units want the activations packed, which every panel does for itself: longer panels. The
// experts are workgroups enough.
static int64_t matrixPanelTiles(llvm::StringRef family, mlir::DictionaryAttr config) {
  std::optional<Enc> enc = encodingOf(word(config, "enc"));
  int64_t rows = number(config, "rows", 0), cols = number(config, "cols", 0);
  if (!enc || rows < 1 || cols < 1 || rows > kMaxExtent || cols > kMaxExtent) return 2;
  WeightLayout layout(*enc, rows, cols);
  int64_t bytes = layout.tileBytes * (word(config, "epilogue") == "swiglu" ? 2 : 1);
  constexpr int64_t kBytes = 1 << 20, kWorkgroups = 16;
  int64_t tiles = std::min(kBytes / bytes, layout.tiles / (family == "experts" ? 1 : kWorkgroups));
  tiles = std::max(kMatrixTiles, tiles / kMatrixTiles * kMatrixTiles);
  // Panels of one length.
  return roundUp(ceilDiv(layout.tiles, ceilDiv(layout.tiles, tiles)), 2);
}

int64_t weightBytes(llvm::StringRef encoding, llvm::ArrayRef<int64_t> shape) {
  int64_t elements = 1;
  for (int64_t extent : shape) elements *= extent;
  std::optional<Enc> enc = encodingOf(encoding);
  if (!enc || shape.size() < 2) return 4 * elements;
  int64_t rows = shape[shape.size() - 2], cols = shape.back();
  if (rows < 1 || cols < 1) return 0;
  return WeightLayout(*enc, rows, cols).matrixBytes * (elements / (rows * cols));
}

void setSplits(const TargetProfile& profile, llvm::StringRef family, mlir::MLIRContext* context,
               mlir::NamedAttrList& config) {
  mlir::Builder builder(context);
  auto set = [&](llvm::StringRef name, int64_t value) {
    config.set(name, builder.getI64IntegerAttr(value));
  };
  if (profile.gpu) return set("splits", profile.gpu->attentionSplits);
  auto shape = SplitShape::of(
      profile, headWorkgroups(profile, family, config.getDictionary(context)),
      family == "attention" ? SplitShape::kGroupedPieces : SplitShape::kLatentPieces);
  set("splits", shape.most);
  if (shape.even) set("even_splits", shape.even);
}

void tuneConfig(const TargetProfile& profile, llvm::StringRef family, bool manyTokens,
                mlir::MLIRContext* context, mlir::NamedAttrList& config) {
  if (family != "linear" && family != "experts") return;
  mlir::Builder builder(context);
  mlir::DictionaryAttr known = config.getDictionary(context);
  // Without matrix units a CPU has one form, whose loops follow the number of tokens.
  bool units = profile.amx && manyTokens && word(known, "act") != "f32";
  // A weight tile is unpacked for the rows that use it, which 16 repay. Of 128 tokens an expert
  // gets as many when it is one of eight; the choice cannot be the kernel's (docs/design/009).
  // Integer units, which have nothing to unpack, repay fewer rows and keep the bits of vectors.
  constexpr int64_t kSparsest = 8;
  bool sparse =
      family == "experts" && kSparsest * number(known, "top_k", 1) < number(known, "experts", 1);
  bool exact = units && sparse && word(known, "act") == "i8";
  units = exact || (units && !sparse);
  if (profile.gpu || units)
    config.set("form", builder.getStringAttr(!manyTokens ? "few" : exact ? "exact" : "many"));
  int64_t tiles = units ? matrixPanelTiles(family, known)
                        : linearPanelTiles(profile, config.getDictionary(context));
  config.set("panel_tiles", builder.getI64IntegerAttr(tiles));
}

llvm::SmallVector<mlir::AffineMap> kernelGrid(const TargetProfile& profile, llvm::StringRef family,
                                              mlir::DictionaryAttr config, mlir::AffineExpr rows,
                                              mlir::AffineExpr sequences) {
  llvm::SmallVector<mlir::AffineMap> maps;
  for (const auto& extent : GridOf(profile, family, config, rows, sequences).get())
    maps.push_back(mlir::AffineMap::get(0, 4, extent, config.getContext()));
  return maps;
}

}  // namespace fathom::kernels
