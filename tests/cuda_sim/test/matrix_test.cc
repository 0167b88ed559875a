// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// mma, ldmatrix, stmatrix and wmma. Fragments are placed by layouts written as strides, in the
// manner of CuTe, which say the same as the formulas of the interpreter in another way.
#include <functional>

#include "tests/cuda_sim/small_float.h"
#include "tests/cuda_sim/test/sim_test.h"

namespace fathom::cuda_sim {
namespace {

using ::testing::HasSubstr;

// A mixed-radix index: digit d of `index` (of size shape[d]) times stride[d].
struct Layout {
  std::vector<int> shape, stride;
  int operator()(int index) const {
    int offset = 0;
    for (size_t d = 0; d < shape.size(); ++d) {
      offset += index % shape[d] * stride[d];
      index /= shape[d];
    }
    return offset;
  }
};

// Element v of lane t lies at row offset % rows, column offset / rows.
struct FragmentLayout {
  Layout lane, element;
  int operator()(int t, int v) const { return lane(t) + element(v); }
};

struct MmaCase {
  const char* shape;
  const char* type;         // of a and b
  const char* accumulator;  // of c and d
  int m, k, bits;           // of an element of a
  FragmentLayout a, b, c;   // (m, k), (n, k), (m, n), each column-major
  int sm;
};

const FragmentLayout kC16 = {{{4, 8}, {32, 1}}, {{2, 2}, {16, 8}}};
const FragmentLayout kC8 = {{{4, 8}, {16, 1}}, {{2}, {8}}};

std::vector<MmaCase> Cases() {
  return {
      {"m16n8k16",
       "f16",
       "f32",
       16,
       16,
       16,
       {{{4, 8}, {32, 1}}, {{2, 2, 2}, {16, 8, 128}}},
       {{{4, 8}, {16, 1}}, {{2, 2}, {8, 64}}},
       kC16,
       80},
      {"m16n8k16",
       "f16",
       "f16",
       16,
       16,
       16,
       {{{4, 8}, {32, 1}}, {{2, 2, 2}, {16, 8, 128}}},
       {{{4, 8}, {16, 1}}, {{2, 2}, {8, 64}}},
       kC16,
       80},
      {"m16n8k16",
       "bf16",
       "f32",
       16,
       16,
       16,
       {{{4, 8}, {32, 1}}, {{2, 2, 2}, {16, 8, 128}}},
       {{{4, 8}, {16, 1}}, {{2, 2}, {8, 64}}},
       kC16,
       80},
      {"m16n8k8",
       "f16",
       "f32",
       16,
       8,
       16,
       {{{4, 8}, {32, 1}}, {{2, 2}, {16, 8}}},
       {{{4, 8}, {16, 1}}, {{2}, {8}}},
       kC16,
       75},
      {"m16n8k8",
       "tf32",
       "f32",
       16,
       8,
       32,
       {{{4, 8}, {16, 1}}, {{2, 2}, {8, 64}}},
       {{{4, 8}, {8, 1}}, {{2}, {32}}},
       kC16,
       80},
      {"m16n8k32",
       "s8",
       "s32",
       16,
       32,
       8,
       {{{4, 8}, {64, 1}}, {{4, 2, 2}, {16, 8, 256}}},
       {{{4, 8}, {32, 1}}, {{4, 2}, {8, 128}}},
       kC16,
       80},
      {"m16n8k16",
       "u8",
       "s32",
       16,
       16,
       8,
       {{{4, 8}, {64, 1}}, {{4, 2}, {16, 8}}},
       {{{4, 8}, {32, 1}}, {{4}, {8}}},
       kC16,
       80},
      {"m8n8k16",
       "s8",
       "s32",
       8,
       16,
       8,
       {{{4, 8}, {32, 1}}, {{4}, {8}}},
       {{{4, 8}, {32, 1}}, {{4}, {8}}},
       kC8,
       75},
  };
}

class Mma : public ::testing::TestWithParam<MmaCase> {};
INSTANTIATE_TEST_SUITE_P(Shapes, Mma, ::testing::ValuesIn(Cases()), [](const auto& info) {
  return std::string(info.param.shape) + info.param.type + info.param.accumulator;
});

std::string List(const std::string& name, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) text += (i == 0 ? "" : ", ") + name + std::to_string(i);
  return text + "}";
}

// Each lane's registers lie behind each other in memory.
std::string MmaModule(const MmaCase& c, int a, int b, int acc) {
  std::string body = ".reg .b32 %a<4>, %b<4>, %c<4>, %t; .reg .b64 %p, %at;\nmov.u32 %t, %tid.x;\n";
  const auto at = [](const char* parameter, int count) {
    return std::string("ld.param.u64 %p, [") + parameter + "];\nmul.wide.u32 %at, %t, " +
           std::to_string(4 * count) + ";\nadd.u64 %p, %p, %at;\n";
  };
  const auto load = [&](const char* parameter, const char* name, int count) {
    body += at(parameter, count);
    for (int i = 0; i < count; ++i) {
      body += std::string("ld.global.b32 ") + name + std::to_string(i) + ", [%p+" +
              std::to_string(4 * i) + "];\n";
    }
  };
  load("p0", "%a", a);
  load("p1", "%b", b);
  load("p2", "%c", acc);
  const std::string types =
      std::string(".") + c.accumulator + "." + c.type + "." + c.type + "." + c.accumulator;
  body += std::string("mma.sync.aligned.") + c.shape + ".row.col" + types + " " + List("%c", acc) +
          ", " + List("%a", a) + ", " + List("%b", b) + ", " + List("%c", acc) + ";\n" +
          at("p3", acc);
  for (int i = 0; i < acc; ++i) {
    body += "st.global.b32 [%p+" + std::to_string(4 * i) + "], %c" + std::to_string(i) + ";\n";
  }
  return Ptx(4, body + "ret;", c.sm);
}

uint32_t Encode(double v, const std::string& type) {
  if (type == "f16") return FloatToHalf(static_cast<float>(v));
  if (type == "bf16") return FloatToBf16(static_cast<float>(v));
  if (type == "tf32" || type == "f32") return std::bit_cast<uint32_t>(static_cast<float>(v));
  return static_cast<uint32_t>(static_cast<int32_t>(v)) & (type == "s32" ? ~0u : 0xffu);
}

TEST_P(Mma, MatchesThePlainProduct) {
  const MmaCase& c = GetParam();
  const bool integer = std::string(c.accumulator) == "s32";
  std::mt19937 random(3);
  // Eighths: exact in every format, and so are their sums.
  const auto draw = [&] {
    if (integer)
      return std::string(c.type) == "u8" ? double(random() % 256) : double(random() % 256) - 128;
    return (double(random() % 129) - 64) / 8;
  };
  std::vector<double> a(c.m * c.k), b(8 * c.k), acc(c.m * 8);
  for (auto* values : {&a, &b, &acc}) {
    for (double& v : *values) v = draw();
  }
  const auto pack = [&](const FragmentLayout& layout, const std::vector<double>& values, int bits,
                        const char* type) {
    const int per_lane = static_cast<int>(values.size()) / 32, per = 32 / bits;
    std::vector<uint32_t> registers(values.size() / per);
    for (int t = 0; t < 32; ++t) {
      for (int v = 0; v < per_lane; ++v) {
        registers[(t * per_lane + v) / per] |= Encode(values[layout(t, v)], type)
                                               << (bits * (v % per));
      }
    }
    return registers;
  };
  const int acc_bits = std::string(c.accumulator) == "f16" ? 16 : 32;
  const auto packed_a = pack(c.a, a, c.bits, c.type), packed_b = pack(c.b, b, c.bits, c.type);
  const auto packed_c = pack(c.c, acc, acc_bits, c.accumulator);
  Sim sim(c.sm);
  ASSERT_EQ(sim.Load(MmaModule(c, static_cast<int>(packed_a.size()) / 32,
                               static_cast<int>(packed_b.size()) / 32,
                               static_cast<int>(packed_c.size()) / 32)),
            "");
  const uint64_t d = sim.Allocate(4 * packed_c.size());
  ASSERT_EQ(sim.Launch("k", {1, 1, 1}, {32, 1, 1},
                       {sim.Upload(packed_a), sim.Upload(packed_b), sim.Upload(packed_c), d}),
            "");
  std::vector<double> wanted = acc;
  for (int m = 0; m < c.m; ++m) {
    for (int n = 0; n < 8; ++n) {
      for (int k = 0; k < c.k; ++k) wanted[m + c.m * n] += a[m + c.m * k] * b[n + 8 * k];
    }
  }
  EXPECT_EQ(sim.Download<uint32_t>(d, packed_c.size()), pack(c.c, wanted, acc_bits, c.accumulator));
}

TEST(Matrices, LoadedFromAndStoredToRows) {
  for (const bool transposed : {false, true}) {
    const std::string trans = transposed ? ".trans" : "";
    Sim sim(90);
    ASSERT_EQ(sim.Load(Ptx(2,
                           R"(
      .reg .b32 %t, %s, %x, %r<4>; .reg .b64 %in, %out, %at;
      .shared .align 16 .b8 tile[512]; .shared .align 16 .b8 copy[512];
      ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1];
      mov.u32 %t, %tid.x;
      mul.wide.u32 %at, %t, 16; add.u64 %in, %in, %at; add.u64 %out, %out, %at;
      ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%in];
      shl.b32 %x, %t, 4; mov.u32 %s, tile; add.u32 %s, %s, %x;
      st.shared.v4.u32 [%s], {%r0, %r1, %r2, %r3};
      bar.sync 0;
      ldmatrix.sync.aligned.m8n8.x4)" +
                               trans + R"(.shared.b16 {%r0, %r1, %r2, %r3}, [%s];
      st.global.v4.u32 [%out], {%r0, %r1, %r2, %r3};
      mov.u32 %s, copy; add.u32 %s, %s, %x;
      stmatrix.sync.aligned.m8n8.x4)" +
                               trans + R"(.shared.b16 [%s], {%r0, %r1, %r2, %r3};
      bar.sync 0;
      ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [%s];
      st.global.v4.u32 [%out+512], {%r0, %r1, %r2, %r3};
      ret;)",
                           90)),
              "");
    std::vector<uint16_t> in(256);
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint16_t>(i);
    const uint64_t out = sim.Allocate(1024);
    ASSERT_EQ(sim.Launch("k", {1, 1, 1}, {32, 1, 1}, {sim.Upload(in), out}), "");
    const auto r = sim.Download<uint16_t>(out, 512);
    for (size_t t = 0; t < 32; ++t) {
      for (size_t q = 0; q < 4; ++q) {
        for (size_t e = 0; e < 2; ++e) {
          const size_t row = t / 4, column = t % 4 * 2 + e;
          EXPECT_EQ(r[8 * t + 2 * q + e],
                    64 * q + (transposed ? 8 * column + row : 8 * row + column));
        }
      }
    }
    for (size_t i = 0; i < 256; ++i) EXPECT_EQ(r[256 + i], in[i]);
  }
}

