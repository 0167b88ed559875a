// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Trying devices in the order of what they promise.
#include "runtime/api/pick_device.h"

#include <algorithm>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/exec/program.h"

namespace fathom {
namespace {

struct Candidate {
  hal::Driver* driver;
  size_t index;
  hal::DeviceInfo info;
  int rank;  // smaller first
};

int Rank(const hal::Driver& driver, const hal::DeviceInfo& info) {
  if (driver.name() == "cpu") return 2;
  if (info.on_host) return 3;
  return info.unified_memory ? 1 : 0;
}

// What keeps `candidate` from running the artifact, or the opened device.
absl::StatusOr<PickedDevice> Try(const Artifact& artifact, const Candidate& candidate,
                                 const hal::DeviceOptions& options) {
  const hal::DeviceInfo& info = candidate.info;
  if (!info.unusable.empty()) return absl::UnimplementedError(info.unusable);
  const uint64_t weights = WeightBytes(artifact);
  if (!info.on_host && info.memory_bytes < weights) {
    return absl::UnimplementedError(absl::StrCat("its ", info.memory_bytes,
                                                 " bytes of memory do not hold the weights (",
                                                 weights, " bytes)"));
  }
  PickedDevice picked;
  FATHOM_ASSIGN_OR_RETURN(picked.device, candidate.driver->Open(candidate.index, options));
  FATHOM_ASSIGN_OR_RETURN(const uint32_t program, PickProgram(artifact, *picked.device));
  picked.reason = absl::StrCat(info.id, " (", info.name, "), program ",
                               artifact.header().programs()->Get(program)->target()->str());
  return picked;
}

}  // namespace

uint64_t WeightBytes(const Artifact& artifact) {
  uint64_t bytes = 0;
  for (const schema::Segment* segment : *artifact.header().segments()) {
    if (segment->kind() == schema::SegmentKind::weights) bytes += segment->length();
  }
  return bytes;
}

absl::StatusOr<PickedDevice> PickDevice(const Artifact& artifact,
                                        const hal::DriverRegistry& registry,
                                        const hal::DeviceOptions& options) {
  std::vector<Candidate> candidates;
  std::string passed_over;
  for (const auto& driver : registry.drivers()) {
    if (driver->name() == "null") continue;
    const std::vector<hal::DeviceInfo> infos = driver->Devices();
    for (size_t i = 0; i < infos.size(); ++i) {
      candidates.push_back({driver.get(), i, infos[i], Rank(*driver, infos[i])});
    }
    if (infos.empty()) {
      absl::StrAppend(&passed_over, "; no ", driver->name(), ": ", driver->Available().message());
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.rank < b.rank; });
  absl::StatusOr<PickedDevice> picked = UnsupportedError(artifact.path(), "");
  for (const Candidate& candidate : candidates) {
    picked = Try(artifact, candidate, options);
    if (picked.ok()) break;
    absl::StrAppend(&passed_over, "; not ", candidate.info.id, ": ", picked.status().message());
  }
  if (!picked.ok()) {
    return UnsupportedError(artifact.path(), "no device of this machine can run it" + passed_over);
  }
  picked->reason += passed_over;
  return picked;
}

}  // namespace fathom
