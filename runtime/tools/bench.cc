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
#include <tuple>

#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/session/sampler.h"
#include "runtime/session/session.h"
#include "runtime/tools/bandwidth.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"
#include "runtime/tools/estimate.h"
#include "runtime/tools/traffic.h"

namespace fathom::tools {
namespace {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Round {
  double seconds = 0;
  double bandwidth = 0;  // bytes per second, the mean of before and after; 0: not measured
};

// One row of the table: `count` tokens for each of `sequences` sequences that have `depth` already.
struct Test {
  std::string name;  // "pp512 x 8 @ d4096"
  int64_t count = 0;
  bool one_by_one = false;  // decode
  int sequences = 1;
  size_t context = 0;          // index of the depth
  double bytes_per_token = 0;  // of weights and cache; 0: nothing is claimed
  std::vector<Round> rounds;
  std::vector<DispatchProfile> profile;

  int64_t pass_tokens() const { return one_by_one ? 1 : count; }
  std::vector<double> Rates() const {  // tokens per second
    std::vector<double> rates;
    for (const Round& round : rounds)
      rates.push_back(static_cast<double>(count * sequences) / round.seconds);
    return rates;
  }
  double bandwidth() const {
    std::vector<double> values;
    for (const Round& round : rounds) values.push_back(round.bandwidth);
    return Median(values);
  }
  // Of each run, its bytes per second against the bandwidth around it; their median.
  double share() const {
    std::vector<double> shares;
    for (const Round& round : rounds) {
      if (round.bandwidth > 0)
        shares.push_back(static_cast<double>(count) * bytes_per_token / round.seconds /
                         round.bandwidth);
    }
    return Median(shares);
  }
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
    }
    FATHOM_RETURN_IF_ERROR(Fill());
    ListTests();
    FATHOM_RETURN_IF_ERROR(WarmUp());
    // In turn: what else the machine does meets the runs of a round alike, so these can be
    // compared.
    double before = Probe();
    for (int round = 0; round < flags_.repetitions; ++round) {
      for (Test& test : tests_) {
        progress_.Show(
            absl::StrFormat("round %d of %d, %s", round + 1, flags_.repetitions, test.name));
        FATHOM_ASSIGN_OR_RETURN(const double seconds, Time(test, test.count));
        const double after = Probe();
        test.rounds.push_back({seconds, (before + after) / 2});
        test.profile = std::move(profile_);
        before = after;
      }
    }
    bandwidth_ = Median(bandwidths_);
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
    for (const Test& test : tests_) {
      const std::vector<double> rates = test.Rates();
      const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
      std::printf("%-20s %12.2f %12.2f %12.2f", test.name.c_str(), Median(rates), *least, *most);
      if (test.share() > 0)
        std::printf(" %10.1f %10.1f %%", Median(rates) * test.bytes_per_token / 1e9,
                    100 * test.share());
      std::printf("\n");
    }
  }

