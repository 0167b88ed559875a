// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Fused kernels against the kernels that they stand for: the same bytes on the same target.
#include "compiler/kernels/Kernels.h"
#include "tests/unit/compiler/kernels/attention_cases.h"

namespace fathom::testing {
namespace {

using kernels::Fusion;

int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
int64_t recordBytes(const std::string& act, int64_t n) {
  if (act == "f32") return 4 * up(n, 16);
  return act == "bf16" ? up(2 * n, 64) : up(up(n, 64) * 5 / 4, 64);
}
std::string word(const std::string& name, const std::string& value) {
  return ", " + name + " = \"" + value + "\"";
}

std::vector<std::string> profilesWith(Fusion fusion) {
  std::vector<std::string> found;
  for (const std::string& profile : runnableProfiles())
    if (kernels::fuses(profileNamed(profile), fusion, /*manyTokens=*/false))
      found.push_back(profile);
  return found;
}

/// Equal bytes, of what was written and of what was not.
template <typename T>
void expectSame(const Guarded<T>& fused, const Guarded<T>& separate, const std::string& what) {
  ASSERT_EQ(fused.size(), separate.size());
  for (size_t i = 0; i < fused.size(); ++i)
    ASSERT_EQ(0, std::memcmp(&fused[i], &separate[i], sizeof(T))) << what << ", element " << i;
}

/// The entries of a projection; panels of two tiles.
std::string projection(const std::string& enc, const std::string& act, int64_t rows, int64_t cols,
                       int64_t actStride, const std::string& epilogue) {
  return "rows = " + std::to_string(rows) + entry("cols", cols) + word("enc", enc) +
         word("act", act) + entry("act_stride", actStride) + word("epilogue", epilogue);
}

std::string encodeConfig(const std::string& act, int64_t n, int64_t groups, int64_t ld,
                         int64_t groupLd, int64_t stride) {
  return "n = " + std::to_string(n) + entry("groups", groups) + entry("in_ld", ld) +
         entry("in_group_ld", groupLd) + entry("in_offset", 0) + word("act", act) +
         entry("act_stride", stride) + entry("act_batch_stride", recordBytes(act, n));
}

TEST(Fusion, LinearWritesRecords) {
  const int64_t rows = 96, cols = 70, batch = 2;
  for (const std::string& profile : profilesWith(Fusion::kRecordsOut))
    for (const std::string act : {"bf16", "i8"})
      for (const std::string epilogue : {"store", "swiglu"}) {
        SCOPED_TRACE(profile + " " + act + " " + epilogue);
        const std::string enc = act == "i8" ? "q4" : "bf16";
        const int64_t in = recordBytes(act, cols), out = recordBytes(act, batch * rows);
        std::string config = projection(enc, act, rows, cols, batch * in, epilogue) +
                             entry("batch", batch) + entry("act_batch_stride", in);
        std::string tiles = entry("panel_tiles", 2);
        auto image = KernelImage::build(
            profile,
            {{"fused", "linear", config + tiles + word("out_act", act) + entry("out_stride", out)},
             {"linear", "linear", config + tiles + entry("out_ld", batch * rows)},
             {"encode", "encode", encodeConfig(act, batch * rows, 1, batch * rows, 0, out)}});
        ASSERT_TRUE(image);
        std::vector<uint8_t> bytes;
        for (int64_t g = 0; g < batch; ++g) {
          auto w = encodeWeight(enc, randomFloats(rows * cols, 1 + g), rows, cols).bytes;
          bytes.insert(bytes.end(), w.begin(), w.end());
        }
        Guarded<uint8_t> w(bytes);
        for (int64_t tokens : {1, 3, 7, 13}) {
          Guarded<uint8_t> x(
              encodeAct(act, randomFloats(tokens * batch * cols, 9), tokens * batch, cols).bytes);
          Guarded<float> between(tokens * batch * rows);
          Guarded<uint8_t> fused(tokens * out), separate(tokens * out);
          std::vector<void*> bindings = {x, w};
          if (epilogue == "swiglu") bindings.push_back(w);
          std::vector<void*> first = bindings;
          bindings.push_back(fused);
          first.push_back(between);
          image->run("fused", 3, batch, 1, bindings, {tokens});
          image->run("linear", 3, batch, 1, first, {tokens});
          image->run("encode", tokens, 1, 1, {between, separate});
          expectSame(fused, separate, "records");
        }
      }
}

TEST(Fusion, ExpertsWriteRecords) {
  const int64_t experts = 5, topK = 2, rows = 64, cols = 70, tokens = 9, pairs = tokens * topK;
  for (const std::string& profile : profilesWith(Fusion::kRecordsOut)) {
    SCOPED_TRACE(profile);
    const int64_t in = recordBytes("i8", cols), out = recordBytes("i8", rows);
    std::string config = projection("q8", "i8", rows, cols, in, "swiglu") +
                         entry("experts", experts) + entry("top_k", topK) +
                         entry("panel_tiles", 2) + ", gather = true";
    std::string plan = "experts = 5, top_k = 2";
    auto image = KernelImage::build(
        profile, {{"fused", "experts", config + word("out_act", "i8") + entry("out_stride", out)},
                  {"experts", "experts", config + entry("out_ld", rows)},
                  {"plan", "route_plan", plan},
                  {"encode", "encode", encodeConfig("i8", rows, 1, rows, 0, out)}});
    ASSERT_TRUE(image);
    std::vector<uint8_t> bytes;
    for (int64_t e = 0; e < experts; ++e) {
      auto w = encodeWeight("q8", randomFloats(rows * cols, 1 + e), rows, cols).bytes;
      bytes.insert(bytes.end(), w.begin(), w.end());
    }
    Guarded<uint8_t> w(bytes),
        x(encodeAct("i8", randomFloats(tokens * cols, 9), tokens, cols).bytes);
    std::vector<int32_t> chosen;
    for (int64_t t = 0; t < tokens; ++t)  // expert 2 is never chosen
      for (int32_t e : {t % 3 == 0 ? 4 : 1, t % 2 == 0 ? 0 : 3}) chosen.push_back(e);
    Guarded<int32_t> index(chosen), routes(2 * experts + 2 + pairs);
    Guarded<float> between(pairs * rows);
    Guarded<uint8_t> fused(pairs * out), separate(pairs * out);
    image->run("plan", 1, 1, 1, {index, routes}, {tokens});
    image->run("fused", 2, experts, 1, {x, w, w, routes, fused}, {tokens});
    image->run("experts", 2, experts, 1, {x, w, w, routes, between}, {tokens});
    image->run("encode", pairs, 1, 1, {between, separate});
    expectSame(fused, separate, "records");
  }
}

TEST(Fusion, LinearWritesRecordsOfHeads) {
  const int64_t rows = 328, cols = 48, heads = 3, width = 96, tokens = 7;
  for (const std::string& profile : profilesWith(Fusion::kHeadRecords))
    for (const std::string act : {"bf16", "i8"})
      for (int64_t part : {32, 64}) {
        SCOPED_TRACE(profile + " " + act + " " + std::to_string(part));
        const std::string enc = act == "i8" ? "q8" : "bf16";
        const int64_t in = recordBytes(act, cols), record = recordBytes(act, part),
                      ld = up(rows, 16);
        std::string config = projection(enc, act, rows, cols, in, "store") + entry("out_ld", ld) +
                             entry("panel_tiles", 2);
        auto image = KernelImage::build(
            profile,
            {{"fused", "linear",
              config + word("head_act", act) + entry("heads", heads) + entry("head_width", width) +
                  entry("head_cols", part) + entry("head_act_stride", heads * record) +
                  entry("head_act_batch_stride", record)},
             {"linear", "linear", config},
             {"encode", "encode", encodeConfig(act, part, heads, ld, width, heads * record)}});
        ASSERT_TRUE(image);
        Guarded<uint8_t> w(encodeWeight(enc, randomFloats(rows * cols, 1), rows, cols).bytes);
        Guarded<uint8_t> x(encodeAct(act, randomFloats(tokens * cols, 2), tokens, cols).bytes);
        Guarded<float> fusedRows(tokens * ld), separateRows(tokens * ld);
        Guarded<uint8_t> fused(tokens * heads * record), separate(tokens * heads * record);
        image->run("fused", 11, 1, 1, {x, w, fusedRows, fused}, {tokens});
        image->run("linear", 11, 1, 1, {x, w, separateRows}, {tokens});
        image->run("encode", tokens, heads, 1, {separateRows, separate});
        expectSame(fusedRows, separateRows, "rows");
        expectSame(fused, separate, "records");
      }
}

std::string normConfig(int64_t n, int64_t ld, int64_t offset, const std::string& act,
                       int64_t stride) {
  const bool rows = act == "f32";
  return "n = " + std::to_string(n) + ", eps = 1.0e-5" + entry("in_ld", ld) +
         entry("in_offset", offset) +
         ", rows_per_token = 1, gather = false, out_f32 = " + (rows ? "true" : "false") +
         entry("out_ld", stride / 4) + ", out_offset = 0" + word("out_act", rows ? "none" : act) +
         entry("act_stride", rows ? 0 : stride);
}

TEST(Fusion, CombineNormalises) {
  const int64_t n = 100, ld = 112, topK = 3, tokens = 5;
  for (const std::string& profile : profilesWith(Fusion::kCombineNorm))
    for (const std::string act : {"f32", "bf16", "i8"})
      for (bool shared : {false, true}) {
        SCOPED_TRACE(profile + " " + act);
        const int64_t stride = recordBytes(act, n);
        std::string config = "n = 100, ld = 112, top_k = 3, shared = ";
        config += shared ? "true" : "false";
        auto image = KernelImage::build(
            profile,
            {{"fused", "combine",
              config + ", eps = 1.0e-5" + word("norm", act) + entry("norm_stride", stride)},
             {"combine", "combine", config},
             {"norm", "norm", normConfig(n, ld, 0, act, stride)}});
        ASSERT_TRUE(image);
        Guarded<float> y(randomFloats(tokens * topK * ld, 1)),
            weight(randomFloats(tokens * topK, 2));
        Guarded<float> residual(randomFloats(tokens * ld, 3)), gamma(randomFloats(n, 4));
        Guarded<float> fusedSum(tokens * ld), sum(tokens * ld);
        Guarded<uint8_t> fused(tokens * stride), separate(tokens * stride);
        std::vector<void*> in = {y, weight, residual};
        if (shared) in.push_back(residual);
        std::vector<void*> first = in;
        in.insert(in.end(), {gamma, fusedSum, fused});
        first.push_back(sum);
        image->run("fused", tokens, 1, 1, in);
        image->run("combine", tokens, 1, 1, first);
        image->run("norm", tokens, 1, 1, {sum, gamma, separate});
        expectSame(fusedSum, sum, "sum");
        expectSame(fused, separate, "norm");
      }
}

TEST(Fusion, LinearNormalises) {
  const int64_t rows = 40, cols = 100, ld = 112, tokens = 3;
  for (const std::string& profile : profilesWith(Fusion::kNormLinear))
    for (const std::string act : {"f32", "bf16", "i8"})
      for (bool bias : {false, true}) {
        SCOPED_TRACE(profile + " " + act);
        const int64_t stride = recordBytes(act, cols);
        std::string config =
            entry("out_ld", 48) + entry("panel_tiles", 2) + ", bias = " + (bias ? "true" : "false");
        auto image = KernelImage::build(
            profile,
            {{"fused", "linear",
              projection("f32", "f32", rows, cols, 4 * ld, "store") + config + ", eps = 1.0e-5" +
                  word("norm", act) + entry("norm_stride", stride)},
             {"rows", "norm", normConfig(cols, ld, 0, "f32", 4 * ld)},
             {"norm", "norm", normConfig(cols, ld, 0, act, stride)},
             {"linear", "linear", projection("f32", "f32", rows, cols, 4 * ld, "store") + config}});
        ASSERT_TRUE(image);
        Guarded<float> x(randomFloats(tokens * ld, 1)), gamma(randomFloats(cols, 2));
        Guarded<uint8_t> w(encodeWeight("f32", randomFloats(rows * cols, 3), rows, cols).bytes);
        Guarded<float> add(randomFloats(rows, 4)), normed(tokens * ld);
        Guarded<float> fusedOut(tokens * 48), out(tokens * 48);
        Guarded<uint8_t> fused(tokens * stride), separate(tokens * stride);
        std::vector<void*> in = {x, w, gamma}, second = {normed, w};
        if (bias) {
          in.push_back(add);
          second.push_back(add);
        }
        in.insert(in.end(), {fusedOut, fused});
        second.push_back(out);
        image->run("fused", 2, tokens, 1, in, {tokens});
        image->run("rows", tokens, 1, 1, {x, gamma, normed});
        image->run("norm", tokens, 1, 1, {x, gamma, separate});
        image->run("linear", 2, 1, 1, second, {tokens});
        expectSame(fusedOut, out, "product");
        expectSame(fused, separate, "norm");
      }
}

TEST(Fusion, RoutePlans) {
  const int64_t experts = 24, tokens = 7, topK = 4, shared = 1, slots = topK + shared;
  for (const std::string& profile : profilesWith(Fusion::kRoutePlan)) {
    SCOPED_TRACE(profile);
    std::string config =
        "experts = 24, top_k = 4, shared = 1, n_group = 4, topk_group = 2, scoring = \"sigmoid\", "
        "method = \"noaux_tc\", normalize = true, scale = 2.5, norm_eps = 1.0e-20, in_ld = 32";
    auto image = KernelImage::build(profile, {{"fused", "route", config + ", plan = true"},
                                              {"route", "route", config},
                                              {"plan", "route_plan", "experts = 25, top_k = 5"}});
    ASSERT_TRUE(image);
    Guarded<float> logits(randomFloats(tokens * 32, 1)), bias(randomFloats(experts, 2));
    const int64_t size = 2 * (experts + shared) + 2 + tokens * slots;
    Guarded<int32_t> fusedIndex(tokens * slots), index(tokens * slots), fused(size), plan(size);
    Guarded<float> fusedWeight(tokens * slots), weight(tokens * slots);
    image->run("fused", 1, 1, 1, {logits, bias, fusedIndex, fusedWeight, fused}, {tokens});
    image->run("route", tokens, 1, 1, {logits, bias, index, weight});
    image->run("plan", 1, 1, 1, {index, plan}, {tokens});
    expectSame(fusedIndex, index, "index");
    expectSame(fusedWeight, weight, "weight");
    expectSame(fused, plan, "plan");
  }
}

// Any numbers serve as cosines and sines.
std::vector<float> angles(int64_t dim) { return randomFloats((512 + 2) * dim, 77); }

TEST(Fusion, AttentionRotates) {
  const int64_t heads = 20, rank = 64, dim = 32, nope = 48, splits = 3, qLd = heads * (nope + dim);
  const Batch batch({{200, 1}, {1, 1}, {70, 2}});
  const int64_t tokens = batch.tokens();
  for (const std::string& profile : profilesWith(Fusion::kRotateQuery))
    for (bool bf16 : {false, true})
      for (const std::string interleaved : {"true", "false"}) {
        SCOPED_TRACE(profile + (bf16 ? " bf16 " : " f32 ") + interleaved);
        TestCache cache(batch, rank + dim, bf16, 5);
        std::string rotation = ", mscale = 1.5, interleaved = " + interleaved;
        std::string config = "heads = 20, rank = 64, dim = 32, scale = 0.1, splits = 3, " +
                             cache.config(bf16) + entry("q_ld", qLd) +
                             entry("q_head_ld", nope + dim) + entry("q_offset", nope);
        auto image = KernelImage::build(
            profile, {{"fused", "latent_attention", config + rotation + ", rotate = true"},
                      {"attention", "latent_attention", config},
                      {"rope", "rope",
                       "heads = 20, dim = 32" + rotation +
                           ", in_ld = 1600, in_head_ld = 80, in_offset = 48, out_ld = 1600, "
                           "out_head_ld = 80, out_offset = 48"}});
        ASSERT_TRUE(image);
        Guarded<float> latent(randomFloats(tokens * heads * rank, 1)),
            q(randomFloats(tokens * qLd, 2));
        Guarded<float> table(angles(dim));
        Guarded<int32_t> positions(batch.positions), sequence(batch.sequence),
            pages(batch.pageTable);
        const int64_t size = tokens * splits * heads * (rank + 16);
        Guarded<float> fused(size), separate(size);
        image->run("fused", splits, tokens, 2,
                   {latent, q, positions, sequence, pages, table, cache.memory, fused},
                   {batch.pages});
        image->run("rope", tokens, 1, 1, {q, positions, table, q});
        image->run("attention", splits, tokens, 2,
                   {latent, q, positions, sequence, pages, cache.memory, separate}, {batch.pages});
        // Behind m and l is filling.
        for (int64_t r = 0; r < size / (rank + 16); ++r)
          for (int64_t i = 0; i < rank + 2; ++i) {
            const int64_t at = r * (rank + 16) + i;
            ASSERT_EQ(0, std::memcmp(&fused[at], &separate[at], 4)) << "row " << r << " " << i;
          }
      }
}

TEST(Fusion, AppendNormalises) {
  const int64_t rank = 48, dim = 32, queries = 100, ld = 192;
  const Batch batch({{130, 3}, {2, 2}});
  const int64_t tokens = batch.tokens();
  for (const std::string& profile : profilesWith(Fusion::kAppendNorm))
    for (const std::string act : {"f32", "bf16", "i8"}) {
      SCOPED_TRACE(profile + " " + act);
      const int64_t stride = recordBytes(act, queries);
      TestCache cache(batch, rank + dim, true, 5), expected(batch, rank + dim, true, 5);
      std::string config =
          "rank = 48, dim = 32, eps = 1.0e-6, in_ld = 192, in_offset = 104, "
          "interleaved = true, mscale = 1.0, " +
          cache.config(true);
      auto image = KernelImage::build(
          profile, {{"fused", "latent_append",
                     config + word("q_norm", act) + entry("q_n", queries) + ", q_offset = 1" +
                         ", q_eps = 1.0e-5" + entry("q_stride", stride)},
                    {"append", "latent_append", config},
                    {"norm", "norm", normConfig(queries, ld, 1, act, stride)}});
      ASSERT_TRUE(image);
      Guarded<float> x(randomFloats(tokens * ld, 1)), gamma(randomFloats(rank, 2));
      Guarded<float> queryGamma(randomFloats(queries, 3)), table(angles(dim));
      Guarded<int32_t> positions(batch.positions), sequence(batch.sequence), pages(batch.pageTable);
      Guarded<uint8_t> fused(tokens * stride), separate(tokens * stride);
      image->run("fused", tokens, 1, 1,
                 {x, gamma, queryGamma, positions, sequence, pages, table, cache.memory, fused},
                 {batch.pages});
      image->run("append", tokens, 1, 1,
                 {x, gamma, positions, sequence, pages, table, expected.memory}, {batch.pages});
      image->run("norm", tokens, 1, 1, {x, queryGamma, separate});
      expectSame(cache.memory, expected.memory, "cache");
      expectSame(fused, separate, "norm");
    }
}

TEST(Fusion, LinearMergesSplits) {
  const int64_t heads = 2, width = 80, rows = 32, splits = 4, tokens = 3;
  for (const std::string& profile : profilesWith(Fusion::kMergeSplits))
    for (const std::string act : {"f32", "bf16", "i8"}) {
      SCOPED_TRACE(profile + " " + act);
      const std::string enc = act == "i8" ? "q4" : act;
      const int64_t in = recordBytes(act, width), out = recordBytes("i8", heads * rows);
      std::string output = word("out_act", "i8") + entry("out_stride", out);
      std::string tiles = entry("panel_tiles", 2) + entry("batch", heads);
      std::string merge = "heads = 2, width = 80, splits = 4";
      merge += act == "f32" ? entry("out_ld", heads * width)
                            : word("out_act", act) + entry("act_stride", heads * in) +
                                  entry("act_batch_stride", in);
      auto image = KernelImage::build(
          profile,
          {{"fused", "linear",
            projection(enc, act, rows, width, 4 * (width + 16), "store") + tiles +
                entry("splits", splits) + output},
           {"combine", "attention_combine", merge},
           {"linear", "linear",
            projection(enc, act, rows, width, act == "f32" ? 4 * heads * width : heads * in,
                       "store") +
                tiles + entry("act_batch_stride", act == "f32" ? 4 * width : in) + output}});
      ASSERT_TRUE(image);
      const int64_t row = width + 16;
      std::vector<float> sums = randomFloats(tokens * splits * heads * row, 1);
      for (int64_t r = 0; r < tokens * splits * heads; ++r) {
        const bool empty = r / heads % splits == 2;  // a split that saw nothing
        if (empty) std::fill_n(&sums[r * row], width, 0.0f);
        sums[r * row + width] = empty ? -INFINITY : sums[r * row + width];
        sums[r * row + width + 1] = empty ? 0 : 1 + std::fabs(sums[r * row + width + 1]);
      }
      Guarded<float> partial(sums);
      std::vector<uint8_t> bytes;
      for (int64_t h = 0; h < heads; ++h) {
        auto w = encodeWeight(enc, randomFloats(rows * width, 5 + h), rows, width).bytes;
        bytes.insert(bytes.end(), w.begin(), w.end());
      }
      Guarded<uint8_t> w(bytes), between(tokens * heads * (act == "f32" ? 4 * width : in));
      Guarded<uint8_t> fused(tokens * out), separate(tokens * out);
      image->run("fused", 1, heads, 1, {partial, w, fused}, {tokens});
      image->run("combine", tokens, heads, 1, {partial, between});
      image->run("linear", 1, heads, 1, {between, w, separate}, {tokens});
      expectSame(fused, separate, "records");
    }
}

TEST(Fusion, NamesTheEntryThatIsWrong) {
  auto error = [](const std::string& config) {
    return compileError("cpu:x86-64-v3", {"k", "linear", config});
  };
  std::string config = projection("q8", "i8", 40, 64, 128, "store") + entry("panel_tiles", 2);
  EXPECT_NE(error(config + ", out_act = \"i8\", out_stride = 128").find("multiples of 32"),
            std::string::npos);
  EXPECT_NE(error(config + ", out_act = \"f32\", out_stride = 256").find("'out_act'"),
            std::string::npos);
  EXPECT_NE(error(config + ", out_ld = 48, norm = \"i8\", norm_stride = 128, eps = 1.0e-5")
                .find("norm needs act = 'f32'"),
            std::string::npos);
  EXPECT_NE(error(config + ", out_ld = 48, head_act = \"i8\", heads = 2, head_width = 64, "
                           "head_cols = 32, head_act_stride = 256, head_act_batch_stride = 128")
                .find("head_act must be"),
            std::string::npos);
}

}  // namespace
}  // namespace fathom::testing
