// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// wmma: matrix fragments whose layout is nobody's business but the hardware's.
//
// Here lane l holds the elements [l n, (l + 1) n) of the matrix, n = size / 32, counted in the
// order of the layout it was loaded with. So a fragment loaded .row and multiplied as .col gives
// nonsense, as it would on a device.
#include <algorithm>

#include "tests/cuda_sim/ops/fragments.h"
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

constexpr int kMaxElements = 32 * 16;

enum class Role : uint8_t { a, b, c };

struct Fragment {
  Role role = Role::a;
  MatrixShape shape;
  Type type = Type::f16;
  bool column = false;  // the layout

  int rows() const { return role == Role::b ? shape.k : shape.m; }
  int columns() const { return role == Role::a ? shape.k : shape.n; }
  int elements() const { return rows() * columns() / kLanes; }  // of a lane
  // f16 operands always take 8 registers, with every element there more than once.
  int registers() const {
    if (role == Role::c) return type == Type::f16 ? 4 : 8;
    return type == Type::f16 ? 8 : elements() / ElementsPerRegister(type);
  }
  // The number of element (row, column) in the order of the layout.
  int Index(int row, int col) const { return column ? col * rows() + row : row * columns() + col; }

  uint64_t Pack() const {
    return static_cast<uint64_t>(role) | static_cast<uint64_t>(shape.m) << 8 |
           static_cast<uint64_t>(shape.n) << 16 | static_cast<uint64_t>(shape.k) << 24 |
           static_cast<uint64_t>(type) << 32 | static_cast<uint64_t>(column) << 40;
  }
  static Fragment Unpack(uint64_t p) {
    Fragment f;
    f.role = static_cast<Role>(p & 0xff);
    f.shape = {static_cast<int>(p >> 8 & 0xff), static_cast<int>(p >> 16 & 0xff),
               static_cast<int>(p >> 24 & 0xff)};
    f.type = static_cast<Type>(p >> 32 & 0xff);
    f.column = (p >> 40 & 1) != 0;
    return f;
  }
};

void CheckWholeWarp(Mask mask) {
  if (mask != kAllLanes) {
    throw Fault{Error::launch_failed, "wmma by a warp that is not complete: lanes " + Hex(mask)};
  }
}

uint32_t Bits(Warp& warp, const Fragment& f, const uint32_t* rows, int lane, int slot) {
  const int per = ElementsPerRegister(f.type);
  const uint32_t whole = warp.Row<uint32_t>(rows[slot / per])[lane];
  return per == 1 ? whole : whole >> (32 / per * (slot % per));
}

uint64_t AddressOf(const Fragment& f, uint64_t base, int64_t stride, int index) {
  const int inner = f.column ? f.rows() : f.columns();
  const int64_t element = index / inner * stride + index % inner;
  return base + static_cast<uint64_t>(element * SizeOf(f.type));
}

int64_t StrideOf(Warp& warp, const Op& op, const Fragment& f, int lane) {
  if (op.row[2] == kNoRow) return f.column ? f.rows() : f.columns();
  return warp.Row<int32_t>(op.row[2])[lane];
}

void RunLoad(Warp& warp, const Op& op, Mask mask) {
  CheckWholeWarp(mask);
  const Fragment f = Fragment::Unpack(op.param | static_cast<uint64_t>(op.target) << 32);
  uint64_t bases[kLanes];
  warp.Addresses(op, 1, mask, bases);
  const int per = ElementsPerRegister(f.type);
  const auto bytes = static_cast<uint32_t>(SizeOf(f.type));
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t stride = StrideOf(warp, op, f, lane);
    for (int r = 0; r < f.registers(); ++r) {
      uint32_t value = 0;
      for (int e = 0; e < per; ++e) {
        const int index = lane * f.elements() + (r * per + e) % f.elements();
        uint32_t element = 0;
        std::memcpy(&element,
                    warp.Read(op, op.space, AddressOf(f, bases[lane], stride, index), bytes, lane),
                    bytes);
        value |= element << (32 / per * e % 32);
      }
      warp.Row<uint32_t>(op.list[static_cast<size_t>(r)])[lane] = value;
    }
  }
}

