// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times the attention kernels beside this machine's peak of bf16 dot products and of reading.
//
//   attention_bench [TARGET] [CONTEXT] [latent | prefill | gqa] [THREADS]
//
// cpu:native, 4096 and 1 by default. Decode runs as a model's does, by the driver's worker pool,
// over the caches of many layers in turn, so that nothing is warm; the merge of the splits is timed
// beside it. Limits and kernels alternate in short rounds by the clock; medians count, so the
// machine must be quiet.
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <functional>

#include "backends/cpu/driver/cpu_commands.h"
#include "backends/cpu/driver/cpu_features.h"
#include "compiler/kernels/simd/HeadShapes.h"
#include "tests/unit/compiler/kernels/attention_cases.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom::testing {
namespace {

double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

double timed(const std::function<void()>& body) {
  double start = seconds();
  body();
  return seconds() - start;
}

double median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

uint8_t* hugeMemory(size_t bytes) {
  constexpr size_t kPage = size_t{2} << 20;
  void* base =
      mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) std::abort();
  auto from = (reinterpret_cast<uintptr_t>(base) + kPage - 1) & ~(kPage - 1);
  madvise(reinterpret_cast<void*>(from), bytes, MADV_HUGEPAGE);
  return reinterpret_cast<uint8_t*>(from);
}

#if defined(__x86_64__)
// 20 independent accumulators, so that latency is hidden.
#define FATHOM_DOT(n) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #n "\n"
__attribute__((noinline)) void dots(int64_t n) {
  asm volatile(
      "vpxord %%zmm30, %%zmm30, %%zmm30\nvpxord %%zmm31, %%zmm31, %%zmm31\n1:" FATHOM_DOT(0)
          FATHOM_DOT(1) FATHOM_DOT(2) FATHOM_DOT(3) FATHOM_DOT(4) FATHOM_DOT(5) FATHOM_DOT(6)
              FATHOM_DOT(7) FATHOM_DOT(8) FATHOM_DOT(9) FATHOM_DOT(10) FATHOM_DOT(11) FATHOM_DOT(12)
                  FATHOM_DOT(13) FATHOM_DOT(14) FATHOM_DOT(15) FATHOM_DOT(16) FATHOM_DOT(17)
                      FATHOM_DOT(18) FATHOM_DOT(19) "dec %0\njnz 1b\nvzeroupper"
      : "+r"(n)::"memory");
}
double peakFlops(const TargetProfile& profile) {
  if (!profile.avx512Bf16) return 0;
  constexpr int64_t kRounds = 50000;
  return 2.0 * 32 * 20 * kRounds / timed([] { dots(kRounds); });
}
__attribute__((target("avx2"), noinline)) void readAll(const uint8_t* from, int64_t bytes) {
  __m256i sum[8] = {};
  for (int64_t i = 0; i + 256 <= bytes; i += 256)
    for (int j = 0; j < 8; ++j)
      sum[j] = _mm256_xor_si256(
          sum[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i + 32 * j)));
  for (int j = 0; j < 8; ++j) asm volatile("" ::"x"(sum[j]));
}
#else
double peakFlops(const TargetProfile&) { return 0; }
void readAll(const uint8_t* from, int64_t bytes) {
  uint64_t sum = 0;
  for (int64_t i = 0; i + 8 <= bytes; i += 8) sum ^= *reinterpret_cast<const uint64_t*>(from + i);
  asm volatile("" ::"r"(sum));
}
#endif

// One stage: every worker reads its share in order.
class Reading final : public cpu::StagedJob {
 public:
  Reading(cpu::WorkerPool& pool, const uint8_t* from, int64_t bytes)
      : StagedJob(pool, {{.items = kShares}}), from_(from), bytes_(bytes / kShares / 256 * 256) {}
  ~Reading() override { Retire(); }

