// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two programs of one artifact in lockstep.
//
// Example of a failure:
//   layers.3.mlp.down_proj/linear: prefill, kernel linear_f32_256_768: buffer embed[5][17]:
//   expected 0.4371 within 3.1e-05, found 0.4389
#include "runtime/tools/verify_device.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/exec/record.h"
#include "runtime/exec/step_runner.h"
#include "runtime/hal/driver_registry.h"
#include "runtime/tools/compare_values.h"
#include "runtime/tools/console.h"
#include "runtime/tools/reproducer.h"

namespace fathom::tools {
namespace {

constexpr double kTolerance = 1e-4;
// The reference multiplies encoded activations and the device float32 ones, or the other way: the
// encoding's error is between them.
constexpr double kEncodedTolerance = 0.05;
// Attention over a bf16 cache or with encoded weights may multiply in bf16 where a target is good
// at that; only `f32` compiles promise float32. So may the matrix units of a CPU.
constexpr double kBf16Tolerance = 1.0 / 64;

// Whether matrix units of a CPU round the operands of a projection (docs/spec/kernels.md, `form`).
bool RoundsOperands(const Program& program, const KernelFacts& kernel) {
  if (program.header().driver()->str() != "cpu") return false;
  const auto config = nlohmann::json::parse(kernel.config, nullptr, /*allow_exceptions=*/false);
  return config.is_object() && config.value("form", "") == "many" &&
         config.value("act", "") == "i8";
}

double ToleranceOf(const Artifact& artifact, const std::string& kernel, bool same_inputs,
                   bool rounded, double tolerance) {
  if (!same_inputs) return std::max(tolerance, kEncodedTolerance);
  const bool exact = artifact.header().model()->quantization()->str() == "f32";
  const bool attends = absl::StrContains(kernel, "attention");
  return (attends && !exact) || rounded ? std::max(tolerance, kBf16Tolerance) : tolerance;
}

// A program on a device, with a cache for one sequence.
struct Side {
  std::unique_ptr<hal::Device> device;
  std::shared_ptr<const Program> program;
  std::shared_ptr<const CacheMemory> cache;
};

absl::StatusOr<Side> OpenSide(std::shared_ptr<const Artifact> artifact, const std::string& device,
                              const std::string& code_cache) {
  Side side;
  hal::DeviceOptions options;
  options.code_cache = code_cache;
  FATHOM_ASSIGN_OR_RETURN(side.device, hal::MakeDriverRegistry().Open(device, options));
  FATHOM_ASSIGN_OR_RETURN(std::shared_ptr<const Weights> weights,
                          Weights::Load(artifact, LoadMode::map));
  FATHOM_ASSIGN_OR_RETURN(side.program,
                          Program::Load(std::move(artifact), std::move(weights), *side.device));
  return side;
}

absl::Status MakeCache(Side* side, uint32_t pages) {
  const uint32_t most = side->program->max_cache_pages();
  if (pages < 1 || pages > most) {
    return InputError(side->device->info().id, "pages of the cache", absl::StrCat("1 to ", most),
                      pages);
  }
  auto cache = std::make_shared<CacheMemory>(*side->device, *side->program->header().kv(), pages);
  FATHOM_RETURN_IF_ERROR(cache->Grow(pages));
  side->cache = std::move(cache);
  return absl::OkStatus();
}

KernelFacts FactsOf(const Program& program, const schema::Command& command) {
  const schema::Kernel& kernel = *program.header().kernels()->Get(command.kernel());
  return {kernel.name()->str(), kernel.config() == nullptr ? "" : kernel.config()->str()};
}

// The commands first .. last of an entry point that do one thing: a dispatch, or several that share
// out a weight between them which the device cannot bind as a whole.
struct Step {
  uint32_t first, last;
  std::string label;
};

// The weight that the dispatch takes a part of, or -1.
int32_t TensorInParts(const Artifact& artifact, const schema::Command& command) {
  for (const schema::Binding* binding : *command.bindings()) {
    if (binding->tensor() >= 0 &&
        binding->length() < artifact.header().tensors()->Get(binding->tensor())->length()) {
      return binding->tensor();
    }
  }
  return -1;
}

std::vector<Step> Steps(const Program& program, const schema::EntryPoint& entry) {
  std::vector<Step> steps;
  int32_t last_tensor = -1;
  for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
    const schema::Command& command = *entry.commands()->Get(i);
    if (command.kind() != schema::CommandKind::dispatch) continue;
    const std::string label = CommandLabel(program, command);
    const int32_t tensor = TensorInParts(program.artifact(), command);
    if (tensor >= 0 && tensor == last_tensor && steps.back().label == label) {
      steps.back().last = i;
    } else {
      steps.push_back({i, i, label});
    }
    last_tensor = tensor;
  }
  return steps;
}

absl::Status RunStep(StepRunner& runner, uint32_t first, uint32_t last) {
  for (uint32_t i = first; i <= last; ++i) FATHOM_RETURN_IF_ERROR(runner.Run(i));
  return absl::OkStatus();
}

// What a binding of each side reaches that shows the same values.
struct PlacePair {
  StepRunner::Place reference;
  StepRunner::Place device;
};

StepRunner::Place PlaceOf(const schema::Binding& binding) {
  return {static_cast<uint32_t>(binding.buffer()), binding.layer()};
}

class DeviceVerifier {
 public:
  explicit DeviceVerifier(const VerifyDeviceFlags& flags)
      : flags_(flags),
        tolerance_(flags.tolerance > 0 ? flags.tolerance : kTolerance),
        progress_("comparing", flags.quiet) {}