void RunStore(Warp& warp, const Op& op, Mask mask) {
  CheckWholeWarp(mask);
  const Fragment f = Fragment::Unpack(op.param | static_cast<uint64_t>(op.target) << 32);
  uint64_t bases[kLanes];
  warp.Addresses(op, 1, mask, bases);
  const auto bytes = static_cast<uint32_t>(SizeOf(f.type));
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t stride = StrideOf(warp, op, f, lane);
    for (int i = 0; i < f.elements(); ++i) {
      const uint32_t value = Bits(warp, f, op.list.data(), lane, i);
      const uint64_t address = AddressOf(f, bases[lane], stride, lane * f.elements() + i);
      std::memcpy(warp.Write(op, op.space, address, bytes, lane, &value), &value, bytes);
    }
  }
}

// What a multiplication works on; list holds the registers of d, a, b, c.
struct Operands {
  Fragment d, a, b, c;
};

void Gather(Warp& warp, const Fragment& f, const uint32_t* rows, double* out) {
  for (int row = 0; row < f.rows(); ++row) {
    for (int col = 0; col < f.columns(); ++col) {
      const int index = f.Index(row, col);
      const uint32_t bits = Bits(warp, f, rows, index / f.elements(), index % f.elements());
      out[row * f.columns() + col] = Element(bits, 0, f.type);
    }
  }
}

Operands Unpack(const Op& op) {
  Operands o;
  const auto p = static_cast<uint64_t>(op.offset);
  const MatrixShape shape = {static_cast<int>(p & 0xff), static_cast<int>(p >> 8 & 0xff),
                             static_cast<int>(p >> 16 & 0xff)};
  const auto type = [&](int at) { return static_cast<Type>(p >> at & 0xff); };
  o.a = {Role::a, shape, type(24), (p >> 56 & 1) != 0};
  o.b = {Role::b, shape, type(32), (p >> 57 & 1) != 0};
  o.c = {Role::c, shape, type(40), false};
  o.d = {Role::c, shape, type(48), false};
  return o;
}

void RunMultiply(Warp& warp, const Op& op, Mask mask) {
  CheckWholeWarp(mask);
  const Operands o = Unpack(op);
  static thread_local double a[kMaxElements], b[kMaxElements], c[kMaxElements];
  const uint32_t* rows = op.list.data() + o.d.registers();
  Gather(warp, o.a, rows, a);
  Gather(warp, o.b, rows + o.a.registers(), b);
  Gather(warp, o.c, rows + o.a.registers() + o.b.registers(), c);
  const MatrixShape& s = o.d.shape;
  for (int row = 0; row < s.m; ++row) {
    for (int col = 0; col < s.n; ++col) {
      double sum = c[row * s.n + col];
      for (int k = 0; k < s.k; ++k) sum += a[row * s.k + k] * b[k * s.n + col];
      c[row * s.n + col] = sum;
    }
  }
  const int per = o.d.type == Type::f16 ? 2 : 1;
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int r = 0; r < o.d.registers(); ++r) {
      uint32_t value = 0;
      for (int e = 0; e < per; ++e) {
        value |= Accumulator(c[lane * o.d.elements() + r * per + e], o.d.type) << (16 * e);
      }
      warp.Row<uint32_t>(op.list[static_cast<size_t>(r)])[lane] = value;
    }
  }
}

bool IsKnown(const MatrixShape& s, Type type) {
  const bool wide = (s.m == 16 && s.n == 16) || (s.m == 32 && s.n == 8) || (s.m == 8 && s.n == 32);
  if (type == Type::tf32) return s.m == 16 && s.n == 16 && s.k == 8;
  return wide && s.k == 16;
}

MatrixShape TakeShape(Decoder& d) {
  MatrixShape shape;
  if (!ParseShape(d.TakePrefixed("m"), &shape)) d.Fail("expected a shape");
  return shape;
}

