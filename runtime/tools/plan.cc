// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom plan: the memory a model needs on a device, before anything is loaded.
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "runtime/api/pick_device.h"
#include "runtime/base/status.h"
#include "runtime/exec/memory_plan.h"
#include "runtime/exec/program.h"
#include "runtime/hal/driver_registry.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {
namespace {

// A device's own memory is not all ours: its driver and the screen have some of it.
constexpr uint64_t kUsablePercent = 95;

struct Plan {
  hal::DeviceInfo device;
  std::string device_reason;
  std::string target;
  uint64_t memory = 0;  // that may be used
  MemoryRequest request;
  MemoryPlan needed;
  bool fits = false;
  int64_t largest_context = 0;
  std::string obstacle;  // what else than memory stands in the way
};

// The memory that `info` computes in. A software GPU's own number means nothing.
uint64_t UsableMemory(const hal::DriverRegistry& registry, const hal::DeviceInfo& info) {
  uint64_t bytes = info.memory_bytes;
  if (info.on_host) {
    for (const auto& driver : registry.drivers()) {
      if (driver->name() == "cpu") bytes = driver->Devices()[0].memory_bytes;
    }
  }
  return bytes / 100 * kUsablePercent;
}

absl::StatusOr<Plan> MakePlan(const PlanFlags& flags) {
  std::error_code error;
  if (std::filesystem::is_directory(flags.model, error) || absl::EndsWith(flags.model, ".json")) {
    return UnsupportedError(
        flags.model,
        "plan reads artifacts; compile the model first (for a config.json alone: fathom compile " +
            flags.model + " --weights=random:1)");
  }
  FATHOM_ASSIGN_OR_RETURN(const std::shared_ptr<const Artifact> artifact,
                          Artifact::Open(flags.model));
  const hal::DriverRegistry registry = hal::MakeDriverRegistry();
  Plan plan;
  std::unique_ptr<hal::Device> device;
  if (flags.device == "auto") {
    FATHOM_ASSIGN_OR_RETURN(PickedDevice picked, PickDevice(*artifact, registry, {}));
    device = std::move(picked.device);
    plan.device_reason = std::move(picked.reason);
  } else {
    FATHOM_ASSIGN_OR_RETURN(device, registry.Open(flags.device, {}));
  }
  FATHOM_ASSIGN_OR_RETURN(const uint32_t index, PickProgram(*artifact, *device));
  const schema::Program& program = *artifact->header().programs()->Get(index);
  plan.device = device->info();
  plan.target = program.target()->str();
  plan.memory = UsableMemory(registry, plan.device);

  const int64_t model = static_cast<int64_t>(artifact->header().model()->context_length());
  plan.request = {flags.context_size == 0 ? model : flags.context_size, flags.sequences,
                  flags.chunk};
  FATHOM_ASSIGN_OR_RETURN(plan.needed, PlanMemory(*artifact, index, plan.request));
  FATHOM_ASSIGN_OR_RETURN(plan.largest_context,
                          LargestContext(*artifact, index, plan.request, plan.device, plan.memory));
  if (plan.request.context > model) {
    plan.obstacle = absl::StrCat("the model was made for ", model, " tokens of context");
  } else if (plan.needed.cache / program.kv()->page_bytes() >
             MaxCachePages(plan.device, program.kv()->page_bytes())) {
    plan.obstacle =
        absl::StrCat("a cache is one buffer, and ", plan.device.id, " takes at most ",
                     FormatBytes(uint64_t{MaxCachePages(plan.device, program.kv()->page_bytes())} *
                                 program.kv()->page_bytes()));
  }
  plan.fits = plan.obstacle.empty() && plan.needed.total <= plan.memory;
  return plan;
}

void Row(const char* name, uint64_t bytes, const std::string& note) {
  std::printf("%-20s %12s  %s\n", name, FormatBytes(bytes).c_str(), note.c_str());
}

void Print(const PlanFlags& flags, const Plan& plan) {
  std::printf("%s on %s (%s), program %s\n", flags.model.c_str(), plan.device.id.c_str(),
              plan.device.name.c_str(), plan.target.c_str());
  const MemoryRequest& request = plan.request;
  Row("weights", plan.needed.weights, "");
  Row("KV cache", plan.needed.cache,
      absl::StrCat(request.context, " tokens",
                   request.sequences == 1 ? "" : absl::StrCat(" x ", request.sequences)));
  Row("scratch", plan.needed.scratch, absl::StrCat("calls of up to ", request.chunk, " tokens"));
  Row("inputs and logits", plan.needed.inputs_and_logits, "");
  Row("in all", plan.needed.total,
      absl::StrCat(plan.fits ? "fits in " : "does not fit in ", FormatBytes(plan.memory)));
  if (!plan.obstacle.empty()) std::printf("%s\n", plan.obstacle.c_str());
  if (plan.largest_context > 0) {
    std::printf("%-20s %12lld  tokens per sequence\n", "largest context",
                static_cast<long long>(plan.largest_context));
  } else {
    std::printf(
        "no context fits; a smaller --chunk, fewer bits per weight or more memory would "
        "help\n");
  }
}

void PrintJson(const PlanFlags& flags, const Plan& plan) {
  const nlohmann::ordered_json json = {{"model", flags.model},
                                       {"device", plan.device.id},
                                       {"target", plan.target},
                                       {"context", plan.request.context},
                                       {"sequences", plan.request.sequences},
                                       {"chunk", plan.request.chunk},
                                       {"weights", plan.needed.weights},
                                       {"kv_cache", plan.needed.cache},
                                       {"scratch", plan.needed.scratch},
                                       {"inputs_and_logits", plan.needed.inputs_and_logits},
                                       {"total", plan.needed.total},
                                       {"memory", plan.memory},
                                       {"fits", plan.fits},
                                       {"obstacle", plan.obstacle},
                                       {"largest_context", plan.largest_context}};
  std::printf("%s\n", json.dump(2).c_str());
}

}  // namespace

absl::Status RunPlan(const PlanFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(const Plan plan, MakePlan(flags));
  if (!plan.device_reason.empty()) {
    std::fprintf(stderr, "device: %s\n", plan.device_reason.c_str());
  }
  if (flags.json) {
    PrintJson(flags, plan);
  } else {
    Print(flags, plan);
  }
  if (plan.fits) return absl::OkStatus();
  return UnsupportedError(
      plan.device.id, absl::StrCat("a context of ", plan.request.context, " tokens does not fit; ",
                                   plan.largest_context > 0
                                       ? absl::StrCat("one of ", plan.largest_context, " would")
                                       : "none would"));
}

}  // namespace fathom::tools
