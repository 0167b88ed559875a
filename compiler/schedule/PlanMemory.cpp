// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory planning with symbolic sizes. Worked example: buffers a (256 T bytes, live in epochs 0-1),
// b (512 T, 1-2), c (256 T + 64, 2-3), d (1024 R, 3-3). Slots: {a, c} of 256 T + 64, {b} of 512 T, {d} of
// 1024 R. Offsets: a, c at 0; b at 256 T + 64; d at 768 T + 64; the arena is 768 T + 1024 R + 64 bytes.
#include "compiler/schedule/Passes.h"
#include "dialects/schedule/Schedule.h"
#include "llvm/ADT/MapVector.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/Builders.h"

namespace fathom::schedule {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "compiler/schedule/Passes.h.inc"
}  // namespace fathom::schedule

using namespace mlir;

namespace {

constexpr unsigned kSymbols = 4;

// A size a0 + sum a_i s_i with constant coefficients: every transient buffer of the lowering has this form.
struct LinearSize {
  int64_t constant = 0;
  int64_t coefficient[kSymbols] = {};
};

bool addTo(LinearSize& size, AffineExpr expr, int64_t factor) {
  if (auto c = dyn_cast<AffineConstantExpr>(expr)) {
    size.constant += factor * c.getValue();
    return true;
  }
  if (auto s = dyn_cast<AffineSymbolExpr>(expr)) {
    size.coefficient[s.getPosition()] += factor;
    return true;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary) return false;
  if (binary.getKind() == AffineExprKind::Add)
    return addTo(size, binary.getLHS(), factor) && addTo(size, binary.getRHS(), factor);
  if (binary.getKind() != AffineExprKind::Mul) return false;
  if (auto c = dyn_cast<AffineConstantExpr>(binary.getRHS())) return addTo(size, binary.getLHS(), factor * c.getValue());
  if (auto c = dyn_cast<AffineConstantExpr>(binary.getLHS())) return addTo(size, binary.getRHS(), factor * c.getValue());
  return false;
}

int64_t roundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// A place that several buffers take one after the other.
struct Slot {
  LinearSize size;
  SmallVector<std::pair<int, int>> lifetimes;  // epochs, inclusive
  SmallVector<fathom::schedule::BufferOp> buffers;

  bool isFree(int from, int to) const {
    return llvm::none_of(lifetimes, [&](auto live) { return from <= live.second && live.first <= to; });
  }
  // Only buffers that grow with the same symbols share a slot.
  bool grows(const LinearSize& other) const {
    for (unsigned i = 0; i < kSymbols; ++i)
      if ((size.coefficient[i] != 0) != (other.coefficient[i] != 0)) return false;
    return true;
  }
  // How far the larger of the two sizes exceeds the smaller, as a measure of waste.
  int64_t distance(const LinearSize& other) const {
    int64_t sum = 0;
    for (unsigned i = 0; i < kSymbols; ++i) sum += std::abs(size.coefficient[i] - other.coefficient[i]);
    return sum;
  }
  void take(fathom::schedule::BufferOp buffer, const LinearSize& other, int from, int to) {
    size.constant = std::max(size.constant, other.constant);
    for (unsigned i = 0; i < kSymbols; ++i)
      size.coefficient[i] = std::max(size.coefficient[i], other.coefficient[i]);
    lifetimes.push_back({from, to});
    buffers.push_back(buffer);
  }
};

struct PlanMemory : fathom::schedule::impl::PlanMemoryPassBase<PlanMemory> {
  void runOnOperation() override {
    fathom::schedule::EntryOp entry = getOperation();
    Builder builder(&getContext());
    SmallVector<Slot> slots;
    // A target that binds only some offsets says which; a cache line is the least.
    auto wanted = entry->getParentOp()->getAttrOfType<IntegerAttr>("schedule.alignment");
    const int64_t alignment = std::max<int64_t>(64, wanted ? wanted.getInt() : 1);
    for (auto& [buffer, live] : lifetimes(entry)) {
      LinearSize size;
      AffineMap map = buffer.getSize();
      if (map.getNumResults() != 1 || !addTo(size, map.getResult(0), 1)) {
        buffer.emitOpError("cannot be placed: expected a size of the form a T + b B + p P + r R + c");
        return signalPassFailure();
      }
      size.constant = roundUp(size.constant, alignment);
      for (int64_t& coefficient : size.coefficient) coefficient = roundUp(coefficient, alignment);
      // The free slot of the most similar size.
      Slot* best = nullptr;
      for (Slot& slot : slots)
        if (slot.isFree(live.first, live.second) && slot.grows(size) &&
            (!best || slot.distance(size) < best->distance(size)))
          best = &slot;
      if (!best) best = &slots.emplace_back();
      best->take(buffer, size, live.first, live.second);
    }
    AffineExpr offset = builder.getAffineConstantExpr(0);
    for (Slot& slot : slots) {
      for (fathom::schedule::BufferOp buffer : slot.buffers)
        buffer.setOffsetAttr(AffineMapAttr::get(AffineMap::get(0, kSymbols, offset)));
      offset = offset + slot.size.constant;
      for (unsigned i = 0; i < kSymbols; ++i)
        offset = offset + builder.getAffineSymbolExpr(i) * slot.size.coefficient[i];
    }
    entry.setArenaAttr(AffineMapAttr::get(AffineMap::get(0, kSymbols, offset)));
  }

  // First and last epoch of every transient buffer, in order of first use. Dispatches of one epoch (between
  // two barriers) may run at once, so their buffers never share a place.
  static llvm::MapVector<fathom::schedule::BufferOp, std::pair<int, int>> lifetimes(
      fathom::schedule::EntryOp entry) {
    llvm::MapVector<fathom::schedule::BufferOp, std::pair<int, int>> live;
    int epoch = 0;
    for (Operation& op : entry.getBody().front()) {
      if (isa<fathom::schedule::BarrierOp>(op)) ++epoch;
      auto dispatch = dyn_cast<fathom::schedule::DispatchOp>(op);
      if (!dispatch) continue;
      for (Value value : dispatch.getBuffers()) {
        auto buffer = value.getDefiningOp<fathom::schedule::BufferOp>();
        if (!buffer || buffer.getKind() != fathom::schedule::BufferKind::Transient) continue;
        auto it = live.insert({buffer, {epoch, epoch}}).first;
        it->second.second = epoch;
      }
    }
    return live;
  }
};

}  // namespace
