// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs one instruction on many values and compares each result with a function in C++.
#ifndef FATHOM_TESTS_CUDA_SIM_TEST_OP_CHECK_H_
#define FATHOM_TESTS_CUDA_SIM_TEST_OP_CHECK_H_

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/cuda_sim/test/sim_test.h"

namespace fathom::cuda_sim {

inline constexpr uint32_t kThreads = 256, kBlocks = 16, kValues = kThreads * kBlocks;

// Bit patterns worth trying: corners of every type, then random ones of every size.
template <typename T>
std::vector<T> TestValues(uint32_t seed) {
  using Bits = std::conditional_t<sizeof(T) == 2, uint16_t,
                                  std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
  std::vector<Bits> corners = {0, 1, 2, 7, 31, 32, 33, 63, 64, 255, static_cast<Bits>(~0ull)};
  const Bits top = static_cast<Bits>(Bits{1} << (8 * sizeof(T) - 1));
  for (Bits v : {top, static_cast<Bits>(top - 1), static_cast<Bits>(top + 1)}) corners.push_back(v);
  std::vector<T> values;
  std::mt19937_64 random(seed);
  for (uint32_t i = 0; i < kValues; ++i) {
    T value;
    if constexpr (std::is_floating_point_v<T>) {
      constexpr T kSpecial[] = {0,
                                T(-0.0),
                                1,
                                -1,
                                T(0.5),
                                T(3.0e-40),
                                std::numeric_limits<T>::infinity(),
                                -std::numeric_limits<T>::infinity(),
                                std::numeric_limits<T>::quiet_NaN(),
                                std::numeric_limits<T>::max(),
                                std::numeric_limits<T>::min()};
      const uint64_t pick = random();
      if (pick % 8 == 0) {
        value = kSpecial[pick / 8 % std::size(kSpecial)];
      } else {
        const int exponent = static_cast<int>(random() % (pick % 3 == 0 ? 200 : 12)) - 6;
        value = std::ldexp(static_cast<T>(random() % 16777216) / 8388608,
                           exponent - (pick % 3 == 0 ? 90 : 0));
        if (random() % 2 == 0) value = -value;
      }
    } else {
      const uint64_t pick = random();
      Bits bits = static_cast<Bits>(random() >> (pick / 4 % (8 * sizeof(T)) + 64 - 8 * sizeof(T)));
      if (pick % 4 == 0) bits = corners[pick / 4 % corners.size()];
      value = std::bit_cast<T>(bits);
    }
    values.push_back(value);
  }
  return values;
}

inline std::string BitsOf(size_t bytes) { return ".b" + std::to_string(8 * bytes); }

template <typename T>
bool Same(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a && b != b) return true;
    return a == b && std::signbit(a) == std::signbit(b);
  }
  return a == b;
}

// `body` computes %d from %a, %b and %c; %q is a predicate and %w a 32-bit register it may use.
// With `tolerance`, floating-point results may differ by so much of their size.
template <typename D, typename S, typename C = S>
void CheckOp(const std::string& body,
             const std::type_identity_t<std::function<D(S, S, C)>>& expected, int sm = 80,
             double tolerance = 0) {
  Sim sim(sm);
  const auto load = [](const std::string& reg, const std::string& parameter, size_t bytes) {
    const std::string size = std::to_string(bytes);
    return "ld.param.u64 %base, [" + parameter + "];\nmul.wide.u32 %at, %i, " + size +
           ";\nadd.u64 %base, %base, %at;\nld.global" + BitsOf(bytes) + " " + reg + ", [%base];\n";
  };
  const std::string text =
      ".reg .b32 %i, %x, %n, %w;\n.reg .b64 %base, %at;\n.reg .pred %q;\n.reg " +
      BitsOf(sizeof(S)) + " %a, %b;\n.reg " + BitsOf(sizeof(C)) + " %c;\n.reg " +
      BitsOf(sizeof(D)) + " %d;\n" +
      "mov.u32 %x, %ctaid.x;\nmov.u32 %n, %ntid.x;\nmov.u32 %i, %tid.x;\n" +
      "mad.lo.u32 %i, %x, %n, %i;\n" + load("%a", "p0", sizeof(S)) + load("%b", "p1", sizeof(S)) +
      load("%c", "p2", sizeof(C)) + body + "\nld.param.u64 %base, [p3];\nmul.wide.u32 %at, %i, " +
      std::to_string(sizeof(D)) + ";\nadd.u64 %base, %base, %at;\nst.global" + BitsOf(sizeof(D)) +
      " [%base], %d;\nret;";
  ASSERT_EQ(sim.Load(Ptx(4, text, sm)), "") << body;
  const auto a = TestValues<S>(1), b = TestValues<S>(2);
  const auto c = TestValues<C>(3);
  const uint64_t d = sim.Allocate(kValues * sizeof(D));
  ASSERT_EQ(sim.Launch("k", {kBlocks, 1, 1}, {kThreads, 1, 1},
                       {sim.Upload(a), sim.Upload(b), sim.Upload(c), d}),
            "")
      << body;
  const auto found = sim.Download<D>(d, kValues);
  for (size_t i = 0; i < kValues; ++i) {
    const D wanted = expected(a[i], b[i], c[i]);
    if (tolerance != 0) {
      const double limit = tolerance * std::fabs(static_cast<double>(wanted));
      if (std::fabs(static_cast<double>(found[i]) - static_cast<double>(wanted)) <= limit) continue;
    }
    ASSERT_TRUE(Same(found[i], wanted)) << body << ": " << +a[i] << ", " << +b[i] << ", " << +c[i]
                                        << " gives " << +found[i] << ", expected " << +wanted;
  }
}

}  // namespace fathom::cuda_sim

#endif  // FATHOM_TESTS_CUDA_SIM_TEST_OP_CHECK_H_
