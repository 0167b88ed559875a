// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Walks an entry point's commands, adds up what each kernel costs and prints it.
#include "runtime/tools/estimate.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"
#include "runtime/exec/expressions.h"
#include "runtime/tools/commands.h"

namespace fathom::tools {
namespace {

using Json = nlohmann::json;

absl::StatusOr<Json> ParseObject(const std::string& text, const std::string& where) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InputError(where, "expected a JSON object");
  return json;
}

// How many experts of a grouped product every token takes, by (experts, top_k) with them counted.
using SharedExperts = std::map<std::pair<int64_t, int64_t>, int64_t>;

int64_t IntegerOr(const Json& json, const char* field, int64_t missing) {
  const auto it = json.find(field);
  if (it == json.end() || !it->is_number_integer()) return missing;
  return std::clamp<int64_t>(it->get<int64_t>(), -1, int64_t{1} << 40);
}

struct ProgramKernels {
  std::vector<Json> configs;
  SharedExperts shared;
  bool expands_latent = true;
};

absl::StatusOr<ProgramKernels> Describe(const Artifact& artifact, const schema::Program& program) {
  ProgramKernels kernels;
  for (const schema::Kernel* kernel : *program.kernels()) {
    if (kernel->family() == nullptr || kernel->config() == nullptr) {
      return UnsupportedError(artifact.path(),
                              "its kernels are not described: compile it again");
    }
    FATHOM_ASSIGN_OR_RETURN(
        Json config, ParseObject(kernel->config()->str(),
                                 absl::StrCat(artifact.path(), ": kernel ", kernel->name()->str(),
                                              ": config")));
    if (kernel->family()->str() == "route") {
      const int64_t shared = IntegerOr(config, "shared", 0);
      kernels.shared[{IntegerOr(config, "experts", 0) + shared,
                      IntegerOr(config, "top_k", 0) + shared}] = shared;
    }
    kernels.configs.push_back(std::move(config));
  }
  if (program.profile() != nullptr) {
    FATHOM_ASSIGN_OR_RETURN(const Json profile,
                            ParseObject(program.profile()->str(),
                                        absl::StrCat(artifact.path(), ": program ",
                                                     program.target()->str(), ": profile")));
    kernels.expands_latent = !profile.contains("gpu");
  }
  return kernels;
}

void Add(const KernelCost& cost, KernelCost* sum) {
  sum->weight_bytes += cost.weight_bytes;
  sum->cache_bytes += cost.cache_bytes;
  sum->other_bytes += cost.other_bytes;
  sum->ops += cost.ops;
  sum->unit = cost.unit;
  sum->known = cost.known;
}

}  // namespace

double Roofs::Of(Unit unit) const {
  return unit == Unit::kInt8 ? int8 : unit == Unit::kBf16 ? bf16 : f32;
}

absl::StatusOr<Roofs> RoofsOf(const std::string& json, const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const Json profile, ParseObject(json, where));
  Roofs roofs;
  const auto name = profile.find("name");
  if (name == profile.end() || !name->is_string()) return InputError(where, "name", "a string", "none");
  roofs.profile = name->get<std::string>();
  for (const char* origin : {"measured", "published"}) {
    const auto rates = profile.find(origin);
    if (rates == profile.end()) continue;
    const auto rate = [&](const char* field) {
      const auto it = rates->find(field);
      return it != rates->end() && it->is_number() ? 1e9 * it->get<double>() : 0;
    };
    roofs.origin = origin;
    if (const auto device = rates->find("device"); device != rates->end() && device->is_string()) {
      roofs.device = device->get<std::string>();
    }
    roofs.bytes = rate("read_gbps");
    roofs.f32 = rate("f32_gflops");
    roofs.bf16 = std::max(rate("bf16_gflops"), roofs.f32);
    roofs.int8 = std::max(rate("int8_gops"), roofs.f32);
    for (const auto& [field, value] : {std::pair{"read_gbps", roofs.bytes},
                                       std::pair{"f32_gflops", roofs.f32}}) {
      if (!(value > 0)) {
        return InputError(absl::StrCat(where, ": ", origin), field, "a number above 0", value);
      }
    }
    return roofs;
  }
  return UnsupportedError(
      where, "the profile tells no rates of a device: expected measured or published; choose another "
             "--profile, or give a file with measured (fathom compile --print-profile writes one)");
}

