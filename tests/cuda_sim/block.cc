// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Blocks on two threads, warps in random order, and the report of what went wrong.
#include "tests/cuda_sim/block.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

namespace fathom::cuda_sim {
namespace {

constexpr uint64_t kSlice = 1 << 16;  // instructions of a warp before another may go on

// SplitMix64: small, and good enough to shuffle.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  template <typename T>
  void Shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[Next() % i]);
  }

 private:
  uint64_t state_;
};

// A second thread. It takes part in a launch if it gets a CPU in time; nobody waits for it to
// come, only for it to finish what it has begun.
class Helper {
 public:
  Helper() : thread_([this] { Loop(); }) { thread_.detach(); }  // lives as long as the process

  // Runs `work` on this thread and, perhaps, on the other one too.
  void Share(const std::function<void()>& work) {
    std::lock_guard one_at_a_time(callers_);
    {
      std::lock_guard lock(mutex_);
      offered_ = &work;
    }
    changed_.notify_all();
    work();
    std::unique_lock lock(mutex_);
    offered_ = nullptr;
    changed_.wait(lock, [&] { return !running_; });
  }

 private:
  void Loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return offered_ != nullptr; });
      const std::function<void()>& work = *std::exchange(offered_, nullptr);
      running_ = true;
      lock.unlock();
      work();
      lock.lock();
      running_ = false;
      changed_.notify_all();
    }
  }

  std::mutex callers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* offered_ = nullptr;
  bool running_ = false;
  std::thread thread_;
};

Helper& TheHelper() {
  static Helper* helper = new Helper;
  return *helper;
}

// The IEEE mode for a scope: the thread that waits for a stream may flush subnormals to zero.
class ScopedFloatMode {
 public:
  ScopedFloatMode() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~ScopedFloatMode() { std::fesetenv(&saved_); }

 private:
  std::fenv_t saved_;
};

std::string Triple(const std::array<uint32_t, 3>& v) {
  return "(" + std::to_string(v[0]) + "," + std::to_string(v[1]) + "," + std::to_string(v[2]) + ")";
}

}  // namespace

LocalMemory::LocalMemory(uint32_t bytes, uint32_t threads, Uninitialised mode)
    : bytes_(bytes), mode_(mode) {
  data_.resize(uint64_t{bytes} * threads);
  valid_.resize(data_.size());
}

void LocalMemory::Reset() {
  std::fill(valid_.begin(), valid_.end(), 0);
  if (mode_ == Uninitialised::poison) std::fill(data_.begin(), data_.end(), kPoison);
}

void LocalMemory::Check(uint64_t address, uint32_t bytes) const {
  if (address <= bytes_ && bytes <= bytes_ - address) return;
  throw Fault{Error::illegal_address, "access of " + std::to_string(bytes) +
                                          " bytes out of bounds: byte " + std::to_string(address) +
                                          " of " + std::to_string(bytes_) + " of local memory"};
}

const uint8_t* LocalMemory::Read(uint64_t address, uint32_t bytes, uint32_t thread) const {
  Check(address, bytes);
  const uint64_t at = uint64_t{bytes_} * thread + address;
  for (uint32_t i = 0; mode_ == Uninitialised::report && i < bytes; ++i) {
    if (valid_[at + i] == 0) {
      throw Fault{Error::launch_failed,
                  "read of memory that nothing has written: local memory, byte " +
                      std::to_string(address + i),
                  static_cast<int>(thread % kLanes)};
    }
  }
  return data_.data() + at;
}

uint8_t* LocalMemory::Write(uint64_t address, uint32_t bytes, uint32_t thread) {
  Check(address, bytes);
  const uint64_t at = uint64_t{bytes_} * thread + address;
  std::fill_n(valid_.begin() + static_cast<long>(at), bytes, 1);
  return data_.data() + at;
}

Block::Block(const Launch& launch)
    : launch_(launch),
      thread_count_(launch.threads[0] * launch.threads[1] * launch.threads[2]),
      shared_(*launch.kernel, launch.dynamic_bytes, launch.options.uninitialised),
      local_(launch.kernel->local_bytes, thread_count_, launch.options.uninitialised) {
  for (uint32_t first = 0; first < thread_count_; first += kLanes) {
    const uint32_t lanes = std::min<uint32_t>(kLanes, thread_count_ - first);
    warps_.push_back(std::make_unique<Warp>(*this, first / kLanes, lanes));
  }
}

