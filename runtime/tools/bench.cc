// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// fathom bench: prefill and decode speed, next to the memory bandwidth measured in the same run.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/session/sampler.h"
#include "runtime/session/session.h"
#include "runtime/tools/bandwidth.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"
#include "runtime/tools/traffic.h"

namespace fathom::tools {
namespace {

// One row of the table.
struct Measurement {
  std::string test;             // "pp512 @ d4096"
  std::vector<double> rates;    // tokens per second, sorted
  double bytes_per_second = 0;  // decode: of weights and cache, at the median
  // Of each run, its bytes per second against the bandwidth measured before and after it.
  std::vector<double> shares;  // sorted
  double median() const { return rates[rates.size() / 2]; }
  double share() const { return shares.empty() ? 0 : shares[shares.size() / 2]; }
};

constexpr int kProbePasses = 5;

class Bench {
 public:
  Bench(const BenchFlags& flags, std::shared_ptr<const Model> model)
      : flags_(flags), model_(std::move(model)), progress_("bench", flags.model.quiet) {}

  absl::Status Run() {
    FATHOM_ASSIGN_OR_RETURN(traffic_, DecodeTraffic(*model_->program()));
    // As much memory as the weights take, so that a cache which would hold them helps the yardstick
    // too.
    const uint64_t bytes =
        std::clamp<uint64_t>(model_->program()->weights().bytes(), 64 << 20, 1 << 30);
    // The host's memory is no yardstick for a device with memory of its own; a GPU made of software
    // reads it with every core.
    const hal::DeviceInfo& info = model_->device().info();
    if (info.on_host && info.memory_bytes != 0) {
      progress_.Show("reading memory");
      const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
      probe_.emplace(info.architecture.empty() ? cores : model_->device().workers(), bytes);
      Probe();
    }
    int64_t longest = 1;
    for (int64_t depth : flags_.depth) {
      for (int64_t p : flags_.prompt) longest = std::max(longest, depth + p);
      for (int64_t n : flags_.predict) longest = std::max(longest, depth + n);
    }
    FATHOM_ASSIGN_OR_RETURN(
        session_, Session::Create(model_->program(), {longest, flags_.sequences, flags_.chunk,
                                                      flags_.deterministic}));
    if (flags_.time_kernels) session_->set_profile(&profile_);
    for (int i = 0; i < flags_.sequences; ++i) {
      FATHOM_ASSIGN_OR_RETURN(const SequenceId id, session_->AddSequence());
      sequences_.push_back(id);
    }
    for (int64_t depth : flags_.depth) FATHOM_RETURN_IF_ERROR(RunDepth(depth));
    std::sort(bandwidths_.begin(), bandwidths_.end());
    if (!bandwidths_.empty()) bandwidth_ = bandwidths_[bandwidths_.size() / 2];
    return absl::OkStatus();
  }

  void PrintTable() const {
    const schema::Model& header = model_->header();
    std::printf("%s, %s, %s parameters, weights %s (%s), %s, %d threads\n", header.name()->c_str(),
                header.quantization()->c_str(), FormatCount(header.parameters()).c_str(),
                FormatBytes(model_->program()->weights().bytes()).c_str(),
                model_->program()->weights().mode() == LoadMode::map ? "mapped" : "copied",
                model_->program()->header().target()->c_str(), model_->device().workers());
    std::printf(
        "memory reads %.1f GB/s; a token reads %s of weights and %s per token of context\n\n",
        bandwidth_ / 1e9, FormatBytes(traffic_.weight_bytes).c_str(),
        FormatBytes(traffic_.cache_bytes_per_token).c_str());
    std::printf("%-20s %12s %12s %12s %10s %12s\n", "test", "median tok/s", "min", "max", "GB/s",
                "of bandwidth");
    for (const Measurement& m : measurements_) {
      std::printf("%-20s %12.2f %12.2f %12.2f", m.test.c_str(), m.median(), m.rates.front(),
                  m.rates.back());
      if (m.share() > 0)
        std::printf(" %10.1f %10.1f %%", m.bytes_per_second / 1e9, 100 * m.share());
      std::printf("\n");
    }
  }

