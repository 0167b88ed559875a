// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A parallel sum over a large piece of memory.
#include "runtime/tools/bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace fathom::tools {
namespace {

constexpr uint64_t kHugePage = 2 << 20;
constexpr size_t kMinRounds = 3;
constexpr size_t kMaxRounds = 15;
constexpr std::chrono::milliseconds kEnough{700};

typedef uint64_t Vector __attribute__((vector_size(64)));

// Eight accumulators, so that additions never limit the loads. The compiler makes a variant per ISA
// and the loader picks one.
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
Sum(const uint8_t* bytes, uint64_t size) {
  Vector sums[8] = {};
  for (uint64_t i = 0; i + 512 <= size; i += 512) {
    for (int j = 0; j < 8; ++j) sums[j] += *reinterpret_cast<const Vector*>(bytes + i + 64 * j);
  }
  uint64_t total = 0;
  for (const Vector& sum : sums) {
    for (int lane = 0; lane < 8; ++lane) total += sum[lane];
  }
  return total;
}

}  // namespace

double MeasureReadBandwidth(int threads, uint64_t bytes) {
  const uint64_t share =
      std::max<uint64_t>(bytes / static_cast<uint64_t>(threads) / 4096, 1) * 4096;
  const uint64_t size = share * static_cast<uint64_t>(threads);
  void* mapping =
      ::mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return 0;
  auto* memory = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(mapping) + kHugePage - 1) /
                                            kHugePage * kHugePage);
  (void)::madvise(memory, size, MADV_HUGEPAGE);

  using Clock = std::chrono::steady_clock;
  std::vector<double> rates;
  Clock::time_point first, start;
  bool done = false;               // written while all threads wait
  std::atomic<uint64_t> sink = 0;  // keeps the sums alive
  auto note = [&]() noexcept {
    const Clock::time_point now = Clock::now();
    if (start != Clock::time_point()) {
      const double seconds = std::chrono::duration<double>(now - start).count();
      rates.push_back(static_cast<double>(size) / seconds);
      done = rates.size() >= kMaxRounds || (rates.size() >= kMinRounds && now - first > kEnough);
    } else {
      first = now;
    }
    start = now;
  };
  std::barrier barrier(threads, note);
  const auto work = [&](int thread) {
    uint8_t* part = memory + share * static_cast<uint64_t>(thread);
    std::memset(part, thread + 1, share);  // touched by the thread that reads it
    for (barrier.arrive_and_wait(); !done; barrier.arrive_and_wait()) sink += Sum(part, share);
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(work, i);
  work(0);
  for (std::thread& helper : helpers) helper.join();
  ::munmap(mapping, size + kHugePage);
  if (rates.empty()) return 0;
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace fathom::tools
