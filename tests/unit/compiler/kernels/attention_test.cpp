// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// latent_attention and attention (decode, split over the context) with attention_combine, in
// doubles.
#include "compiler/kernels/simd/HeadShapes.h"
#include "tests/unit/compiler/kernels/attention_cases.h"

namespace fathom::testing {
namespace {

// Decode of sequences of many lengths, one with several tokens at once that cross a page.
const std::vector<Chunk> kBatch = {{1, 1}, {64, 1}, {65, 2}, {200, 1}, {330, 3}, {17, 1}};

// For latent attention also blocks that end with a page of two, whole and in part.
const std::vector<Chunk> kLatentBatch = {{1, 1},   {64, 1}, {65, 2},  {200, 1},
                                         {330, 3}, {17, 1}, {300, 1}, {192, 1}};

// For known numbers of workers: contexts that want twice the splits, and some that do not.
const std::vector<Chunk> kLongBatch = {{4160, 1}, {4030, 1}, {700, 2}, {64, 1}};

// The splits that see some of `pages` pages: all that have one, or those that workers want.
int64_t seeingSplits(int64_t pages, int64_t splits, int64_t even) {
  if (even) splits = 2 * even <= splits && pages >= 64 * even ? 2 * even : even;
  return std::min(pages, splits);
}

// Of latent attention on a CPU: also no more than a power of two near the root of the pages.
int64_t seeingLatentSplits(int64_t pages, int64_t splits, int64_t even) {
  int64_t root = 1;
  while (2 * root * root < pages) root *= 2;
  if (pages > 1) root = std::max<int64_t>(root, 2);
  return std::min(root, seeingSplits(pages, splits, even));
}

// A split without rows says m = -inf, l = 0, and there are as many splits as configured.
void expectEmptySplits(const Guarded<float>& partial, const Batch& batch, int64_t splits,
                       int64_t heads, int64_t width,
                       const std::function<int64_t(int64_t)>& seeing) {
  for (int64_t t = 0; t < batch.tokens(); ++t) {
    int64_t empty = 0;
    for (int64_t s = 0; s < splits; ++s) {
      const float* record = &partial[((t * splits + s) * heads) * (width + 16)];
      if (record[width] != -INFINITY) continue;
      ++empty;
      ASSERT_EQ(record[width + 1], 0);
    }
    ASSERT_EQ(empty, splits - seeing(batch.positions[t] / 64 + 1)) << t;
  }
}

struct Latent {
  int64_t heads, rank, dim, splits;
  bool growing = false;    // scores grow along the context, by 1 every 8 rows
  int64_t evenSplits = 0;  // a CPU's
};

void checkLatent(const std::string& profile, const Latent& c, bool bf16,
                 const std::vector<Chunk>& chunks = kLatentBatch) {
  SCOPED_TRACE(profile + (bf16 ? " bf16 " : " f32 ") + std::to_string(c.heads) + " heads, " +
               std::to_string(c.rank) + "+" + std::to_string(c.dim));
  Batch batch(chunks);
  int64_t T = batch.tokens(), headLd = c.dim + 24, qLd = c.heads * headLd + 5;
  TestCache cache(batch, c.rank + c.dim, bf16, 100);
  double scale = c.growing ? 0.125 : 1.7 / std::sqrt(c.rank + c.dim);
  std::string common = "heads = " + std::to_string(c.heads) + entry("splits", c.splits);
  auto image = KernelImage::build(
      profile, {{"a", "latent_attention",
                 common + entry("rank", c.rank) + entry("dim", c.dim) +
                     (c.evenSplits ? entry("even_splits", c.evenSplits) : "") +
                     ", scale = " + std::to_string(scale) + entry("q_ld", qLd) +
                     entry("q_head_ld", headLd) + entry("q_offset", 7) + ", " + cache.config(bf16)},
                {"c", "attention_combine",
                 common + entry("width", c.rank) + entry("out_ld", c.heads * c.rank)}});
  ASSERT_TRUE(image);
  scale = std::stod(std::to_string(scale));
  Guarded<float> latent(randomFloats(T * c.heads * c.rank, 1)), q(randomFloats(T * qLd, 2));
  if (c.growing) {
    cache.setColumn(batch, 0, [](int64_t row) { return row / 8; });
    for (int64_t i = 0; i < T * c.heads; ++i) latent[i * c.rank] = 8;
  }
  Guarded<float> partial(T * c.splits * c.heads * (c.rank + 16)), out(T * c.heads * c.rank);
  Guarded<int32_t> positions(batch.positions), sequence(batch.sequence), table(batch.pageTable);
  image->run("a", c.splits, T, (c.heads + 15) / 16,
             {latent, q, positions, sequence, table, cache.memory, partial}, {batch.pages});
  expectEmptySplits(partial, batch, c.splits, c.heads, c.rank, [&](int64_t pages) {
    return (isGpu(profile) ? seeingSplits : seeingLatentSplits)(pages, c.splits, c.evenSplits);
  });
  image->run("c", T, c.heads, 1, {partial, out});
  for (int64_t t = 0; t < T; ++t)
    for (int64_t h = 0; h < c.heads; ++h) {
      const float* l = &latent[(t * c.heads + h) * c.rank];
      const float* r = &q[t * qLd + h * headLd + 7];
      std::vector<double> query(l, l + c.rank);
      query.insert(query.end(), r, r + c.dim);
      const std::vector<float>& rows = cache.values[batch.sequence[t]];
      auto at = [&](int64_t row, int64_t i) { return rows[row * cache.width + i]; };
      std::vector<double> expected = attend(query, 0, batch.positions[t], scale, c.rank, at, at);
      EXPECT_LT(distance(&out[(t * c.heads + h) * c.rank], expected),
                attentionTolerance(profile, bf16))
          << "token " << t << " head " << h;
    }
}

TEST(LatentAttention, MatchesDoubles) {
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true})
      for (const Latent& c : {Latent{16, 512, 64, 4}, Latent{5, 48, 8, 3}, Latent{40, 16, 34, 1}})
        checkLatent(profile, c, bf16);
}