 private:
  static constexpr int64_t kShares = 64;
  void RunItems(size_t, uint64_t begin, uint64_t end, int) override {
    readAll(from_ + begin * bytes_, (end - begin) * bytes_);
  }
  const uint8_t* from_;
  int64_t bytes_;
};

/// Dispatches of one image, each a stage of its own.
class List {
 public:
  List(const KernelImage& image, int workers)
      : image_(image), pool_(workers, cpu::UsableCpus().cpus), scratch_(workers) {}

  void add(const std::string& name, uint32_t x, uint32_t y, uint32_t z, std::vector<void*> bindings,
           std::vector<int64_t> push = {}) {
    const fathom_cpu_entry* entry = image_.find(name);
    if (!scratch_.Reserve(entry->scratch_bytes).ok()) std::abort();
    cpu::RecordedDispatch dispatch;
    dispatch.code = KernelImage::code(*entry);
    dispatch.bindings = bindings_.emplace_back(std::move(bindings)).data();
    dispatch.push = push_.emplace_back(std::move(push)).data();
    dispatch.x = x;
    dispatch.y = y;
    dispatch.workgroups = uint64_t{x} * y * z;
    dispatches_.push_back(dispatch);
    ends_.push_back(dispatches_.size());
  }
  /// Nanoseconds of each dispatch.
  std::vector<uint64_t> run() {
    std::vector<uint64_t> times;
    cpu::DispatchJob(pool_, scratch_, dispatches_, ends_).RunTimed(&times);
    return times;
  }
  cpu::WorkerPool& pool() { return pool_; }

 private:
  const KernelImage& image_;
  cpu::WorkerPool pool_;
  cpu::Scratch scratch_;
  std::deque<std::vector<void*>> bindings_;
  std::deque<std::vector<int64_t>> push_;
  std::vector<cpu::RecordedDispatch> dispatches_;
  std::vector<uint32_t> ends_;
};

class Bench {
 public:
  Bench(const std::string& target, int64_t context, int threads)
      : profile_(profileNamed(target)),
        context_(context),
        pages_((context + 63) / 64),
        threads_(threads) {}

  // Rows of `rowBytes` in pages of 64, in no order, one cache per layer: more than caches hold.
  void makeCache(int64_t rowBytes) {
    constexpr int64_t kBytes = 400 << 20;
    pageBytes_ = 64 * rowBytes;
    layerBytes_ = pages_ * pageBytes_;
    layers_ = std::max<int64_t>(8, kBytes / layerBytes_);
    cache_ = hugeMemory(layerBytes_ * layers_);
    std::vector<float> some = randomFloats(65536, 1);
    auto* words = reinterpret_cast<uint16_t*>(cache_);
    for (int64_t i = 0; i < layerBytes_ * layers_ / 2; ++i)
      words[i] = floatToBf16(some[i * 7 % 65521]);
    Batch batch({{context_, 1}});
    table_ = batch.pageTable;
    stride_ = batch.pages;
  }
  void freeCache() { munmap(cache_, layerBytes_ * layers_); }

  std::string cacheConfig() const {
    return ", kv = \"bf16\", page_tokens = 64" + entry("page_bytes", pageBytes_);
  }

  // The list has `each` dispatches for every layer; the first is what is looked at, `bytes` of
  // whose cache it reads.
  void report(const std::string& what, double flops, List& list, size_t each, int rounds = 9) {
    std::vector<double> times, others, reads;
    double peak = 0;
    for (int round = 0; round < rounds; ++round) {
      peak = std::max(peak, peakFlops(profile_) * threads_);
      Reading reading(list.pool(), cache_, layerBytes_ * layers_);
      reads.push_back(layerBytes_ * layers_ / timed([&] { reading.Run(); }));
      std::vector<uint64_t> stages = list.run();
      double time = 0, other = 0;
      for (size_t i = 0; i < stages.size(); ++i) (i % each ? other : time) += 1e-9 * stages[i];
      times.push_back(time * each / stages.size());
      others.push_back(other * each / stages.size());
    }
    double time = median(times), read = median(reads);
    std::printf("%-42s %8.1f us (least %.1f), merge %.1f, %6.1f GFLOP/s %5.1f GB/s", what.c_str(),
                time * 1e6, *std::min_element(times.begin(), times.end()) * 1e6,
                median(others) * 1e6, flops / time / 1e9, layerBytes_ / time / 1e9);
    if (peak > 0)
      std::printf(", %3.0f %% of the dot product's %.0f", 100 * flops / time / peak, peak / 1e9);
    std::printf(", %3.0f %% of reading's %.1f\n", 100 * layerBytes_ / time / read, read / 1e9);
  }

