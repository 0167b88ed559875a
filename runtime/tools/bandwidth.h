// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Measures how fast this machine reads memory: the yardstick that decode speed is compared with.
#ifndef FATHOM_RUNTIME_TOOLS_BANDWIDTH_H_
#define FATHOM_RUNTIME_TOOLS_BANDWIDTH_H_

#include <cstdint>

namespace fathom::tools {

// Bytes per second that `threads` threads read together from huge-page memory of `bytes` bytes, the
// median of 3 to 15 passes. 0 when the memory cannot be had.
double MeasureReadBandwidth(int threads, uint64_t bytes);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_BANDWIDTH_H_