// Whole tiles of matrix units; heads that fill some of one, two, three and all of them.
TEST(LatentAttention, OfWholeTilesMatchesDoubles) {
  for (const std::string& profile : runnableProfiles())
    for (const Latent& c : {Latent{8, 96, 32, 1}, Latent{24, 64, 32, 2}, Latent{40, 32, 64, 1},
                            Latent{72, 64, 32, 1}})
      checkLatent(profile, c, true);
}

// What was summed before is rescaled.
TEST(LatentAttention, FollowsScoresThatGrow) {
  for (const std::string& profile : runnableProfiles())
    for (const Latent& c : {Latent{16, 64, 32, 1, true}, Latent{20, 64, 32, 2, true}})
      checkLatent(profile, c, true);
}

TEST(LatentAttention, CutsContextsForWorkers) {
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true})
      for (const Latent& c : {Latent{20, 64, 32, 2, false, 1}, Latent{5, 48, 8, 3, false, 3}})
        if (!isGpu(profile)) checkLatent(profile, c, bf16, kLongBatch);
}

struct Gqa {
  int64_t heads, kvHeads, headDim, splits, window;
  bool growing = false;    // scores grow along the context, by 1 every 8 rows
  int64_t unitsFrom = 0;   // tokens; those who attend to more do so by matrix units
  int64_t evenSplits = 0;  // a CPU's

  int64_t group() const { return heads / kvHeads; }
  // As the kernel has it.
  bool byUnits(const std::string& profile, bool bf16) const {
    return bf16 && profileNamed(profile).amx && headDim % 32 == 0 && group() >= 3 && group() <= 16;
  }
  // The split that sees a row of what the token at `position` attends to.
  int64_t splitOf(int64_t position, int64_t row) const {
    int64_t page0 = firstOf(position) / 64, used = position / 64 + 1 - page0, split = 0;
    while (used * (split + 1) / splits <= row / 64 - page0) ++split;
    return split;
  }
  int64_t firstOf(int64_t position) const {
    return window ? std::max<int64_t>(0, position + 1 - window) : 0;
  }
};