  void latentDecode(int64_t heads, int64_t rank, int64_t dim) {
    makeCache(2 * (rank + dim));
    auto shape = kernels::LatentShape::of(profile_, heads, rank, dim, /*pageTokens=*/64,
                                          /*bf16=*/true);
    auto cut = SplitShape::of(profile_, shape.workgroups(heads), SplitShape::kLatentPieces);
    auto image = KernelImage::build(
        profile_,
        {{"a", "latent_attention",
          "heads = " + std::to_string(heads) + splits(cut) + entry("rank", rank) +
              entry("dim", dim) +
              ", scale = 0.0721687836, q_offset = 0, rotate = true, interleaved = true, mscale = "
              "1.0" +
              entry("q_ld", heads * dim) + entry("q_head_ld", dim) + cacheConfig()},
         {"c", "attention_combine",
          "heads = " + std::to_string(heads) + entry("splits", cut.most) + entry("width", rank) +
              entry("out_ld", heads * rank)}});
    if (!image) return;
    Guarded<float> latent(randomFloats(heads * rank, 2)), q(randomFloats(heads * dim, 3));
    Guarded<float> partial(cut.most * heads * (rank + 16)), out(heads * rank);
    Guarded<float> angles(randomFloats((513 + context_ / 512) * dim, 4));
    Guarded<int32_t> positions(std::vector<int32_t>{static_cast<int32_t>(context_ - 1)});
    Guarded<int32_t> sequence(std::vector<int32_t>{0}), table(table_);
    List list(*image, threads_);
    for (int64_t i = 0; i < layers_; ++i) {
      list.add("a", cut.most, 1, shape.workgroups(heads),
               {latent, q, positions, sequence, table, angles, cache_ + i * layerBytes_, partial},
               {stride_});
      list.add("c", 1, heads, 1, {partial, out});
    }
    report("latent_attention, " + std::to_string(heads) + " heads, " + std::to_string(rank) +
               " + " + std::to_string(dim),
           2.0 * context_ * heads * (2 * rank + dim), list, 2);
    freeCache();
  }

  void gqaDecode(int64_t heads, int64_t kvHeads, int64_t headDim) {
    makeCache(2 * 2 * kvHeads * headDim);
    int64_t workgroups = kernels::GroupedShape::of(profile_, kvHeads).workgroups;
    auto cut = SplitShape::of(profile_, workgroups, SplitShape::kGroupedPieces);
    std::string shape = "heads = " + std::to_string(heads);
    auto image = KernelImage::build(
        profile_,
        {{"a", "attention",
          shape + splits(cut) + entry("kv_heads", kvHeads) + entry("head_dim", headDim) +
              entry("dim", headDim) +
              ", scale = 0.088, window = 0, rotate = true, interleaved = false, mscale = 1.0" +
              entry("q_ld", heads * headDim) + cacheConfig()},
         {"c", "attention_combine",
          shape + entry("splits", cut.most) + entry("width", headDim) +
              entry("out_ld", heads * headDim)}});
    if (!image) return;
    Guarded<float> q(randomFloats(heads * headDim, 3)), partial(cut.most * heads * (headDim + 16));
    Guarded<float> out(heads * headDim), angles(randomFloats((513 + context_ / 512) * headDim, 4));
    Guarded<int32_t> positions(std::vector<int32_t>{static_cast<int32_t>(context_ - 1)});
    Guarded<int32_t> sequence(std::vector<int32_t>{0}), table(table_);
    List list(*image, threads_);
    for (int64_t i = 0; i < layers_; ++i) {
      list.add("a", cut.most, 1, workgroups,
               {q, positions, sequence, table, angles, cache_ + i * layerBytes_, partial},
               {stride_});
      list.add("c", 1, heads, 1, {partial, out});
    }
    report("attention, " + std::to_string(heads) + "/" + std::to_string(kvHeads) + " heads of " +
               std::to_string(headDim),
           4.0 * context_ * heads * headDim, list, 2);
    freeCache();
  }

