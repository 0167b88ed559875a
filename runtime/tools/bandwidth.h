// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Measures how fast this machine reads memory: the yardstick that decode speed is compared with.
#ifndef FATHOM_RUNTIME_TOOLS_BANDWIDTH_H_
#define FATHOM_RUNTIME_TOOLS_BANDWIDTH_H_

#include <cstdint>

namespace fathom::tools {

// Memory in huge pages, read by several threads together. What else a machine does moves its
// bandwidth by a factor of two within seconds, so a measurement belongs right beside the work that
// is compared with it.
class BandwidthProbe {
 public:
  // `bytes` in all, shared by `threads` threads; 0 threads or no memory: Measure answers 0.
  BandwidthProbe(int threads, uint64_t bytes);
  ~BandwidthProbe();
  BandwidthProbe(const BandwidthProbe&) = delete;
  BandwidthProbe& operator=(const BandwidthProbe&) = delete;

  // Bytes per second, the median of `passes` passes.
  double Measure(int passes) const;

 private:
  int threads_;
  uint64_t share_ = 0;  // bytes of one thread
  void* mapping_ = nullptr;
  uint64_t mapped_ = 0;
  uint8_t* memory_ = nullptr;
};

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_BANDWIDTH_H_