  absl::Status Run() {
    FATHOM_ASSIGN_OR_RETURN(artifact_, Artifact::Open(flags_.model));
    FATHOM_ASSIGN_OR_RETURN(reference_, OpenSide(artifact_, flags_.against, ""));
    FATHOM_ASSIGN_OR_RETURN(device_, OpenSide(artifact_, flags_.device, flags_.code_cache));
    if (flags_.tokens < 1 || flags_.tokens > 4096 || flags_.steps < 0 || flags_.steps > 4096) {
      return InputError("tokens and steps", "out of range", "1 to 4096 and 0 to 4096",
                        absl::StrCat(flags_.tokens, " and ", flags_.steps));
    }
    const int64_t length = flags_.tokens + flags_.steps;
    pages_ = static_cast<int64_t>(
        CeilDiv(static_cast<uint64_t>(length), reference_.program->page_tokens()));
    for (Side* side : {&reference_, &device_}) {
      FATHOM_RETURN_IF_ERROR(MakeCache(side, static_cast<uint32_t>(pages_)));
    }
    // Any ids do; these are spread over the vocabulary and always the same.
    std::vector<int32_t> tokens;
    for (int i = 0; i < flags_.tokens; ++i) {
      const uint64_t mixed = (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15;
      tokens.push_back(static_cast<int32_t>((mixed >> 20) % reference_.program->vocab_size()));
    }
    FATHOM_ASSIGN_OR_RETURN(int32_t next, Call("prefill", tokens, 0));
    for (int step = 0; step < flags_.steps; ++step) {
      FATHOM_ASSIGN_OR_RETURN(next, Call("decode", {next}, flags_.tokens + step));
    }
    return absl::OkStatus();
  }

  void PrintResult() const {
    std::printf(
        "%s agrees with %s: %d dispatches of a prefill of %d tokens and %d decode steps\n"
        "largest difference %.2g of the largest value of a row, in %s\n",
        device_.device->info().id.c_str(), reference_.device->info().id.c_str(), compared_,
        flags_.tokens, flags_.steps, largest_error_,
        largest_at_.empty() ? "no dispatch" : largest_at_.c_str());
    if (unmatched_ != 0) {
      std::printf("%d dispatches exist only in %s and were not compared by themselves\n",
                  unmatched_, device_.program->header().target()->str().c_str());
    }
  }

 private:
  // Runs `entry` on both sides for `tokens` from `position` on; gives the reference's next token.
  absl::StatusOr<int32_t> Call(const std::string& entry, const std::vector<int32_t>& tokens,
                               int64_t position);
  absl::StatusOr<std::unique_ptr<StepRunner>> Prepare(const Side& side, const std::string& entry,
                                                      const std::vector<int32_t>& tokens,
                                                      int64_t position) const;
  absl::Status Walk(StepRunner& reference, StepRunner& device);
  absl::Status Compare(StepRunner& reference, const Step& theirs, StepRunner& device,
                       const Step& ours);
  absl::Status Fail(const StepRunner& device, const Step& step, Reproducer reproducer,
                    size_t culprit, const Difference& difference) const;
  // Pairs by place where both sides bind the same number, else the last binding, the output.
  static std::vector<PlacePair> Pairs(const schema::Command& reference,
                                       const schema::Command& device);

  const VerifyDeviceFlags& flags_;
  const double tolerance_;
  ProgressLine progress_;
  std::shared_ptr<const Artifact> artifact_;
  Side reference_, device_;
  int64_t pages_ = 0;
  int compared_ = 0, unmatched_ = 0;
  double largest_error_ = 0;
  std::string largest_at_;
};

absl::StatusOr<std::unique_ptr<StepRunner>> DeviceVerifier::Prepare(
    const Side& side, const std::string& entry, const std::vector<int32_t>& tokens,
    int64_t position) const {
  const schema::EntryPoint* found = side.program->FindEntry(entry);
  if (found == nullptr) return InputError(flags_.model, "no entry point " + entry);
  CallShape shape;
  shape.tokens = static_cast<int64_t>(tokens.size());
  shape.pages = pages_;
  FATHOM_ASSIGN_OR_RETURN(auto runner, StepRunner::Create(side.program, *found, shape, side.cache));
  std::vector<int32_t> positions, pages;
  for (size_t i = 0; i < tokens.size(); ++i) {
    positions.push_back(static_cast<int32_t>(position) + static_cast<int32_t>(i));
  }
  for (int64_t page = 0; page < pages_; ++page) pages.push_back(static_cast<int32_t>(page));
  const std::vector<int32_t> sequence(tokens.size(), 0),
      length = {positions.back() + 1}, rows = {static_cast<int32_t>(tokens.size()) - 1};
  const std::vector<int32_t>* inputs[kInputs] = {&tokens, &positions, &sequence,
                                                 &pages,  &length,    &rows};
  for (size_t i = 0; i < kInputs; ++i) {
    const int buffer = runner->FindBuffer(kInputNames[i]);
    FATHOM_RETURN_IF_ERROR(runner->Write({static_cast<uint32_t>(buffer)},
                                         {reinterpret_cast<const uint8_t*>(inputs[i]->data()),
                                          inputs[i]->size() * sizeof(int32_t)}));
  }
  return runner;
}

absl::StatusOr<int32_t> DeviceVerifier::Call(const std::string& entry,
                                             const std::vector<int32_t>& tokens, int64_t position) {
  FATHOM_ASSIGN_OR_RETURN(auto reference, Prepare(reference_, entry, tokens, position));
  FATHOM_ASSIGN_OR_RETURN(auto device, Prepare(device_, entry, tokens, position));
  FATHOM_RETURN_IF_ERROR(Walk(*reference, *device));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                          reference->Read({static_cast<uint32_t>(reference->FindBuffer("logits"))}));
  const auto* logits = reinterpret_cast<const float*>(bytes.data());
  return static_cast<int32_t>(std::max_element(logits, logits + reference_.program->vocab_size()) -
                              logits);
}

absl::Status DeviceVerifier::Walk(StepRunner& reference, StepRunner& device) {
  const std::vector<Step> theirs = Steps(reference.program(), reference.entry());
  const std::vector<Step> ours = Steps(device.program(), device.entry());
  const auto run = [](StepRunner& runner, const Step& step) {
    return RunStep(runner, step.first, step.last);
  };
  size_t next = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (Interrupted()) return absl::CancelledError("stopped");
    progress_.Show(
        absl::StrFormat("%s, dispatch %d of %d", device.entry().name()->str(), i + 1, ours.size()));
    size_t match = next;
    while (match < theirs.size() && theirs[match].label != ours[i].label) ++match;
    if (match == theirs.size()) {
      FATHOM_RETURN_IF_ERROR(run(device, ours[i]));
      ++unmatched_;
      continue;
    }
    for (; next < match; ++next) FATHOM_RETURN_IF_ERROR(run(reference, theirs[next]));
    FATHOM_RETURN_IF_ERROR(Compare(reference, theirs[match], device, ours[i]));
    next = match + 1;
  }
  for (; next < theirs.size(); ++next) FATHOM_RETURN_IF_ERROR(run(reference, theirs[next]));
  return absl::OkStatus();
}

