// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The weight encodings, activation forms and profiles that projections are tested with.
#ifndef FATHOM_TESTS_UNIT_COMPILER_KERNELS_LINEAR_CASES_H
#define FATHOM_TESTS_UNIT_COMPILER_KERNELS_LINEAR_CASES_H

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "tests/unit/compiler/kernels/emulator.h"
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {

struct LinearCase {
  std::string profile, enc, act;
};

inline void PrintTo(const LinearCase& c, std::ostream* os) {
  *os << c.profile << " " << c.enc << " " << c.act;
}

inline std::vector<LinearCase> linearCases() {
  std::vector<LinearCase> cases;
  std::vector<std::string> profiles = runnableProfiles();
  for (const std::string& gpu : gpuProfiles()) profiles.push_back(gpu + "+many");
  for (const std::string& profile : profiles)
    for (auto [enc, act] : {std::pair{"f32", "f32"},
                            {"bf16", "f32"},
                            {"q8", "f32"},
                            {"q4", "f32"},
                            {"bf16", "bf16"},
                            {"q8", "i8"},
                            {"q4", "i8"}})
      cases.push_back({profile, enc, act});
  // The matrix units of a CPU.
  for (const std::string& cpu : runnableProfiles())
    if (profileNamed(cpu).amx)
      for (auto [enc, act] : {std::pair{"bf16", "bf16"}, {"q8", "i8"}, {"q4", "i8"}})
        cases.push_back({cpu + "+many", enc, act});
  // One row's weights in one stream, as some processors like them.
  for (const std::string& cpu : runnableProfiles())
    if (cpu == "cpu:x86-64-v4-bf16")
      for (auto [enc, act] :
           {std::pair{"f32", "f32"}, {"bf16", "bf16"}, {"q8", "i8"}, {"q4", "i8"}})
        cases.push_back({cpu + "+single", enc, act});
  // Products of int8 by shifts, where a device has no instruction for them.
  for (const std::string& gpu : gpuProfiles())
    if (gpu == "vulkan:generic")
      for (const char* enc : {"q8", "q4"}) cases.push_back({"vulkan:32bit", enc, "i8"});
  // Lanes with rows of their own, of int8 records.
  for (const std::string& gpu : gpuProfiles())
    if (gpu == "vulkan:generic")
      for (auto [enc, act] : {std::pair{"f32", "f32"}, {"q8", "i8"}, {"q4", "i8"}})
        cases.push_back({"vulkan:lavapipe", enc, act});
  // A CUDA device without the matrix instructions that the others have.
  for (const std::string& gpu : gpuProfiles())
    if (gpu == "cuda:sm_80")
      for (auto [enc, act] : {std::pair{"bf16", "bf16"}, {"q8", "i8"}, {"q4", "i8"}})
        cases.push_back({"cuda:sm_75+many", enc, act});
  // AArch64's own instruction for products of int8; all else is the code of cpu:aarch64.
  if (haveAarch64Emulator())
    for (const char* enc : {"q8", "q4"}) cases.push_back({"cpu:aarch64-dotprod", enc, "i8"});
  return cases;
}

/// Whether a CPU's matrix units multiply bf16 in place of the encoded numbers.
inline bool multipliesBf16(const LinearCase& c) {
  return c.act == "i8" && c.profile.ends_with("+many") && profileNamed(c.profile).amx;
}

inline std::vector<LinearCase> integerCases() {
  std::vector<LinearCase> cases = linearCases();
  std::erase_if(cases, [](const LinearCase& c) { return c.act != "i8" || multipliesBf16(c); });
  return cases;
}

/// Encoded operands of a case with the values that it multiplies: weights are rounded to bf16 with
/// ties away from 0, activations with ties to even.
inline TestWeight weightFor(const LinearCase& c, const std::vector<float>& values, int64_t rows,
                            int64_t cols) {
  TestWeight weight = encodeWeight(c.enc, values, rows, cols);
  if (multipliesBf16(c))
    for (float& v : weight.values)
      v = std::bit_cast<float>((std::bit_cast<uint32_t>(v) + 0x8000) & 0xffff0000);
  return weight;
}
inline TestAct actFor(const LinearCase& c, const std::vector<float>& values, int64_t rows,
                      int64_t cols) {
  TestAct act = encodeAct(c.act, values, rows, cols);
  if (multipliesBf16(c))
    for (float& v : act.values) v = bf16ToFloat(floatToBf16(v));
  return act;
}

inline std::string linearCaseName(const ::testing::TestParamInfo<LinearCase>& info) {
  std::string name = info.param.profile + "_" + info.param.enc + "_" + info.param.act;
  for (char& c : name)
    if (!std::isalnum(c)) c = '_';
  return name;
}

inline int64_t ld(int64_t n) { return (n + 15) / 16 * 16; }

/// A row of w times a row of a, and the tolerance: 1e-6 of the product of the rows' norms.
struct Expected {
  double value = 0, tolerance = 0;
};
inline Expected dot(const float* w, const float* a, int64_t cols) {
  Expected e;
  double ww = 0, aa = 0;
  for (int64_t k = 0; k < cols; ++k) {
    e.value += static_cast<double>(w[k]) * a[k];
    ww += static_cast<double>(w[k]) * w[k];
    aa += static_cast<double>(a[k]) * a[k];
  }
  e.tolerance = 1e-6 * std::sqrt(ww * aa) + 1e-30;
  return e;
}

/// silu(gate) * up with the tolerances of both carried through.
inline Expected swiglu(const Expected& gate, const Expected& up) {
  double sigmoid = 1 / (1 + std::exp(-gate.value)), silu = gate.value * sigmoid;
  // |silu'| <= 1.1; the kernel's exp is good to 1.5 ulp.
  return {silu * up.value, 1.1 * gate.tolerance * std::fabs(up.value) +
                               std::fabs(silu) * up.tolerance + 1e-6 * std::fabs(silu * up.value)};
}

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_COMPILER_KERNELS_LINEAR_CASES_H
