// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Terminal output of the fathom program.
#include "runtime/tools/console.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "absl/strings/str_format.h"

namespace fathom::tools {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void OnInterrupt(int) {
  interrupted = 1;
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

ProgressLine::ProgressLine(std::string what, bool quiet)
    : what_(std::move(what)), active_(!quiet && ::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

bool ProgressLine::Update(uint64_t done, uint64_t total) {
  const double percent =
      total == 0 ? 100 : 100.0 * static_cast<double>(done) / static_cast<double>(total);
  Show(absl::StrFormat("%.0f %% of %s", percent, FormatBytes(total)));
  return !Interrupted();
}

void ProgressLine::Show(const std::string& text) {
  if (!active_) return;
  const int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
  if (shown_ && now - last_nanoseconds_ < 50'000'000) return;
  last_nanoseconds_ = now;
  shown_ = true;
  std::fprintf(stderr, "\r\033[K%s %s", what_.c_str(), text.c_str());
}

ProgressFunction ProgressLine::function() {
  return [this](uint64_t done, uint64_t total) { return Update(done, total); };
}

std::string FormatBytes(uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  return unit == 0 ? absl::StrFormat("%u B", bytes)
                   : absl::StrFormat("%.2f %s", value, units[unit]);
}

std::string FormatCount(uint64_t count) {
  const double value = static_cast<double>(count);
  if (count >= 1'000'000'000) return absl::StrFormat("%.2f B", value / 1e9);
  if (count >= 1'000'000) return absl::StrFormat("%.2f M", value / 1e6);
  return absl::StrFormat("%u", count);
}

void CatchInterrupt() { std::signal(SIGINT, OnInterrupt); }
bool Interrupted() { return interrupted != 0; }
void ClearInterrupt() {
  interrupted = 0;
  CatchInterrupt();
}

}  // namespace fathom::tools