  void PrintProfile() const {
    for (const auto& [test, profile] : profiles_) {
      std::printf("\n%s, time per kernel (dispatches run one by one)\n", test.c_str());
      struct Total {
        uint64_t nanoseconds = 0;
        uint64_t count = 0;
      };
      // Labels of all layers together: "layers.3.mlp.gate" -> "mlp.gate".
      std::map<std::string, Total> totals;
      uint64_t all = 0;
      for (const DispatchProfile& item : profile) {
        Total& total = totals[item.kernel + "  " + WithoutLayer(item.label)];
        total.nanoseconds += item.nanoseconds;
        ++total.count;
        all += item.nanoseconds;
      }
      std::vector<std::pair<std::string, Total>> sorted(totals.begin(), totals.end());
      std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
        return a.second.nanoseconds > b.second.nanoseconds;
      });
      for (const auto& [name, total] : sorted) {
        std::printf("%10.3f ms %5.1f %% %8llu x  %s\n",
                    static_cast<double>(total.nanoseconds) / 1e6,
                    100.0 * static_cast<double>(total.nanoseconds) /
                        static_cast<double>(std::max<uint64_t>(all, 1)),
                    static_cast<unsigned long long>(total.count), name.c_str());
      }
    }
  }

  void PrintJson() const {
    nlohmann::ordered_json json = {
        {"model", model_->header().name()->str()},
        {"quantization", model_->header().quantization()->str()},
        {"parameters", model_->header().parameters()},
        {"weight_bytes", model_->program()->weights().bytes()},
        {"target", model_->program()->header().target()->str()},
        {"threads", model_->device().workers()},
        {"read_bandwidth_bytes_per_second", bandwidth_},
        {"weight_bytes_per_token", traffic_.weight_bytes},
        {"cache_bytes_per_context_token", traffic_.cache_bytes_per_token},
        {"tests", nlohmann::ordered_json::array()}};
    for (const Measurement& m : measurements_) {
      nlohmann::ordered_json test = {{"test", m.test},
                                     {"median_tokens_per_second", m.median()},
                                     {"min", m.rates.front()},
                                     {"max", m.rates.back()},
                                     {"runs", m.rates.size()}};
      if (m.bytes_per_second > 0) {
        test["bytes_per_second"] = m.bytes_per_second;
        if (m.share() > 0) test["of_bandwidth"] = m.share();
      }
      json["tests"].push_back(std::move(test));
    }
    std::printf("%s\n", json.dump(2).c_str());
  }

 private:
  static std::string WithoutLayer(const std::string& label) {
    size_t begin = 0;
    while (begin < label.size()) {
      const size_t end = label.find_first_of("./", begin);
      if (end == std::string::npos) break;
      if (end > begin && std::all_of(label.begin() + static_cast<ptrdiff_t>(begin),
                                     label.begin() + static_cast<ptrdiff_t>(end),
                                     [](unsigned char c) { return std::isdigit(c) != 0; })) {
        return label.substr(end + 1);
      }
      begin = end + 1;
    }
    return label;
  }

