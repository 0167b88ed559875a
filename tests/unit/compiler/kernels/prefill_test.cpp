// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// attention_prefill and latent_attention_expanded, in doubles: chunks of several sequences, tokens
// in mixed order, more tokens than a block holds, every weight encoding.
#include "tests/unit/compiler/kernels/attention_cases.h"

namespace fathom::testing {
namespace {

const std::vector<Chunk> kChunks = {{330, 130}, {1, 1}, {65, 65}, {70, 3}};

// Tokens of different sequences mixed: each still says where it belongs.
void mix(Batch* batch) {
  std::mt19937 bits(3);
  for (size_t i = batch->positions.size() - 1; i > 0; --i) {
    size_t j = bits() % (i + 1);
    std::swap(batch->positions[i], batch->positions[j]);
    std::swap(batch->sequence[i], batch->sequence[j]);
  }
}

struct Gqa {
  int64_t heads, kvHeads, headDim, gridHeads, window;
};

void checkGqa(const std::string& profile, const Gqa& c, const Batch& batch, bool bf16) {
  SCOPED_TRACE(profile + (bf16 ? " bf16 " : " f32 ") + std::to_string(c.heads) + "/" +
               std::to_string(c.kvHeads) + " heads of " + std::to_string(c.headDim));
  int64_t T = batch.tokens(), width = c.heads * c.headDim, qLd = width + 3;
  TestCache cache(batch, 2 * c.kvHeads * c.headDim, bf16, 300, /*runs=*/2 * c.kvHeads);
  double scale = 0.18;
  auto image = KernelImage::build(
      profile, {{"a", "attention_prefill",
                 "heads = " + std::to_string(c.heads) + entry("kv_heads", c.kvHeads) +
                     entry("head_dim", c.headDim) + ", scale = 0.18" + entry("q_ld", qLd) +
                     entry("window", c.window) + entry("grid_heads", c.gridHeads) + ", " +
                     cache.config(bf16)}});
  ASSERT_TRUE(image);
  Guarded<float> q(randomFloats(T * qLd, 2)), out(T * width);
  Guarded<int32_t> positions(batch.positions), sequence(batch.sequence), table(batch.pageTable);
  Guarded<int32_t> contexts(batch.contexts);
  image->run("a", c.gridHeads, batch.chunks.size(), 1,
             {q, sequence, positions, table, contexts, cache.memory, out}, {T, batch.pages});
  for (int64_t t = 0; t < T; ++t)
    for (int64_t h = 0; h < c.heads; ++h) {
      const float* from = &q[t * qLd + h * c.headDim];
      const std::vector<float>& rows = cache.values[batch.sequence[t]];
      int64_t kv = h / (c.heads / c.kvHeads) * c.headDim, position = batch.positions[t];
      auto key = [&](int64_t row, int64_t i) { return rows[row * cache.width + kv + i]; };
      auto value = [&](int64_t row, int64_t i) {
        return rows[row * cache.width + c.kvHeads * c.headDim + kv + i];
      };
      int64_t first = c.window ? std::max<int64_t>(0, position + 1 - c.window) : 0;
      std::vector<double> expected = attend(std::vector<double>(from, from + c.headDim), first,
                                            position, scale, c.headDim, key, value);
      ASSERT_LT(distance(&out[t * width + h * c.headDim], expected),
                attentionTolerance(profile, bf16))
          << "token " << t << " head " << h;
    }
}

TEST(AttentionPrefill, MatchesDoubles) {
  Batch batch(kChunks), mixed(kChunks);
  mix(&mixed);
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true}) {
      checkGqa(profile, {8, 2, 64, 2, 0}, batch, bf16);
      checkGqa(profile, {3, 3, 48, 3, 0}, mixed, bf16);
      checkGqa(profile, {4, 2, 16, 4, 70}, mixed, bf16);
    }
}

struct Latent {
  int64_t heads, rank, dim, nope, v;
};

