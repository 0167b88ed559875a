// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// golden.json to Golden, and the measure logits are compared by.
#include "tests/oracle/golden.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace fathom::oracle {
namespace {

using nlohmann::json;
using Tokens = std::vector<int64_t>;

Tokens PromptByRule(const json& rule, int64_t vocab_size) {
  Tokens prompt;
  uint32_t state = rule.at("seed").get<uint32_t>();
  const auto length = rule.at("length").get<int64_t>();
  for (int64_t i = 0; i < length; ++i) {
    state = state * 1664525U + 1013904223U;  // modulo 2^32 by its type
    prompt.push_back(static_cast<int64_t>(state >> 16) % vocab_size);
  }
  const Tokens first = rule.at("first").get<Tokens>(), last = rule.at("last").get<Tokens>();
  if (!std::equal(first.begin(), first.end(), prompt.begin()) ||
      !std::equal(last.rbegin(), last.rend(), prompt.rbegin())) {
    throw std::runtime_error("prompt_rule gives other tokens than it says");
  }
  return prompt;
}

}  // namespace

Golden ReadGolden(const std::filesystem::path& golden_json) {
  std::ifstream file(golden_json);
  const json j = json::parse(file);
  Golden golden;
  if (j.contains("prompt")) {
    golden.prompt = j.at("prompt").get<Tokens>();
  } else {
    golden.prompt = PromptByRule(j.at("prompt_rule"), j.at("config").at("vocab_size"));
  }
  for (const json& row : j.at("logits_rows")) {
    golden.rows.push_back({row.at("position"), row.at("logits").get<std::vector<float>>()});
  }
  const auto last = static_cast<int64_t>(golden.prompt.size()) - 1;
  golden.rows.push_back({last, j.at("logits_last").get<std::vector<float>>()});
  golden.greedy = j.at("greedy").get<Tokens>();
  for (const json& other : j.at("batch")) {
    golden.batch.push_back({other.at("prompt").get<Tokens>(), other.at("greedy").get<Tokens>()});
  }
  golden.min_margin = j.at("min_margin").get<double>();
  return golden;
}

std::vector<std::string> GoldenCases(const std::filesystem::path& root) {
  std::vector<std::string> cases;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (std::filesystem::exists(entry.path() / "golden.json")) {
      cases.push_back(entry.path().filename().string());
    }
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::quiet_NaN();
  double error = 0.0, norm = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = static_cast<double>(actual[i]) - expected[i];
    error += difference * difference;
    norm += static_cast<double>(expected[i]) * expected[i];
  }
  return std::sqrt(error / norm);
}

}  // namespace fathom::oracle
