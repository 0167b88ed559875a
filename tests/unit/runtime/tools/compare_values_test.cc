// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Comparing buffers: what agrees, what does not, and which element is named.
#include "runtime/tools/compare_values.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::tools {
namespace {

using Kind = ValueForm::Kind;

template <typename T>
std::vector<uint8_t> Bytes(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

Comparison Compare(const std::vector<float>& expected, const std::vector<float>& found,
                   uint64_t rows, double tolerance = 1e-3) {
  return CompareValues({Kind::f32}, Bytes(expected), Bytes(found), rows, tolerance);
}

TEST(CompareValues, ToleranceIsAPartOfTheRow) {
  // 0.05 is within a thousandth of 100, but not of the second row's 1.
  EXPECT_FALSE(Compare({100, 1, 1, 1}, {100, 1.05f, 1, 1}, 2).worst.has_value());
  const Comparison c = Compare({100, 1, 1, 1}, {100, 1, 1, 1.05f}, 2);
  ASSERT_TRUE(c.worst.has_value());
  EXPECT_EQ(c.worst->row, 1u);
  EXPECT_EQ(c.worst->column, 1u);
  EXPECT_EQ(c.worst->expected, 1);
  EXPECT_NEAR(c.worst->found, 1.05, 1e-6);
  EXPECT_NEAR(c.worst->tolerance, 1e-3, 1e-9);
  EXPECT_NEAR(c.largest_error, 0.05, 1e-6);
}

TEST(CompareValues, TheWorstElementIsNamed) {
  const Comparison c = Compare({1, 2, 3, 4}, {1.1f, 2, 3.5f, 4.2f}, 1);
  ASSERT_TRUE(c.worst.has_value());
  EXPECT_EQ(c.worst->column, 2u);
}

TEST(CompareValues, InfinityAndNanAgreeWithThemselvesOnly) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  EXPECT_FALSE(Compare({-inf, nan, 1}, {-inf, nan, 1.0001f}, 1).worst.has_value());
  EXPECT_TRUE(Compare({-inf, 1}, {inf, 1}, 1).worst.has_value());
  EXPECT_TRUE(Compare({1, 1}, {nan, 1}, 1).worst.has_value());
  EXPECT_TRUE(Compare({nan, 1}, {1, 1}, 1).worst.has_value());
}

TEST(CompareValues, IntegersAgreeExactly) {
  const auto a = Bytes<int32_t>({5, 6, 7}), b = Bytes<int32_t>({5, 6, 8});
  EXPECT_FALSE(CompareValues({Kind::i32}, a, a, 1, 0.5).worst.has_value());
  EXPECT_EQ(CompareValues({Kind::i32}, a, b, 1, 0.5).worst->column, 2u);
}

// One record of 64 int8, two scales, two biases.
std::vector<uint8_t> Record(int8_t value, float scale) {
  std::vector<uint8_t> bytes(64, static_cast<uint8_t>(value));
  for (uint8_t byte : Bytes<float>({scale, scale})) bytes.push_back(byte);
  for (uint8_t byte : Bytes<int32_t>({0, 0})) bytes.push_back(byte);
  bytes.resize(128);
  return bytes;
}

TEST(CompareValues, Int8RecordsMayDifferByOneStep) {
  const std::vector<ValueForm> forms = FormsOf("records", {"encode_64", R"({"act":"i8","act_stride":128,"n":64})"}, 128);
  ASSERT_EQ(forms[0].kind, Kind::record_i8);
  EXPECT_EQ(forms[0].stride, 128u);
  const auto a = Record(100, 0.5f);
  EXPECT_FALSE(CompareValues(forms[0], a, Record(101, 0.5f), 1, 1e-4).worst.has_value());
  EXPECT_TRUE(CompareValues(forms[0], a, Record(102, 0.5f), 1, 1e-4).worst.has_value());
  EXPECT_TRUE(CompareValues(forms[0], a, Record(100, 0.6f), 1, 1e-4).worst.has_value());
}

// The value projection of 16 heads of DeepSeek-V2-Lite: merges splits of 512, writes one record of
// all heads.
constexpr char kHeads[] =
    R"({"act":"i8","act_batch_stride":0,"act_stride":2112,"batch":16,"cols":512,"enc":"q4",)"
    R"("out_act":"i8","out_stride":2560,"rows":128,"splits":16})";

TEST(CompareValues, FormsOfRecordsFollowTheConfiguration) {
  struct Case {
    const char* config;
    uint64_t bytes;
    ValueForm form;
  };
  const Case cases[] = {
      // 2048 elements: 2560 bytes as int8, 4096 as bf16. A norm calls the stride as inputs do.
      {R"({"out_act":"i8","act_stride":2560,"n":2048})", 3 * 2560, {Kind::record_i8, 2048, 2560}},
      {R"({"out_act":"bf16","act_stride":4096,"n":2048})", 3 * 4096,
       {Kind::record_bf16, 2048, 4096}},
      {R"({"out_act":"bf16","act_stride":128,"n":36})", 3 * 128, {Kind::record_bf16, 36, 128}},
      {kHeads, 2560, {Kind::record_i8, 2048, 2560}},
      // A record for each of 16 heads, 3072 bytes a token.
      {R"({"act":"i8","act_stride":2560,"cols":2048,"head_act":"i8","head_act_batch_stride":192,)"
       R"("head_act_stride":3072,"head_cols":128})",
       3072, {Kind::record_i8, 128, 192}},
      {R"({"act":"i8","act_batch_stride":192,"act_stride":3072,"batch":16,"cols":128})", 3072,
       {Kind::record_i8, 128, 192}},
      {R"({"act":"f32","act_stride":8192,"cols":2048,"norm":"i8","norm_stride":2560})", 2560,
       {Kind::record_i8, 2048, 2560}},
      {R"({"act":"f32","act_stride":8192,"cols":2048})", 8192, {Kind::f32, 0, 0}},
      {"", 2560, {Kind::f32, 0, 0}},
  };
  for (const Case& c : cases) {
    const std::vector<ValueForm> forms =
        FormsOf("records", {"linear_q4_512_128", c.config}, c.bytes);
    ASSERT_EQ(forms.size(), 1u) << c.config;
    EXPECT_EQ(forms[0].kind, c.form.kind) << c.config;
    EXPECT_EQ(forms[0].width, c.form.width) << c.config;
    EXPECT_EQ(forms[0].stride, c.form.stride) << c.config;
  }
}

TEST(CompareValues, FormsFollowTheBuffersPurpose) {
  EXPECT_EQ(FormsOf("route_plan", {"route_plan_64", ""}, 64)[0].kind, Kind::i32);
  EXPECT_EQ(FormsOf("route_weight", {"route_64", ""}, 64)[0].kind, Kind::f32);
  EXPECT_EQ(FormsOf("linear", {"linear_q4_512_128", kHeads}, 64)[0].kind, Kind::f32);
  EXPECT_EQ(FormsOf("kv_cache", {"latent_append_512", ""}, 64).size(), 2u);
  const ValueForm partial = FormsOf("partial", {"latent_attention_16_512", ""}, 2 * 4 * 528)[0];
  EXPECT_EQ(partial.width, 513u);
  EXPECT_EQ(partial.stride, 4u * 528);
}

// (u0 .. u3, m, l, fill): width 4.
TEST(CompareValues, PartialSumsAreComparedAsWhatTheyMean) {
  std::vector<float> a(20, 0);
  a[0] = 3, a[4] = 7, a[5] = 2;
  const ValueForm form = FormsOf("partial", {"attention_4", ""}, 80)[0];
  const auto differs = [&](const std::vector<float>& b) {
    return CompareValues(form, Bytes(a), Bytes(b), 1, 1e-4).worst.has_value();
  };
  std::vector<float> b = a;
  b[7] = 99;
  EXPECT_FALSE(differs(b)) << "the fill means nothing";
  // Another maximum: m + log l and u / l stay.
  const float shift = std::exp(0.5f);
  b[0] *= shift, b[4] -= 0.5f, b[5] *= shift;
  EXPECT_FALSE(differs(b));
  b[0] *= 1.01f;
  EXPECT_TRUE(differs(b));
  b = a;
  b[5] *= 1.01f;
  b[0] *= 1.01f;
  EXPECT_TRUE(differs(b)) << "the sum itself";
  // An empty split: m = -inf, l = 0, u = 0.
  std::vector<float> empty(20, 0);
  empty[4] = -std::numeric_limits<float>::infinity();
  a = empty;
  EXPECT_FALSE(differs(empty));
  empty[7] = 5;
  EXPECT_FALSE(differs(empty));
}

}  // namespace
}  // namespace fathom::tools