std::vector<PlacePair> DeviceVerifier::Pairs(const schema::Command& reference,
                                              const schema::Command& device) {
  const auto& theirs = *reference.bindings();
  const auto& ours = *device.bindings();
  std::vector<PlacePair> pairs;
  const uint32_t count = std::min(theirs.size(), ours.size());
  for (uint32_t i = theirs.size() == ours.size() ? 0 : count - 1; i < count; ++i) {
    const schema::Binding& a = *theirs.Get(theirs.size() - count + i);
    const schema::Binding& b = *ours.Get(ours.size() - count + i);
    if (a.buffer() == -1 || b.buffer() == -1) continue;
    const PlacePair pair = {PlaceOf(a), PlaceOf(b)};
    const bool known = std::any_of(pairs.begin(), pairs.end(), [&](const PlacePair& other) {
      return other.reference == pair.reference || other.device == pair.device;
    });
    if (!known) pairs.push_back(pair);
  }
  return pairs;
}

absl::Status DeviceVerifier::Compare(StepRunner& reference, const Step& theirs, StepRunner& device,
                                     const Step& ours) {
  // Parts bind the same buffers.
  const schema::Command& their_command = *reference.entry().commands()->Get(theirs.first);
  const schema::Command& command = *device.entry().commands()->Get(ours.first);
  Reproducer reproducer;
  reproducer.label = ours.label;
  const KernelFacts kernel = FactsOf(device.program(), command);
  reproducer.kernel = kernel.name;
  std::vector<StepRunner::Place> reference_places;
  bool same_inputs = true;
  for (const PlacePair& pair : Pairs(their_command, command)) {
    if (reference.bytes(pair.reference) != device.bytes(pair.device)) {
      // Activations in another form: the device goes on with its own.
      same_inputs = false;
      continue;
    }
    ReproducerBuffer buffer;
    buffer.buffer = pair.device.buffer;
    buffer.layer = pair.device.layer;
    buffer.name = device.entry().buffers()->Get(buffer.buffer)->name()->str();
    FATHOM_ASSIGN_OR_RETURN(buffer.before, reference.Read(pair.reference));
    FATHOM_RETURN_IF_ERROR(device.Write(pair.device, buffer.before));
    reproducer.buffers.push_back(std::move(buffer));
    reference_places.push_back(pair.reference);
  }
  FATHOM_RETURN_IF_ERROR(RunStep(reference, theirs.first, theirs.last));
  FATHOM_RETURN_IF_ERROR(RunStep(device, ours.first, ours.last));
  ++compared_;

  const KernelFacts their_kernel = FactsOf(reference.program(), their_command);
  const bool rounded = RoundsOperands(reference.program(), their_kernel) !=
                       RoundsOperands(device.program(), kernel);
  const double tolerance =
      ToleranceOf(*artifact_, reproducer.kernel, same_inputs, rounded, tolerance_);
  reproducer.tolerance = tolerance;
  std::optional<size_t> culprit;
  Difference worst;
  for (size_t i = 0; i < reproducer.buffers.size(); ++i) {
    ReproducerBuffer& buffer = reproducer.buffers[i];
    FATHOM_ASSIGN_OR_RETURN(buffer.expected, reference.Read(reference_places[i]));
    FATHOM_ASSIGN_OR_RETURN(buffer.found, device.Read({buffer.buffer, buffer.layer}));
    const uint64_t rows = static_cast<uint64_t>(device.shape().tokens);
    Comparison best;
    bool first = true;
    for (const ValueForm& form : FormsOf(buffer.name, kernel, buffer.found.size())) {
      Comparison comparison = CompareValues(form, buffer.expected, buffer.found, rows, tolerance);
      if (first || !comparison.worst.has_value()) best = std::move(comparison);
      if (!best.worst.has_value()) break;
      first = false;
    }
    if (best.largest_error > largest_error_) {
      largest_error_ = best.largest_error;
      largest_at_ = reproducer.label;
    }
    if (best.worst.has_value() && !culprit.has_value()) {
      culprit = i;
      worst = *best.worst;
    }
  }
  if (!culprit.has_value()) return absl::OkStatus();
  return Fail(device, ours, std::move(reproducer), *culprit, worst);
}