struct GqaRun {
  GqaRun(const std::string& profile, const Gqa& c, bool bf16, const std::vector<Chunk>& chunks)
      : batch(chunks),
        cache(batch, 2 * c.kvHeads * c.headDim, bf16, 200, /*runs=*/2 * c.kvHeads),
        q(randomFloats(batch.tokens() * qLd(c), 2)),
        partial(batch.tokens() * c.splits * c.heads * (c.headDim + 16)),
        out(batch.tokens() * c.heads * c.headDim) {
    int64_t T = batch.tokens();
    std::string number = std::to_string(c.growing ? 0.125 : 1.5 / std::sqrt(c.headDim));
    scale = std::stod(number);
    if (c.growing) {
      for (int64_t kv = 0; kv < c.kvHeads; ++kv)
        cache.setColumn(batch, kv * c.headDim, [](int64_t row) { return row / 8; });
      for (int64_t t = 0; t < T; ++t)
        for (int64_t h = 0; h < c.heads; ++h) q[t * qLd(c) + h * c.headDim] = 8;
    }
    std::string common = "heads = " + std::to_string(c.heads) + entry("splits", c.splits);
    auto image = KernelImage::build(
        profile,
        {{"a", "attention",
          common + entry("kv_heads", c.kvHeads) + entry("head_dim", c.headDim) +
              ", scale = " + number + entry("q_ld", qLd(c)) + entry("window", c.window) +
              (isGpu(profile) ? "" : entry("units_from", c.unitsFrom)) +
              (c.evenSplits ? entry("even_splits", c.evenSplits) : "") + ", " + cache.config(bf16)},
         {"c", "attention_combine",
          common + entry("width", c.headDim) + entry("out_ld", c.heads * c.headDim)}});
    if (!image) return;
    Guarded<int32_t> positions(batch.positions), sequence(batch.sequence), table(batch.pageTable);
    // For a GPU the grid is its own.
    int64_t workgroups = kernels::GroupedShape::of(profileNamed(profile), c.kvHeads).workgroups;
    image->run("a", c.splits, T, workgroups, {q, positions, sequence, table, cache.memory, partial},
               {batch.pages});
    if (!c.window)
      expectEmptySplits(partial, batch, c.splits, c.heads, c.headDim,
                        [&](int64_t pages) { return seeingSplits(pages, c.splits, c.evenSplits); });
    image->run("c", T, c.heads, 1, {partial, out});
    ran = true;
  }
  static int64_t qLd(const Gqa& c) { return c.heads * c.headDim + 3; }

  Batch batch;
  TestCache cache;
  Guarded<float> q, partial, out;
  double scale = 0;
  bool ran = false;
};

void checkGqa(const std::string& profile, const Gqa& c, bool bf16,
              const std::vector<Chunk>& chunks = kBatch) {
  SCOPED_TRACE(profile + (bf16 ? " bf16 " : " f32 ") + std::to_string(c.heads) + "/" +
               std::to_string(c.kvHeads) + " heads of " + std::to_string(c.headDim) + ", window " +
               std::to_string(c.window));
  GqaRun run(profile, c, bf16, chunks);
  ASSERT_TRUE(run.ran);
  for (int64_t t = 0; t < run.batch.tokens(); ++t)
    for (int64_t h = 0; h < c.heads; ++h) {
      const float* from = &run.q[t * GqaRun::qLd(c) + h * c.headDim];
      const float* got = &run.out[(t * c.heads + h) * c.headDim];
      const std::vector<float>& rows = run.cache.values[run.batch.sequence[t]];
      int64_t kv = h / c.group() * c.headDim, position = run.batch.positions[t];
      auto key = [&](int64_t row, int64_t i) { return rows[row * run.cache.width + kv + i]; };
      auto value = [&](int64_t row, int64_t i) {
        return rows[row * run.cache.width + c.kvHeads * c.headDim + kv + i];
      };
      int64_t first = c.firstOf(position);
      std::vector<double> expected = attend(std::vector<double>(from, from + c.headDim), first,
                                            position, run.scale, c.headDim, key, value);
      // Scores that grow are five times as large as those whose rounding is allowed for.
      double tolerance = std::max(attentionTolerance(profile, bf16), c.growing ? 5e-5 : 0);
      EXPECT_LT(distance(got, expected), tolerance) << "token " << t << " head " << h;
      if (!c.byUnits(profile, bf16) || c.growing) continue;
      if (position + 1 - first <= c.unitsFrom) continue;
      auto top = [&](int64_t row) {
        int64_t record = (t * c.splits + c.splitOf(position, row)) * c.heads + h;
        return run.partial[record * (c.headDim + 16) + c.headDim];
      };
      Rounded rounded = attendRounded(std::vector<float>(from, from + c.headDim), first, position,
                                      run.scale, c.headDim, top, key, value);
      for (int64_t i = 0; i < c.headDim; ++i)
        ASSERT_NEAR(got[i], rounded.value[i], rounded.tolerance[i])
            << "token " << t << " head " << h << " element " << i;
    }
}