TEST(Matrices, NeedAWholeWarp) {
  Sim sim;
  ASSERT_EQ(sim.Load(Ptx(0,
                         ".reg .b32 %r<4>;\n.shared .align 16 .b8 s[128];\nmov.u32 %r0, s;\n"
                         "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r0];\nret;")),
            "");
  EXPECT_THAT(sim.Launch("k", {1, 1, 1}, {16, 1, 1}, {}),
              HasSubstr("ldmatrix by a warp that is not complete"));
}

std::string WmmaModule(const std::string& shape, const std::string& b_layout, int n) {
  return Ptx(4, R"(
    .reg .b32 %a<8>, %b<8>, %c<8>; .reg .b64 %p<4>;
    ld.param.u64 %p0, [p0]; ld.param.u64 %p1, [p1]; ld.param.u64 %p2, [p2]; ld.param.u64 %p3, [p3];
    wmma.load.a.sync.aligned.row.)" +
                    shape + R"(.global.f16 {%a0,%a1,%a2,%a3,%a4,%a5,%a6,%a7}, [%p0], 24;
    wmma.load.b.sync.aligned.)" +
                    b_layout + "." + shape +
                    R"(.global.f16 {%b0,%b1,%b2,%b3,%b4,%b5,%b6,%b7}, [%p1];
    wmma.load.c.sync.aligned.row.)" +
                    shape + R"(.global.f32 {%c0,%c1,%c2,%c3,%c4,%c5,%c6,%c7}, [%p2];
    wmma.mma.sync.aligned.row.)" +
                    b_layout + "." + shape + R"(.f32.f32 {%c0,%c1,%c2,%c3,%c4,%c5,%c6,%c7},
      {%a0,%a1,%a2,%a3,%a4,%a5,%a6,%a7}, {%b0,%b1,%b2,%b3,%b4,%b5,%b6,%b7}, {%c0,%c1,%c2,%c3,%c4,%c5,%c6,%c7};
    wmma.store.d.sync.aligned.row.)" +
                    shape + ".global.f32 [%p3], {%c0,%c1,%c2,%c3,%c4,%c5,%c6,%c7}, " +
                    std::to_string(n) + ";\nret;");
}

