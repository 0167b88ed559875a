// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory, control flow and signature of the kernel builder; arithmetic is in KernelMath.cpp.
#include "compiler/kernels/simd/KernelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace fathom::kernels {

// --- Config --------------------------------------------------------------------------------------

Attribute Config::get(StringRef name, bool optional) {
  Attribute found = attrs_ ? attrs_.get(name) : Attribute();
  if (!found && !optional) {
    failed_ = true;
    emitError(loc_) << "kernel '" << kernel_ << "': config entry '" << name << "' is missing";
  }
  return found;
}

void Config::wrong(StringRef name, StringRef expected, Attribute found) {
  failed_ = true;
  emitError(loc_) << "kernel '" << kernel_ << "': config entry '" << name << "' must be "
                  << expected << ", found " << found;
}

int64_t Config::i(StringRef name, std::optional<int64_t> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or(0);
  if (auto a = dyn_cast<IntegerAttr>(found); a && a.getValue().getSignificantBits() <= 64)
    return a.getValue().getSExtValue();
  wrong(name, "an integer", found);
  return 0;
}

double Config::f(StringRef name, std::optional<double> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or(0);
  if (auto a = dyn_cast<FloatAttr>(found)) return a.getValueAsDouble();
  wrong(name, "a floating-point number", found);
  return 0;
}

bool Config::b(StringRef name, std::optional<bool> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or(false);
  if (auto a = dyn_cast<BoolAttr>(found)) return a.getValue();
  wrong(name, "a boolean", found);
  return false;
}

StringRef Config::s(StringRef name, std::optional<StringRef> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or("");
  if (auto a = dyn_cast<StringAttr>(found)) return a.getValue();
  wrong(name, "a string", found);
  return "";
}

int Config::oneOf(StringRef name, ArrayRef<StringRef> allowed) {
  bool before = failed_;
  failed_ = false;
  StringRef value = s(name);
  bool readable = !failed_;
  failed_ |= before;
  if (!readable) return 0;
  const auto* it = llvm::find(allowed, value);
  if (it != allowed.end()) return static_cast<int>(it - allowed.begin());
  std::string list = "one of";
  for (StringRef a : allowed) list += " '" + a.str() + "'";
  wrong(name, list, attrs_.get(name));
  return 0;
}

int64_t Config::in(StringRef name, int64_t lo, int64_t hi, int64_t step,
                   std::optional<int64_t> otherwise) {
  int64_t value = i(name, otherwise);
  if (failed_) return lo;
  if (value >= lo && value <= hi && value % step == 0) return value;
  failed_ = true;
  InFlightDiagnostic d = emitError(loc_);
  d << "kernel '" << kernel_ << "': config entry '" << name << "' must be ";
  if (step > 1) d << "a multiple of " << step << " ";
  d << "in [" << lo << ", " << hi << "], found " << value;
  return lo;
}

bool Config::require(bool ok, const Twine& message) {
  if (ok) return true;
  failed_ = true;
  emitError(loc_) << "kernel '" << kernel_ << "': " << message;
  return false;
}

// --- Signature -----------------------------------------------------------------------------------

static ModuleOp withDialects(ModuleOp module) {
  module.getContext()
      ->loadDialect<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                    memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect>();
  return module;
}

KernelBuilder::KernelBuilder(ModuleOp module, StringRef symbol, StringRef kernel,
                             DictionaryAttr config, const TargetProfile& profile)
    : cfg_(config, module.getLoc(), kernel),
      profile_(profile),
      b_(module.getLoc(), withDialects(module).getContext()) {
  b_.setInsertionPointToEnd(module.getBody());
  Type index = b_.getIndexType();
  Type bytes = MemRefType::get({ShapedType::kDynamic}, b_.getI8Type());
  func_ = func::FuncOp::create(b_, symbol, b_.getFunctionType({bytes, index, index, index}, {}));
  Block* entry = func_.addEntryBlock();
  b_.setInsertionPointToStart(entry);
}

KernelBuilder::~KernelBuilder() = default;

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
  return elem == all.elem ? all : view(all, from, elem);
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

// --- Constants -----------------------------------------------------------------------------------

Type KernelBuilder::vec(Type elem, int64_t lanes) { return VectorType::get({lanes}, elem); }