absl::Status DeviceVerifier::Fail(const StepRunner& device, const Step& step, Reproducer reproducer,
                                  size_t culprit, const Difference& difference) const {
  reproducer.model = flags_.model;
  reproducer.device = device_.device->info().id;
  reproducer.target = device.program().header().target()->str();
  reproducer.entry = device.entry().name()->str();
  reproducer.shape = device.shape();
  reproducer.cache_pages = device_.cache->pages();
  reproducer.command = step.first;
  reproducer.last = step.last;
  const std::string folder =
      flags_.reproducer.empty() ? std::string("fathom-reproducer") : flags_.reproducer;
  std::string text = absl::StrFormat(
      "%s: %s, kernel %s of %s: buffer %s[%d][%d]: expected %.6g within %.2g, found %.6g on %s "
      "(%d dispatches before it agree with %s)",
      reproducer.label, reproducer.entry, reproducer.kernel, reproducer.target,
      reproducer.buffers[culprit].name, difference.row, difference.column, difference.expected,
      difference.tolerance, difference.found, reproducer.device, compared_ - 1,
      reference_.device->info().id);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> code,
                          artifact_->ReadSegment(device.program().header().code()));
  const absl::Status written = WriteReproducer(folder, reproducer, code);
  absl::StrAppend(&text, "\n",
                  written.ok() ? absl::StrCat("reproducer: fathom verify --replay ", folder)
                               : absl::StrCat("no reproducer: ", written.message()));
  return absl::InternalError(text);
}

}  // namespace