void DecodeMove(Decoder& d, bool load) {
  const int role = d.TakeOneOf({"a", "b", "c", "d"});
  if (role < 0 || !d.Take("sync") || !d.Take("aligned")) d.Fail("expected .{a,b,c,d}.sync.aligned");
  Fragment f;
  f.role = static_cast<Role>(std::min(role, 2));
  const int layout = d.TakeOneOf({"row", "col"});
  if (layout < 0) d.Fail("expected .row or .col");
  f.column = layout == 1;
  f.shape = TakeShape(d);
  const int space = d.TakeOneOf({"global", "shared", "shared::cta"});
  f.type = d.TakeType();
  const bool accumulator = f.type == Type::f32 || f.type == Type::s32;
  const bool known = f.role == Role::c
                         ? accumulator || f.type == Type::f16
                         : !accumulator && (IsMatrixFloat(f.type) || SizeOf(f.type) == 1);
  if (!known || (f.shape.k != 8 && !IsKnown(f.shape, f.type))) d.Fail("unknown shape or type");
  if (f.shape.k == 8 && !IsKnown(f.shape, Type::tf32)) d.Fail("unknown shape");
  if (f.type == Type::bf16 || f.type == Type::tf32) d.RequireTarget(80);
  d.ExpectCount(2, 3);
  const auto count = static_cast<size_t>(f.registers());
  d.op.list = load ? d.DestList(0, count, Type::b32) : d.SourceList(1, count, Type::b32);
  d.Address(load ? 1 : 0, 1,
            space == 0  ? Space::global
            : space > 0 ? Space::shared
                        : Space::generic);
  if (d.count() == 3) d.op.row[2] = d.Source(2, Type::b32);
  d.NoteGranule(static_cast<uint32_t>(SizeOf(f.type)));
  d.op.param = static_cast<uint32_t>(f.Pack());
  d.op.target = static_cast<uint32_t>(f.Pack() >> 32);
  d.op.kind = OpKind::together;
  d.op.run = load ? RunLoad : RunStore;
}

void DecodeMultiply(Decoder& d) {
  if (!d.Take("sync") || !d.Take("aligned")) d.Fail("expected wmma.mma.sync.aligned");
  bool columns[2] = {false, false};  // the layouts of a and b
  for (bool& column : columns) {
    const int layout = d.TakeNextOf({"row", "col"});
    if (layout < 0) d.Fail("expected two layouts");
    column = layout == 1;
  }
  const MatrixShape shape = TakeShape(d);
  if (d.Take("satfinite")) d.Fail(".satfinite is not supported");
  std::vector<Type> types;
  while (d.PeekType() != Type::none) types.push_back(d.TakeType());
  if (types.size() == 2) types = {types[0], Type::f16, Type::f16, types[1]};
  if (types.size() != 4) d.Fail("expected two or four types");
  if (!IsKnown(shape, types[1]) || types[1] != types[2]) d.Fail("unknown shape or types");
  const Fragment fd = {Role::c, shape, types[0], false},
                 fa = {Role::a, shape, types[1], columns[0]},
                 fb = {Role::b, shape, types[2], columns[1]},
                 fc = {Role::c, shape, types[3], false};
  d.ExpectCount(4);
  d.op.list = d.DestList(0, static_cast<size_t>(fd.registers()), Type::b32);
  const Fragment* sources[] = {&fa, &fb, &fc};
  for (size_t i = 0; i < 3; ++i) {
    const auto rows = d.SourceList(i + 1, static_cast<size_t>(sources[i]->registers()), Type::b32);
    d.op.list.insert(d.op.list.end(), rows.begin(), rows.end());
  }
  d.op.offset = static_cast<int64_t>(
      static_cast<uint64_t>(shape.m) | static_cast<uint64_t>(shape.n) << 8 |
      static_cast<uint64_t>(shape.k) << 16 | static_cast<uint64_t>(fa.type) << 24 |
      static_cast<uint64_t>(fb.type) << 32 | static_cast<uint64_t>(fc.type) << 40 |
      static_cast<uint64_t>(fd.type) << 48 | static_cast<uint64_t>(columns[0]) << 56 |
      static_cast<uint64_t>(columns[1]) << 57);
  d.op.kind = OpKind::together;
  d.op.run = RunMultiply;
}

void DecodeWmma(Decoder& d) {
  d.RequireTarget(70);
  if (d.Take("load")) return DecodeMove(d, true);
  if (d.Take("store")) return DecodeMove(d, false);
  if (d.Take("mma")) return DecodeMultiply(d);
  d.Fail("expected wmma.load, .store or .mma");
}

}  // namespace

void AddWmmaOps(DecoderTable& table) { table.Add({"wmma"}, Group::any, DecodeWmma); }

}  // namespace fathom::cuda_sim
