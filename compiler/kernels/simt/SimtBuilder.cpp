// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Signature, memory, lanes and device instructions of GPU kernels.
#include "compiler/kernels/simt/SimtBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;

namespace fathom::kernels {

static Location withDialects(ModuleOp module) {
  module.getContext()
      ->loadDialect<arith::ArithDialect, gpu::GPUDialect, LLVM::LLVMDialect, math::MathDialect,
                    memref::MemRefDialect, NVVM::NVVMDialect, scf::SCFDialect, spirv::SPIRVDialect,
                    vector::VectorDialect>();
  return module.getLoc();
}

// --- Signature -----------------------------------------------------------------------------------

void SimtBuilder::registerDialects(DialectRegistry& registry) {
  registry.insert<arith::ArithDialect, gpu::GPUDialect, LLVM::LLVMDialect, math::MathDialect,
                  memref::MemRefDialect, NVVM::NVVMDialect, scf::SCFDialect, spirv::SPIRVDialect,
                  vector::VectorDialect>();
}

SimtBuilder::SimtBuilder(ModuleOp module, StringRef symbol, StringRef kernel, DictionaryAttr config,
                         const TargetProfile& profile)
    : ValueBuilder(Config(config, module.getLoc(), kernel), profile, withDialects(module)),
      lanes_(profile.gpu->workgroupSize) {
  b_.setInsertionPointToEnd(module.getBody());
  auto gpuModule = gpu::GPUModuleOp::create(b_, symbol);
  module_ = gpuModule;
  b_.setInsertionPointToStart(gpuModule.getBody());
  auto func = gpu::GPUFuncOp::create(b_, symbol, b_.getFunctionType({}, {}));
  func->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b_.getUnitAttr());
  func_ = func;
  entry_ = &func.getBody().front();
  b_.setInsertionPointToStart(entry_);
}

static int64_t bytesOf(Type elem) {
  int64_t bytes = getElementTypeOrSelf(elem).getIntOrFloatBitWidth() / 8;
  if (auto vector = dyn_cast<VectorType>(elem)) bytes *= vector.getNumElements();
  return bytes;
}

Buf SimtBuilder::view(Binding binding, Type elem) {
  std::pair<unsigned, Type> key{binding.number, elem};
  for (auto& [known, buf] : known_)
    if (known == key) return buf;
  auto type = MemRefType::get({ShapedType::kDynamic}, elem);
  Value arg = entry_->insertArgument(views_.size(), type, b_.getLoc());
  views_.push_back(binding.number);
  texels_.push_back(binding.input && gpu().texelLoads ? bytesOf(elem) : 0);
  known_.push_back({key, Buf{arg, elem}});
  return known_.back().second;
}

Val SimtBuilder::push() {
  Value arg = entry_->insertArgument(views_.size() + push_, b_.getI32Type(), b_.getLoc());
  ++push_;
  OpBuilder::InsertionGuard guard(b_);
  b_.setInsertionPointToStart(entry_);
  return toIndex(Val(*this, arg));
}

FailureOr<Operation*> SimtBuilder::finish() {
  if (cfg_.failed()) {
    module_->erase();
    return failure();
  }
  auto func = cast<gpu::GPUFuncOp>(func_);
  b_.setInsertionPointToEnd(entry_);
  gpu::ReturnOp::create(b_);
  SmallVector<Type> types;
  for (size_t i = 0; i < views_.size() + push_; ++i)
    types.push_back(entry_->getArgument(i).getType());
  func.setFunctionType(b_.getFunctionType(types, {}));
  func->setAttr("fathom.kernel", b_.getUnitAttr());
  func->setAttr("fathom.bindings", b_.getI64IntegerAttr(bindings_));
  func->setAttr("fathom.push", b_.getI64IntegerAttr(push_));
  func->setAttr("fathom.views", b_.getDenseI64ArrayAttr(views_));
  if (llvm::any_of(texels_, [](int64_t bytes) { return bytes != 0; }))
    func->setAttr("fathom.texels", b_.getDenseI64ArrayAttr(texels_));
  func->setAttr("fathom.workgroup", b_.getI64IntegerAttr(lanes_));
  func->setAttr("fathom.shared_bytes", b_.getI64IntegerAttr(sharedBytes_));
  if (manySums_) func->setAttr("fathom.many_sums", b_.getUnitAttr());
  if (failed(verify(func_))) return failure();
  return func_;
}

// --- Places --------------------------------------------------------------------------------------

Val SimtBuilder::id(int which, bool ofLane) {
  Val& known = ids_[which + (ofLane ? 3 : 0)];
  if (known) return known;
  OpBuilder::InsertionGuard guard(b_);
  b_.setInsertionPointToStart(entry_);
  auto dimension = static_cast<gpu::Dimension>(which);
  Value v = ofLane ? gpu::ThreadIdOp::create(b_, b_.getIndexType(), dimension).getResult()
                   : gpu::BlockIdOp::create(b_, b_.getIndexType(), dimension).getResult();
  return known = Val(*this, v);
}

// --- Memory --------------------------------------------------------------------------------------