std::string EntryOf(const Artifact& artifact, uint32_t program, const CallWork& work,
                    bool deterministic) {
  for (const schema::EntryPoint* entry : *artifact.header().programs()->Get(program)->entries()) {
    if (entry->name()->str() != "decode") continue;
    const bool few = !deterministic && work.all_tokens() <= entry->few_tokens() &&
                     work.Visible(0) <= static_cast<double>(entry->few_context());
    if (few || work.tokens == 1) return "decode";
  }
  return "prefill";
}

absl::Status AddCall(const Artifact& artifact, uint32_t program, const std::string& entry_name,
                     const CallWork& work, const Roofs& roofs, TestEstimate* test) {
  const schema::Program& header = *artifact.header().programs()->Get(program);
  const schema::EntryPoint* entry = nullptr;
  for (const schema::EntryPoint* candidate : *header.entries()) {
    if (candidate->name()->str() == entry_name) entry = candidate;
  }
  if (entry == nullptr) return InputError(artifact.path(), "no entry point " + entry_name);
  FATHOM_ASSIGN_OR_RETURN(const ProgramKernels described, Describe(artifact, header));
  CallShape shape;
  shape.tokens = work.all_tokens();
  shape.sequences = shape.rows = work.sequences;
  shape.pages = static_cast<int64_t>(
      CeilDiv(static_cast<uint64_t>(work.depth + work.tokens), header.kv()->page_tokens()));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<int64_t> values, Evaluate(*entry->exprs(), shape));

  std::map<std::string, size_t> place;
  for (size_t i = 0; i < test->kernels.size(); ++i) place[test->kernels[i].name] = i;
  for (const schema::Command* command : *entry->commands()) {
    if (command->kind() != schema::CommandKind::dispatch) continue;
    const schema::Kernel& kernel = *header.kernels()->Get(command->kernel());
    const Json& config = described.configs[command->kernel()];
    KernelUse use;
    use.name = kernel.name()->str();
    use.family = kernel.family()->str();
    use.expands_latent = described.expands_latent;
    use.logit_rows = shape.rows;
    if (command->push()->size() > 0) use.rows = std::max<int64_t>(values[command->push()->Get(0)], 0);
    const auto shared =
        described.shared.find({IntegerOr(config, "experts", 0), IntegerOr(config, "top_k", 0)});
    if (shared != described.shared.end()) use.shared_experts = shared->second;
    double bound = 0, all = 0;
    for (const schema::Binding* binding : *command->bindings()) {
      if (binding->tensor() < 0) continue;
      use.tensors.push_back(static_cast<double>(binding->length()));
      bound += use.tensors.back();
      all += static_cast<double>(artifact.header().tensors()->Get(binding->tensor())->length());
    }
    if (all > 0) use.share = bound / all;
    FATHOM_ASSIGN_OR_RETURN(const KernelCost cost, CostOf(use, config, work));
    const auto [it, inserted] = place.try_emplace(use.name, test->kernels.size());
    if (inserted) test->kernels.emplace_back();
    KernelEstimate& estimate = test->kernels[it->second];
    estimate.name = use.name;
    estimate.family = use.family;
    const double memory = cost.bytes() / roofs.bytes;
    const double seconds = std::max(memory, cost.ops / roofs.Of(cost.unit));
    ++estimate.dispatches;
    Add(cost, &estimate.cost);
    estimate.seconds += seconds;
    estimate.memory_seconds += memory;
    test->seconds += seconds;
  }
  test->entry = entry_name;
  test->tokens += work.all_tokens();
  std::stable_sort(
      test->kernels.begin(), test->kernels.end(),
      [](const KernelEstimate& a, const KernelEstimate& b) { return a.seconds > b.seconds; });
  return absl::OkStatus();
}

std::string TestName(absl::string_view kind, int64_t count, int64_t depth, int sequences) {
  std::string name = absl::StrCat(kind, count);
  if (sequences > 1) absl::StrAppend(&name, " x ", sequences);
  if (depth > 0) absl::StrAppend(&name, " @ d", depth);
  return name;
}

namespace {

struct Subject {
  std::shared_ptr<const Artifact> artifact;
  uint32_t program = 0;
  Roofs roofs;
};

absl::StatusOr<std::string> ReadProfile(const std::string& value) {
  if (absl::EndsWith(value, ".json")) {
    std::stringstream text;
    if (std::ifstream file(value); !file || !(text << file.rdbuf())) {
      return absl::NotFoundError(value + ": cannot be read");
    }
    return text.str();
  }
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> json,
                          CompilerOutput({"--print-profile=" + value}));
  return std::string(json.begin(), json.end());
}

