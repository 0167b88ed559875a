// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads golden.json (described in tests/golden/README.md); shared by the oracle and end-to-end
// tests.
#ifndef FATHOM_TESTS_ORACLE_GOLDEN_H_
#define FATHOM_TESTS_ORACLE_GOLDEN_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fathom::oracle {

struct Golden {
  struct Row {
    int64_t position;
    std::vector<float> logits;  // (vocab_size)
  };
  struct Continuation {
    std::vector<int64_t> prompt;
    std::vector<int64_t> greedy;
  };
  std::vector<int64_t> prompt;  // from prompt_rule where the file has that
  std::vector<Row> rows;        // logits_rows, then logits_last
  std::vector<int64_t> greedy;
  std::vector<Continuation> batch;
  double min_margin = 0.0;
};

// Throws std::runtime_error or nlohmann::json::exception when the file is not as described.
Golden ReadGolden(const std::filesystem::path& golden_json);

// The folders of tests/golden that hold a golden.json, sorted by name.
std::vector<std::string> GoldenCases(const std::filesystem::path& root);

// |actual - expected| / |expected| (Euclidean norms); NaN when the sizes differ.
double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected);

}  // namespace fathom::oracle

#endif  // FATHOM_TESTS_ORACLE_GOLDEN_H_
