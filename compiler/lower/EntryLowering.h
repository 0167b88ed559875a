// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The state of lowering one entry point: which buffer holds which value, and how dispatches are made.
// Internal to compiler/lower.
#ifndef FATHOM_COMPILER_LOWER_ENTRYLOWERING_H
#define FATHOM_COMPILER_LOWER_ENTRYLOWERING_H

#include "compiler/kernels/Kernels.h"
#include "compiler/lower/ProgramLowering.h"
#include "dialects/graph/Graph.h"
#include "dialects/schedule/Schedule.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"

namespace fathom::lower {

/// The encoding of an encoded weight.
graph::Encoding encodingOf(mlir::Value encoded);

/// round_up(n, 16): elements from row to row of a float32 buffer.
inline int64_t ld(int64_t n) { return (n + 15) / 16 * 16; }

/// Where a [count, groups * width] float32 value lies. Row t, group g starts at element
/// offset + t * ld + g * groupLd of `buffer`. A plain row has one group.
struct Rows {
  mlir::Value buffer;
  mlir::AffineExpr count;  // rows, over (T, B, P, R)
  int64_t width = 0;       // elements of one group
  int64_t ld = 0;
  int64_t groups = 1;
  int64_t groupLd = 0;
  int64_t offset = 0;
};

/// Activation records (docs/spec/encodings.md) of `groups` matrices side by side.
struct Records {
  mlir::Value buffer;
  int64_t offset = 0;       // bytes
  int64_t stride = 0;       // bytes from token to token
  int64_t batchStride = 0;  // bytes from group to group
};

/// An argument of a dispatch: a buffer and a constant byte offset into it.
struct Arg {
  Arg(mlir::Value buffer, int64_t offset = 0) : buffer(buffer), offset(offset) {}
  mlir::Value buffer;
  int64_t offset;
};

/// f32[T][splits][heads][width + 16]: what attention found in each split of the context.
struct Partial {
  mlir::Value buffer;
  int64_t splits = 0;
};

/// A run of a weight's rows, or of the matrices of a batch or bank, that one dispatch takes.
struct Part {
  int64_t first = 0, count = 0;
};

/// What a dispatch is made of besides its kernel.
struct Launch {
  llvm::SmallVector<Arg> args;
  mlir::AffineExpr rows;  // that it works on; the kernel library makes the grid of them
  llvm::SmallVector<mlir::AffineExpr> push;
  std::string label;
  unsigned outputs = 1;  // how many of the last args are written
};

class EntryLowering {
 public:
  EntryLowering(ProgramLowering& program, mlir::func::FuncOp function, schedule::EntryOp entry);

  /// Lowers every op of the function, in order.
  mlir::LogicalResult run();

 private:
  using Config = mlir::NamedAttrList;

  mlir::LogicalResult lowerOp(mlir::Operation* op);
  mlir::LogicalResult lower(graph::EmbedOp op);
  mlir::LogicalResult lower(graph::LinearOp op);
  mlir::LogicalResult lower(graph::LinearSwigluOp op);
  mlir::LogicalResult lower(graph::RmsNormOp op);
  mlir::LogicalResult lower(graph::RopeOp op);
  mlir::LogicalResult lower(graph::SwigluOp op);
  mlir::LogicalResult lower(graph::CacheAppendOp op);
  mlir::LogicalResult lower(graph::LatentAttentionOp op);
  mlir::LogicalResult lower(graph::LatentAttentionAbsorbedOp op);
  mlir::LogicalResult lower(graph::AttentionOp op);
  mlir::LogicalResult lower(graph::MoeRouteOp op);
  mlir::LogicalResult lower(graph::LogitsOp op);
  mlir::LogicalResult lower(graph::MoeExpertsOp op);
  mlir::LogicalResult lower(mlir::arith::AddFOp op);
  mlir::LogicalResult lower(mlir::tensor::ExpandShapeOp op);
  mlir::LogicalResult lower(mlir::tensor::ExtractSliceOp op);
  mlir::LogicalResult lower(mlir::tensor::CollapseShapeOp op);

