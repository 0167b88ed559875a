// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Atomics and reductions on global and shared memory; fences.
#include <algorithm>
#include <cmath>

#include "tests/cuda_sim/ops/lanes.h"
#include "tests/cuda_sim/small_float.h"

namespace fathom::cuda_sim {
namespace {

enum class AtomicOp : uint32_t { add, min, max, land, lor, lxor, exch, cas, inc, dec };

template <typename T, typename U>
T Combined(AtomicOp op, T old, T value, T other, U) {
  switch (op) {
    case AtomicOp::add:
      if constexpr (std::is_floating_point_v<T>) return old + value;
      return static_cast<T>(static_cast<U>(old) + static_cast<U>(value));
    case AtomicOp::min:
      return std::min(old, value);
    case AtomicOp::max:
      return std::max(old, value);
    case AtomicOp::land:
      return std::bit_cast<T>(static_cast<U>(std::bit_cast<U>(old) & std::bit_cast<U>(value)));
    case AtomicOp::lor:
      return std::bit_cast<T>(static_cast<U>(std::bit_cast<U>(old) | std::bit_cast<U>(value)));
    case AtomicOp::lxor:
      return std::bit_cast<T>(static_cast<U>(std::bit_cast<U>(old) ^ std::bit_cast<U>(value)));
    case AtomicOp::exch:
      return value;
    case AtomicOp::cas:
      return old == value ? other : old;
    case AtomicOp::inc:
      return old >= value ? T{0} : static_cast<T>(old + 1);
    case AtomicOp::dec:
      return old == 0 || old > value ? value : static_cast<T>(old - 1);
  }
  return old;
}

// T: the type compared and added; U: unsigned, of the same size. Lane after lane; blocks on the
// other thread may work on the same global memory, hence the compare-exchange.
template <typename T, typename U>
void RunAtomic(Warp& warp, const Op& op, Mask mask) {
  uint64_t addresses[kLanes];
  warp.Addresses(op, 1, mask, addresses);
  const T* value = warp.Row<T>(op.row[2]);
  const T* other = op.row[3] == kNoRow ? value : warp.Row<T>(op.row[3]);
  T* d = op.row[0] == kNoRow ? nullptr : warp.Row<T>(op.row[0]);
  const auto what = static_cast<AtomicOp>(op.param);
  ForLanes(mask, [&](int lane) {
    auto* place = reinterpret_cast<U*>(warp.Update(op, op.space, addresses[lane], sizeof(U), lane));
    U old = __atomic_load_n(place, __ATOMIC_SEQ_CST);
    U wanted;
    do {
      wanted = std::bit_cast<U>(
          Combined<T, U>(what, std::bit_cast<T>(old), value[lane], other[lane], U{}));
    } while (!__atomic_compare_exchange_n(place, &old, wanted, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    if (d != nullptr) d[lane] = std::bit_cast<T>(old);
  });
}

Handler HandlerFor(Type type) {
  switch (type) {
    case Type::b32:
    case Type::u32:
      return RunAtomic<uint32_t, uint32_t>;
    case Type::s32:
      return RunAtomic<int32_t, uint32_t>;
    case Type::b64:
    case Type::u64:
      return RunAtomic<uint64_t, uint64_t>;
    case Type::s64:
      return RunAtomic<int64_t, uint64_t>;
    case Type::f32:
      return RunAtomic<float, uint32_t>;
    case Type::f64:
      return RunAtomic<double, uint64_t>;
    default:
      return nullptr;
  }
}

void DecodeAtomic(Decoder& d) {
  const bool returns = d.name() == "atom";
  d.TakeOneOf({"relaxed", "acquire", "release", "acq_rel"});
  d.TakeOneOf({"cta", "cluster", "gpu", "sys"});
  const int space = d.TakeOneOf({"global", "shared", "shared::cta"});
  const int what =
      d.TakeOneOf({"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"});
  if (what < 0) d.Fail("unknown atomic");
  const Type type = d.TakeType();
  const bool cas = what == static_cast<int>(AtomicOp::cas);
  if (IsFloat(type) && what != static_cast<int>(AtomicOp::add)) d.Fail("only .add of floats");
  const size_t first = returns ? 1 : 0;
  d.ExpectCount(first + 2 + cas);
  if (returns) d.op.row[0] = d.Dest(0, type);
  d.Address(first, 1, space == 0 ? Space::global : space > 0 ? Space::shared : Space::generic);
  d.op.row[2] = d.Source(first + 1, type);
  if (cas) d.op.row[3] = d.Source(first + 2, type);
  d.op.param = static_cast<uint32_t>(what);
  d.NoteGranule(static_cast<uint32_t>(SizeOf(type)));
  SetHandler(d, HandlerFor(type));
}

void RunFence(Warp&, const Op&, Mask) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

void DecodeFence(Decoder& d) {
  if (d.name() == "membar") {
    if (d.TakeOneOf({"cta", "gl", "sys"}) < 0) d.Fail("expected a level");
  } else {
    d.TakeOneOf({"sc", "acq_rel", "acquire", "release"});
    if (d.TakeOneOf({"cta", "cluster", "gpu", "sys"}) < 0) d.Fail("expected a scope");
  }
  d.ExpectCount(0);
  d.op.run = RunFence;
}

}  // namespace

void AddAtomicOps(DecoderTable& table) {
  table.Add({"atom", "red"}, Group::any, DecodeAtomic);
  table.Add({"fence", "membar"}, Group::any, DecodeFence);
}

}  // namespace fathom::cuda_sim
