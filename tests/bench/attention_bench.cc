// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times the attention kernels beside this machine's peak of bf16 dot products and of reading.
//
//   attention_bench [TARGET] [CONTEXT] [latent | prefill | gqa]      cpu:native and 4096 by default
//
// Decode runs over 27 different caches in turn (a model's layers), so that nothing is warm. The
// machine may be busy with something else: limits and kernels alternate in many short rounds, each
// is timed by its thread's processor time, and the best round counts.
#include <sys/mman.h>
#include <time.h>

#include <cstdio>
#include <functional>

#include "compiler/kernels/simd/LatentShape.h"
#include "tests/unit/compiler/kernels/attention_cases.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom::testing {
namespace {

constexpr int kLayers = 27;

double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

double timed(const std::function<void()>& body) {
  double start = seconds();
  body();
  return seconds() - start;
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

class Bench {
 public:
  Bench(const std::string& target, int64_t context)
      : profile_(profileNamed(target)), context_(context), pages_((context + 63) / 64) {}

  // Rows of `rowBytes` in pages of 64, in no order, one cache per layer.
  void makeCache(int64_t rowBytes) {
    pageBytes_ = 64 * rowBytes;
    layerBytes_ = pages_ * pageBytes_;
    cache_ = hugeMemory(layerBytes_ * kLayers);
    std::vector<float> some = randomFloats(65536, 1);
    auto* words = reinterpret_cast<uint16_t*>(cache_);
    for (int64_t i = 0; i < layerBytes_ * kLayers / 2; ++i)
      words[i] = floatToBf16(some[i * 7 % 65521]);
    Batch batch({{context_, 1}});
    table_ = batch.pageTable;
    stride_ = batch.pages;
  }

  std::string cacheConfig() const {
    return ", kv = \"bf16\", page_tokens = 64" + entry("page_bytes", pageBytes_);
  }

  // Calls body(layer's cache) for all layers, several times; prints the best beside the limits.
  void report(const std::string& what, double flops, double bytes,
              const std::function<void(uint8_t*)>& body, int rounds = 12) {
    double best = 1e9, peak = 0, read = 0;
    for (int round = 0; round < rounds; ++round) {
      peak = std::max(peak, peakFlops(profile_));
      read =
          std::max(read, layerBytes_ / timed([&] {
                           readAll(cache_ + (round * 5 + 3) % kLayers * layerBytes_, layerBytes_);
                         }));
      for (int i = 0; i < 3; ++i) {
        uint8_t* at = cache_ + (round * 3 + i) % kLayers * layerBytes_;
        best = std::min(best, timed([&] { body(at); }));
      }
    }
    std::printf("%-44s %8.3f ms %6.1f GFLOP/s %5.1f GB/s", what.c_str(), best * 1e3,
                flops / best / 1e9, bytes / best / 1e9);
    if (peak > 0)
      std::printf(", %3.0f %% of the dot product's %.0f", 100 * flops / best / peak, peak / 1e9);
    std::printf(", %3.0f %% of reading's %.1f\n", 100 * bytes / best / read, read / 1e9);
  }

  void latentDecode(int64_t heads) {
    constexpr int64_t kRank = 512, kDim = 64, kSplits = 4;
    makeCache(2 * (kRank + kDim));
    auto shape =
        kernels::LatentShape::of(profile_, heads, kRank, kDim, /*pageTokens=*/64, /*bf16=*/true);
    auto image = KernelImage::build(
        profile_,
        {{"a", "latent_attention",
          "heads = " + std::to_string(heads) + entry("splits", kSplits) + entry("rank", kRank) +
              entry("dim", kDim) +
              ", scale = 0.0721687836, q_ld = 64, q_head_ld = 0, q_offset = 0" + cacheConfig()},
         {"c", "attention_combine",
          "heads = " + std::to_string(heads) + entry("splits", kSplits) + entry("width", kRank) +
              entry("out_ld", heads * kRank)}});
    if (!image) return;
    std::vector<float> latent = randomFloats(heads * kRank, 2), q = randomFloats(64, 3);
    Guarded<float> partial(kSplits * heads * (kRank + 16)), out(heads * kRank);
    Guarded<float> latentAt(latent), qAt(q);
    Guarded<int32_t> positions(std::vector<int32_t>{static_cast<int32_t>(context_ - 1)});
    Guarded<int32_t> sequence(std::vector<int32_t>{0}), table(table_);
    report("latent_attention, " + std::to_string(heads) + " heads", 2.0 * context_ * heads * 1088,
           layerBytes_, [&](uint8_t* cache) {
             call(*image, "a", kSplits, 1, shape.workgroups(heads),
                  {latentAt, qAt, positions, sequence, table, cache, partial}, {stride_});
             call(*image, "c", 1, heads, 1, {partial, out}, {});
           });
    munmap(cache_, layerBytes_ * kLayers);
  }

  void gqaDecode(int64_t heads, int64_t kvHeads, int64_t headDim) {
    constexpr int64_t kSplits = 4;
    makeCache(2 * 2 * kvHeads * headDim);
    std::string shape = "heads = " + std::to_string(heads);
    auto image = KernelImage::build(
        profile_, {{"a", "attention",
                    shape + entry("splits", kSplits) + entry("kv_heads", kvHeads) +
                        entry("head_dim", headDim) + ", scale = 0.088, window = 0" +
                        entry("q_ld", heads * headDim) + cacheConfig()}});
    if (!image) return;
    Guarded<float> q(randomFloats(heads * headDim, 3)), partial(kSplits * heads * (headDim + 16));
    Guarded<int32_t> positions(std::vector<int32_t>{static_cast<int32_t>(context_ - 1)});
    Guarded<int32_t> sequence(std::vector<int32_t>{0}), table(table_);
    report("attention, " + std::to_string(heads) + "/" + std::to_string(kvHeads) + " heads of " +
               std::to_string(headDim),
           4.0 * context_ * heads * headDim, layerBytes_, [&](uint8_t* cache) {
             call(*image, "a", kSplits, 1, kvHeads, {q, positions, sequence, table, cache, partial},
                  {stride_});
           });
    munmap(cache_, layerBytes_ * kLayers);
  }

  // The last 512 tokens of the context, one head. The work counted includes expanding keys and
  // values.
  void latentPrefill() {
    constexpr int64_t kRank = 512, kDim = 64, kNope = 128, kTokens = 512;
    makeCache(2 * (kRank + kDim));
    int64_t tokens = std::min(kTokens, context_), width = kNope + kDim;
    auto image = KernelImage::build(
        profile_,
        {{"a", "latent_attention_expanded",
          "heads = 1, rank = 512, dim = 64, nope = 128, v = 128, scale = 0.07, enc = \"bf16\", "
          "q_head_ld = 192, q_offset = 0" +
              entry("q_ld", width) + cacheConfig()}});
    if (!image) return;
    TestWeight w = encodeWeight("bf16", randomFloats(kNope * kRank, 4, 0.04f), kNope, kRank);
    Guarded<uint8_t> uk(w.bytes), uv(w.bytes);
    Guarded<float> q(randomFloats(tokens * width, 3)), out(tokens * kNope);
    Batch batch({{context_, tokens}});
    Guarded<int32_t> positions(batch.positions), sequence(batch.sequence), table(table_);
    Guarded<int32_t> contexts(batch.contexts);
    double seen = 0;
    for (int32_t p : batch.positions) seen += p + 1;
    double flops = 2 * seen * (width + kNope) + 2.0 * context_ * 2 * kNope * kRank;
    report("latent_attention_expanded, 512 tokens, 1 head", flops, layerBytes_,
           [&](uint8_t* cache) {
             call(*image, "a", 1, 1, 1,
                  {q, uk, uv, sequence, positions, table, contexts, cache, out}, {tokens, stride_});
           });
    munmap(cache_, layerBytes_ * kLayers);
  }

 private:
  void call(const KernelImage& image, const std::string& name, uint32_t x, uint32_t y, uint32_t z,
            const std::vector<void*>& bindings, const std::vector<int64_t>& push) {
    const fathom_cpu_entry* entry = image.find(name);
    if (entry->scratch_bytes > scratchBytes_) {
      scratchBytes_ = entry->scratch_bytes;
      scratch_ = hugeMemory(scratchBytes_);
    }
    fathom_cpu_args args{bindings.data(), push.data(), scratch_};
    for (uint32_t k = 0; k < z; ++k)
      for (uint32_t j = 0; j < y; ++j)
        for (uint32_t i = 0; i < x; ++i) KernelImage::code (*entry)(&args, i, j, k);
  }

  TargetProfile profile_;
  int64_t context_, pages_, pageBytes_ = 0, layerBytes_ = 0, stride_ = 0;
  uint8_t* cache_ = nullptr;
  uint8_t* scratch_ = nullptr;
  uint64_t scratchBytes_ = 0;
  std::vector<int32_t> table_;
};

}  // namespace
}  // namespace fathom::testing

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  fathom::testing::Bench bench(argc > 1 ? argv[1] : "cpu:native", argc > 2 ? atoll(argv[2]) : 4096);
  std::string only = argc > 3 ? argv[3] : "";
  if (only.empty() || only == "latent") {
    bench.latentDecode(16);
    bench.latentDecode(128);
  }
  if (only.empty() || only == "prefill") bench.latentPrefill();
  if (only.empty() || only == "gqa") {
    bench.gqaDecode(32, 8, 128);
    bench.gqaDecode(16, 16, 128);
    bench.gqaDecode(9, 3, 64);
  }
}