void checkLatent(const std::string& profile, const Latent& c, const Batch& batch,
                 const std::string& enc, bool bf16) {
  SCOPED_TRACE(profile + (bf16 ? " bf16 " : " f32 ") + enc + " rank " + std::to_string(c.rank));
  int64_t T = batch.tokens(), headLd = c.nope + c.dim + 8, qLd = c.heads * headLd + 2;
  TestCache cache(batch, c.rank + c.dim, bf16, 400);
  auto image = KernelImage::build(
      profile,
      {{"a", "latent_attention_expanded",
        "heads = " + std::to_string(c.heads) + entry("rank", c.rank) + entry("dim", c.dim) +
            entry("nope", c.nope) + entry("v", c.v) + ", scale = 0.2, enc = \"" + enc + "\"" +
            entry("q_ld", qLd) + entry("q_head_ld", headLd) + entry("q_offset", 5) + ", " +
            cache.config(bf16)}});
  ASSERT_TRUE(image);
  std::vector<uint8_t> bytes[2];
  std::vector<std::vector<float>> values[2];
  for (int64_t h = 0; h < c.heads; ++h)
    for (int m = 0; m < 2; ++m) {
      int64_t rows = m ? c.v : c.nope;
      float size = 1 / std::sqrt(static_cast<float>(c.rank));
      TestWeight w = encodeWeight(enc, randomFloats(rows * c.rank, 10 * h + m, size), rows, c.rank);
      bytes[m].insert(bytes[m].end(), w.bytes.begin(), w.bytes.end());
      values[m].push_back(w.values);
    }
  Guarded<uint8_t> uk(bytes[0]), uv(bytes[1]);
  Guarded<float> q(randomFloats(T * qLd, 2)), out(T * c.heads * c.v);
  Guarded<int32_t> positions(batch.positions), sequence(batch.sequence), table(batch.pageTable);
  Guarded<int32_t> contexts(batch.contexts);
  image->run("a", c.heads, batch.chunks.size(), 1,
             {q, uk, uv, sequence, positions, table, contexts, cache.memory, out},
             {T, batch.pages});

  for (int64_t h = 0; h < c.heads; ++h) {
    // (rows, nope + dim) and (rows, v) of every sequence.
    std::vector<std::vector<double>> keys, vals;
    for (const std::vector<float>& data : cache.values) {
      int64_t rows = data.size() / cache.width;
      std::vector<double> key(rows * (c.nope + c.dim)), val(rows * c.v);
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = &data[r * cache.width];
        auto product = [&](const std::vector<float>& w, int64_t n) {
          double sum = 0;
          for (int64_t i = 0; i < c.rank; ++i)
            sum += static_cast<double>(w[n * c.rank + i]) * row[i];
          return sum;
        };
        for (int64_t n = 0; n < c.nope; ++n)
          key[r * (c.nope + c.dim) + n] = product(values[0][h], n);
        for (int64_t i = 0; i < c.dim; ++i)
          key[r * (c.nope + c.dim) + c.nope + i] = row[c.rank + i];
        for (int64_t n = 0; n < c.v; ++n) val[r * c.v + n] = product(values[1][h], n);
      }
      keys.push_back(key);
      vals.push_back(val);
    }
    for (int64_t t = 0; t < T; ++t) {
      const float* from = &q[t * qLd + h * headLd + 5];
      auto key = [&](int64_t r, int64_t i) {
        return keys[batch.sequence[t]][r * (c.nope + c.dim) + i];
      };
      auto value = [&](int64_t r, int64_t i) { return vals[batch.sequence[t]][r * c.v + i]; };
      std::vector<double> expected = attend(std::vector<double>(from, from + c.nope + c.dim), 0,
                                            batch.positions[t], 0.2, c.v, key, value);
      ASSERT_LT(distance(&out[(t * c.heads + h) * c.v], expected),
                attentionTolerance(profile, bf16))
          << "token " << t << " head " << h;
    }
  }
}

TEST(LatentAttentionExpanded, MatchesDoubles) {
  Batch batch(kChunks), mixed(kChunks);
  mix(&mixed);
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true})
      for (const std::string enc : {"f32", "bf16", "q8", "q4"}) {
        checkLatent(profile, {2, 48, 8, 16, 32}, enc == "q8" ? mixed : batch, enc, bf16);
        if (enc == "q4") checkLatent(profile, {1, 128, 64, 64, 48}, batch, enc, bf16);
      }
}

TEST(LatentAttentionExpanded, MoreTokensThanABlock) {
  Batch batch({{40, 5}, {1300, 1100}});
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true}) checkLatent(profile, {1, 32, 8, 16, 16}, batch, "bf16", bf16);
}

TEST(AttentionPrefill, MoreTokensThanABlock) {
  Batch batch({{40, 5}, {500, 300}});
  for (const std::string& profile : runnableProfiles())
    checkGqa(profile, {6, 2, 16, 2, 0}, batch, true);
}

TEST(AttentionPrefill, NamesTheEntryThatIsWrong) {
  std::string config =
      "heads = 6, kv_heads = 2, head_dim = 64, scale = 0.1, q_ld = 384, window = 0, grid_heads = "
      "3, "
      "kv = \"f32\", page_tokens = 64, page_bytes = 65536";
  std::string error = compileError("cpu:x86-64-v3", {"a", "attention_prefill", config});
  EXPECT_NE(error.find("grid_heads 3 is neither"), std::string::npos) << error;
}

}  // namespace
}  // namespace fathom::testing