  // Tokens without meaning, the same in every run: speed depends on them only through routing.
  std::vector<int32_t> RandomTokens(int64_t count) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens) {
      token = static_cast<int32_t>(random_.Next() % model_->program()->vocab_size());
    }
    return tokens;
  }

  absl::Status Extend(const std::vector<std::vector<int32_t>>& tokens) {
    std::vector<Extension> extensions;
    for (size_t i = 0; i < tokens.size(); ++i) extensions.push_back({sequences_[i], tokens[i]});
    return session_->Extend(extensions, [](int64_t, int64_t) { return !Interrupted(); }).status();
  }

  absl::Status Rewind(int64_t depth) {
    for (SequenceId id : sequences_) FATHOM_RETURN_IF_ERROR(session_->Truncate(id, depth));
    return absl::OkStatus();
  }

  absl::Status RunDepth(int64_t depth) {
    FATHOM_RETURN_IF_ERROR(Rewind(0));
    if (depth > 0) {
      progress_.Show(absl::StrFormat("filling %d tokens of context", depth));
      std::vector<std::vector<int32_t>> tokens;
      for (size_t i = 0; i < sequences_.size(); ++i) tokens.push_back(RandomTokens(depth));
      FATHOM_RETURN_IF_ERROR(Extend(tokens));
    }
    for (int64_t p : flags_.prompt) {
      if (p > 0) FATHOM_RETURN_IF_ERROR(Measure("pp", p, depth, false));
    }
    for (int64_t n : flags_.predict) {
      if (n > 0) FATHOM_RETURN_IF_ERROR(Measure("tg", n, depth, true));
    }
    return absl::OkStatus();
  }

  // One pass: `count` tokens for each sequence, at once or one by one.
  absl::Status Pass(int64_t count, bool one_by_one) {
    std::vector<std::vector<int32_t>> tokens;
    for (int64_t step = 0; step < (one_by_one ? count : 1); ++step) {
      tokens.clear();
      for (size_t i = 0; i < sequences_.size(); ++i)
        tokens.push_back(RandomTokens(one_by_one ? 1 : count));
      FATHOM_RETURN_IF_ERROR(Extend(tokens));
    }
    return absl::OkStatus();
  }

  double Probe() {
    if (!probe_) return 0;
    bandwidths_.push_back(probe_->Measure(kProbePasses));
    return bandwidths_.back();
  }

  absl::Status Measure(const char* kind, int64_t count, int64_t depth, bool one_by_one) {
    Measurement m;
    m.test = absl::StrFormat("%s%d", kind, count);
    if (flags_.sequences > 1) absl::StrAppendFormat(&m.test, " x %d", flags_.sequences);
    if (depth > 0) absl::StrAppendFormat(&m.test, " @ d%d", depth);
    // The first pass records lists, touches memory and wakes the machine.
    FATHOM_RETURN_IF_ERROR(Pass(one_by_one ? std::min<int64_t>(count, 8) : count, one_by_one));
    FATHOM_RETURN_IF_ERROR(Rewind(depth));
    const bool compare = one_by_one && flags_.sequences == 1;
    // Tokens lie at depth + 1 .. depth + count of their context.
    const double bytes_per_token =
        static_cast<double>(traffic_.weight_bytes) +
        (static_cast<double>(depth) + static_cast<double>(count + 1) / 2) *
            static_cast<double>(traffic_.cache_bytes_per_token);
    double before = compare ? Probe() : 0;
    for (int r = 0; r < flags_.repetitions; ++r) {
      progress_.Show(absl::StrFormat("%s, %d of %d", m.test, r + 1, flags_.repetitions));
      profile_.clear();
      const auto start = std::chrono::steady_clock::now();
      FATHOM_RETURN_IF_ERROR(Pass(count, one_by_one));
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      FATHOM_RETURN_IF_ERROR(Rewind(depth));
      m.rates.push_back(static_cast<double>(count * flags_.sequences) / seconds);
      if (!compare) continue;
      const double after = Probe();
      if (before + after > 0)
        m.shares.push_back(m.rates.back() * bytes_per_token / ((before + after) / 2));
      before = after;
    }
    std::sort(m.shares.begin(), m.shares.end());
    if (flags_.time_kernels) profiles_.emplace_back(m.test, std::move(profile_));
    std::sort(m.rates.begin(), m.rates.end());
    // With several sequences a pass reads the weights once (experts more often), so no rate is
    // claimed.
    if (compare) m.bytes_per_second = m.median() * bytes_per_token;
    measurements_.push_back(std::move(m));
    return absl::OkStatus();
  }

  const BenchFlags& flags_;
  const std::shared_ptr<const Model> model_;
  ProgressLine progress_;
  std::unique_ptr<Session> session_;
  std::vector<SequenceId> sequences_;
  Random random_{42};
  TokenTraffic traffic_;
  std::optional<BandwidthProbe> probe_;
  std::vector<double> bandwidths_;  // bytes per second, of every measurement
  double bandwidth_ = 0;            // their median
  std::vector<Measurement> measurements_;
  std::vector<DispatchProfile> profile_;
  std::vector<std::pair<std::string, std::vector<DispatchProfile>>> profiles_;
};

absl::Status CheckFlags(const BenchFlags& flags) {
  if (!flags.estimate && (!flags.profile.empty() || !flags.quantize.empty() || !flags.targets.empty())) {
    return InputError("bench", "--profile=NAME, --quantize and --target", "--estimate beside them",
                      "none");
  }
  for (const auto* list : {&flags.prompt, &flags.predict, &flags.depth}) {
    for (int64_t value : *list) {
      if (value < 0 || value > INT32_MAX) {
        return InputError("bench", "number of tokens", "0 to 2^31 - 1", value);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunBench(const BenchFlags& flags) {
  FATHOM_RETURN_IF_ERROR(CheckFlags(flags));
  if (flags.estimate) return RunEstimate(flags);
  std::shared_ptr<const Model> model;
  {
    ProgressLine progress("loading", flags.model.quiet);
    ModelOptions options = flags.model.ToOptions();
    options.progress = progress.function();
    FATHOM_ASSIGN_OR_RETURN(model, Model::Open(flags.model.model, options));
  }
  {
    Bench bench(flags, std::move(model));
    FATHOM_RETURN_IF_ERROR(bench.Run());
    if (flags.json) {
      bench.PrintJson();
    } else {
      bench.PrintTable();
    }
    if (flags.time_kernels) bench.PrintProfile();
  }
  return absl::OkStatus();
}

ModelOptions ModelFlags::ToOptions() const {
  ModelOptions options;
  options.load = load == "map"    ? LoadMode::map
                 : load == "copy" ? LoadMode::copy
                                  : LoadMode::automatic;
  options.threads = threads;
  options.device = device;
  options.code_cache = code_cache;
  options.check_full = check == "full";
  return options;
}

}  // namespace fathom::tools