TEST(Attention, MatchesDoubles) {
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true})
      for (const Gqa& c : {Gqa{8, 2, 64, 3, 0}, Gqa{3, 3, 48, 2, 0}, Gqa{5, 1, 128, 1, 70},
                           Gqa{6, 3, 16, 4, 0}, Gqa{9, 9, 32, 2, 0}, Gqa{21, 3, 32, 2, 0}})
        checkGqa(profile, c, bf16);
}

TEST(Attention, CutsContextsForWorkers) {
  for (const std::string& profile : runnableProfiles())
    for (bool bf16 : {false, true})
      for (const Gqa& c :
           {Gqa{8, 2, 64, 2, 0, false, 1 << 20, 1}, Gqa{3, 1, 48, 3, 0, false, 1 << 20, 3},
            Gqa{4, 1, 32, 4, 300, false, 1 << 20, 2}})
        if (!isGpu(profile)) checkGqa(profile, c, bf16, kLongBatch);
}

// Matrix units: heads that fill a quarter, a half and all of a tile's columns or leave some of them
// unused, rows of one, two, three and four lines of tiles; windows that begin within a page; short
// contexts by vectors.
TEST(Attention, OfWholeTilesMatchesDoubles) {
  for (const std::string& profile : runnableProfiles())
    for (const Gqa& c : {Gqa{6, 2, 32, 2, 0}, Gqa{7, 1, 96, 3, 0}, Gqa{16, 1, 64, 2, 90},
                         Gqa{16, 2, 128, 1, 0}, Gqa{12, 3, 64, 4, 150}, Gqa{20, 1, 64, 1, 0},
                         Gqa{8, 2, 64, 2, 0, false, 64}, Gqa{4, 1, 32, 2, 90, false, 89}})
      if (!isGpu(profile)) checkGqa(profile, c, true);
}

// What was summed before is rescaled.
TEST(Attention, FollowsScoresThatGrow) {
  for (const std::string& profile : runnableProfiles())
    for (const Gqa& c :
         {Gqa{4, 1, 64, 1, 0, true}, Gqa{6, 2, 32, 2, 0, true}, Gqa{4, 4, 64, 1, 0, true}})
      checkGqa(profile, c, true);
}

