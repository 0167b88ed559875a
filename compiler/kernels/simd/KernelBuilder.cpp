// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory, control flow and signature of the kernel builder; arithmetic is in KernelMath.cpp.
#include "compiler/kernels/simd/KernelBuilder.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace fathom::kernels {

// --- Signature -----------------------------------------------------------------------------------

static ModuleOp withDialects(ModuleOp module) {
  module.getContext()
      ->loadDialect<amx::AMXDialect, arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect,
                    math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                    vector::VectorDialect>();
  return module;
}

void KernelBuilder::registerDialects(DialectRegistry& registry) {
  registry.insert<amx::AMXDialect, arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect,
                  math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                  vector::VectorDialect>();
}

KernelBuilder::KernelBuilder(ModuleOp module, StringRef symbol, StringRef kernel,
                             DictionaryAttr config, const TargetProfile& profile)
    : ValueBuilder(Config(config, module.getLoc(), kernel), profile,
                   withDialects(module).getLoc()) {
  b_.setInsertionPointToEnd(module.getBody());
  Type index = b_.getIndexType();
  Type bytes = MemRefType::get({ShapedType::kDynamic}, b_.getI8Type());
  func_ = func::FuncOp::create(b_, symbol, b_.getFunctionType({bytes, index, index, index}, {}));
  Block* entry = func_.addEntryBlock();
  b_.setInsertionPointToStart(entry);
}

BlockArgument KernelBuilder::insertArg(Type type) {
  Block& entry = func_.front();
  return entry.insertArgument(bindings_ + push_, type, b_.getLoc());
}

Buf KernelBuilder::binding(Type elem, bool readonly, bool mayAlias) {
  assert(push_ == 0 && "bindings come before push constants");
  Buf buf{insertArg(MemRefType::get({ShapedType::kDynamic}, elem)), elem};
  ++bindings_;
  NamedAttrList attrs;
  if (readonly) attrs.set("fathom.readonly", b_.getUnitAttr());
  if (mayAlias) attrs.set("fathom.alias", b_.getUnitAttr());
  argAttrs_.push_back(attrs.getDictionary(b_.getContext()));
  return buf;
}

Val KernelBuilder::push() {
  Val v(*this, insertArg(b_.getIndexType()));
  ++push_;
  argAttrs_.push_back(b_.getDictionaryAttr({}));
  return v;
}

Val KernelBuilder::grid(int which) {
  Block& entry = func_.front();
  return Val(*this, entry.getArgument(entry.getNumArguments() - 3 + which));
}

Buf KernelBuilder::scratch(Type elem, int64_t bytes) {
  Block& entry = func_.front();
  Buf all{entry.getArgument(entry.getNumArguments() - 4), b_.getI8Type()};
  Val from = idx(scratchBytes_);
  scratchBytes_ += (bytes + 63) / 64 * 64;
  return view(all, from, elem);
}

FailureOr<func::FuncOp> KernelBuilder::finish() {
  if (cfg_.failed()) {
    func_.erase();
    return failure();
  }
  func::ReturnOp::create(b_);
  Block& entry = func_.front();
  func_.setFunctionType(b_.getFunctionType(entry.getArgumentTypes(), {}));
  argAttrs_.push_back(b_.getDictionaryAttr(b_.getNamedAttr("fathom.scratch", b_.getUnitAttr())));
  argAttrs_.append(3, b_.getDictionaryAttr({}));
  func_.setAllArgAttrs(argAttrs_);
  func_->setAttr("fathom.kernel", b_.getUnitAttr());
  func_->setAttr("fathom.bindings", b_.getI64IntegerAttr(bindings_));
  func_->setAttr("fathom.push", b_.getI64IntegerAttr(push_));
  func_->setAttr("fathom.scratch_bytes", b_.getI64IntegerAttr(scratchBytes_));
  if (failed(verify(func_))) return failure();
  return func_;
}

// --- Memory --------------------------------------------------------------------------------------

Buf KernelBuilder::view(Buf buf, Val byteOffset, Type elem) {
  assert(buf.elem == i8() && "views are taken of byte buffers");
  // The size of a flat memref is never looked at; it only has to be there.
  Value size = idx(int64_t{1} << 40).v();
  Type type = MemRefType::get({ShapedType::kDynamic}, elem);
  return {memref::ViewOp::create(b_, type, buf.mem, byteOffset.v(), ValueRange{size}), elem};
}

Val KernelBuilder::load(Buf buf, Val i) {
  return Val(*this, memref::LoadOp::create(b_, buf.mem, ValueRange{i.v()}));
}

Val KernelBuilder::load(Buf buf, Val i, int64_t lanes) {
  auto type = cast<VectorType>(vec(buf.elem, lanes));
  return Val(*this, vector::LoadOp::create(b_, type, buf.mem, ValueRange{i.v()}));
}

Val KernelBuilder::load(Buf buf, Val i, int64_t lanes, Val count) {
  if (!count) return load(buf, i, lanes);
  auto type = cast<VectorType>(vec(buf.elem, lanes));
  Value none = constant(type, 0).v();
  return Val(*this, vector::MaskedLoadOp::create(b_, type, buf.mem, ValueRange{i.v()},
                                                 maskBelow(*this, count, lanes).v(), none));
}

void KernelBuilder::store(Val v, Buf buf, Val i) {
  if (v.lanes())
    vector::StoreOp::create(b_, v.v(), buf.mem, ValueRange{i.v()});
  else
    memref::StoreOp::create(b_, v.v(), buf.mem, ValueRange{i.v()});
}

void KernelBuilder::store(Val v, Buf buf, Val i, Val count) {
  if (!count) return store(v, buf, i);
  // LLVM 22 makes a masked store of one known lane a scalar store of the lane before its
  // truncation: a bf16 written so as 4 bytes zeroes its neighbour (AVX-512).
  std::optional<int64_t> known = getConstantIntValue(count.v());
  if (known == 0) return;
  if (known == 1) return store(lane(v, 0), buf, i);
  vector::MaskedStoreOp::create(b_, buf.mem, ValueRange{i.v()},
                                maskBelow(*this, count, v.lanes()).v(), v.v());
}

void KernelBuilder::prefetch(Buf buf, Val i, int locality) {
  memref::PrefetchOp::create(b_, buf.mem, ValueRange{i.v()}, /*isWrite=*/false,
                             static_cast<uint32_t>(locality), /*isDataCache=*/true);
}

// --- Control flow --------------------------------------------------------------------------------

void KernelBuilder::ifThenApart(Val cond, function_ref<void()> then) {
  ifThen(cond, then);
  // ifThen leaves the builder behind the op that it made.
  Operation* made = &*std::prev(b_.getInsertionPoint());
  made->setAttr("fathom.apart", b_.getUnitAttr());
}

void KernelBuilder::forRow(int64_t n, int64_t lanes, function_ref<void(Val, Val)> body) {
  int64_t whole = n / lanes * lanes;
  if (whole == lanes)
    body(idx(0), Val());
  else if (whole)
    forLoop(idx(0), idx(whole), lanes, [&](Val i) { body(i, Val()); });
  if (n > whole) body(idx(whole), idx(n - whole));
}

}  // namespace fathom::kernels
