// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading buffers as numbers.
#include "runtime/tools/compare_values.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "runtime/base/checked.h"

namespace fathom::tools {
namespace {

using Kind = ValueForm::Kind;

template <typename T>
T Load(absl::Span<const uint8_t> bytes, uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

float LoadBf16(absl::Span<const uint8_t> bytes, uint64_t offset) {
  const uint32_t bits = uint32_t{Load<uint16_t>(bytes, offset)} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// The numbers in "linear_q4_3072_2048.1".
std::vector<uint64_t> Numbers(const std::string& kernel) {
  std::vector<uint64_t> numbers;
  const std::string base = kernel.substr(0, kernel.find('.'));
  for (const auto part : absl::StrSplit(base, '_')) {
    uint64_t number = 0;
    if (absl::SimpleAtoi(part, &number)) numbers.push_back(number);
  }
  return numbers;
}

// One element: its value, and the step of its encoding where it has one.
struct Element {
  double value;
  double step;
};

uint64_t ElementBytes(Kind kind) {
  return kind == Kind::bf16 || kind == Kind::record_bf16 ? 2 : kind == Kind::record_i8 ? 1 : 4;
}

Element Read(const ValueForm& form, absl::Span<const uint8_t> bytes, uint64_t record,
             uint64_t column) {
  const uint64_t at = record * form.stride + column * ElementBytes(form.kind);
  switch (form.kind) {
    case Kind::f32:
      return {Load<float>(bytes, at), 0};
    case Kind::i32:
      return {static_cast<double>(Load<int32_t>(bytes, at)), 0};
    case Kind::bf16:
    case Kind::record_bf16:
      return {LoadBf16(bytes, at), 0};
    case Kind::partial: {
      const uint64_t end = record * form.stride + (form.width - 1) * sizeof(float);
      const double m = Load<float>(bytes, end), l = Load<float>(bytes, end + sizeof(float));
      if (column + 1 == form.width) return {m + std::log(l), 0};
      return {l == 0 ? 0 : Load<float>(bytes, at) / l, 0};
    }
    case Kind::record_i8: {
      const uint64_t padded = RoundUp(form.width, 64);
      const double scale =
          Load<float>(bytes, record * form.stride + padded + column / 32 * sizeof(float));
      return {scale * Load<int8_t>(bytes, at), scale};
    }
  }
  return {0, 0};
}

// Elements of a record of `stride` bytes. What fills a record of int8 is 0 and may be compared; a
// bf16 one ends with the width that the configuration names for it.
uint64_t RecordWidth(Kind kind, uint64_t stride, const nlohmann::json& config) {
  if (kind == Kind::record_i8) return stride / 80 * 64;  // 64 int8, two scales, two biases
  for (const char* key : {"cols", "n", "head_cols", "width"}) {
    const uint64_t width = config.value(key, uint64_t{0});
    if (RoundUp(2 * width, 64) == stride) return width;
  }
  return stride / 2;
}

// The records that a kernel reads or writes, by its configuration.
std::vector<ValueForm> RecordForms(const std::string& text, uint64_t bytes) {
  const auto config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return {};
  struct Keys {
    const char *form, *stride, *inner;  // inner: of several records in a row, 0 where it is one
  };
  const Keys all[] = {
      {"out_act", config.contains("out_stride") ? "out_stride" : "act_stride",
       config.contains("out_stride") ? "" : "act_batch_stride"},
      {"head_act", "head_act_stride", "head_act_batch_stride"},
      {"norm", "norm_stride", ""},
      {"act", "act_stride", "act_batch_stride"},
  };
  std::vector<ValueForm> forms;
  for (const Keys& keys : all) {
    const std::string form = config.value(keys.form, "");
    if (form != "i8" && form != "bf16") continue;
    const uint64_t inner = config.value(keys.inner, uint64_t{0});
    const uint64_t stride = inner != 0 ? inner : config.value(keys.stride, uint64_t{0});
    if (stride == 0 || bytes % stride != 0) continue;
    const Kind kind = form == "i8" ? Kind::record_i8 : Kind::record_bf16;
    forms.push_back({kind, RecordWidth(kind, stride, config), stride});
  }
  return forms;
}

double ErrorOf(double expected, double found) {
  if (std::isnan(expected) && std::isnan(found)) return 0;
  if (expected == found) return 0;
  const double error = std::fabs(found - expected);
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

}  // namespace

std::vector<ValueForm> FormsOf(const std::string& name, const KernelFacts& kernel, uint64_t bytes) {
  const std::vector<uint64_t> numbers = Numbers(kernel.name);
  if (name == "route_index" || name == "route_plan") return {{Kind::i32}};
  if (name == "kv_cache") return {{Kind::f32}, {Kind::bf16}};
  if (name == "partial" && !numbers.empty()) {
    const uint64_t width = numbers.back();
    if (bytes % (4 * (width + 16)) == 0) return {{Kind::partial, width + 1, 4 * (width + 16)}};
  }
  std::vector<ValueForm> forms;
  if (name == "records") forms = RecordForms(kernel.config, bytes);
  if (forms.empty()) forms.push_back({Kind::f32});
  return forms;
}

Comparison CompareValues(const ValueForm& form, absl::Span<const uint8_t> expected,
                         absl::Span<const uint8_t> found, uint64_t rows, double tolerance) {
  Comparison result;
  if (expected.empty() || std::memcmp(expected.data(), found.data(), expected.size()) == 0) {
    return result;
  }
  ValueForm whole = form;
  if (whole.stride == 0) {
    if (rows == 0 || expected.size() % rows != 0) rows = 1;
    whole.stride = expected.size() / rows;
    whole.width = whole.stride / ElementBytes(whole.kind);
  }
  // bf16 keeps 8 bits of a value, wherever its float32 was rounded.
  if (whole.kind == Kind::bf16 || whole.kind == Kind::record_bf16) {
    tolerance = std::max(tolerance, 1.0 / 128);
  }
  double worst_excess = 0;
  for (uint64_t record = 0; record < expected.size() / whole.stride; ++record) {
    double largest = 0;
    const bool partial = whole.kind == Kind::partial;
    for (uint64_t c = 0; c + partial < whole.width; ++c) {
      const double magnitude = std::fabs(Read(whole, expected, record, c).value);
      if (std::isfinite(magnitude)) largest = std::max(largest, magnitude);
    }
    for (uint64_t c = 0; c < whole.width; ++c) {
      const Element want = Read(whole, expected, record, c), have = Read(whole, found, record, c);
      const double error = ErrorOf(want.value, have.value);
      const double allowed = whole.kind == Kind::i32 ? 0
                             : want.step != 0        ? 1.02 * want.step + tolerance * largest
                             : partial && c + 1 == whole.width
                                 ? tolerance * std::max(1.0, std::fabs(want.value))
                                 : tolerance * largest;
      if (largest > 0 && std::isfinite(error)) {
        result.largest_error = std::max(result.largest_error, error / largest);
      }
      if (error > allowed && (!result.worst.has_value() || error - allowed > worst_excess)) {
        worst_excess = error - allowed;
        result.worst = Difference{record, c, want.value, have.value, error, allowed};
      }
    }
  }
  return result;
}

}  // namespace fathom::tools