// The program made for the profile, else one for its driver, else the first: bytes and operations
// hardly differ between them.
uint32_t ClosestProgram(const Artifact& artifact, const std::string& profile) {
  const auto& programs = *artifact.header().programs();
  const std::string driver = profile.substr(0, profile.find(':'));
  uint32_t best = 0;
  int quality = -1;
  for (uint32_t i = 0; i < programs.size(); ++i) {
    const int found = programs.Get(i)->target()->str() == profile ? 2
                      : programs.Get(i)->driver()->str() == driver ? 1
                                                                   : 0;
    if (found > quality) best = i, quality = found;
  }
  return best;
}

absl::StatusOr<Subject> FindSubject(const BenchFlags& flags) {
  Subject subject;
  std::string profile;
  if (!flags.profile.empty()) {
    FATHOM_ASSIGN_OR_RETURN(profile, ReadProfile(flags.profile));
    FATHOM_ASSIGN_OR_RETURN(subject.roofs, RoofsOf(profile, flags.profile));
  }
  if (IsCompilerInput(flags.model.model)) {
    CompileFlags compile{flags.model.model, flags.quantize, flags.targets};
    if (compile.targets.empty() && !flags.profile.empty()) compile.targets = {flags.profile};
    FATHOM_ASSIGN_OR_RETURN(subject.artifact, CompiledHeader(compile));
  } else if (!flags.quantize.empty() || !flags.targets.empty()) {
    return InputError(flags.model.model, "with --quantize or --target",
                      "a checkpoint or config.json, to be estimated as it would be compiled",
                      "an artifact");
  } else {
    FATHOM_ASSIGN_OR_RETURN(subject.artifact, Artifact::Open(flags.model.model));
  }
  const auto& programs = *subject.artifact->header().programs();
  if (programs.size() == 0) return InputError(flags.model.model, "the artifact has no program");
  subject.program = ClosestProgram(*subject.artifact, subject.roofs.profile);
  if (flags.profile.empty()) {
    const schema::Program& program = *programs.Get(subject.program);
    FATHOM_ASSIGN_OR_RETURN(
        subject.roofs,
        RoofsOf(program.profile() == nullptr ? "{\"name\": \"unknown\"}" : program.profile()->str(),
                program.target()->str()));
  }
  return subject;
}

absl::StatusOr<TestEstimate> EstimatePrompt(const BenchFlags& flags, const Subject& subject,
                                            int64_t count, int64_t depth, int sequences) {
  const int64_t per_call = std::max<int64_t>(flags.chunk / sequences, 1);
  TestEstimate test;
  test.test = TestName("pp", count, depth, sequences);
  for (int64_t done = 0; done < count; done += per_call) {
    const CallWork work{sequences, std::min(per_call, count - done), depth + done};
    const std::string entry =
        EntryOf(*subject.artifact, subject.program, work, flags.deterministic);
    FATHOM_RETURN_IF_ERROR(
        AddCall(*subject.artifact, subject.program, entry, work, subject.roofs, &test));
  }
  return test;
}

absl::StatusOr<std::vector<TestEstimate>> Estimate(const BenchFlags& flags,
                                                   const Subject& subject) {
  std::vector<TestEstimate> tests;
  for (const int64_t depth : flags.depth) {
    for (const int64_t count : flags.prompt) {
      if (count == 0) continue;
      for (const int sequences : flags.sequences) {
        FATHOM_ASSIGN_OR_RETURN(TestEstimate test,
                                EstimatePrompt(flags, subject, count, depth, sequences));
        tests.push_back(std::move(test));
      }
    }
    for (const int64_t count : flags.predict) {
      if (count == 0) continue;
      for (const int sequences : flags.sequences) {
        TestEstimate test;
        test.test = TestName("tg", count, depth, sequences);
        // Costs grow linearly with the context, so that the middle step is the average one.
        const CallWork work{sequences, 1, depth + (count - 1) / 2};
        FATHOM_RETURN_IF_ERROR(
            AddCall(*subject.artifact, subject.program, "decode", work, subject.roofs, &test));
        tests.push_back(std::move(test));
      }
    }
  }
  return tests;
}

const char* Bound(const KernelEstimate& kernel) {
  return kernel.memory_seconds >= kernel.seconds * (1 - 1e-9) ? "memory" : "arithmetic";
}

