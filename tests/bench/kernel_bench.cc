// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times the projection kernels beside this machine's memory bandwidth and dot product peaks.
//
//   kernel_bench [TARGET [ENCODING...]]      TARGET: cpu:native (default), cpu:x86-64-v3 ...
//
// Matvec (one token) runs over different matrices in turn, far more than the caches hold, and is
// compared with loops that only read, with and without prefetching; matmul (512 tokens) with a loop
// of independent dot products. The machine may be busy with something else: limits and kernels
// alternate in many short rounds, the best of each counts, and what is bound by arithmetic is timed
// by processor time. Where the target has matrix units, "units" is the same matmul by them.
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>

#include "tests/unit/compiler/kernels/kernel_harness.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom::testing {
namespace {

constexpr int kMatvecRounds = 150, kMatmulRounds = 40;
constexpr int64_t kPool = int64_t{1} << 30;  // bytes of weights that matvecs run over

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint8_t* hugeMemory(size_t bytes) {
  constexpr size_t kPage = size_t{2} << 20;
  void* base =
      mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) std::abort();
  auto* aligned =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(base) + kPage - 1) & ~(kPage - 1));
  madvise(aligned, bytes, MADV_HUGEPAGE);
  return aligned;
}

double processorTime() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

struct Time {
  double wall;       // from a common start to the last thread's end
  double processor;  // mean over the threads
};

// Runs body(thread) on `threads` pinned threads.
Time timed(int threads, const std::function<void(int)>& body) {
  std::atomic<int> ready = 0;
  std::vector<double> ends(threads), used(threads);
  double start = 0;
  auto run = [&](int id) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(id, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (ready.fetch_add(1) == threads - 1) start = now();
    while (ready.load() < threads) {
    }
    double before = processorTime();
    body(id);
    used[id] = processorTime() - before;
    ends[id] = now();
  };
  std::vector<std::thread> pool;
  for (int id = 0; id < threads; ++id) pool.emplace_back(run, id);
  for (std::thread& thread : pool) thread.join();
  double sum = 0;
  for (double seconds : used) sum += seconds;
  return {*std::max_element(ends.begin(), ends.end()) - start, sum / threads};
}

#if defined(__x86_64__)
// `ahead`: distance of prefetching in bytes; 0 leaves it to the hardware.
__attribute__((target("avx2"), noinline)) void readAll(const uint8_t* from, int64_t bytes,
                                                       int64_t ahead) {
  __m256i sum[8] = {};
  for (int64_t i = 0; i < bytes; i += 256) {
    if (ahead)
      for (int j = 0; j < 4; ++j) __builtin_prefetch(from + i + ahead + 64 * j);
    for (int j = 0; j < 8; ++j)
      sum[j] = _mm256_xor_si256(
          sum[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i + 32 * j)));
  }
  for (int j = 0; j < 8; ++j) asm volatile("" ::"x"(sum[j]));
}

// 20 independent accumulators of one instruction, twice per iteration.
#define FATHOM_LIST(op)                                                                          \
  op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) \
      op(15) op(16) op(17) op(18) op(19)
#define FATHOM_INT8(n) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #n "\n"
#define FATHOM_BF16(n) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #n "\n"
#define FATHOM_FMA(n) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #n "\n"
#define FATHOM_PEAK(name, op)                                                                    \
  __attribute__((noinline)) void name(int64_t n) {                                               \
    asm volatile(                                                                                \
        "vpxord %%zmm30, %%zmm30, %%zmm30\nvpxord %%zmm31, %%zmm31, %%zmm31\n1:" FATHOM_LIST(op) \
            FATHOM_LIST(op) "dec %0\njnz 1b\nvzeroupper"                                         \
        : "+r"(n)::"memory");                                                                    \
  }
FATHOM_PEAK(peakInt8, FATHOM_INT8)
FATHOM_PEAK(peakBf16, FATHOM_BF16)
FATHOM_PEAK(peakF32, FATHOM_FMA)
#else
void readAll(const uint8_t* from, int64_t bytes, int64_t) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < bytes; i += 8) sum ^= *reinterpret_cast<const uint64_t*>(from + i);
  asm volatile("" ::"r"(sum));
}
#endif

struct Case {
  std::string enc, act;
  int64_t rows, cols;
};

struct Prepared {
  Case shape;
  std::string name, config;
  int64_t matrixBytes, stride, tiles, panels;
};

