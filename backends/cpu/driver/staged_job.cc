// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Claiming items and opening stages.
#include "backends/cpu/driver/staged_job.h"

#include <algorithm>
#include <bit>

#include "backends/cpu/driver/futex.h"

namespace fathom::cpu {
namespace {

static_assert(std::endian::native == std::endian::little, "the upper half comes second");

size_t StageOf(uint64_t ticket) { return ticket >> 32; }
uint64_t ItemOf(uint64_t ticket) { return ticket & UINT32_MAX; }
uint64_t MakeTicket(size_t stage, uint64_t item) { return uint64_t{stage} << 32 | item; }
const void* StageWord(const std::atomic<uint64_t>& ticket) {
  return reinterpret_cast<const uint32_t*>(&ticket) + 1;
}

}  // namespace

void StagedJob::Run() {
  // A worker that still lingers in an earlier run finds a stage of this one, which is as good.
  size_t first = 0;
  while (first < stages_.size() && stages_[first].items == 0) StageDone(first++);
  Open(first);
  pool_.Run(*this);
}

void StagedJob::Open(size_t stage) {
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(MakeTicket(stage, 0));
  WakeSleepers(StageWord(ticket_), sleepers_);
}

void StagedJob::Advance(size_t stage) {
  StageDone(stage);
  ++stage;
  while (stage < stages_.size() && stages_[stage].items == 0) StageDone(stage++);
  Open(stage);
}

void StagedJob::Work(int worker) {
  const uint64_t share = 2 * static_cast<uint64_t>(pool_.workers());
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  uint64_t mine = 0;  // items done here and not yet counted in done_
  while (true) {
    const size_t stage = StageOf(ticket);
    if (stage >= stages_.size()) return;
    const auto [total, longest] = stages_[stage];
    const uint64_t begin = ItemOf(ticket);
    if (begin < total) {
      const uint64_t end = begin + std::clamp<uint64_t>((total - begin) / share, 1, longest);
      // Acquire: a claim in a stage sees what the stages before it wrote.
      if (!ticket_.compare_exchange_weak(ticket, MakeTicket(stage, end),
                                         std::memory_order_acquire)) {
        continue;
      }
      RunItems(stage, begin, end, worker);
      mine += end - begin;
      // This stage cannot end before `mine` is counted, so the ticket still belongs to it.
      ticket = ticket_.load(std::memory_order_acquire);
      continue;
    }
    if (mine != 0) {
      const uint64_t done = done_.fetch_add(mine, std::memory_order_acq_rel) + mine;
      mine = 0;
      if (done == total) {
        Advance(stage);
        ticket = ticket_.load(std::memory_order_acquire);
        continue;
      }
    }
    SpinThenSleep(
        [&] {
          ticket = ticket_.load();
          return StageOf(ticket) != stage;
        },
        StageWord(ticket_), static_cast<uint32_t>(stage), sleepers_, pool_.spin_ns());
  }
}

}  // namespace fathom::cpu