  void PrintProfile() const {
    for (const Test& test : tests_) {
      std::printf("\n%s, time per kernel (dispatches run one by one)\n", test.name.c_str());
      struct Total {
        uint64_t nanoseconds = 0;
        uint64_t count = 0;
      };
      // Labels of all layers together: "layers.3.mlp.gate" -> "mlp.gate".
      std::map<std::string, Total> totals;
      uint64_t all = 0;
      for (const DispatchProfile& item : test.profile) {
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

  // Rates and bandwidths are medians of the rounds, which "rounds" has in order: what two tests did
  // in the same round, they did right after each other.
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
    for (const Test& test : tests_) {
      const std::vector<double> rates = test.Rates();
      const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
      nlohmann::ordered_json item = {{"test", test.name},
                                     {"median_tokens_per_second", Median(rates)},
                                     {"min", *least},
                                     {"max", *most},
                                     {"runs", rates.size()}};
      if (test.bytes_per_token > 0) {
        item["bytes_per_second"] = Median(rates) * test.bytes_per_token;
        if (test.share() > 0) item["of_bandwidth"] = test.share();
      }
      if (test.bandwidth() > 0) item["read_bandwidth_bytes_per_second"] = test.bandwidth();
      item["rounds"] = nlohmann::ordered_json::array();
      for (size_t i = 0; i < rates.size(); ++i) {
        nlohmann::ordered_json round = {{"tokens_per_second", rates[i]}};
        const double bandwidth = test.rounds[i].bandwidth;
        if (bandwidth > 0) round["read_bandwidth_bytes_per_second"] = bandwidth;
        item["rounds"].push_back(std::move(round));
      }
      json["tests"].push_back(std::move(item));
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

  // The first `tokens.size()` sequences of a context.
  absl::Status Extend(size_t context, const std::vector<std::vector<int32_t>>& tokens) {
    std::vector<Extension> extensions;
    for (size_t i = 0; i < tokens.size(); ++i)
      extensions.push_back({contexts_[context][i], tokens[i]});
    return session_->Extend(extensions, [](int64_t, int64_t) { return !Interrupted(); }).status();
  }

  // A context of its own for each depth, so that rounds need not fill it again.
  absl::Status Fill() {
    const int sequences = *std::max_element(flags_.sequences.begin(), flags_.sequences.end());
    int64_t longest = 1;
    for (int64_t depth : flags_.depth) {
      for (int64_t p : flags_.prompt) longest = std::max(longest, depth + p);
      for (int64_t n : flags_.predict) longest = std::max(longest, depth + n);
    }
    const int64_t all = sequences * static_cast<int64_t>(flags_.depth.size());
    FATHOM_ASSIGN_OR_RETURN(
        session_, Session::Create(model_->program(),
                                  {longest, static_cast<int32_t>(std::min<int64_t>(all, INT32_MAX)),
                                   flags_.chunk, flags_.deterministic}));
    if (flags_.time_kernels) session_->set_profile(&profile_);
    for (size_t context = 0; context < flags_.depth.size(); ++context) {
      const int64_t depth = flags_.depth[context];
      contexts_.emplace_back();
      for (int i = 0; i < sequences; ++i) {
        FATHOM_ASSIGN_OR_RETURN(const SequenceId id, session_->AddSequence());
        contexts_.back().push_back(id);
      }
      if (depth == 0) continue;
      progress_.Show(absl::StrFormat("filling %d tokens of context", depth));
      std::vector<std::vector<int32_t>> tokens;
      for (int i = 0; i < sequences; ++i) tokens.push_back(RandomTokens(depth));
      FATHOM_RETURN_IF_ERROR(Extend(context, tokens));
    }
    return absl::OkStatus();
  }

  void ListTests() {
    for (size_t context = 0; context < flags_.depth.size(); ++context) {
      for (int64_t p : flags_.prompt) ListTests("pp", p, context);
      for (int64_t n : flags_.predict) ListTests("tg", n, context);
    }
  }

  void ListTests(absl::string_view kind, int64_t count, size_t context) {
    if (count == 0) return;
    const int64_t depth = flags_.depth[context];
    for (int sequences : flags_.sequences) {
      Test test;
      test.name = TestName(kind, count, depth, sequences);
      test.count = count;
      test.one_by_one = kind == "tg";
      test.sequences = sequences;
      test.context = context;
      // With several sequences a pass reads the weights once (experts more often), so no rate is
      // claimed. Tokens lie at depth + 1 .. depth + count of their context.
      if (test.one_by_one && sequences == 1) {
        test.bytes_per_token = static_cast<double>(traffic_.weight_bytes) +
                               (static_cast<double>(depth) + static_cast<double>(count + 1) / 2) *
                                   static_cast<double>(traffic_.cache_bytes_per_token);
      }
      tests_.push_back(std::move(test));
    }
  }

  // Records lists and touches memory. Longest first: a call that needs more memory than those
  // before makes their lists be recorded anew.
  absl::Status WarmUp() {
    std::vector<const Test*> order;
    for (const Test& test : tests_) order.push_back(&test);
    std::stable_sort(order.begin(), order.end(), [&](const Test* a, const Test* b) {
      const auto key = [&](const Test* t) {
        return std::tuple(t->pass_tokens() * t->sequences, flags_.depth[t->context]);
      };
      return key(a) > key(b);
    });
    progress_.Show("first runs");
    for (const Test* test : order) {
      const int64_t count = test->one_by_one ? std::min<int64_t>(test->count, 8) : test->count;
      FATHOM_RETURN_IF_ERROR(Time(*test, count).status());
    }
    return absl::OkStatus();
  }

  // Seconds of one pass: `count` tokens for each sequence, at once or one by one. The context is
  // what it was before.
  absl::StatusOr<double> Time(const Test& test, int64_t count) {
    profile_.clear();
    std::vector<std::vector<int32_t>> tokens(static_cast<size_t>(test.sequences));
    const auto start = std::chrono::steady_clock::now();
    for (int64_t step = 0; step < (test.one_by_one ? count : 1); ++step) {
      for (std::vector<int32_t>& of_one : tokens)
        of_one = RandomTokens(test.one_by_one ? 1 : count);
      FATHOM_RETURN_IF_ERROR(Extend(test.context, tokens));
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (size_t i = 0; i < tokens.size(); ++i) {
      FATHOM_RETURN_IF_ERROR(
          session_->Truncate(contexts_[test.context][i], flags_.depth[test.context]));
    }
    return seconds;
  }

  double Probe() {
    if (!probe_) return 0;
    bandwidths_.push_back(probe_->Measure(kProbePasses));
    return bandwidths_.back();
  }

  const BenchFlags& flags_;
  const std::shared_ptr<const Model> model_;
  ProgressLine progress_;
  std::unique_ptr<Session> session_;
  std::vector<std::vector<SequenceId>> contexts_;  // of each depth
  Random random_{42};
  TokenTraffic traffic_;
  std::optional<BandwidthProbe> probe_;
  std::vector<double> bandwidths_;  // bytes per second, of every measurement
  double bandwidth_ = 0;            // their median
  std::vector<Test> tests_;
  std::vector<DispatchProfile> profile_;  // of the run at work
};

absl::Status CheckFlags(const BenchFlags& flags) {
  if (!flags.estimate &&
      (!flags.profile.empty() || !flags.quantize.empty() || !flags.targets.empty())) {
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