  // Pieces shared by several ops.
  void launch(mlir::StringRef family, Config config, Launch launch);
  /// Takes what the target cannot bind off the offset of `arg`, whose elements have `elementBytes`,
  /// and gives it to the kernel as the entry `name`, in elements.
  void foldOffset(Config& config, mlir::StringRef name, Arg& arg, int64_t elementBytes);
  mlir::FailureOr<Rows> rowsOf(mlir::Value value, mlir::Operation* user);
  /// A weight that the target can bind, as an argument.
  mlir::FailureOr<mlir::Value> weight(mlir::Value encoded, mlir::Operation* user);
  /// The weight of a matrix product with its encoding; `config` gets rows, cols, enc and act.
  mlir::FailureOr<mlir::Value> matrix(mlir::Value encoded, mlir::Operation* user, Config& config);
  void describeMatrix(mlir::Value encoded, Config& config);
  /// How a kernel's weights, of the same shape, are cut along their first dimension so that the target can
  /// bind each part: one part where it can bind them as they are. Fails where it cannot bind the least part.
  /// `columns`: outputs of the parts lie side by side in a float32 row, each where it can be bound.
  mlir::FailureOr<llvm::SmallVector<Part>> partsOf(mlir::ValueRange encoded, mlir::Operation* user,
                                                   bool columns = true);
  /// Whether the target can bind all of it.
  bool bindsWhole(mlir::Value encoded);
  /// A dispatch for each of `parts`: the arguments from number `at` on become the parts of the weights
  /// `encoded`, then `cut` fits the rest of the dispatch to the part.
  mlir::LogicalResult launchParts(mlir::StringRef family, const Config& config, const Launch& launched,
                                  unsigned at, mlir::ValueRange encoded, llvm::ArrayRef<Part> parts,
                                  llvm::function_ref<void(const Part&, Config&, Launch&)> cut,
                                  mlir::Operation* user);
  mlir::Value newBuffer(mlir::StringRef name, mlir::AffineExpr bytes,
                        schedule::BufferKind kind = schedule::BufferKind::Transient);
  Rows newRows(mlir::StringRef name, mlir::AffineExpr count, int64_t width);
  /// The records of `value`, `groups` matrices of `width` elements, in `form`; encodes when there are none.
  mlir::FailureOr<Records> recordsOf(mlir::Value value, int64_t groups, int64_t width, Activation form,
                                     mlir::Operation* user);
  /// A new buffer for the records of `count` rows.
  Records newRecords(mlir::AffineExpr count, int64_t groups, int64_t width, Activation form);
  void encode(const Rows& from, const Records& to, Activation form, mlir::StringRef label);
  /// In which forms the users of `value` but `except` read it.
  struct Wanted {
    bool f32 = false, bf16 = false, i8 = false;
  };
  Wanted wantedOf(mlir::Value value, mlir::Operation* except = nullptr);
  /// The norm kernel: rows, records or both, as wanted, become those of `result`.
  mlir::LogicalResult normalise(mlir::Operation* op, mlir::Value result, const Rows& x,
                                mlir::Value gamma, double eps, int64_t groups, int64_t n,
                                mlir::Value gather, mlir::AffineExpr count, Wanted wanted);
  /// The cache's entries of `config`, and the cache argument of a kernel of `layer`. All layers' pages lie
  /// alike, so that they share one kernel.
  mlir::Value cacheOf(int64_t layer, Config& config);
  /// What every projection's config has besides its weight.
  void setProjection(Config& config, mlir::StringRef epilogue, int64_t batch, const Records& x,
                     int64_t outLd, bool bias = false);
  /// The attributes of RoPE that kernels take.
  template <typename Op>
  void setRotation(Config& config, Op op, int64_t dim) {
    config.set("dim", builder.getI64IntegerAttr(dim));
    config.set("interleaved", builder.getBoolAttr(op.getInterleaved()));
    config.set("mscale", builder.getF64FloatAttr(op.getMscale()));
  }
  /// The split form of attention: `family` writes partial sums, attention_combine merges them.
  mlir::LogicalResult launchSplit(mlir::Operation* op, mlir::StringRef family, Config config,
                                  mlir::SmallVector<Arg> args, int64_t heads, int64_t width,
                                  mlir::Value result);
  /// Whether the target's kernels have this fusion in this entry point.
  bool fuses(kernels::Fusion fusion) {
    return kernels::fuses(program.profile, fusion, isPrefill());
  }
  /// The one form in which `value` is read, if there is only one.
  std::optional<Activation> onlyForm(mlir::Value value, mlir::Operation* except = nullptr);
  /// New rows or records of `value`, [count, width], for a kernel that makes them beside its own
  /// output: sets the entries `formName` and `strideName` of `config`.
  mlir::Value besides(Config& config, mlir::StringRef formName, mlir::StringRef strideName,
                      mlir::Value value, Activation form, mlir::AffineExpr count, int64_t width);
  /// Makes `launched` write the records of `result`, [count, matrices * rows], instead of float32
  /// where those are all that is read; answers whether.
  bool writeRecords(Config& config, Launch& launched, mlir::Value result, mlir::AffineExpr count,
                    int64_t matrices, int64_t rows);
  /// The records of the heads' first parts that a product per head reads of `result`.
  void writeHeadRecords(Config& config, Launch& launched, mlir::Value result);
  /// The norm of the router's input and the router in one: answers whether it is lowered so.
  mlir::FailureOr<bool> lowerWithRouter(graph::RmsNormOp op);
  /// The norm of a query's latent together with the cache row that comes from the same projection.
  mlir::FailureOr<bool> lowerWithAppend(graph::RmsNormOp op);
  mlir::LogicalResult appendLatent(graph::CacheAppendOp op, graph::RmsNormOp norm);
  /// The rope op of `q` if the attention kernel rotates for it.
  graph::RopeOp rotatedByAttention(mlir::Value q);
  /// The entries of an attention kernel that rotates as `rope` does; answers its table.
  mlir::FailureOr<mlir::Value> rotateQueries(Config& config, graph::RopeOp rope, int64_t dim);
  /// New records of `result`, [T, heads * width], when one projection reads it and nothing else
  /// does: of each head, or of all heads together.
  std::optional<std::pair<Activation, Records>> recordsOfHeads(mlir::Value result, int64_t heads,
                                                               int64_t width);
  /// A buffer for the plan of `slots` choices a token among `experts`.
  mlir::Value newPlan(int64_t slots, int64_t experts);
  /// The weighted sum of the experts' rows `y`, with the weights `share`, and what is added to it.
  mlir::LogicalResult combineExperts(graph::MoeExpertsOp op, const Rows& y, mlir::Value share);
  /// Moves the arguments from number `at` on, float32 rows, by `columns`.
  static void moveColumns(Launch& launched, unsigned at, int64_t columns) {
    for (Arg& arg : llvm::MutableArrayRef(launched.args).drop_front(at)) arg.offset += 4 * columns;
  }
  mlir::FailureOr<mlir::FlatSymbolRefAttr> weightSymbol(mlir::Value encoded, mlir::Operation* user);
  /// An error: `what` of the weight takes `bytes`, more than the target binds.
  mlir::LogicalResult refuse(mlir::Operation* user, mlir::Value encoded, mlir::StringRef what,
                             int64_t bytes);
  /// Bytes of the first `count` rows or matrices of a weight.
  int64_t bytesOf(mlir::Value encoded, int64_t count);
  /// A barrier before a dispatch that conflicts with one since the last barrier.
  void separate(llvm::ArrayRef<mlir::Value> buffers, unsigned outputs);
  bool isLastUse(mlir::Value value, mlir::Operation* user);
  bool isRotatedByAppend(graph::RopeOp op);
  bool isPrefill() { return function.getName() == "prefill"; }
  std::string label(mlir::Operation* op, mlir::StringRef part);