Val KernelBuilder::constant(Type type, double v) {
  Type elem = getElementTypeOrSelf(type);
  TypedAttr one;
  if (isa<FloatType>(elem))
    one = b_.getFloatAttr(elem, v);
  else
    one = b_.getIntegerAttr(elem, static_cast<int64_t>(v));
  TypedAttr all = one;
  if (auto vt = dyn_cast<VectorType>(type)) all = SplatElementsAttr::get(vt, Attribute(one));
  return Val(*this, arith::ConstantOp::create(b_, all));
}

Val KernelBuilder::iota(int64_t lanes) {
  SmallVector<int32_t> values;
  for (int64_t l = 0; l < lanes; ++l) values.push_back(static_cast<int32_t>(l));
  auto attr = DenseElementsAttr::get(cast<VectorType>(vec(i32(), lanes)), ArrayRef(values));
  return Val(*this, arith::ConstantOp::create(b_, attr));
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

static SmallVector<Value> raw(ArrayRef<Val> vals) {
  SmallVector<Value> out;
  for (Val v : vals) out.push_back(v.v());
  return out;
}

static Vals wrap(KernelBuilder& k, ValueRange values) {
  Vals out;
  for (Value v : values) out.push_back(Val(k, v));
  return out;
}

Vals KernelBuilder::forLoop(Val lo, Val hi, int64_t step, ArrayRef<Val> init, LoopBody body) {
  OpBuilder::InsertionGuard guard(b_);
  auto loop = scf::ForOp::create(b_, lo.v(), hi.v(), idx(step).v(), raw(init));
  Block* block = loop.getBody();
  // Without carried values the loop comes with its terminator.
  if (init.empty())
    b_.setInsertionPointToStart(block);
  else
    b_.setInsertionPointToEnd(block);
  Vals next = body(Val(*this, loop.getInductionVar()), wrap(*this, loop.getRegionIterArgs()));
  assert(next.size() == init.size() && "a loop yields as many values as it carries");
  if (!init.empty()) scf::YieldOp::create(b_, raw(next));
  return wrap(*this, loop.getResults());
}

void KernelBuilder::forLoop(Val lo, Val hi, int64_t step, function_ref<void(Val)> body) {
  forLoop(lo, hi, step, {}, [&](Val i, ArrayRef<Val>) {
    body(i);
    return Vals{};
  });
}

void KernelBuilder::forRow(int64_t n, int64_t lanes, function_ref<void(Val, Val)> body) {
  int64_t whole = n / lanes * lanes;
  if (whole == lanes)
    body(idx(0), Val());
  else if (whole)
    forLoop(idx(0), idx(whole), lanes, [&](Val i) { body(i, Val()); });
  if (n > whole) body(idx(whole), idx(n - whole));
}

void KernelBuilder::ifThen(Val cond, function_ref<void()> then) {
  OpBuilder::InsertionGuard guard(b_);
  auto op = scf::IfOp::create(b_, cond.v(), /*withElseRegion=*/false);
  b_.setInsertionPointToStart(op.thenBlock());
  then();
}

Vals KernelBuilder::ifElse(Val cond, function_ref<Vals()> then, function_ref<Vals()> otherwise) {
  // The op's own builders put b_ into the region and back.
  auto emit = [&](function_ref<Vals()> body) {
    return [&, body](OpBuilder&, Location) { scf::YieldOp::create(b_, raw(body())); };
  };
  auto op = scf::IfOp::create(b_, cond.v(), emit(then), emit(otherwise));
  return wrap(*this, op.getResults());
}

Vals KernelBuilder::whileLoop(ArrayRef<Val> init, function_ref<Val(ArrayRef<Val>)> cond,
                              function_ref<Vals(ArrayRef<Val>)> body) {
  SmallVector<Value> start = raw(init);
  auto before = [&](OpBuilder&, Location, ValueRange args) {
    Val go = cond(wrap(*this, args));
    scf::ConditionOp::create(b_, go.v(), args);
  };
  auto after = [&](OpBuilder&, Location, ValueRange args) {
    scf::YieldOp::create(b_, raw(body(wrap(*this, args))));
  };
  auto op = scf::WhileOp::create(b_, ValueRange(start).getTypes(), start, before, after);
  return wrap(*this, op.getResults());
}

Val KernelBuilder::intrinsic(StringRef name, Type result, ArrayRef<Val> args) {
  auto call = LLVM::CallIntrinsicOp::create(b_, result, b_.getStringAttr(name), raw(args));
  return Val(*this, call.getResult(0));
}

}  // namespace fathom::kernels