TEST(Wmma, MatchesThePlainProduct) {
  for (const auto& [m, n] : {std::pair{16, 16}, std::pair{32, 8}, std::pair{8, 32}}) {
    for (const bool column : {false, true}) {
      const std::string shape = "m" + std::to_string(m) + "n" + std::to_string(n) + "k16";
      Sim sim;
      ASSERT_EQ(sim.Load(WmmaModule(shape, column ? "col" : "row", n)), "");
      std::mt19937 random(5);
      std::vector<uint16_t> a(m * 24), b(16 * n);
      std::vector<float> c(m * n);
      for (auto& v : a) v = FloatToHalf(static_cast<float>(random() % 65) / 8 - 4);
      for (auto& v : b) v = FloatToHalf(static_cast<float>(random() % 65) / 8 - 4);
      for (auto& v : c) v = static_cast<float>(random() % 100);
      const uint64_t d = sim.Allocate(4 * c.size());
      ASSERT_EQ(
          sim.Launch("k", {1, 1, 1}, {32, 1, 1}, {sim.Upload(a), sim.Upload(b), sim.Upload(c), d}),
          "");
      const auto found = sim.Download<float>(d, c.size());
      for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
          float sum = c[i * n + j];
          for (int k = 0; k < 16; ++k) {
            sum += HalfToFloat(a[i * 24 + k]) * HalfToFloat(b[column ? j * 16 + k : k * n + j]);
          }
          ASSERT_EQ(found[i * n + j], sum) << shape << ": " << i << ", " << j;
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom::cuda_sim