Prepared prepare(const TargetProfile& profile, const Case& c, bool units) {
  Prepared p{c, c.enc + "_" + std::to_string(c.rows) + "x" + std::to_string(c.cols), {}, 0, 0, 0,
             0};
  if (units) p.name += "_units";
  int64_t step = c.enc == "f32" ? 1 : c.enc == "bf16" ? 2 : 64;
  int64_t stepBytes = c.enc == "q8" ? 1088 : c.enc == "q4" ? 576 : 64;
  p.matrixBytes = c.rows / 16 * (c.cols / step) * stepBytes;
  p.stride = c.act == "f32" ? 4 * c.cols : c.act == "bf16" ? 2 * c.cols : c.cols + c.cols / 4;
  p.config = "rows = " + std::to_string(c.rows) + ", cols = " + std::to_string(c.cols) +
             ", enc = \"" + c.enc + "\", act = \"" + c.act +
             "\", act_stride = " + std::to_string(p.stride) +
             ", out_ld = " + std::to_string(c.rows) + ", epilogue = \"store\"";
  p.tiles = panelTiles(profile.name, p.config, units);
  p.panels = (c.rows / 16 + p.tiles - 1) / p.tiles;
  p.config += ", panel_tiles = " + std::to_string(p.tiles);
  if (units) p.config += ", form = \"many\"";
  return p;
}

// Random bytes with scales, exponents of floats included, that keep every product finite.
void fillWeights(uint8_t* pool, const std::string& enc) {
  uint64_t state = 88172645463325252ull;
  auto* words = reinterpret_cast<uint64_t*>(pool);
  for (int64_t i = 0; i < kPool / 8; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    words[i] = enc == "f32"    ? (state & 0x807fffff807fffffull) | 0x3c0000003c000000ull
               : enc == "bf16" ? (state & 0x807f807f807f807full) | 0x3c003c003c003c00ull
                               : state;
  }
  int64_t step = enc == "q8" ? 1088 : enc == "q4" ? 576 : 0;
  for (int64_t at = 0; step && at + step <= kPool; at += step)
    for (int64_t i = 0; i < 8; ++i) {
      uint64_t& scales = *reinterpret_cast<uint64_t*>(pool + at + 8 * i);
      scales = (scales & 0x03ff03ff03ff03ffull) | 0x2000200020002000ull;
    }
}

class Bench {
 public:
  Bench(const std::string& target, std::vector<std::string> encodings)
      : profile_(profileNamed(target)), encodings_(std::move(encodings)) {}

  int run() {
    std::vector<Prepared> cases, units;
    std::vector<KernelSpec> specs;
    for (const std::string& enc : encodings_) {
      Case shape{enc, profile_.activationFor(enc).str(), 4096, 4096};
      cases.push_back(prepare(profile_, shape, false));
      specs.push_back({cases.back().name, "linear", cases.back().config});
      if (!profile_.amx) continue;
      units.push_back(prepare(profile_, shape, true));
      specs.push_back({units.back().name, "linear", units.back().config});
    }
    image_ = KernelImage::build(profile_, specs);
    if (!image_) return 1;
    pool_ = hugeMemory(kPool);
    out_ = reinterpret_cast<float*>(hugeMemory(512 * 4096 * 4));
    for (uint32_t i = 0; i < image_->table().entries; ++i)
      scratchBytes_ = std::max<uint64_t>(scratchBytes_, image_->table().entry[i].scratch_bytes);
    for (uint8_t*& scratch : scratch_) scratch = hugeMemory(scratchBytes_ + 1);
    std::printf("%s: %zu bytes of code\n", profile_.name.c_str(), image_->bytes().size());
    for (size_t i = 0; i < cases.size(); ++i) {
      const Prepared& p = cases[i];
      fillWeights(pool_, p.shape.enc);
      std::vector<float> values = randomFloats(512 * p.shape.cols, 1);
      TestAct act = encodeAct(p.shape.act, values, 512, p.shape.cols);
      act_ = hugeMemory(act.bytes.size());
      std::copy(act.bytes.begin(), act.bytes.end(), act_);
      for (int threads : {1, 2}) matvec(p, threads);
      for (int threads : {1, 2}) matmul(p, threads, "matmul");
      for (int threads : {1, 2})
        if (profile_.amx) matmul(units[i], threads, "units");
      munmap(act_, act.bytes.size());
    }
    return 0;
  }

