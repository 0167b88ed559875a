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

BandwidthProbe::BandwidthProbe(int threads, uint64_t bytes) : threads_(threads) {
  if (threads < 1) return;
  share_ = std::max<uint64_t>(bytes / static_cast<uint64_t>(threads) / 4096, 1) * 4096;
  const uint64_t size = share_ * static_cast<uint64_t>(threads);
  mapped_ = size + kHugePage;
  void* mapping =
      ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return;
  mapping_ = mapping;
  memory_ = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(mapping) + kHugePage - 1) /
                                       kHugePage * kHugePage);
  (void)::madvise(memory_, size, MADV_HUGEPAGE);
  std::memset(memory_, 1, size);
}

BandwidthProbe::~BandwidthProbe() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_);
}

double BandwidthProbe::Measure(int passes) const {
  if (memory_ == nullptr || passes < 1) return 0;
  using Clock = std::chrono::steady_clock;
  std::vector<double> rates;
  Clock::time_point start;
  std::atomic<uint64_t> sink = 0;  // keeps the sums alive
  // Runs while all threads wait, at the beginning and end of every pass.
  auto note = [&]() noexcept {
    const Clock::time_point now = Clock::now();
    if (start != Clock::time_point()) {
      const double seconds = std::chrono::duration<double>(now - start).count();
      rates.push_back(static_cast<double>(share_) * threads_ / seconds);
    }
    start = now;
  };
  rates.reserve(static_cast<size_t>(passes));
  std::barrier barrier(threads_, note);
  const auto work = [&](int thread) {
    const uint8_t* part = memory_ + share_ * static_cast<uint64_t>(thread);
    barrier.arrive_and_wait();
    for (int pass = 0; pass < passes; ++pass) {
      sink += Sum(part, share_);
      barrier.arrive_and_wait();
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads_; ++i) helpers.emplace_back(work, i);
  work(0);
  for (std::thread& helper : helpers) helper.join();
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

}  // namespace fathom::tools
