// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Handlers that compute each lane from the same lane of their sources.
#ifndef FATHOM_TESTS_CUDA_SIM_OPS_LANES_H_
#define FATHOM_TESTS_CUDA_SIM_OPS_LANES_H_

#include <array>

#include "tests/cuda_sim/decoder.h"
#include "tests/cuda_sim/warp.h"

namespace fathom::cuda_sim {

// row[0] = f(row[1]), of type D from type S.
template <typename D, typename S, auto f>
void MapUnary(Warp& warp, const Op& op, Mask mask) {
  D* d = warp.Row<D>(op.row[0]);
  const S* a = warp.Row<S>(op.row[1]);
  ForLanes(mask, [&](int lane) { d[lane] = static_cast<D>(f(a[lane])); });
}

template <typename D, typename S, auto f>
void MapBinary(Warp& warp, const Op& op, Mask mask) {
  D* d = warp.Row<D>(op.row[0]);
  const S* a = warp.Row<S>(op.row[1]);
  const S* b = warp.Row<S>(op.row[2]);
  ForLanes(mask, [&](int lane) { d[lane] = static_cast<D>(f(a[lane], b[lane])); });
}

// The third source has the destination's type (multiply-add wide).
template <typename D, typename S, auto f>
void MapTernary(Warp& warp, const Op& op, Mask mask) {
  D* d = warp.Row<D>(op.row[0]);
  const S* a = warp.Row<S>(op.row[1]);
  const S* b = warp.Row<S>(op.row[2]);
  const D* c = warp.Row<D>(op.row[3]);
  ForLanes(mask, [&](int lane) { d[lane] = static_cast<D>(f(a[lane], b[lane], c[lane])); });
}

// The handler for an integer type: unsigned arithmetic for b and u, signed for s.
template <auto f>
Handler UnaryFor(Type type) {
  switch (type) {
    case Type::s16:
      return MapUnary<int16_t, int16_t, f>;
    case Type::s32:
      return MapUnary<int32_t, int32_t, f>;
    case Type::s64:
      return MapUnary<int64_t, int64_t, f>;
    default:
      return SizeOf(type) == 2   ? MapUnary<uint16_t, uint16_t, f>
             : SizeOf(type) == 4 ? MapUnary<uint32_t, uint32_t, f>
             : SizeOf(type) == 8 ? MapUnary<uint64_t, uint64_t, f>
                                 : nullptr;
  }
}

template <auto f>
Handler BinaryFor(Type type) {
  switch (type) {
    case Type::s16:
      return MapBinary<int16_t, int16_t, f>;
    case Type::s32:
      return MapBinary<int32_t, int32_t, f>;
    case Type::s64:
      return MapBinary<int64_t, int64_t, f>;
    default:
      return SizeOf(type) == 2   ? MapBinary<uint16_t, uint16_t, f>
             : SizeOf(type) == 4 ? MapBinary<uint32_t, uint32_t, f>
             : SizeOf(type) == 8 ? MapBinary<uint64_t, uint64_t, f>
                                 : nullptr;
  }
}

template <auto f>
Handler TernaryFor(Type type) {
  switch (type) {
    case Type::s16:
      return MapTernary<int16_t, int16_t, f>;
    case Type::s32:
      return MapTernary<int32_t, int32_t, f>;
    case Type::s64:
      return MapTernary<int64_t, int64_t, f>;
    default:
      return SizeOf(type) == 2   ? MapTernary<uint16_t, uint16_t, f>
             : SizeOf(type) == 4 ? MapTernary<uint32_t, uint32_t, f>
             : SizeOf(type) == 8 ? MapTernary<uint64_t, uint64_t, f>
                                 : nullptr;
  }
}

// Decodes "d, a, b ..." with all operands of one type.
inline void DecodeSameType(Decoder& decoder, Type type, size_t sources) {
  decoder.ExpectCount(1 + sources);
  decoder.op.row[0] = decoder.Dest(0, type);
  for (size_t i = 1; i <= sources; ++i) decoder.op.row[i] = decoder.Source(i, type);
  if (decoder.op.row[0] == kNoRow) decoder.Fail("the destination is missing");
}

// Sets the handler; a null one means that the type is wrong.
inline void SetHandler(Decoder& decoder, Handler handler) {
  if (handler == nullptr) decoder.Fail("unknown type for " + decoder.name());
  decoder.op.run = handler;
}

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_OPS_LANES_H_
