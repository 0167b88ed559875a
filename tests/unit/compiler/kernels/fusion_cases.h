// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tests of fused kernels share: profiles, configurations, and records to compare.
#ifndef FATHOM_TESTS_UNIT_COMPILER_KERNELS_FUSION_CASES_H
#define FATHOM_TESTS_UNIT_COMPILER_KERNELS_FUSION_CASES_H

#include <algorithm>
#include <string>
#include <vector>

#include "compiler/kernels/Kernels.h"
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {

/// The profiles that run here and can do `fusion`. On Vulkan also those with other shapes of
/// workgroups, which any device can run. With `many` also the form for many tokens, where it is another one.
inline std::vector<std::string> profilesThatFuse(kernels::Fusion fusion, bool many = false) {
  std::vector<std::string> names;
  auto add = [&](const std::string& name) {
    if (kernels::fuses(profileNamed(name), fusion, name.ends_with("+many"))) names.push_back(name);
  };
  for (const std::string& name : runnableProfiles()) {
    add(name);
    if (name == "vulkan:generic")
      for (const char* other : {"vulkan:32bit", "vulkan:lavapipe", "vulkan:nvidia"}) add(other);
    if (many && (isGpu(name) || profileNamed(name).amx)) add(name + "+many");
  }
  return names;
}

/// `rows = 3, enc = "q4"` out of {"rows", 3}, {"enc", "q4"}.
class ConfigText {
 public:
  struct Entry {
    Entry(const char* name, int64_t value) : text(name + (" = " + std::to_string(value))) {}
    Entry(const char* name, int value) : Entry(name, int64_t{value}) {}
    Entry(const char* name, bool value)
        : text(name + std::string(value ? " = true" : " = false")) {}
    Entry(const char* name, const char* value) : Entry(name, std::string(value)) {}
    Entry(const char* name, const std::string& value) : text(name + (" = \"" + value + "\"")) {}
    Entry(const char* name, double value) : text(name + (" = " + std::to_string(value))) {}
    std::string text;
  };
  ConfigText(std::initializer_list<Entry> entries) { add(entries); }
  ConfigText& add(std::initializer_list<Entry> entries) {
    for (const Entry& e : entries) {
      if (!text_.empty()) text_ += ", ";
      text_ += e.text;
    }
    return *this;
  }
  operator std::string() const { return text_; }

 private:
  std::string text_;
};

inline int64_t roundTo(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
/// Bytes of a row (f32) or record of n elements, up to its stride.
inline int64_t strideOf(const std::string& form, int64_t n) {
  if (form == "f32") return 4 * roundTo(n, 16);
  if (form == "bf16") return roundTo(2 * n, 64);
  return roundTo(roundTo(n, 64) * 5 / 4, 64);
}
/// The bytes of it that mean something.
inline int64_t bytesOf(const std::string& form, int64_t n) {
  if (form == "f32") return 4 * n;
  return form == "bf16" ? roundTo(2 * n, 4) : roundTo(n, 64) * 5 / 4;
}

/// Rows at `stride` bytes each: the bytes of each that mean something are the same, and `got` was
/// written at all.
inline void expectSameRows(const std::string& form, const uint8_t* got, const uint8_t* expected,
                           int64_t rows, int64_t n, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* row = got + r * stride;
    for (int64_t i = 0; i < bytesOf(form, n); ++i)
      ASSERT_EQ(int(row[i]), int(expected[r * stride + i])) << "row " << r << " byte " << i;
    ASSERT_TRUE(std::any_of(row, row + bytesOf(form, n), [](uint8_t b) { return b != 0xff; }));
  }
}

/// The `encode` kernel's config for records of n elements of rows `ld` apart.
inline ConfigText encodeConfig(int64_t n, int64_t ld, const std::string& form, int64_t groups = 1,
                               int64_t groupLd = 0) {
  int64_t stride = strideOf(form, n);
  return {{"n", n},
          {"groups", groups},
          {"in_ld", ld},
          {"in_offset", 0},
          {"in_group_ld", groupLd},
          {"act", form},
          {"act_stride", groups * stride},
          {"act_batch_stride", stride}};
}

inline ConfigText normConfig(int64_t n, int64_t ld, int64_t offset, double eps,
                             const std::string& form) {
  bool rows = form == "f32";
  return {{"n", n},
          {"eps", eps},
          {"in_ld", ld},
          {"in_offset", offset},
          {"rows_per_token", 1},
          {"gather", false},
          {"out_f32", rows},
          {"out_ld", strideOf("f32", n) / 4},
          {"out_offset", 0},
          {"out_act", rows ? "none" : form.c_str()},
          {"act_stride", rows ? 0 : strideOf(form, n)}};
}

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_COMPILER_KERNELS_FUSION_CASES_H
