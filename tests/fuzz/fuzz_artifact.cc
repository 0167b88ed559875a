// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The artifact header: what passes the verifiers must then load and record on the null device.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "runtime/artifact/digest.h"
#include "runtime/artifact/verifier.h"
#include "runtime/artifact/weights.h"
#include "runtime/exec/context.h"
#include "runtime/exec/memory_plan.h"
#include "runtime/hal/driver_registry.h"
#include "runtime/schema/prefix.h"

namespace fathom {
namespace {

// Code, weights and tokenizer lie in these bytes, all zero.
constexpr uint64_t kPayload = 65536;

// A file in memory: prefix, payload, `header`, with a prefix that is true of it.
class MemoryFile {
 public:
  explicit MemoryFile(absl::Span<const uint8_t> header)
      : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    schema::ArtifactPrefix prefix;
    prefix.header_offset = kPayload;
    prefix.header_length = header.size();
    prefix.file_length = kPayload + header.size();
    const DigestBytes digest = Blake2b(header);
    std::memcpy(prefix.header_digest.data(), digest.data(), schema::kPrefixDigestBytes);
    const auto bytes = schema::EncodePrefix(prefix);
    (void)!::pwrite(descriptor_, bytes.data(), bytes.size(), 0);
    (void)!::pwrite(descriptor_, header.data(), header.size(), kPayload);
  }
  ~MemoryFile() { ::close(descriptor_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  const int descriptor_;
};

void RunEverything(const std::string& path) {
  const auto artifact = Artifact::Open(path);
  if (!artifact.ok()) return;
  (void)(*artifact)->VerifyHashes(1);
  for (uint32_t i = 0; i < (*artifact)->header().programs()->size(); ++i) {
    (void)PlanMemory(**artifact, i, {4096, 2, 64});
    (void)LargestContext(**artifact, i, {1, 1, 1}, {}, 1 << 20);
  }
  const auto weights = Weights::Load(*artifact, LoadMode::map);
  if (!weights.ok()) return;
  const auto device = hal::MakeDriverRegistry().Open("null", {});
  const auto program = Program::Load(*artifact, *weights, **device);
  if (!program.ok()) return;
  auto context = Context::Create(*program, 2);
  if (!context.ok()) return;
  for (int tokens : {1, 5}) {
    std::vector<int32_t> positions(static_cast<size_t>(tokens)), zeros(positions.size());
    std::iota(positions.begin(), positions.end(), 0);
    const int32_t pages[] = {0, 1}, length[] = {tokens}, row[] = {tokens - 1};
    for (const char* entry : {"prefill", "decode"}) {
      (void)(*context)->Run(entry, {zeros, positions, zeros, pages, length, row});
    }
  }
}

}  // namespace
}  // namespace fathom

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 1 << 20) return 0;
  const fathom::MemoryFile file({data, size});
  fathom::RunEverything(file.path());
  return 0;
}
