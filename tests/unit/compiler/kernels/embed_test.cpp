// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// embed against plainly decoded rows, for every encoding, odd sizes and token ids out of range.
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

constexpr const char* kEncodings[] = {"f32", "bf16", "q8", "q4"};

std::string config(int64_t vocab, int64_t hidden, const std::string& enc) {
  return "vocab = " + std::to_string(vocab) + ", hidden = " + std::to_string(hidden) +
         ", enc = \"" + enc + "\", out_ld = " + std::to_string((hidden + 15) / 16 * 16);
}

TEST(Embed, DecodesRows) {
  for (const std::string& profile : runnableProfiles()) {
    SCOPED_TRACE(profile);
    std::vector<KernelSpec> specs;
    for (const char* enc : kEncodings)
      for (int64_t hidden : {1, 64, 93, 130})
        specs.push_back({enc + std::to_string(hidden), "embed", config(37, hidden, enc)});
    auto image = KernelImage::build(profile, specs);
    ASSERT_TRUE(image);
    for (const char* enc : kEncodings)
      for (int64_t hidden : {1, 64, 93, 130}) {
        SCOPED_TRACE(enc + std::to_string(hidden));
        int64_t ld = (hidden + 15) / 16 * 16;
        TestWeight weight = encodeWeight(enc, randomFloats(37 * hidden, hidden), 37, hidden);
        Guarded<uint8_t> bytes(weight.bytes);
        Guarded<int32_t> tokens(std::vector<int32_t>{36, 0, 15, 16, -1, 37, INT32_MIN, 17});
        Guarded<float> out(tokens.size() * ld);
        image->run(enc + std::to_string(hidden), tokens.size(), 1, 1, {tokens, bytes, out});
        for (size_t t = 0; t < tokens.size(); ++t) {
          int64_t row = tokens[t] < 0 || tokens[t] >= 37 ? 0 : tokens[t];
          for (int64_t k = 0; k < hidden; ++k)
            ASSERT_EQ(out[t * ld + k], weight.values[row * hidden + k]) << t << " " << k;
        }
      }
  }
}

// A table in two parts: each dispatch writes the rows of its tokens and leaves the others alone.
TEST(Embed, TakesPartsOfTheTable) {
  constexpr int64_t kVocab = 37, kCut = 16, kHidden = 93;
  for (const std::string& profile : runnableProfiles()) {
    SCOPED_TRACE(profile);
    std::vector<KernelSpec> specs;
    for (const std::string enc : kEncodings) {
      specs.push_back({enc + "low", "embed", config(kCut, kHidden, enc) + ", first = 0"});
      specs.push_back({enc + "high", "embed",
                       config(kVocab - kCut, kHidden, enc) + ", first = " + std::to_string(kCut)});
    }
    auto image = KernelImage::build(profile, specs);
    ASSERT_TRUE(image);
    for (const std::string enc : kEncodings) {
      SCOPED_TRACE(enc);
      const int64_t ld = (kHidden + 15) / 16 * 16;
      TestWeight weight = encodeWeight(enc, randomFloats(kVocab * kHidden, 5), kVocab, kHidden);
      auto cut = weight.bytes.begin() + weight.bytes.size() / 3;  // of three tiles
      Guarded<uint8_t> low(std::vector<uint8_t>(weight.bytes.begin(), cut));
      Guarded<uint8_t> high(std::vector<uint8_t>(cut, weight.bytes.end()));
      Guarded<int32_t> tokens(std::vector<int32_t>{36, 0, 15, 16, -1, 37, INT32_MIN, 17});
      Guarded<float> out(std::vector<float>(tokens.size() * ld, -7));
      image->run(enc + "low", tokens.size(), 1, 1, {tokens, low, out});
      for (size_t t = 0; t < tokens.size(); ++t) {
        bool there = tokens[t] >= 0 && tokens[t] < kCut;
        for (int64_t k = 0; k < kHidden; ++k)
          ASSERT_EQ(out[t * ld + k], there ? weight.values[tokens[t] * kHidden + k] : -7) << t;
      }
      image->run(enc + "high", tokens.size(), 1, 1, {tokens, high, out});
      for (size_t t = 0; t < tokens.size(); ++t) {
        bool there = tokens[t] >= 0 && tokens[t] < kVocab;
        for (int64_t k = 0; k < kHidden; ++k)
          ASSERT_EQ(out[t * ld + k], there ? weight.values[tokens[t] * kHidden + k] : -7) << t;
      }
    }
  }
}

TEST(Embed, NamesFamilyAndField) {
  KernelSpec spec{"e", "embed", config(37, 64, "q4")};
  EXPECT_EQ(compileError("cpu:x86-64-v3", spec), "");
  spec.config = "vocab = 37, hidden = 64, out_ld = 64, enc = \"q3\"";
  std::string error = compileError("cpu:x86-64-v3", spec);
  EXPECT_NE(error.find("embed"), std::string::npos) << error;
  EXPECT_NE(error.find("enc"), std::string::npos) << error;
  spec.family = "embedding";
  error = compileError("cpu:x86-64-v3", spec);
  EXPECT_NE(error.find("unknown family 'embedding'"), std::string::npos) << error;
}

}  // namespace
}  // namespace fathom::testing
