// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One dispatch in a folder: which it is, what its buffers held before, and what they should hold.
#ifndef FATHOM_RUNTIME_TOOLS_REPRODUCER_H_
#define FATHOM_RUNTIME_TOOLS_REPRODUCER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/expressions.h"

namespace fathom::tools {

struct ReproducerBuffer {
  uint32_t buffer = 0;  // of the entry point
  int32_t layer = -1;   // whose part of it, when it is the cache
  std::string name;
  std::vector<uint8_t> before, expected, found;
};

struct Reproducer {
  std::string model;  // path of the artifact
  std::string device, target, entry, label, kernel;
  CallShape shape;
  uint32_t cache_pages = 0;
  uint32_t command = 0, last = 0;  // of the entry point; the same unless a weight is in parts
  double tolerance = 0;
  std::vector<ReproducerBuffer> buffers;
};

// The folder gets case.json, three files for each buffer, and `code`, the program's code segment,
// as code.bin. An existing reproducer in it is replaced.
absl::Status WriteReproducer(const std::string& folder, const Reproducer& reproducer,
                             const std::vector<uint8_t>& code);
absl::StatusOr<Reproducer> ReadReproducer(const std::string& folder);

}  // namespace fathom::tools

#endif  // FATHOM_RUNTIME_TOOLS_REPRODUCER_H_
