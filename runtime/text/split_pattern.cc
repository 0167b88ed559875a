// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// SplitPattern over PCRE2: limits on steps, memory, how far one search may run, and wall time.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/split_pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/text/strings.h"
#include "runtime/text/utf8.h"

namespace fathom::text {
namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;
// One search looks at so many starting places before the clock is asked again.
constexpr size_t kSearchBytes = 128;
constexpr size_t kJitStackBytes = 4 << 20;
constexpr uint32_t kHeapKib = 64 << 10;

// A linear pattern needs a few steps per byte that a match spans, so the limit grows with the text.
// The constant part is what a pattern with nested repeats may burn before it is called slow.
uint32_t MatchLimit(size_t text_bytes) {
  return static_cast<uint32_t>(std::min<uint64_t>(500'000 + 32 * uint64_t{text_bytes}, UINT32_MAX));
}

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Deleter<pcre2_jit_stack_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Deleter<pcre2_compile_context_free>>;

std::string Message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct PatternWorkspace::State {
  MatchData data{pcre2_match_data_create(1, nullptr)};
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack stack{pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr)};
  std::chrono::steady_clock::time_point end;
  uint32_t matches = 0;

  // Looks at the clock now and then only.
  bool Spent() { return ++matches % 32 == 0 && std::chrono::steady_clock::now() > end; }
};

PatternWorkspace::PatternWorkspace(size_t text_bytes) : state_(std::make_unique<State>()) {
  state_->end = std::chrono::steady_clock::now() + std::chrono::seconds(10) +
                std::chrono::microseconds(text_bytes);
  if (state_->context != nullptr) {
    pcre2_set_match_limit(state_->context.get(), MatchLimit(text_bytes));
    pcre2_set_heap_limit(state_->context.get(), kHeapKib);
    if (state_->stack != nullptr) {
      pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
    }
  }
}
PatternWorkspace::~PatternWorkspace() = default;

struct SplitPattern::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

SplitPattern::SplitPattern(std::unique_ptr<Code> code) : code_(std::move(code)) {}
SplitPattern::~SplitPattern() = default;

absl::StatusOr<std::unique_ptr<SplitPattern>> SplitPattern::Compile(std::string_view pattern,
                                                                    std::string_view where) {
  if (pattern.size() > kMaxPatternBytes) {
    return InputError(where, "pattern is too long", Cat("at most ", kMaxPatternBytes, " bytes"),
                      Cat(pattern.size()));
  }
  if (FindInvalidUtf8(pattern) != std::string_view::npos) {
    return InputError(where, "pattern is not valid UTF-8");
  }
  CompileContext context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) return absl::ResourceExhaustedError("out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_unique<Code>();
  code->code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
      &error, &offset, context.get());
  if (code->code == nullptr) {
    return InputError(where, Cat("pattern is not understood at byte ", offset, ": ", Message(error),
                                 ": ", pattern));
  }
  auto result = std::unique_ptr<SplitPattern>(new SplitPattern(std::move(code)));
  result->where_ = std::string(where);
  return result;
}

void SplitPattern::Optimize() { pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE); }

absl::Status SplitPattern::FindAll(std::string_view text, PatternWorkspace* workspace,
                                   absl::FunctionRef<void(TextRange)> found) const {
  PatternWorkspace::State& state = *workspace->state_;
  pcre2_match_data* const data = state.data.get();
  pcre2_match_context* const context = state.context.get();
  if (data == nullptr || context == nullptr) return absl::ResourceExhaustedError("out of memory");
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  constexpr size_t kNone = std::string_view::npos;
  size_t at = 0, last_end = kNone;
  while (at <= text.size()) {
    const size_t limit = std::min(text.size(), at + kSearchBytes);
    pcre2_set_offset_limit(context, limit);
    // The text was checked when it came in; at is always the start of a character.
    const int rc =
        pcre2_match(code_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, context);
    if (rc == PCRE2_ERROR_NOMATCH) {
      if (limit == text.size()) break;
      at = limit + 1;
      while (at < text.size() && IsContinuation(text[at])) ++at;
    } else if (rc < 0) {
      return absl::ResourceExhaustedError(
          Cat(where_, ": the pattern is too slow for this text: ", Message(rc)));
    } else {
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
      // \K can move the start; it must not move it before what is already cut.
      if (range[1] < at || range[0] > range[1] || (last_end != kNone && range[0] < last_end)) {
        return absl::InvalidArgumentError(Cat(where_, ": the pattern matches backwards"));
      }
      const bool empty = range[0] == range[1];
      if (!(empty && range[0] == last_end)) {
        found({range[0], range[1]});
        last_end = range[1];
      }
      at = range[1];
      if (empty) {
        ++at;
        while (at < text.size() && IsContinuation(text[at])) ++at;
      }
    }
    if (state.Spent()) {
      return absl::ResourceExhaustedError(
          Cat(where_, ": the pattern is too slow for this text: time limit exceeded"));
    }
  }
  return absl::OkStatus();
}

}  // namespace fathom::text
