// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mma.sync, ldmatrix and stmatrix.
//
// Fragments as in the PTX manual, for every shape alike: with gid = lane / 4, tig = lane % 4 and E
// elements in a register, register r of A holds row gid + 8 (r mod m/8), columns
// 4 E (r div m/8) + E tig + e; register r of B holds column gid, rows 4 E r + E tig + e; value i of
// C and D is row gid + 8 (i div 2), column 2 tig + i mod 2.
//
// Products are exact and their sum is rounded once: hardware promises no more than float.
#include <algorithm>
#include <cstdio>

#include "tests/cuda_sim/ops/fragments.h"
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {

bool ParseShape(const std::string& name, MatrixShape* shape) {
  char rest = 0;
  return std::sscanf(name.c_str(), "m%dn%dk%d%c", &shape->m, &shape->n, &shape->k, &rest) == 3;
}

namespace {

constexpr int kMaxM = 16, kMaxN = 8, kMaxK = 32;

void CheckWholeWarp(Mask mask, const char* what) {
  if (mask != kAllLanes) {
    throw Fault{Error::launch_failed,
                std::string(what) + " by a warp that is not complete: lanes " + Hex(mask)};
  }
}

// list: d, a, b, c registers in this order. param: shape and types packed.
struct Multiply {
  MatrixShape shape;
  Type a = Type::none, b = Type::none, c = Type::none, d = Type::none;
  bool saturate = false;

  uint64_t Pack() const {
    return static_cast<uint64_t>(shape.m) | static_cast<uint64_t>(shape.k) << 8 |
           static_cast<uint64_t>(a) << 16 | static_cast<uint64_t>(b) << 24 |
           static_cast<uint64_t>(c) << 32 | static_cast<uint64_t>(d) << 40 |
           static_cast<uint64_t>(saturate) << 48;
  }
  static Multiply Unpack(uint64_t p) {
    Multiply m;
    m.shape = {static_cast<int>(p & 0xff), 8, static_cast<int>(p >> 8 & 0xff)};
    m.a = static_cast<Type>(p >> 16 & 0xff);
    m.b = static_cast<Type>(p >> 24 & 0xff);
    m.c = static_cast<Type>(p >> 32 & 0xff);
    m.d = static_cast<Type>(p >> 40 & 0xff);
    m.saturate = (p >> 48 & 1) != 0;
    return m;
  }
  int a_registers() const { return shape.m / 8 * (shape.k / (4 * ElementsPerRegister(a))); }
  int b_registers() const { return shape.k / (4 * ElementsPerRegister(b)); }
  static int Registers(int values, Type type) { return type == Type::f16 ? values / 2 : values; }
  int values() const { return shape.m * 8 / kLanes; }
};

void RunMultiply(Warp& warp, const Op& op, Mask mask) {
  CheckWholeWarp(mask, "mma");
  const Multiply mul = Multiply::Unpack(static_cast<uint64_t>(op.offset));
  static thread_local double a[kMaxM][kMaxK], b[kMaxK][kMaxN], c[kMaxM][kMaxN];
  const uint32_t* rows = op.list.data() + Multiply::Registers(mul.values(), mul.d);
  const int per_a = ElementsPerRegister(mul.a), per_b = ElementsPerRegister(mul.b);
  const int groups = mul.shape.m / 8;
  for (int r = 0; r < mul.a_registers(); ++r) {
    const uint32_t* bits = warp.Row<uint32_t>(*rows++);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int e = 0; e < per_a; ++e) {
        a[lane / 4 + 8 * (r % groups)][4 * per_a * (r / groups) + per_a * (lane % 4) + e] =
            Element(bits[lane], e, mul.a);
      }
    }
  }
  for (int r = 0; r < mul.b_registers(); ++r) {
    const uint32_t* bits = warp.Row<uint32_t>(*rows++);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int e = 0; e < per_b; ++e) {
        b[4 * per_b * r + per_b * (lane % 4) + e][lane / 4] = Element(bits[lane], e, mul.b);
      }
    }
  }
  const int per_c = mul.c == Type::f16 ? 2 : 1, per_d = mul.d == Type::f16 ? 2 : 1;
  for (int i = 0; i < mul.values(); ++i) {
    const uint32_t* bits = warp.Row<uint32_t>(rows[i / per_c]);
    for (int lane = 0; lane < kLanes; ++lane) {
      c[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2] = Element(bits[lane], i % per_c, mul.c);
    }
  }
  for (int row = 0; row < mul.shape.m; ++row) {
    for (int column = 0; column < 8; ++column) {
      double sum = c[row][column];
      for (int k = 0; k < mul.shape.k; ++k) sum += a[row][k] * b[k][column];
      if (mul.saturate) sum = std::clamp(sum, -0x1p31, 0x1p31 - 1);
      c[row][column] = sum;
    }
  }
  for (int i = 0; i < mul.values(); i += per_d) {
    if (op.list[static_cast<size_t>(i / per_d)] == kNoRow) continue;
    uint32_t* bits = warp.Row<uint32_t>(op.list[static_cast<size_t>(i / per_d)]);
    for (int lane = 0; lane < kLanes; ++lane) {
      uint32_t value = 0;
      for (int e = 0; e < per_d; ++e) {
        const int at = i + e;
        value |= Accumulator(c[lane / 4 + 8 * (at / 2)][2 * (lane % 4) + at % 2], mul.d)
                 << (16 * e);
      }
      bits[lane] = value;
    }
  }
}

