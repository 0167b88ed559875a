// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom plan: the memory a model needs on a device, before anything is loaded or even compiled.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "runtime/api/pick_device.h"
#include "runtime/artifact/encoding.h"
#include "runtime/base/checked.h"
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

// From the widest to the narrowest, by their names in --quantize.
constexpr schema::Encoding kEncodings[] = {schema::Encoding::f32, schema::Encoding::bf16,
                                           schema::Encoding::q8, schema::Encoding::q4};

// The same model with fewer bits per weight.
struct Smaller {
  std::string quantize;
  MemoryPlan needed;
  std::string obstacle;
  bool fits = false;
  int64_t largest_context = 0;
};

struct Plan {
  hal::DeviceInfo device;
  std::string device_reason;
  std::string target;
  std::string quantize;
  uint64_t memory = 0;  // that may be used
  MemoryRequest request;
  MemoryPlan needed;
  bool fits = false;
  int64_t largest_context = 0;
  std::string obstacle;  // what else than memory stands in the way
  std::vector<Smaller> smaller;
  bool smaller_is_exact = false;  // the model is yet to be compiled
};

// What is planned, and for which device.
struct Subject {
  std::shared_ptr<const Artifact> artifact;
  uint32_t program = 0;
  CompileFlags compile;  // input "": the model is an artifact
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

// What the usable devices suggest, each once.
std::vector<std::string> SuggestedTargets(const hal::DriverRegistry& registry) {
  std::vector<std::string> targets;
  for (const auto& driver : registry.drivers()) {
    for (const hal::DeviceInfo& info : driver->Devices()) {
      const std::string& target = info.suggested_target;
      if (driver->name() != "null" && info.unusable.empty() && !target.empty() &&
          std::find(targets.begin(), targets.end(), target) == targets.end()) {
        targets.push_back(target);
      }
    }
  }
  return targets;
}

absl::StatusOr<uint32_t> ProgramNamed(const Artifact& artifact,
                                      const std::vector<std::string>& targets) {
  const auto& programs = *artifact.header().programs();
  std::vector<std::string> names;
  for (uint32_t i = 0; i < programs.size(); ++i) {
    names.push_back(programs.Get(i)->target()->str());
    if (targets.empty() || names.back() == targets.front()) return i;
  }
  return InputError(artifact.path(), "program of --target", absl::StrJoin(names, " or "),
                    targets.empty() ? "none" : targets.front());
}

// Fills the device of `plan`.
absl::StatusOr<Subject> FindSubject(const PlanFlags& flags, const hal::DriverRegistry& registry,
                                    Plan* plan) {
  Subject subject;
  const bool compiles = IsCompilerInput(flags.model);
  if (compiles) {
    subject.compile = {flags.model, flags.quantize, flags.targets};
  } else if (!flags.quantize.empty() || (!flags.targets.empty() && flags.memory == 0)) {
    return InputError(flags.model, "with --quantize or --target",
                      "a checkpoint or config.json, to be planned as it would be compiled",
                      "an artifact");
  }
  std::unique_ptr<hal::Device> device;
  if (flags.memory == 0 && flags.device != "auto") {
    FATHOM_ASSIGN_OR_RETURN(device, registry.Open(flags.device, {}));
    if (subject.compile.targets.empty() && !device->info().suggested_target.empty()) {
      subject.compile.targets = {device->info().suggested_target};
    }
  } else if (flags.memory == 0 && subject.compile.targets.empty()) {
    subject.compile.targets = SuggestedTargets(registry);
  }
  if (compiles) {
    FATHOM_ASSIGN_OR_RETURN(subject.artifact, CompiledHeader(subject.compile));
  } else {
    FATHOM_ASSIGN_OR_RETURN(subject.artifact, Artifact::Open(flags.model));
  }
  const Artifact& artifact = *subject.artifact;
  if (flags.memory != 0) {
    plan->device.id = plan->device.name = FormatBytes(flags.memory) + " of memory";
    plan->memory = flags.memory;
    FATHOM_ASSIGN_OR_RETURN(
        subject.program,
        ProgramNamed(artifact, compiles ? std::vector<std::string>() : flags.targets));
    return subject;
  }
  if (flags.device == "auto") {
    FATHOM_ASSIGN_OR_RETURN(PickedDevice picked, PickDevice(artifact, registry, {}));
    device = std::move(picked.device);
    plan->device_reason = std::move(picked.reason);
  }
  FATHOM_ASSIGN_OR_RETURN(subject.program, PickProgram(artifact, *device));
  plan->device = device->info();
  plan->memory = UsableMemory(registry, plan->device);
  return subject;
}

// Weight bytes of the artifact with the tensors that are in `from` in `to` instead. Exact but for
// `from` = f32, where what always stays in f32 (a router) cannot be told from the rest.
absl::StatusOr<uint64_t> WeightsAs(const Artifact& artifact, schema::Encoding from,
                                   schema::Encoding to) {
  uint64_t bytes = 0;
  for (const schema::Tensor* tensor : *artifact.header().tensors()) {
    const std::vector<uint64_t> shape(tensor->shape()->begin(), tensor->shape()->end());
    const schema::Encoding encoding = tensor->encoding() == from ? to : tensor->encoding();
    FATHOM_ASSIGN_OR_RETURN(const uint64_t size, EncodedBytes(encoding, shape));
    bytes = RoundUp(bytes, schema::kTensorAlignment);
    if (!CheckedAdd<uint64_t>(bytes, size, &bytes)) {
      return InputError(artifact.path(), "the memory it needs does not fit 64 bits");
    }
  }
  return bytes;
}

bool BindsTooMuch(const hal::DeviceInfo& device, const MemoryPlan& needed) {
  return device.max_binding_bytes != 0 && needed.longest_binding > device.max_binding_bytes;
}

// What else than memory keeps `needed` from running on the device; "" when nothing does.
std::string Obstacle(const schema::Artifact& header, const schema::KvCache& kv, const Plan& plan,
                     const MemoryPlan& needed) {
  const uint64_t model = header.model()->context_length();
  const hal::DeviceInfo& device = plan.device;
  if (static_cast<uint64_t>(plan.request.context) > model) {
    return absl::StrCat("the model was made for ", model, " tokens of context");
  }
  if (needed.cache / kv.page_bytes() > MaxCachePages(device, kv)) {
    return absl::StrCat("a layer of the cache takes ", FormatBytes(needed.cache / kv.layers()),
                        ", and ", device.id, " binds at most ",
                        FormatBytes(MaxCachePages(device, kv) * LayerPageBytes(kv)), " at once");
  }
  if (BindsTooMuch(device, needed)) {
    return absl::StrCat(needed.longest_name, " takes ", FormatBytes(needed.longest_binding),
                        ", and ", device.id, " binds at most ",
                        FormatBytes(device.max_binding_bytes), " at once");
  }
  return "";
}

// The plans with fewer bits per weight: exact for a model that is yet to be compiled, else with the
// scratch of the artifact there is.
absl::Status PlanSmaller(const Subject& subject, Plan* plan) {
  const auto* end = std::end(kEncodings);
  const auto* current = std::find_if(kEncodings, end, [&](schema::Encoding encoding) {
    return plan->quantize == schema::EnumNameEncoding(encoding);
  });
  for (const auto* it = current == end ? end : current + 1; it != end; ++it) {
    Smaller smaller;
    smaller.quantize = schema::EnumNameEncoding(*it);
    std::shared_ptr<const Artifact> artifact = subject.artifact;
    if (!subject.compile.input.empty()) {
      CompileFlags compile = subject.compile;
      compile.quantize = smaller.quantize;
      FATHOM_ASSIGN_OR_RETURN(artifact, CompiledHeader(compile));
    }
    FATHOM_ASSIGN_OR_RETURN(smaller.needed, PlanMemory(*artifact, subject.program, plan->request));
    uint64_t saved = 0;  // where the header in hand still has the wider weights
    if (subject.compile.input.empty()) {
      FATHOM_ASSIGN_OR_RETURN(const uint64_t weights, WeightsAs(*artifact, *current, *it));
      saved = smaller.needed.weights - std::min(weights, smaller.needed.weights);
      smaller.needed.weights -= saved;
      smaller.needed.total -= saved;
    }
    FATHOM_ASSIGN_OR_RETURN(smaller.largest_context,
                            LargestContext(*artifact, subject.program, plan->request, plan->device,
                                           plan->memory + saved));
    const bool exact = !subject.compile.input.empty();
    const schema::KvCache& kv = *artifact->header().programs()->Get(subject.program)->kv();
    smaller.obstacle =
        exact ? Obstacle(artifact->header(), kv, *plan, smaller.needed) : plan->obstacle;
    if (exact && BindsTooMuch(plan->device, smaller.needed)) smaller.largest_context = 0;
    smaller.fits = smaller.obstacle.empty() && smaller.needed.total <= plan->memory;
    plan->smaller.push_back(std::move(smaller));
  }
  return absl::OkStatus();
}

absl::StatusOr<Plan> MakePlan(const PlanFlags& flags) {
  const hal::DriverRegistry registry = hal::MakeDriverRegistry();
  Plan plan;
  FATHOM_ASSIGN_OR_RETURN(const Subject subject, FindSubject(flags, registry, &plan));
  const Artifact& artifact = *subject.artifact;
  const schema::Program& program = *artifact.header().programs()->Get(subject.program);
  plan.target = program.target()->str();
  plan.quantize = artifact.header().model()->quantization()->str();

  const int64_t model = static_cast<int64_t>(artifact.header().model()->context_length());
  plan.request = {flags.context_size == 0 ? model : flags.context_size, flags.sequences,
                  flags.chunk};
  FATHOM_ASSIGN_OR_RETURN(plan.needed, PlanMemory(artifact, subject.program, plan.request));
  FATHOM_ASSIGN_OR_RETURN(
      plan.largest_context,
      LargestContext(artifact, subject.program, plan.request, plan.device, plan.memory));
  plan.obstacle = Obstacle(artifact.header(), *program.kv(), plan, plan.needed);
  if (BindsTooMuch(plan.device, plan.needed)) plan.largest_context = 0;
  plan.fits = plan.obstacle.empty() && plan.needed.total <= plan.memory;
  plan.smaller_is_exact = !subject.compile.input.empty();
  FATHOM_RETURN_IF_ERROR(PlanSmaller(subject, &plan));
  return plan;
}

void Row(const std::string& name, uint64_t bytes, const std::string& note) {
  std::printf("%-20s %12s  %s\n", name.c_str(), FormatBytes(bytes).c_str(), note.c_str());
}

std::string Context(int64_t tokens) {
  return tokens > 0 ? absl::StrCat("largest context ", tokens) : "no context fits";
}

void Print(const PlanFlags& flags, const Plan& plan) {
  std::printf("%s (%s) on %s (%s), program %s\n", flags.model.c_str(), plan.quantize.c_str(),
              plan.device.id.c_str(), plan.device.name.c_str(), plan.target.c_str());
  const MemoryRequest& request = plan.request;
  Row("weights", plan.needed.weights, "");
  Row("KV cache", plan.needed.cache,
      absl::StrCat(request.context, " tokens",
                   request.sequences == 1 ? "" : absl::StrCat(" x ", request.sequences)));
  Row("scratch", plan.needed.scratch, absl::StrCat("calls of up to ", request.chunk, " tokens"));
  for (const auto& [entry, bytes] : plan.needed.scratch_of_entry) Row("  " + entry, bytes, "");
  Row("inputs and logits", plan.needed.inputs_and_logits, "");
  Row("in all", plan.needed.total,
      absl::StrCat(plan.needed.total <= plan.memory ? "fits in " : "does not fit in ",
                   FormatBytes(plan.memory), plan.obstacle.empty() ? "" : ", but:"));
  if (!plan.obstacle.empty()) std::printf("%s\n", plan.obstacle.c_str());
  if (plan.largest_context > 0) {
    std::printf("%-20s %12lld  tokens per sequence\n", "largest context",
                static_cast<long long>(plan.largest_context));
  } else {
    std::printf(
        "no context fits; a smaller --chunk, fewer bits per weight or more memory would "
        "help\n");
  }
  for (const Smaller& smaller : plan.smaller) {
    Row("with --quantize=" + smaller.quantize, smaller.needed.total,
        absl::StrCat(smaller.fits ? "fits; " : "does not fit; ", Context(smaller.largest_context),
                     plan.smaller_is_exact ? "" : " (about)"));
  }
}

void PrintJson(const PlanFlags& flags, const Plan& plan) {
  nlohmann::ordered_json scratch = nlohmann::ordered_json::object();
  for (const auto& [entry, bytes] : plan.needed.scratch_of_entry) scratch[entry] = bytes;
  nlohmann::ordered_json smaller = nlohmann::ordered_json::array();
  for (const Smaller& other : plan.smaller) {
    smaller.push_back({{"quantize", other.quantize},
                       {"weights", other.needed.weights},
                       {"total", other.needed.total},
                       {"fits", other.fits},
                       {"largest_context", other.largest_context}});
  }
  const nlohmann::ordered_json json = {{"model", flags.model},
                                       {"quantize", plan.quantize},
                                       {"device", plan.device.id},
                                       {"target", plan.target},
                                       {"context", plan.request.context},
                                       {"sequences", plan.request.sequences},
                                       {"chunk", plan.request.chunk},
                                       {"weights", plan.needed.weights},
                                       {"kv_cache", plan.needed.cache},
                                       {"scratch", plan.needed.scratch},
                                       {"scratch_of_entry", scratch},
                                       {"inputs_and_logits", plan.needed.inputs_and_logits},
                                       {"total", plan.needed.total},
                                       {"memory", plan.memory},
                                       {"longest_binding", plan.needed.longest_binding},
                                       {"fits", plan.fits},
                                       {"obstacle", plan.obstacle},
                                       {"largest_context", plan.largest_context},
                                       {"smaller", smaller}};
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
  std::string hint = plan.largest_context > 0 ? absl::StrCat("one of ", plan.largest_context, " would")
                                              : "none would";
  for (const Smaller& smaller : plan.smaller) {
    if (!smaller.fits) continue;
    absl::StrAppend(&hint, "; with --quantize=", smaller.quantize, " it would");
    break;
  }
  return UnsupportedError(
      plan.device.id,
      absl::StrCat("a context of ", plan.request.context, " tokens does not fit",
                   plan.obstacle.empty() ? "" : ": ", plan.obstacle, "; ", hint));
}

}  // namespace fathom::tools