void Block::Run(const std::array<uint32_t, 3>& index, uint64_t seed) {
  index_ = index;
  epoch_ = 0;
  shared_.Reset();
  local_.Reset();
  for (auto& warp : warps_) warp->Reset();
  running_ = nullptr;
  try {
    RunWarps(seed);
  } catch (const Fault& fault) {
    Report(fault, running_);
  }
}

void Block::RunWarps(uint64_t seed) {
  Random random(seed);
  std::vector<Warp*> ready;
  while (true) {
    ready.clear();
    size_t waiting = 0;
    for (auto& warp : warps_) {
      if (warp->state() == Warp::State::ready) ready.push_back(warp.get());
      waiting += warp->state() == Warp::State::at_barrier;
    }
    if (ready.empty() && waiting == 0) return;
    if (ready.empty()) {
      ReleaseBarrier();
      continue;
    }
    random.Shuffle(ready);
    for (Warp* warp : ready) {
      running_ = warp;
      warp->Run(kSlice);
      if (warp->steps() > launch_.options.max_steps) {
        throw Fault{Error::launch_timeout, "a warp has done " + std::to_string(warp->steps()) +
                                               " instructions: the kernel seems not to end"};
      }
    }
  }
}

// Every warp that has not finished waits; all must wait at the same instruction.
void Block::ReleaseBarrier() {
  const Warp* first = nullptr;
  for (auto& warp : warps_) {
    if (warp->state() != Warp::State::at_barrier) continue;
    if (first == nullptr) first = warp.get();
    if (warp->current_index() != first->current_index()) {
      running_ = warp.get();
      throw Fault{Error::launch_failed, "warps of a block wait at different barriers: warp " +
                                            std::to_string(first->number()) + " at PTX line " +
                                            std::to_string(first->current()->line) + ", warp " +
                                            std::to_string(warp->number()) + " at PTX line " +
                                            std::to_string(warp->current()->line)};
    }
    warp->LeaveBarrier();
  }
  shared_.Barrier();
  ++epoch_;
}

void Block::Report(const Fault& fault, const Warp* warp) const {
  const Kernel& kernel = *launch_.kernel;
  std::string text = "kernel " + kernel.name;
  if (warp != nullptr && warp->current() != nullptr) {
    text += " at PTX line " + std::to_string(warp->current()->line) + ": " + fault.what +
            "\n  instruction: " + kernel.texts[warp->current_index()];
  } else {
    text += ": " + fault.what;
  }
  text += "\n  block " + Triple(index_);
  if (warp != nullptr) {
    text += ", warp " + std::to_string(warp->number());
    if (fault.lane >= 0) {
      const uint32_t t = warp->thread(fault.lane);
      const auto& size = launch_.threads;
      text += ", lane " + std::to_string(fault.lane) + ", thread " +
              Triple({t % size[0], t / size[0] % size[1], t / size[0] / size[1]});
    }
  }
  text += ", grid " + Triple(launch_.grid) + " of " + Triple(launch_.threads) + " threads";
  throw Fault{fault.error, text, fault.lane};
}

void RunLaunch(const Launch& launch) {
  const uint64_t blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  Random random(launch.options.seed);
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  random.Shuffle(order);
  const uint64_t seed = random.Next();

  std::atomic<uint64_t> next = 0;
  std::mutex mutex;
  uint64_t first_bad = blocks;
  std::unique_ptr<Fault> fault;
  const std::function<void()> work = [&] {
    const ScopedFloatMode mode;
    Block block(launch);
    for (uint64_t i = next++; i < blocks; i = next++) {
      {
        std::lock_guard lock(mutex);
        if (i > first_bad) return;
      }
      const uint32_t at = order[i];
      const std::array<uint32_t, 3> index = {at % launch.grid[0],
                                             at / launch.grid[0] % launch.grid[1],
                                             at / launch.grid[0] / launch.grid[1]};
      try {
        block.Run(index, seed + at);
      } catch (const Fault& found) {
        std::lock_guard lock(mutex);
        if (i < first_bad) {
          first_bad = i;
          fault = std::make_unique<Fault>(found);
        }
      }
    }
  };
  if (blocks > 1) {
    TheHelper().Share(work);
  } else {
    work();
  }
  if (fault != nullptr) throw *fault;
}

}  // namespace fathom::cuda_sim