void CheckTypes(Decoder& d, const Multiply& mul) {
  const MatrixShape& s = mul.shape;
  const bool integer = mul.a == Type::s8 || mul.a == Type::u8;
  bool known = s.n == 8;
  if (integer) {
    known &= (mul.b == Type::s8 || mul.b == Type::u8) && mul.c == Type::s32 && mul.d == Type::s32;
    known &= (s.m == 8 && s.k == 16) || (s.m == 16 && (s.k == 16 || s.k == 32));
    d.RequireTarget(s.m == 8 ? 75 : 80);
  } else if (mul.a == Type::f16) {
    known &= mul.b == mul.a && s.m == 16 && (s.k == 8 || s.k == 16);
    known &= (mul.c == Type::f32 || mul.c == Type::f16) && mul.d == mul.c;
    d.RequireTarget(s.k == 8 ? 75 : 80);
  } else {
    const int least = mul.a == Type::bf16 ? 8 : 4;
    known &= (mul.a == Type::bf16 || mul.a == Type::tf32) && mul.b == mul.a && s.m == 16;
    known &= (s.k == least || s.k == 2 * least) && mul.c == Type::f32 && mul.d == Type::f32;
    d.RequireTarget(80);
  }
  if (!known) d.Fail("unknown shape or types of mma");
}

void Append(std::vector<uint32_t>& list, const std::vector<uint32_t>& rows) {
  list.insert(list.end(), rows.begin(), rows.end());
}

void DecodeMultiply(Decoder& d) {
  if (!d.Take("sync") || !d.Take("aligned")) d.Fail("expected mma.sync.aligned");
  Multiply mul;
  if (!ParseShape(d.TakePrefixed("m"), &mul.shape)) d.Fail("expected a shape");
  if (!d.Take("row") || !d.Take("col")) d.Fail("expected .row.col");
  mul.saturate = d.Take("satfinite");
  mul.d = d.TakeType();
  mul.a = d.TakeType();
  mul.b = d.TakeType();
  mul.c = d.TakeType();
  CheckTypes(d, mul);
  d.ExpectCount(4);
  const auto count = [](int n) { return static_cast<size_t>(n); };
  const int values = mul.values();
  d.op.list = d.DestList(0, count(Multiply::Registers(values, mul.d)), Type::b32);
  Append(d.op.list, d.SourceList(1, count(mul.a_registers()), Type::b32));
  Append(d.op.list, d.SourceList(2, count(mul.b_registers()), Type::b32));
  Append(d.op.list, d.SourceList(3, count(Multiply::Registers(values, mul.c)), Type::b32));
  d.op.offset = static_cast<int64_t>(mul.Pack());
  d.op.kind = OpKind::together;
  d.op.run = RunMultiply;
}