Buf SimtBuilder::shared(Type elem, int64_t count) {
  auto func = cast<gpu::GPUFuncOp>(func_);
  auto space = gpu::AddressSpaceAttr::get(b_.getContext(), gpu::AddressSpace::Workgroup);
  auto type = MemRefType::get({count}, elem, MemRefLayoutAttrInterface(), space);
  // addWorkgroupAttribution counts arguments by the function's type, which is not final yet.
  auto attributions = func->getAttrOfType<IntegerAttr>(func.getNumWorkgroupAttributionsAttrName());
  int64_t number = attributions ? attributions.getInt() : 0;
  func->setAttr(func.getNumWorkgroupAttributionsAttrName(), b_.getI64IntegerAttr(number + 1));
  Value arg = entry_->addArgument(type, b_.getLoc());
  sharedBytes_ += bytesOf(elem) * count;
  cfg_.require(sharedBytes_ <= gpu().sharedBytes,
               "needs " + Twine(sharedBytes_) + " bytes of workgroup memory, target '" +
                   profile_.name + "' has " + Twine(gpu().sharedBytes));
  return {arg, elem};
}

Val SimtBuilder::load(Buf buf, Val i) {
  return Val(*this, memref::LoadOp::create(b_, buf.mem, ValueRange{i.v()}));
}

void SimtBuilder::store(Val v, Buf buf, Val i) {
  memref::StoreOp::create(b_, v.v(), buf.mem, ValueRange{i.v()});
}

void SimtBuilder::barrier() { gpu::BarrierOp::create(b_); }

// --- Work of the lanes ---------------------------------------------------------------------------

Vals SimtBuilder::forLanes(Val n, ArrayRef<Val> init, LoopBody body) {
  return forLoop(lane(), n, lanes_, init, body);
}

void SimtBuilder::forLanes(Val n, function_ref<void(Val)> body) {
  forLoop(lane(), n, lanes_, body);
}

// Within subgroups by the device's instruction, across them through workgroup memory in order.
Val SimtBuilder::reduceLanes(Val v, bool add) {
  auto op = add ? gpu::AllReduceOperation::ADD : gpu::AllReduceOperation::MAXNUMF;
  Val part(*this, gpu::SubgroupReduceOp::create(b_, v.v(), op, /*uniform=*/false).getResult());
  // At least four lanes run together.
  if (!reduction_.mem) reduction_ = shared(f32(), lanes_ / 4);
  Buf parts = reduction_;
  Val subgroup, count;
  if (int64_t size = gpu().subgroupSize) {
    subgroup = lane() / size;
    count = idx(lanes_ / size);
  } else {
    subgroup =
        Val(*this, gpu::SubgroupIdOp::create(b_, b_.getIndexType(), IntegerAttr()).getResult());
    count =
        Val(*this, gpu::NumSubgroupsOp::create(b_, b_.getIndexType(), IntegerAttr()).getResult());
  }
  barrier();
  store(part, parts, subgroup);
  barrier();
  Val start = add ? number(v, 0) : load(parts, idx(0));
  return forLoop(idx(0), count, 1, {start}, [&](Val i, ArrayRef<Val> in) {
    Val other = load(parts, i);
    return Vals{add ? in[0] + other : max(in[0], other)};
  })[0];
}

Val SimtBuilder::sumOfLanes(Val v) { return reduceLanes(v, true); }
Val SimtBuilder::maxOfLanes(Val v) { return reduceLanes(v, false); }

// --- Device instructions -------------------------------------------------------------------------

Val signedByte(Val word, int64_t which) {
  return sar(which == 3 ? word : shl(word, static_cast<int>(24 - 8 * which)), 24);
}

Val SimtBuilder::dotS8(Val acc, Val a, Val b) {
  if (!gpu().dot8) {
    for (int64_t i = 0; i < 4; ++i) acc = acc + signedByte(a, i) * signedByte(b, i);
    return acc;
  }
  if (gpu().isa == "nvvm") {
    auto s = NVVM::DotAccumulateTypeAttr::get(b_.getContext(), NVVM::DotAccumulateType::SIGNED);
    auto bytes = [&](Val v) { return LLVM::BitcastOp::create(b_, vec(i8(), 4), v.v()); };
    return Val(*this,
               NVVM::DotAccumulate4WayOp::create(b_, i32(), bytes(a), s, bytes(b), s, acc.v()));
  }
  auto format = spirv::PackedVectorFormatAttr::get(
      b_.getContext(), spirv::PackedVectorFormat::PackedVectorFormat4x8Bit);
  return acc + Val(*this, spirv::SDotOp::create(b_, i32(), a.v(), b.v(), format));
}

std::pair<Val, Val> SimtBuilder::unpackF16(Val word) {
  if (gpu().isa == "spirv") {
    Val pair(*this, spirv::GLUnpackHalf2x16Op::create(b_, vec(f32(), 2), word.v()));
    return {kernels::lane(pair, 0), kernels::lane(pair, 1)};
  }
  Val low = toInt(word, i16()), high = toInt(shr(word, 16), i16());
  return {f16ToF32(low), f16ToF32(high)};
}

Val SimtBuilder::roundEven(Val v) { return Val(*this, math::RoundEvenOp::create(b_, v.v())); }

ValueBuilder::Rounded SimtBuilder::roundProduct(Val x, double factor) {
  Val rounded = roundEven(x * factor);
  return {rounded, truncToI32(rounded)};
}

Val fromLanes(ArrayRef<Val> elements) {
  SmallVector<Value> raw;
  for (Val e : elements) raw.push_back(e.v());
  ValueBuilder& k = elements[0].k();
  Type type = k.vec(elements[0].type(), elements.size());
  return Val(k, vector::FromElementsOp::create(k.b(), cast<VectorType>(type), raw));
}

}  // namespace fathom::kernels
