// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The language of values with what a GPU kernel adds: views, lanes, workgroup memory, barriers.
#ifndef FATHOM_COMPILER_KERNELS_SIMT_SIMTBUILDER_H_
#define FATHOM_COMPILER_KERNELS_SIMT_SIMTBUILDER_H_

#include <string>

#include "compiler/kernels/Values.h"
#include "mlir/IR/BuiltinOps.h"

/// What a kernel becomes:
///
///   gpu.module @symbol {
///     gpu.func @symbol(views..., push...) workgroup(shared...) kernel
///         attributes {fathom.kernel, fathom.bindings = nb : i64, fathom.push = np : i64,
///                     fathom.views = array<i64: ...>, fathom.workgroup = lanes : i64,
///                     fathom.texels?, fathom.many_sums?}
///   }
///
/// - view i is a flat `memref<?xT>` over binding `fathom.views[i]`; T is f32, i32 or a vector of 2
///   or 4 of them. All views of a binding begin at its first byte. 8- and 16-bit data are taken out
///   of 32-bit words, so that every device can run every kernel;
/// - `fathom.texels[i]`: the bytes of T where view i is only read and the profile has texelLoads,
///   else 0. Missing: all are 0;
/// - push constants are i32;
/// - a workgroup is one row of lanes; the grid position is gpu.block_id.
///
/// Every sum has a fixed order. Barriers stand in uniform control flow only.
namespace fathom::kernels {

/// Bound on strides and offsets: 32-bit arithmetic addresses the words of a binding.
constexpr int64_t kMaxOffset = int64_t{1} << 28;

class SimtBuilder : public ValueBuilder {
 public:
  /// Registers the dialects of the ops that kernels are made of.
  static void registerDialects(mlir::DialectRegistry& registry);
  /// Starts @symbol at the end of `module`; `kernel` is the catalogue's name.
  SimtBuilder(mlir::ModuleOp module, llvm::StringRef symbol, llvm::StringRef kernel,
              mlir::DictionaryAttr config, const TargetProfile& profile);
  /// Ends the function, verifies it and answers it; erases it and fails if the config was refused.
  mlir::FailureOr<mlir::Operation*> finish();

  const GpuProfile& gpu() const { return *profile_.gpu; }

  // --- Signature: bindings and push constants in the order of the calls --------------------------
  struct Binding {
    unsigned number = ~0u;
    bool input = false;
    explicit operator bool() const { return number != ~0u; }
  };
  Binding binding() { return {bindings_++}; }
  /// One whose memory nobody writes while the dispatch runs, through any of its bindings.
  Binding input() { return {bindings_++, true}; }
  /// The binding seen as elements of `elem`; one descriptor for each different type.
  Buf view(Binding binding, mlir::Type elem);
  Buf f32View(Binding binding) { return view(binding, f32()); }
  Buf i32View(Binding binding) { return view(binding, i32()); }
  /// The next push constant, an index.
  Val push();

  // --- Places ------------------------------------------------------------------------------------
  Val x() { return id(0, false); }
  Val y() { return id(1, false); }
  Val z() { return id(2, false); }
  /// The lane in its workgroup.
  Val lane() { return id(0, true); }
  /// Lanes of a workgroup; to be set before the first use of it.
  int64_t lanes() const { return lanes_; }
  /// A lane keeps so many sums that the device should rather run fewer workgroups at once than put
  /// some of them into memory.
  void keepSumsInRegisters() { manySums_ = true; }
  void setLanes(int64_t lanes) { lanes_ = lanes; }

  // --- Memory ------------------------------------------------------------------------------------
  /// Workgroup memory of unknown contents.
  Buf shared(mlir::Type elem, int64_t count);
  int64_t sharedBytes() const { return sharedBytes_; }
  Val load(Buf buf, Val i);
  void store(Val v, Buf buf, Val i);
  /// All lanes arrive, and see what the others wrote to workgroup memory and buffers.
  void barrier();

  // --- Work of the lanes -------------------------------------------------------------------------
  /// body(i) for i = first + lane, + lanes ... below n.
  void forLanes(Val n, llvm::function_ref<void(Val i)> body);
  void forLanes(int64_t n, llvm::function_ref<void(Val i)> body) { forLanes(idx(n), body); }
  Vals forLanes(Val n, llvm::ArrayRef<Val> init, LoopBody body);
  /// The sum or maximum over the lanes of the workgroup, known to all of them. Uniform control
  /// flow.
  Val sumOfLanes(Val v);
  Val maxOfLanes(Val v);

  // --- What devices have instructions for --------------------------------------------------------
  /// acc + sum of four products of signed bytes of the words a and b.
  Val dotS8(Val acc, Val a, Val b);
  /// The two halves of a word as float32.
  std::pair<Val, Val> unpackF16(Val word);

  /// By the round-to-even operation: Vulkan compilers may cancel an added and subtracted constant.
  Rounded roundProduct(Val x, double factor) override;
  Val roundEven(Val v);

 private:
  Val id(int which, bool ofLane);
  Val reduceLanes(Val v, bool add);

  mlir::Operation* module_ = nullptr;  // gpu.module
  mlir::Operation* func_ = nullptr;    // gpu.func
  unsigned bindings_ = 0, push_ = 0;
  llvm::SmallVector<int64_t> views_, texels_;
  llvm::SmallVector<std::pair<std::pair<unsigned, mlir::Type>, Buf>> known_;
  Val ids_[6];
  int64_t lanes_ = 64, sharedBytes_ = 0;
  bool manySums_ = false;
  mlir::Block* entry_ = nullptr;
  Buf reduction_;
};

using SimtEmitter = mlir::LogicalResult (*)(SimtBuilder& k);

/// The elements x[0 .. lanes - 1] of a vector, and back.
Val fromLanes(llvm::ArrayRef<Val> elements);

/// Element 0 .. 3 of a word's signed bytes, as i32.
Val signedByte(Val word, int64_t which);

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_SIMT_SIMTBUILDER_H_