void PrintTest(const TestEstimate& test) {
  std::printf("\n%s: entry point %s, %lld tokens, estimated\n", test.test.c_str(),
              test.entry.c_str(), static_cast<long long>(test.tokens));
  std::printf("%6s %12s %12s  %-4s %13s %6s  %-10s %s\n", "x", "MB", "Gop", "in", "estimated ms",
              "share", "bound by", "kernel");
  double bytes = 0, ops = 0;
  bool unknown = false;
  for (const KernelEstimate& kernel : test.kernels) {
    std::printf("%6lld %12.3f %12.3f  %-4s %13.4f %4.1f %%  %-10s %s%s\n",
                static_cast<long long>(kernel.dispatches), kernel.cost.bytes() / 1e6,
                kernel.cost.ops / 1e9, UnitName(kernel.cost.unit), 1e3 * kernel.seconds,
                100 * kernel.seconds / std::max(test.seconds, 1e-30), Bound(kernel),
                kernel.name.c_str(), kernel.cost.known ? "" : " (weights only)");
    bytes += kernel.cost.bytes();
    ops += kernel.cost.ops;
    unknown |= !kernel.cost.known;
  }
  std::printf("%6s %12.3f %12.3f  %-4s %13.4f  => at most %.1f tokens/s, estimated%s\n", "sum",
              bytes / 1e6, ops / 1e9, "", 1e3 * test.seconds,
              static_cast<double>(test.tokens) / std::max(test.seconds, 1e-30),
              unknown ? "; some kernels have no model, only their weights count" : "");
}

nlohmann::ordered_json ToJson(const TestEstimate& test) {
  nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
  double bytes = 0;
  std::map<std::string, double> ops = {{"int8", 0}, {"bf16", 0}, {"f32", 0}};
  for (const KernelEstimate& kernel : test.kernels) {
    kernels.push_back({{"kernel", kernel.name},
                       {"family", kernel.family},
                       {"dispatches", kernel.dispatches},
                       {"weight_bytes", kernel.cost.weight_bytes},
                       {"cache_bytes", kernel.cost.cache_bytes},
                       {"other_bytes", kernel.cost.other_bytes},
                       {"ops", kernel.cost.ops},
                       {"unit", UnitName(kernel.cost.unit)},
                       {"estimated_seconds", kernel.seconds},
                       {"bound_by", Bound(kernel)},
                       {"known", kernel.cost.known}});
    bytes += kernel.cost.bytes();
    ops[UnitName(kernel.cost.unit)] += kernel.cost.ops;
  }
  return {{"test", test.test},
          {"entry", test.entry},
          {"tokens", test.tokens},
          {"bytes", bytes},
          {"ops", ops},
          {"estimated_seconds", test.seconds},
          {"estimated_tokens_per_second",
           static_cast<double>(test.tokens) / std::max(test.seconds, 1e-30)},
          {"kernels", kernels}};
}

}  // namespace

absl::Status RunEstimate(const BenchFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(const Subject subject, FindSubject(flags));
  FATHOM_ASSIGN_OR_RETURN(const std::vector<TestEstimate> tests, Estimate(flags, subject));
  const schema::Model& model = *subject.artifact->header().model();
  const std::string target =
      subject.artifact->header().programs()->Get(subject.program)->target()->str();
  const Roofs& roofs = subject.roofs;
  if (flags.json) {
    nlohmann::ordered_json json = {{"estimate", true},
                                   {"model", model.name()->str()},
                                   {"quantization", model.quantization()->str()},
                                   {"target", target},
                                   {"profile", roofs.profile},
                                   {"device", roofs.device},
                                   {"rates", roofs.origin},
                                   {"bytes_per_second", roofs.bytes},
                                   {"int8_ops_per_second", roofs.int8},
                                   {"bf16_ops_per_second", roofs.bf16},
                                   {"f32_ops_per_second", roofs.f32},
                                   {"tests", nlohmann::ordered_json::array()}};
    for (const TestEstimate& test : tests) json["tests"].push_back(ToJson(test));
    std::printf("%s\n", json.dump(2).c_str());
    return absl::OkStatus();
  }
  std::printf("ESTIMATE, nothing was run: %s, %s, program %s\n", model.name()->c_str(),
              model.quantization()->c_str(), target.c_str());
  std::printf("roofs of profile %s (%s%s%s): %.0f GB/s, int8 %.0f, bf16 %.0f, f32 %.0f Gop/s\n",
              roofs.profile.c_str(), roofs.device.c_str(), roofs.device.empty() ? "" : ", ",
              roofs.origin.c_str(), roofs.bytes / 1e9, roofs.int8 / 1e9, roofs.bf16 / 1e9,
              roofs.f32 / 1e9);
  for (const TestEstimate& test : tests) PrintTest(test);
  return absl::OkStatus();
}

}  // namespace fathom::tools
