// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times one load of an artifact, to its first token, or a plain read of the same file.
//
//   load_bench FILE read|pass|copy|map [THREADS]      prints {"seconds", "bytes", "peak_bytes"}
//
// read: the file into huge pages by several threads, nothing else: what copying cannot beat. pass: the file
// mapped and every byte of it added up once. copy, map: the model opened that way and one token computed.
// One per process, so that peak memory means something.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "runtime/api/fathom.h"

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPiece = size_t{8} << 20;

[[noreturn]] void Fail(const std::string& what, const char* why) {
  std::fprintf(stderr, "load_bench: %s: %s\n", what.c_str(), why);
  std::exit(1);
}

// Calls `work(begin, end)` for pieces of [0, size), on several threads.
template <typename Work>
void InPieces(size_t size, int threads, const Work& work) {
  std::atomic<size_t> next = 0;
  const auto run = [&] {
    for (size_t begin; (begin = next.fetch_add(kPiece)) < size;)
      work(begin, std::min(begin + kPiece, size));
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(run);
  run();
  for (std::thread& helper : helpers) helper.join();
}

void Read(const char* path, int file, size_t size, int threads) {
  void* base = ::mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) Fail(path, "no memory for the file");
  auto* memory = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(base) + kHugePage - 1) / kHugePage * kHugePage);
  (void)::madvise(memory, size, MADV_HUGEPAGE);
  InPieces(size, threads, [&](size_t begin, size_t end) {
    while (begin < end) {
      const ssize_t count = ::pread(file, memory + begin, end - begin, static_cast<off_t>(begin));
      if (count <= 0) Fail(path, "cannot be read");
      begin += static_cast<size_t>(count);
    }
  });
}

void Pass(const char* path, int file, size_t size, int threads) {
  void* base = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (base == MAP_FAILED) Fail(path, "cannot be mapped");
  const auto* words = static_cast<const uint64_t*>(base);
  std::atomic<uint64_t> sink = 0;
  InPieces(size, threads, [&](size_t begin, size_t end) {
    uint64_t sum = 0;
    for (size_t i = begin / 8; i < end / 8; ++i) sum += words[i];
    sink += sum;
  });
}

void Check(fathom_status status) {
  if (status != FATHOM_OK) Fail("fathom", fathom_last_error());
}

// The model and session are left to the end of the process: closing is not part of a first token.
void FirstToken(const char* path, bool copy, int threads) {
  fathom_model_options options;
  fathom_model_options_init(&options);
  options.load = copy ? FATHOM_LOAD_COPY : FATHOM_LOAD_MAP;
  options.threads = threads;
  fathom_model* model = nullptr;
  Check(fathom_model_open(path, &options, &model));
  fathom_session_options session_options;
  fathom_session_options_init(&session_options);
  session_options.context_size = 512;
  fathom_session* session = nullptr;
  Check(fathom_session_create(model, &session_options, &session));
  int32_t sequence = -1;
  Check(fathom_sequence_add(session, &sequence));
  const int32_t token = 1;
  const fathom_extension extension{sequence, &token, 1};
  fathom_logits logits;
  Check(fathom_prefill(session, &extension, 1, &logits));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) Fail("usage", "load_bench FILE read|pass|copy|map [THREADS]");
  const std::string mode = argv[2];
  const int threads = argc > 3 ? std::atoi(argv[3]) : 0;
  const int workers = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int file = ::open(argv[1], O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (file < 0 || ::fstat(file, &info) != 0) Fail(argv[1], std::strerror(errno));
  const size_t size = static_cast<size_t>(info.st_size);
  const auto start = std::chrono::steady_clock::now();
  if (mode == "read") {
    Read(argv[1], file, size, workers);
  } else if (mode == "pass") {
    Pass(argv[1], file, size, workers);
  } else if (mode == "copy" || mode == "map") {
    FirstToken(argv[1], mode == "copy", threads);
  } else {
    Fail(mode, "expected read, pass, copy or map");
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"seconds\": %.6f, \"bytes\": %zu, \"peak_bytes\": %zu}\n", seconds, size,
              static_cast<size_t>(usage.ru_maxrss) * 1024);
  return 0;
}