// Matrix q has its row r at the address of lane 8 q + r; lane l gets elements 2 (l % 4) and the
// next of row l / 4. flag: transposed.
void RunLoadMatrix(Warp& warp, const Op& op, Mask mask) {
  CheckWholeWarp(mask, "ldmatrix");
  uint64_t addresses[kLanes];
  warp.Addresses(op, 1, mask, addresses);
  uint16_t matrices[4][8][8];
  for (size_t q = 0; q < op.list.size(); ++q) {
    for (int r = 0; r < 8; ++r) {
      const int lane = static_cast<int>(q) * 8 + r;
      std::memcpy(matrices[q][r], warp.Read(op, op.space, addresses[lane], 16, lane), 16);
    }
  }
  for (size_t q = 0; q < op.list.size(); ++q) {
    if (op.list[q] == kNoRow) continue;
    uint32_t* d = warp.Row<uint32_t>(op.list[q]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      const uint32_t low = op.flag ? matrices[q][column][row] : matrices[q][row][column];
      const uint32_t high = op.flag ? matrices[q][column + 1][row] : matrices[q][row][column + 1];
      d[lane] = low | high << 16;
    }
  }
}

void RunStoreMatrix(Warp& warp, const Op& op, Mask mask) {
  CheckWholeWarp(mask, "stmatrix");
  uint64_t addresses[kLanes];
  warp.Addresses(op, 1, mask, addresses);
  for (size_t q = 0; q < op.list.size(); ++q) {
    const uint32_t* values = warp.Row<uint32_t>(op.list[q]);
    uint16_t matrix[8][8];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      for (int e = 0; e < 2; ++e) {
        const auto value = static_cast<uint16_t>(values[lane] >> (16 * e));
        (op.flag ? matrix[column + e][row] : matrix[row][column + e]) = value;
      }
    }
    for (int r = 0; r < 8; ++r) {
      const int lane = static_cast<int>(q) * 8 + r;
      std::memcpy(warp.Write(op, op.space, addresses[lane], 16, lane, matrix[r]), matrix[r], 16);
    }
  }
}

void DecodeMatrixMove(Decoder& d) {
  const bool load = d.name() == "ldmatrix";
  d.RequireTarget(load ? 75 : 90);
  if (!d.Take("sync") || !d.Take("aligned") || !d.Take("m8n8")) {
    d.Fail("expected .sync.aligned.m8n8");
  }
  const int size = d.TakeOneOf({"x1", "x2", "x4"});
  d.op.flag = d.Take("trans");
  if (d.TakeOneOf({"shared", "shared::cta"}) < 0) d.Fail("expected shared memory");
  if (size < 0 || d.TakeType() != Type::b16) d.Fail("expected .x1, .x2 or .x4 and .b16");
  d.ExpectCount(2);
  const size_t count = size_t{1} << size;
  d.op.list = load ? d.DestList(0, count, Type::b32) : d.SourceList(1, count, Type::b32);
  d.Address(load ? 1 : 0, 1, Space::shared);
  d.NoteGranule(16);
  d.op.kind = OpKind::together;
  d.op.run = load ? RunLoadMatrix : RunStoreMatrix;
}

}  // namespace

void AddMatrixOps(DecoderTable& table) {
  table.Add({"mma"}, Group::any, DecodeMultiply);
  table.Add({"ldmatrix", "stmatrix"}, Group::any, DecodeMatrixMove);
}

}  // namespace fathom::cuda_sim
