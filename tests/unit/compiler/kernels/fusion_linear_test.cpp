// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Projections that do more than multiply: the same bytes as the separate kernels.
#include <span>
#include <tuple>

#include "tests/unit/compiler/kernels/fusion_cases.h"

namespace fathom::testing {
namespace {

using kernels::Fusion;

struct Form {
  std::string enc, act, out;
};
const Form kForms[] = {{"q4", "i8", "i8"}, {"bf16", "bf16", "bf16"}, {"f32", "f32", "i8"}};
// One for the profiles that differ in the shape of workgroups only, to save compile time.
std::span<const Form> formsOf(const std::string& profile) {
  bool first = profile == "vulkan:generic" || !profile.starts_with("vulkan:");
  return std::span(kForms).first(first ? 3 : 1);
}

struct Projection {
  std::string name;
  int64_t rows, cols, batch;
  std::string epilogue = "store";
  bool bias = false;

  int64_t width() const { return batch * rows; }
  std::string separate() const { return name + "_separate"; }
};

ConfigText configOf(const Projection& p, const std::string& enc, const std::string& act) {
  int64_t stride = strideOf(act, p.cols);
  return {{"rows", p.rows},
          {"cols", p.cols},
          {"batch", p.batch},
          {"enc", enc},
          {"act", act},
          {"act_stride", stride * p.batch},
          {"act_batch_stride", stride},
          {"out_ld", roundTo(p.width(), 16)},
          {"epilogue", p.epilogue},
          {"bias", p.bias},
          {"panel_tiles", 2}};
}

uint32_t panelsOf(const Projection& p) { return static_cast<uint32_t>((p.rows + 31) / 32); }

std::vector<uint8_t> weightBytes(const std::string& enc, int64_t rows, int64_t cols, int64_t count,
                                 uint32_t seed) {
  std::vector<uint8_t> bytes;
  for (int64_t g = 0; g < count; ++g) {
    auto one = encodeWeight(enc, randomFloats(rows * cols, seed + g), rows, cols).bytes;
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

TEST(FusedLinear, WritesRecordsOfItsOutputs) {
  const Projection all[] = {
      {"bias", 192, 64, 1, "store", true}, {"swiglu", 128, 70, 1, "swiglu"}, {"heads", 32, 97, 4}};
  for (const std::string& profile : profilesThatFuse(Fusion::kRecordsOut, /*many=*/true))
    for (const Form& f : formsOf(profile)) {
      SCOPED_TRACE(profile + " " + f.enc);
      std::vector<KernelSpec> specs;
      for (const Projection& p : all) {
        ConfigText config = configOf(p, f.enc, f.act);
        specs.push_back({p.separate(), "linear", config});
        specs.push_back({p.name + "_encode", "encode", encodeConfig(p.width(), p.width(), f.out)});
        config.add({{"out_act", f.out}, {"out_stride", strideOf(f.out, p.width())}});
        specs.push_back({p.name, "linear", config});
      }
      auto image = KernelImage::build(profile, specs);
      ASSERT_TRUE(image);
      for (const Projection& p : all)
        for (int64_t tokens : {1, 3, 11}) {
          SCOPED_TRACE(p.name + " " + std::to_string(tokens));
          Guarded<uint8_t> weight(weightBytes(f.enc, p.rows, p.cols, p.batch, 1));
          Guarded<uint8_t> up(weightBytes(f.enc, p.rows, p.cols, p.batch, 9));
          TestAct act = encodeAct(f.act, randomFloats(tokens * p.batch * p.cols, 3),
                                  tokens * p.batch, p.cols);
          int64_t stride = strideOf(f.out, p.width());
          Guarded<uint8_t> acts(act.bytes), got(tokens * stride), expected(tokens * stride);
          Guarded<float> bias(randomFloats(p.rows, 5)), out(tokens * p.width());
          std::vector<void*> bindings = {acts, weight};
          if (p.epilogue == "swiglu") bindings.push_back(up);
          if (p.bias) bindings.push_back(bias);
          auto run = [&](const std::string& name, void* to) {
            std::vector<void*> with = bindings;
            with.push_back(to);
            image->run(name, panelsOf(p), p.batch, 1, with, {tokens});
          };
          run(p.separate(), out);
          image->run(p.name + "_encode", tokens, 1, 1, {out, expected});
          run(p.name, got);
          expectSameRows(f.out, got.data(), expected.data(), tokens, p.width(), stride);
        }
    }
}

// A plan by hand: five experts, of which some idle; two experts to a token.
TEST(FusedExperts, WriteRecordsOfTheirOutputs) {
  constexpr int64_t kExperts = 5, kTopK = 2, kRows = 64, kCols = 77, kTokens = 9;
  const std::vector<int32_t> index = {2, 1, 2, 0, 2, 4, 2, 4, 2, 1, 2, 0, 2, 4, 2, 1, 2, 4};
  for (const std::string& profile : profilesThatFuse(Fusion::kRecordsOut, /*many=*/true))
    for (const Form& f : formsOf(profile).first(1)) {
      SCOPED_TRACE(profile + " " + f.enc);
      int64_t stride = strideOf(f.out, kRows), pairs = index.size();
      auto configure = [&](bool gather, const char* epilogue) {
        return ConfigText({{"rows", kRows},
                           {"cols", kCols},
                           {"experts", kExperts},
                           {"top_k", kTopK},
                           {"enc", f.enc},
                           {"act", f.act},
                           {"act_stride", strideOf(f.act, kCols)},
                           {"out_ld", kRows},
                           {"epilogue", epilogue},
                           {"gather", gather},
                           {"panel_tiles", 2}});
      };
      std::vector<KernelSpec> specs = {
          {"plan", "route_plan", ConfigText({{"experts", kExperts}, {"top_k", kTopK}})},
          {"encode", "encode", encodeConfig(kRows, kRows, f.out)}};
      for (bool gather : {true, false}) {
        ConfigText config = configure(gather, gather ? "swiglu" : "store");
        specs.push_back({gather ? "up_separate" : "down_separate", "experts", config});
        config.add({{"out_act", f.out}, {"out_stride", stride}});
        specs.push_back({gather ? "up" : "down", "experts", config});
      }
      auto image = KernelImage::build(profile, specs);
      ASSERT_TRUE(image);
      Guarded<uint8_t> gate(weightBytes(f.enc, kRows, kCols, kExperts, 1));
      Guarded<uint8_t> up(weightBytes(f.enc, kRows, kCols, kExperts, 21));
      Guarded<int32_t> chosen(index), plan(2 * kExperts + 2 + pairs);
      image->run("plan", 1, 1, 1, {chosen, plan}, {kTokens});
      TestAct act = encodeAct(f.act, randomFloats(pairs * kCols, 3), pairs, kCols);
      Guarded<uint8_t> acts(act.bytes);
      for (const std::string name : {"up", "down"}) {
        SCOPED_TRACE(name);
        Guarded<uint8_t> got(pairs * stride), expected(pairs * stride);
        Guarded<float> out(pairs * kRows);
        std::vector<void*> bindings = {acts, gate};
        if (name == "up") bindings.push_back(up);
        bindings.push_back(plan);
        for (bool fused : {false, true}) {
          std::vector<void*> with = bindings;
          with.push_back(fused ? static_cast<void*>(got) : static_cast<void*>(out));
          image->run(fused ? name : name + "_separate", kRows / 32, kExperts, 1, with, {kTokens});
        }
        image->run("encode", pairs, 1, 1, {out, expected});
        expectSameRows(f.out, got.data(), expected.data(), pairs, kRows, stride);
      }
    }
}

// head_cols on and off whole superblocks; columns behind the heads.
TEST(FusedLinear, WritesRecordsOfHeads) {
  struct {
    int64_t rows, heads, width, cols;
  } shapes[] = {{192, 2, 96, 32}, {192, 3, 64, 64}, {150, 1, 128, 96}};
  constexpr int64_t kCols = 77;
  for (const std::string& profile : profilesThatFuse(Fusion::kHeadRecords))
    for (const Form& f : formsOf(profile))
      for (const auto& s : shapes) {
        SCOPED_TRACE(profile + " " + f.enc + " " + std::to_string(s.cols));
        Projection p{"fused", s.rows, kCols, 1};
        int64_t record = strideOf(f.out, s.cols), ld = roundTo(s.rows, 16);
        ConfigText config = configOf(p, f.enc, f.act), fused = config;
        fused.add({{"head_act", f.out},
                   {"heads", s.heads},
                   {"head_width", s.width},
                   {"head_cols", s.cols},
                   {"head_act_stride", s.heads * record},
                   {"head_act_batch_stride", record}});
        auto image = KernelImage::build(
            profile, {{"separate", "linear", config},
                      {"fused", "linear", fused},
                      {"encode", "encode", encodeConfig(s.cols, ld, f.out, s.heads, s.width)}});
        ASSERT_TRUE(image);
        Guarded<uint8_t> weight(weightBytes(f.enc, p.rows, p.cols, 1, 1));
        for (int64_t tokens : {1, 5}) {
          TestAct act = encodeAct(f.act, randomFloats(tokens * kCols, 3), tokens, kCols);
          Guarded<uint8_t> acts(act.bytes), got(tokens * s.heads * record);
          Guarded<uint8_t> expected(tokens * s.heads * record);
          Guarded<float> out(tokens * ld), plain(tokens * ld);
          image->run("separate", panelsOf(p), 1, 1, {acts, weight, plain}, {tokens});
          image->run("encode", tokens, s.heads, 1, {plain, expected});
          image->run("fused", panelsOf(p), 1, 1, {acts, weight, out, got}, {tokens});
          for (size_t i = 0; i < plain.size(); ++i) ASSERT_EQ(out[i], plain[i]) << i;
          expectSameRows(f.out, got.data(), expected.data(), tokens * s.heads, s.cols, record);
        }
      }
}

TEST(FusedLinear, NormalisesItsActivations) {
  for (const std::string& profile : profilesThatFuse(Fusion::kNormLinear))
    for (auto [enc, form, cols] : std::initializer_list<std::tuple<std::string, std::string, int>>{
             {"f32", "i8", 77}, {"f32", "f32", 64}, {"bf16", "bf16", 77}, {"q4", "f32", 128}}) {
      SCOPED_TRACE(profile + " " + enc + " " + form + " " + std::to_string(cols));
      Projection p{"fused", 40, cols, 1, "store", enc == "bf16"};
      int64_t xLd = roundTo(cols, 16) + 16, stride = strideOf(form, cols);
      ConfigText config = configOf(p, enc, "f32"), fused = config;
      // Rows of the activations lie apart; what a separate norm writes does not.
      fused = ConfigText({{"rows", p.rows},
                          {"cols", p.cols},
                          {"batch", 1},
                          {"enc", enc},
                          {"act", "f32"},
                          {"act_stride", 4 * xLd},
                          {"out_ld", roundTo(p.rows, 16)},
                          {"epilogue", "store"},
                          {"bias", p.bias},
                          {"panel_tiles", 2},
                          {"norm", form},
                          {"eps", 1e-3},
                          {"norm_stride", stride}});
      auto image =
          KernelImage::build(profile, {{"separate", "linear", config},
                                       {"rows", "norm", normConfig(cols, xLd, 0, 1e-3, "f32")},
                                       {"norm", "norm", normConfig(cols, xLd, 0, 1e-3, form)},
                                       {"fused", "linear", fused}});
      ASSERT_TRUE(image);
      Guarded<uint8_t> weight(weightBytes(enc, p.rows, p.cols, 1, 1));
      constexpr int64_t kTokens = 3;
      Guarded<float> x(randomFloats(kTokens * xLd, 2)), gamma(randomFloats(cols, 4));
      Guarded<float> bias(randomFloats(p.rows, 5)), rows(kTokens * roundTo(cols, 16));
      Guarded<uint8_t> got(kTokens * stride), expected(kTokens * stride);
      Guarded<float> out(kTokens * 48), plain(kTokens * 48);
      image->run("rows", kTokens, 1, 1, {x, gamma, rows});
      image->run("norm", kTokens, 1, 1, {x, gamma, expected});
      std::vector<void*> separate = {rows, weight}, together = {x, weight, gamma};
      if (p.bias) separate.push_back(bias), together.push_back(bias);
      separate.push_back(plain);
      together.insert(together.end(), {out, got});
      image->run("separate", panelsOf(p), 1, 1, separate, {kTokens});
      image->run("fused", panelsOf(p), kTokens, 1, together, {kTokens});
      for (size_t i = 0; i < plain.size(); ++i) ASSERT_EQ(out[i], plain[i]) << i;
      expectSameRows(form, got.data(), expected.data(), kTokens, cols, stride);
    }
}

// Splits: one that saw nothing among others, and a token of which no split saw a row.
TEST(FusedLinear, MergesTheSplitsOfAttention) {
  constexpr int64_t kHeads = 2, kSplits = 3, kTokens = 3, kRows = 64, kCols = 112;
  constexpr int64_t kRecord = kCols + 16;
  for (const std::string& profile : profilesThatFuse(Fusion::kMergeSplits))
    for (const Form& f : formsOf(profile)) {
      SCOPED_TRACE(profile + " " + f.enc);
      Projection p{"fused", kRows, kCols, kHeads};
      int64_t act = strideOf(f.act, kCols), stride = strideOf(f.out, p.width());
      ConfigText config = configOf(p, f.enc, f.act), fused = config;
      fused.add({{"splits", kSplits}, {"out_act", f.out}, {"out_stride", stride}});
      ConfigText merge = {{"heads", kHeads}, {"width", kCols}, {"splits", kSplits}};
      if (f.act == "f32")
        merge.add({{"out_ld", kHeads * kCols}});
      else
        merge.add({{"out_act", f.act}, {"act_stride", kHeads * act}, {"act_batch_stride", act}});
      auto image = KernelImage::build(
          profile, {{"separate", "linear", config},
                    {"merge", "attention_combine", merge},
                    {"encode", "encode", encodeConfig(p.width(), p.width(), f.out)},
                    {"fused", "linear", fused}});
      ASSERT_TRUE(image);
      std::vector<float> values = randomFloats(kTokens * kSplits * kHeads * kRecord, 2);
      for (int64_t i = 0; i < kTokens * kSplits * kHeads; ++i) {
        float* record = &values[i * kRecord];
        bool empty = i / (kSplits * kHeads) == 2 || i / kHeads % kSplits == 1;
        for (int64_t c = 0; c < kCols && empty; ++c) record[c] = 0;
        record[kCols] = empty ? -INFINITY : record[kCols] * 4;
        record[kCols + 1] = empty ? 0 : 1 + std::abs(record[kCols + 1]);
      }
      Guarded<float> partial(values), out(kTokens * p.width());
      Guarded<uint8_t> weight(weightBytes(f.enc, kRows, kCols, kHeads, 1));
      Guarded<uint8_t> acts(kTokens * kHeads * act), got(kTokens * stride);
      Guarded<uint8_t> expected(kTokens * stride);
      image->run("merge", kTokens, kHeads, 1, {partial, acts});
      image->run("separate", panelsOf(p), kHeads, 1, {acts, weight, out}, {kTokens});
      image->run("encode", kTokens, 1, 1, {out, expected});
      image->run("fused", panelsOf(p), kHeads, 1, {partial, weight, got}, {kTokens});
      expectSameRows(f.out, got.data(), expected.data(), kTokens, p.width(), stride);
    }
}

TEST(FusedLinear, ExplainsWhatItCannotDo) {
  for (const std::string& profile : gpuProfiles()) {
    const std::string good =
        "rows = 64, cols = 64, enc = \"f32\", act = \"f32\", act_stride = 256, out_ld = 64, "
        "epilogue = ";
    struct {
      std::string rest, expected;
    } cases[] = {
        {"\"store\", out_act = \"i8\"", "'out_stride'"},
        {"\"residual\", out_act = \"i8\", out_stride = 128", "'epilogue'"},
        {"\"store\", out_act = \"i8\", out_stride = 64", "'out_stride'"},
        {"\"store\", norm = \"i8\", norm_stride = 128", "'eps'"},
        {"\"residual\", norm = \"i8\", norm_stride = 128, eps = 1.0", "'norm'"},
        {"\"store\", splits = 2, act_offset = 16", "'splits'"},
        {"\"store\", head_act = \"i8\", heads = 2, head_width = 64, head_cols = 32, "
         "head_act_stride = 128, head_act_batch_stride = 128",
         "'head_width'"},
    };
    for (const auto& c : cases) {
      std::string config = good + c.rest;
      config += ", panel_tiles = " + std::to_string(panelTiles(profile, config));
      std::string error = compileError(profile, {"k", "linear", config});
      EXPECT_NE(error.find(c.expected), std::string::npos) << c.rest << ": " << error;
    }
  }
}

}  // namespace
}  // namespace fathom::testing
