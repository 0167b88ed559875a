// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times a chunk of a prompt and one token of each of other sequences, in one call and apart.
//
//   batch_bench FILE [CHUNK] [SEQUENCES] [ROUNDS] [DEPTH]      prints {"mixed", "chunk", "steps"}:
//   seconds, a list each
//
// 512, 8, 5 and 64 by default. The three take turns, with other tokens in each round; the other
// sequences have DEPTH tokens before.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "runtime/api/fathom.h"

namespace {

void Check(fathom_status status) {
  if (status == FATHOM_OK) return;
  std::fprintf(stderr, "batch_bench: %s\n", fathom_last_error());
  std::exit(1);
}

void Print(const char* name, const std::vector<double>& seconds, const char* end) {
  std::printf("\"%s\": [", name);
  for (size_t i = 0; i < seconds.size(); ++i) std::printf("%s%.6f", i > 0 ? ", " : "", seconds[i]);
  std::printf("]%s", end);
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, int otherwise) {
    return argc > i ? std::atoi(argv[i]) : otherwise;
  };
  const int chunk = number(2, 512), sequences = number(3, 8), rounds = number(4, 5),
            depth = number(5, 64);
  if (argc < 2 || chunk < 1 || sequences < 1 || rounds < 1 || depth < 1) {
    std::fprintf(
        stderr,
        "batch_bench: expected FILE [CHUNK] [SEQUENCES] [ROUNDS] [DEPTH], each at least 1\n");
    return 2;
  }
  fathom_model_options model_options;
  fathom_model_options_init(&model_options);
  fathom_model* model = nullptr;
  Check(fathom_model_open(argv[1], &model_options, &model));
  fathom_model_info info{};
  info.size = sizeof(info);
  Check(fathom_model_get_info(model, &info));
  fathom_session_options options;
  fathom_session_options_init(&options);
  options.context_size = std::max(chunk, depth + 1);
  options.max_sequences = sequences + 1;
  fathom_session* session = nullptr;
  Check(fathom_session_create(model, &options, &session));

  std::mt19937 random(1);
  const auto tokens = [&](int count) {
    std::vector<int32_t> some(count);
    for (int32_t& token : some) token = static_cast<int32_t>(random() % info.vocab_size);
    return some;
  };
  // The first sequence is the prompt's.
  std::vector<int32_t> sequence(sequences + 1);
  const std::vector<int32_t> before = tokens(depth);
  fathom_logits logits;
  for (int i = 0; i <= sequences; ++i) {
    Check(fathom_sequence_add(session, &sequence[i]));
    const fathom_extension extension{sequence[i], before.data(), before.size()};
    if (i > 0) Check(fathom_prefill(session, &extension, 1, &logits));
  }
  std::vector<double> mixed, apart, steps;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    const std::vector<int32_t> prompt = tokens(chunk), next = tokens(sequences);
    std::vector<fathom_extension> all{{sequence[0], prompt.data(), prompt.size()}};
    for (int i = 0; i < sequences; ++i) all.push_back({sequence[i + 1], &next[i], 1});
    const auto timed = [&](std::vector<double>& seconds, const auto& work) {
      for (int i = 0; i <= sequences; ++i)
        Check(fathom_sequence_truncate(session, sequence[i], i > 0 ? depth : 0));
      const auto start = std::chrono::steady_clock::now();
      work();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      if (round >= 0) seconds.push_back(took.count());
    };
    timed(mixed, [&] { Check(fathom_prefill(session, all.data(), all.size(), &logits)); });
    timed(apart, [&] { Check(fathom_prefill(session, all.data(), 1, &logits)); });
    timed(steps,
          [&] { Check(fathom_decode(session, &sequence[1], next.data(), next.size(), &logits)); });
  }
  std::printf("{");
  Print("mixed", mixed, ", ");
  Print("chunk", apart, ", ");
  Print("steps", steps, "}\n");
  return 0;
}