  mlir::AffineExpr T() { return symbol(0); }
  mlir::AffineExpr B() { return symbol(1); }
  mlir::AffineExpr P() { return symbol(2); }
  mlir::AffineExpr R() { return symbol(3); }
  mlir::AffineExpr symbol(unsigned i) { return builder.getAffineSymbolExpr(i); }
  mlir::AffineExpr constant(int64_t v) { return builder.getAffineConstantExpr(v); }
  /// The minimum of `exprs`, as a map.
  mlir::AffineMap map(llvm::ArrayRef<mlir::AffineExpr> exprs);

  ProgramLowering& program;
  mlir::func::FuncOp function;
  mlir::OpBuilder builder;
  mlir::Value tokens, positions, sequence, pageTable, contextLength, logitRows, cache, output;
  llvm::DenseMap<mlir::Value, Rows> rows;
  llvm::DenseMap<mlir::Value, llvm::SmallDenseMap<int, Records>> records;  // by value, by form
  llvm::DenseMap<mlir::Value, mlir::Value> weights;                        // graph.encode -> use_weight
  llvm::DenseMap<int64_t, mlir::Value> cacheLayers;                        // layer -> use_cache
  llvm::SmallPtrSet<void*, 16> written, read;  // buffers since the last barrier
  llvm::DenseMap<mlir::Value, mlir::Value> routes;  // index / weight of a moe_route -> buffer
  llvm::DenseMap<mlir::Value, mlir::Value> plans;   // index of a moe_route -> plan made with it
  llvm::DenseMap<mlir::Value, Partial> partials;    // attention -> what its reader merges
  llvm::SmallPtrSet<mlir::Operation*, 16> done;     // lowered with an op before them
};

}  // namespace fathom::lower

#endif  // FATHOM_COMPILER_LOWER_ENTRYLOWERING_H