absl::Status VerifyDevice(const VerifyDeviceFlags& flags) {
  DeviceVerifier verifier(flags);
  FATHOM_RETURN_IF_ERROR(verifier.Run());
  if (!flags.quiet) verifier.PrintResult();
  return absl::OkStatus();
}

absl::Status ReplayReproducer(const std::string& folder, const std::string& device) {
  FATHOM_ASSIGN_OR_RETURN(const Reproducer reproducer, ReadReproducer(folder));
  FATHOM_ASSIGN_OR_RETURN(std::shared_ptr<const Artifact> artifact,
                          Artifact::Open(reproducer.model));
  FATHOM_ASSIGN_OR_RETURN(
      Side side, OpenSide(std::move(artifact), device.empty() ? reproducer.device : device, "off"));
  const schema::EntryPoint* entry = side.program->FindEntry(reproducer.entry);
  if (entry == nullptr || reproducer.command > reproducer.last ||
      reproducer.last >= entry->commands()->size()) {
    return InputError(folder, "the artifact has changed: no such command");
  }
  FATHOM_RETURN_IF_ERROR(MakeCache(&side, reproducer.cache_pages));
  FATHOM_ASSIGN_OR_RETURN(auto runner,
                          StepRunner::Create(side.program, *entry, reproducer.shape, side.cache));
  if (CommandLabel(*side.program, *entry->commands()->Get(reproducer.command)) !=
      reproducer.label) {
    return InputError(folder, "the artifact has changed: command", reproducer.label,
                      CommandLabel(*side.program, *entry->commands()->Get(reproducer.command)));
  }
  for (const ReproducerBuffer& buffer : reproducer.buffers) {
    const bool cache =
        buffer.buffer < entry->buffers()->size() &&
        entry->buffers()->Get(buffer.buffer)->kind() == schema::BufferKind::kv_cache;
    const int64_t layers = cache ? side.program->header().kv()->layers() : 0;
    if (buffer.buffer >= entry->buffers()->size() || buffer.layer < -1 || buffer.layer >= layers ||
        runner->bytes({buffer.buffer, buffer.layer}) != buffer.before.size() ||
        buffer.expected.size() != buffer.before.size()) {
      return InputError(folder, "the artifact has changed: buffer " + buffer.name);
    }
    FATHOM_RETURN_IF_ERROR(runner->Write({buffer.buffer, buffer.layer}, buffer.before));
  }
  FATHOM_RETURN_IF_ERROR(RunStep(*runner, reproducer.command, reproducer.last));
  const KernelFacts kernel = FactsOf(*side.program, *entry->commands()->Get(reproducer.command));
  for (const ReproducerBuffer& buffer : reproducer.buffers) {
    FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> found, runner->Read({buffer.buffer, buffer.layer}));
    Comparison last;
    for (const ValueForm& form : FormsOf(buffer.name, kernel, found.size())) {
      last = CompareValues(form, buffer.expected, found,
                           static_cast<uint64_t>(reproducer.shape.tokens), reproducer.tolerance);
      if (!last.worst.has_value()) break;
    }
    if (last.worst.has_value()) {
      return absl::InternalError(absl::StrFormat(
          "%s: kernel %s: buffer %s[%d][%d]: expected %.6g within %.2g, found %.6g",
          reproducer.label, reproducer.kernel, buffer.name, last.worst->row, last.worst->column,
          last.worst->expected, last.worst->tolerance, last.worst->found));
    }
  }
  std::printf("%s: kernel %s gives what was expected\n", reproducer.label.c_str(),
              reproducer.kernel.c_str());
  return absl::OkStatus();
}

}  // namespace fathom::tools