 private:
  // One dispatch: workgroups are taken from a counter, as the driver does.
  void dispatch(const Prepared& p, const uint8_t* weight, int64_t tokens, int64_t panels,
                std::atomic<int64_t>& next, int thread) {
    void* bindings[] = {act_, const_cast<uint8_t*>(weight), out_};
    fathom_cpu_args args{bindings, &tokens, scratch_[thread]};
    fathom_cpu_kernel code = KernelImage::code(*image_->find(p.name));
    for (int64_t x; (x = next.fetch_add(1)) < panels;) code(&args, static_cast<uint32_t>(x), 0, 0);
  }

  void matvec(const Prepared& p, int threads) {
    int64_t matrices = kPool / p.matrixBytes,
            perRound = std::max<int64_t>(1, (16 << 20) / p.matrixBytes);
    double read = 0, kernel = 0;
    int64_t at = 0;
    for (int round = 0; round < kMatvecRounds; ++round) {
      int64_t bytes = perRound * p.matrixBytes, share = bytes / threads / 256 * 256;
      int64_t from = at % (matrices - perRound) * p.matrixBytes;
      double t = timed(threads, [&](int id) {
                   readAll(pool_ + from + id * share, share, round % 2 * 4096);
                 }).wall;
      read = std::max(read, share * threads / t / 1e9);
      at += perRound;
      std::vector<std::atomic<int64_t>> next(perRound);
      from = at % (matrices - perRound) * p.matrixBytes;
      t = timed(threads, [&](int id) {
            for (int64_t i = 0; i < perRound; ++i)
              dispatch(p, pool_ + from + i * p.matrixBytes, 1, p.panels, next[i], id);
          }).wall;
      kernel = std::max(kernel, bytes / t / 1e9);
      at += perRound;
    }
    std::printf("matvec %-16s act %-4s %d thread%s %6.1f GB/s, reading alone %6.1f: %3.0f %%\n",
                p.name.c_str(), p.shape.act.c_str(), threads, threads > 1 ? "s" : " ", kernel, read,
                100 * kernel / read);
  }

  // Operations a second of the instruction that this profile's inner loop is made of; 0 if unknown.
  double peak(const Prepared& p, int threads) {
#if defined(__x86_64__)
    void (*loop)(int64_t) = nullptr;
    double lanes = 0;
    if (p.shape.act == "i8" && profile_.vnni) loop = peakInt8, lanes = 64;
    if (p.shape.act == "bf16" && profile_.avx512Bf16) loop = peakBf16, lanes = 32;
    if (p.shape.act == "f32" && profile_.avx512) loop = peakF32, lanes = 16;
    if (!loop) return 0;
    constexpr int64_t kIterations = 30000;
    double t = timed(threads, [&](int) { loop(kIterations); }).processor;
    return 2 * lanes * 40 * kIterations * threads / t;
#else
    return 0;
#endif
  }

  void matmul(const Prepared& p, int threads, const char* kind) {
    // A few panels of the matrix: a round shorter than the scheduler's time slice.
    constexpr int64_t kTokens = 512;
    const int64_t panels = std::min<int64_t>(p.panels, 2 * threads);
    const double rows = std::min<double>(p.shape.rows, 16.0 * p.tiles * panels);
    double limit = 0, kernel = 0;
    for (int round = 0; round < kMatmulRounds; ++round) {
      limit = std::max(limit, peak(p, threads) / 1e9);
      std::atomic<int64_t> next = 0;
      double t = timed(threads, [&](int id) {
                   dispatch(p, pool_ + round % 4 * p.matrixBytes, kTokens, panels, next, id);
                 }).processor;
      kernel = std::max(kernel, 2.0 * kTokens * rows * p.shape.cols / t / 1e9);
    }
    std::printf("%s %-16s act %-4s %d thread%s %6.0f Gop/s", kind, p.name.c_str(),
                p.shape.act.c_str(), threads, threads > 1 ? "s" : " ", kernel);
    if (limit > 0) std::printf(", peak %6.0f: %3.0f %%", limit, 100 * kernel / limit);
    std::printf("\n");
  }

  TargetProfile profile_;
  std::vector<std::string> encodings_;
  std::unique_ptr<KernelImage> image_;
  uint8_t* pool_ = nullptr;
  uint8_t* act_ = nullptr;
  uint8_t* scratch_[2] = {};  // of each thread
  uint64_t scratchBytes_ = 0;
  float* out_ = nullptr;
};

}  // namespace
}  // namespace fathom::testing

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  std::vector<std::string> encodings(argv + std::min(argc, 2), argv + argc);
  if (encodings.empty()) encodings = {"q4", "q8", "bf16", "f32"};
  return fathom::testing::Bench(argc > 1 ? argv[1] : "cpu:native", encodings).run();
}