// Records written by the merge are what the encode kernel makes of its rows, to the byte.
void checkRecords(const std::string& profile, int64_t heads, int64_t width, const std::string& act,
                  bool perHead) {
  SCOPED_TRACE(profile + " " + act + " " + std::to_string(heads) + " x " + std::to_string(width));
  constexpr int64_t T = 3, kSplits = 4;
  int64_t groups = perHead ? heads : 1, n = heads * width / groups;
  int64_t bytes = encodeAct(act, std::vector<float>(n), 1, n).stride;
  std::string common = entry("heads", heads).substr(2) + entry("width", width) +
                       entry("splits", kSplits),
              form = ", act = \"" + act + "\"";
  std::string strides =
      entry("act_stride", groups * bytes) + entry("act_batch_stride", perHead ? bytes : 0);
  auto image = KernelImage::build(
      profile, {{"rows", "attention_combine", common + entry("out_ld", heads * width)},
                {"records", "attention_combine", common + ", out_act = \"" + act + "\"" + strides},
                {"encode", "encode",
                 entry("n", n).substr(2) + entry("groups", groups) + entry("in_ld", heads * width) +
                     entry("in_group_ld", n) + entry("in_offset", 0) + form + strides}});
  ASSERT_TRUE(image);
  std::vector<float> values = randomFloats(T * kSplits * heads * (width + 16), 3);
  for (int64_t r = 0; r < T * kSplits * heads; ++r) {
    float* tail = &values[r * (width + 16) + width];
    tail[1] = 1.0f + std::fabs(tail[1]);  // a sum of exponentials
  }
  Guarded<float> partial(values), rows(T * heads * width);
  Guarded<uint8_t> records(T * groups * bytes), expected(T * groups * bytes);
  image->run("rows", T, heads, 1, {partial, rows});
  image->run("encode", T, groups, 1, {rows, expected});
  image->run("records", T, heads, 1, {partial, records});
  EXPECT_EQ(records.values(), expected.values());
}

TEST(AttentionCombine, WritesRecords) {
  for (const std::string& profile : runnableProfiles())
    for (const char* act : {"bf16", "i8"}) {
      checkRecords(profile, 5, 64, act, true);
      checkRecords(profile, 3, 48, act, true);
      if (!isGpu(profile)) checkRecords(profile, 6, 32, act, false);
    }
}

TEST(SplitShape, GivesWorkersEvenShares) {
  struct {
    int64_t workers, workgroups, pieces, even, most;
  } cases[] = {{0, 1, 1, 0, 16},  {1, 1, 1, 1, 2},   {2, 1, 1, 2, 4},  {2, 8, 1, 1, 2},
               {3, 8, 1, 3, 6},   {8, 4, 1, 2, 4},   {8, 1, 1, 8, 16}, {12, 1, 1, 12, 12},
               {24, 1, 1, 0, 16}, {2, 8, 4, 1, 2},   {2, 4, 4, 2, 4},  {2, 3, 4, 4, 8},
               {12, 8, 4, 6, 12}, {32, 8, 4, 16, 16}};
  for (auto [workers, workgroups, pieces, even, most] : cases) {
    TargetProfile profile = profileNamed("cpu:x86-64-v4-bf16");
    profile.workers = workers;
    auto shape = kernels::SplitShape::of(profile, workgroups, pieces);
    EXPECT_EQ(shape.even, even) << workers << " workers, " << workgroups << " workgroups";
    EXPECT_EQ(shape.most, most) << workers << " workers, " << workgroups << " workgroups";
  }
}

TEST(GroupedShape, LeavesEveryWorkerSomething) {
  struct {
    int64_t workers, kvHeads, together, workgroups;
  } cases[] = {{0, 8, 2, 4}, {0, 2, 1, 2},  {0, 32, 8, 4}, {1, 9, 5, 2},
               {2, 8, 8, 1}, {16, 9, 3, 3}, {64, 8, 1, 8}, {64, 40, 3, 14}};
  for (auto [workers, kvHeads, together, workgroups] : cases) {
    TargetProfile profile = profileNamed("cpu:x86-64-v4-bf16");
    profile.workers = workers;
    auto shape = kernels::GroupedShape::of(profile, kvHeads);
    EXPECT_EQ(shape.together, together) << workers << " workers, " << kvHeads << " heads";
    EXPECT_EQ(shape.workgroups, workgroups) << workers << " workers, " << kvHeads << " heads";
  }
}

TEST(Attention, NamesTheEntryThatIsWrong) {
  std::string config =
      "heads = 5, kv_heads = 2, head_dim = 64, scale = 0.1, q_ld = 320, splits = 1, window = 0, kv "
      "= "
      "\"f32\", page_tokens = 64, page_bytes = 65536";
  std::string error = compileError("cpu:x86-64-v3", {"a", "attention", config});
  EXPECT_NE(error.find("heads 5 is not a multiple of kv_heads 2"), std::string::npos) << error;
}

}  // namespace
}  // namespace fathom::testing