  // The last 512 tokens of the context, a head for every thread. The work counted includes
  // expanding keys and values.
  void latentPrefill() {
    constexpr int64_t kRank = 512, kDim = 64, kNope = 128, kTokens = 512;
    makeCache(2 * (kRank + kDim));
    int64_t tokens = std::min(kTokens, context_), width = kNope + kDim;
    auto image = KernelImage::build(
        profile_,
        {{"a", "latent_attention_expanded",
          "rank = 512, dim = 64, nope = 128, v = 128, scale = 0.07, enc = \"bf16\", "
          "q_head_ld = 192, q_offset = 0" +
              entry("heads", threads_) + entry("q_ld", threads_ * width) + cacheConfig()}});
    if (!image) return;
    TestWeight w = encodeWeight("bf16", randomFloats(threads_ * kNope * kRank, 4, 0.04f),
                                threads_ * kNope, kRank);
    Guarded<uint8_t> uk(w.bytes), uv(w.bytes);
    Guarded<float> q(randomFloats(tokens * threads_ * width, 3)), out(tokens * threads_ * kNope);
    Batch batch({{context_, tokens}});
    Guarded<int32_t> positions(batch.positions), sequence(batch.sequence), table(table_);
    Guarded<int32_t> contexts(batch.contexts);
    double seen = 0;
    for (int32_t p : batch.positions) seen += p + 1;
    double flops = threads_ * (2 * seen * (width + kNope) + 2.0 * context_ * 2 * kNope * kRank);
    List list(*image, threads_);
    for (int64_t i = 0; i < 8; ++i)
      list.add("a", threads_, 1, 1,
               {q, uk, uv, sequence, positions, table, contexts, cache_ + i * layerBytes_, out},
               {tokens, stride_});
    report("latent_attention_expanded, 512 tokens", flops, list, 1);
    freeCache();
  }

 private:
  using SplitShape = kernels::SplitShape;
  // As the lowering has it.
  static std::string splits(const SplitShape& cut) {
    return entry("splits", cut.most) + (cut.even ? entry("even_splits", cut.even) : "");
  }

  TargetProfile profile_;
  int64_t context_, pages_, pageBytes_ = 0, layerBytes_ = 0, layers_ = 0, stride_ = 0;
  int threads_;
  uint8_t* cache_ = nullptr;
  std::vector<int32_t> table_;
};

}  // namespace
}  // namespace fathom::testing

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  fathom::testing::Bench bench(argc > 1 ? argv[1] : "cpu:native", argc > 2 ? atoll(argv[2]) : 4096,
                               argc > 4 ? atoi(argv[4]) : 1);
  std::string only = argc > 3 ? argv[3] : "";
  if (only.empty() || only == "latent") {
    bench.latentDecode(16, 256, 32);
    bench.latentDecode(16, 512, 64);
    bench.latentDecode(128, 512, 64);
  }
  if (only.empty() || only == "prefill") bench.latentPrefill();
  if (only.empty() || only == "gqa") {
    bench.gqaDecode(32, 8, 64);
    bench.gqaDecode(32, 8, 128);
    bench.gqaDecode(16, 8, 128);
    bench.gqaDecode(28, 4, 128);
    bench.gqaDecode(16, 16, 128);
    bench.gqaDecode(9, 3, 64);
  }
}
