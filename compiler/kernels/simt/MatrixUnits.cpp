// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operations of the nvvm dialect, which work on addresses instead of views.
#include "compiler/kernels/simt/MatrixUnits.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace fathom::kernels::simt {

namespace {

constexpr unsigned kGlobal = 1, kShared = 3;  // NVVM's numbers of memories

SmallVector<Value> raw(ArrayRef<Val> vals) {
  SmallVector<Value> values;
  for (Val v : vals) values.push_back(v.v());
  return values;
}

}  // namespace

// A view's address: the lowering knows what a view becomes (backends/cuda/target/LowerToNvvm).
Value MatrixUnits::address(Buf buffer, Val word, unsigned space) const {
  ImplicitLocOpBuilder& b = k_.b();
  auto pointer = LLVM::LLVMPointerType::get(b.getContext(), space);
  Value base = UnrealizedConversionCastOp::create(b, pointer, buffer.mem).getResult(0);
  return LLVM::GEPOp::create(b, pointer, b.getI32Type(), base,
                             ValueRange{toInt(word, k_.i32()).v()});
}

void MatrixUnits::copy(Buf shared, Val to, Buf buffer, Val from, int64_t bytes, Val there) const {
  auto through = bytes == 16 ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA;
  NVVM::CpAsyncOp::create(k_.b(), address(shared, to, kShared), address(buffer, from, kGlobal),
                          static_cast<uint32_t>(bytes), through,
                          there ? toInt(there, k_.i32()).v() : Value());
}

void MatrixUnits::endGroup() const { NVVM::CpAsyncCommitGroupOp::create(k_.b()); }

void MatrixUnits::waitForGroups(int64_t pending) const {
  NVVM::CpAsyncWaitGroupOp::create(k_.b(), static_cast<uint32_t>(pending));
}

Val MatrixUnits::words(Buf shared, Val at, int64_t n) const {
  return Val(k_, LLVM::LoadOp::create(k_.b(), k_.vec(k_.i32(), n), address(shared, at, kShared),
                                      static_cast<unsigned>(4 * n)));
}

Vals MatrixUnits::unpack(Value list) const {
  Vals out;
  for (int64_t i = 0; i < 4; ++i)
    out.push_back(Val(k_, LLVM::ExtractValueOp::create(k_.b(), list, ArrayRef<int64_t>{i})));
  return out;
}

Vals MatrixUnits::matrices(Buf shared, Val row) const {
  ImplicitLocOpBuilder& b = k_.b();
  SmallVector<Type> types(4, b.getI32Type());
  auto list = LLVM::LLVMStructType::getLiteral(b.getContext(), types);
  return unpack(NVVM::LdMatrixOp::create(
      b, list, address(shared, row, kShared), 4u, NVVM::MMALayout::row,
      NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8), NVVM::LdStMatrixEltType::B16));
}

Vals MatrixUnits::multiplyInt8(ArrayRef<Val> a, bool signedA, ArrayRef<Val> b,
                               ArrayRef<Val> c) const {
  ImplicitLocOpBuilder& builder = k_.b();
  SmallVector<Type> types(4, builder.getI32Type());
  std::array<NVVM::MMATypes, 2> bytes = {signedA ? NVVM::MMATypes::s8 : NVVM::MMATypes::u8,
                                         NVVM::MMATypes::s8};
  return unpack(NVVM::MmaOp::create(
      builder, LLVM::LLVMStructType::getLiteral(builder.getContext(), types), raw(a), raw(b),
      raw(c), ArrayRef<int64_t>{16, 8, 32}, std::nullopt, NVVM::MMAIntOverflow::wrapped, bytes,
      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col}));
}

Vals MatrixUnits::multiplyBf16(ArrayRef<Val> a, ArrayRef<Val> b, ArrayRef<Val> c) const {
  ImplicitLocOpBuilder& builder = k_.b();
  SmallVector<Type> types(4, builder.getF32Type());
  return unpack(
      NVVM::MmaOp::create(builder, LLVM::LLVMStructType::getLiteral(builder.getContext(), types),
                          raw(a), raw(b), raw(c), ArrayRef<int64_t>{16, 8, 16}, std::nullopt,
                          std::nullopt, std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16},
                          std::array{NVVM::MMALayout::row, NVVM::MMALayout::col}));
}

}  // namespace fathom::kernels::simt
