// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Times projection kernels on a GPU's driver, from a pool of weights that no cache holds.
//
//   gpu_kernel_bench [TARGET [ENCODING | ROWSxCOLS[xTOKENS]]...]
//
// TARGET: vulkan:lavapipe (default), vulkan:generic ... Without TOKENS the kernels for few tokens
// run on one, else those for many.
//
// Every round is one command buffer of dispatches over different matrices with barriers between, as
// in decoding; kernels alternate in many rounds and the best of each counts. Beside the plain
// kernel for few tokens stand those that write records of their outputs.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

#include "runtime/hal/driver_registry.h"
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

constexpr int kRounds = 12;
constexpr int64_t kPool = int64_t{128} << 20;  // bytes of weights
constexpr int64_t kPart = int64_t{64} << 20;   // bytes of one buffer of them

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of all threads, by the number of cores.
double processorTime() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (t.tv_sec + 1e-9 * t.tv_nsec) / std::thread::hardware_concurrency();
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}
template <typename T>
T must(absl::StatusOr<T> value) {
  if (!value.ok()) fail(std::string(value.status().message()));
  return std::move(*value);
}
void must(const absl::Status& status) {
  if (!status.ok()) fail(std::string(status.message()));
}

struct Kernel {
  std::string name, enc;
  int64_t rows = 0, cols = 0, tokens = 0;
  std::string act, config;
  std::array<uint32_t, 3> grid{};
  int64_t matrixBytes = 0, actBytes = 0;
  std::unique_ptr<hal::Executable> executable;
  std::vector<double> wall, processor;  // seconds of each round
};

class Bench {
 public:
  explicit Bench(const std::string& target)
      : profile_(profileNamed(target)), registry_(hal::MakeDriverRegistry()) {
    device_ = must(registry_.Open(profile_.driver, {}));
  }

  // `tokens`: 0 for the kernel for few of them, with one.
  void add(const std::string& name, const std::string& enc, int64_t rows, int64_t cols,
           int64_t tokens, const std::string& more) {
    Kernel k;
    k.name = name;
    k.enc = enc;
    k.rows = rows;
    k.cols = cols;
    k.tokens = tokens;
    k.act = profile_.activationFor(enc).str();
    int64_t step = enc == "f32" ? 1 : enc == "bf16" ? 2 : 64;
    int64_t stepBytes = enc == "q8" ? 1088 : enc == "q4" ? 576 : 64;
    k.matrixBytes = rows / 16 * (cols / step) * stepBytes;
    int64_t stride = encodeAct(k.act, std::vector<float>(cols), 1, cols).stride;
    k.config = "rows = " + std::to_string(rows) + ", cols = " + std::to_string(cols) +
               ", batch = 1, enc = \"" + enc + "\", act = \"" + k.act +
               "\", act_stride = " + std::to_string(stride) + ", out_ld = " + std::to_string(rows) +
               ", form = \"" + (tokens ? "many" : "few") + "\", epilogue = \"store\"" + more;
    int64_t tiles = panelTiles(profile_.name, k.config, tokens != 0);
    int64_t perLane = tokens ? profile_.gpu->tokensPerLane : 1;
    k.grid = {static_cast<uint32_t>((rows / 16 + tiles - 1) / tiles), 1,
              static_cast<uint32_t>((std::max<int64_t>(tokens, 1) + perLane - 1) / perLane)};
    k.actBytes = (std::max<int64_t>(tokens, 1) * stride + 255) / 256 * 256;
    kernels_.push_back(std::move(k));
  }

  void run() {
    int64_t small = 0;
    for (const Kernel& k : kernels_) {
      auto image = KernelImage::build(profile_, {{k.name, "linear", k.config}}, 2, k.tokens != 0);
      if (!image) fail("the kernels do not compile");
      code_.emplace_back(image->bytes().begin(), image->bytes().end());
      small = std::max(small, k.actBytes + std::max<int64_t>(k.tokens, 1) * k.rows * 4);
    }
    for (int64_t i = 0; i < kPool / kPart; ++i) {
      auto part = must(device_->allocator().Allocate(kPart, hal::MemoryUse::host_io));
      fill(part->host());
      weights_.push_back(std::move(part));
    }
    small_ = must(device_->allocator().Allocate(small, hal::MemoryUse::host_io));
    std::fill_n(small_->host(), small, 0x3c);  // as float32 0.0115: no denormal products
    for (size_t i = 0; i < kernels_.size(); ++i) {
      Kernel& k = kernels_[i];
      hal::KernelInterface interface;
      interface.name = k.name;
      interface.bindings = 3;
      interface.push = 1;
      k.executable = must(device_->LoadExecutable(code_[i], {interface}));
      round(k);
      k.wall.clear();
      k.processor.clear();
    }
    for (int i = 0; i < kRounds; ++i)
      for (Kernel& k : kernels_) round(k);
    for (const Kernel& k : kernels_) {
      double work = static_cast<double>(dispatches(k) * k.matrixBytes) / 1e9;
      if (k.tokens) work = 2e-9 * static_cast<double>(dispatches(k) * k.rows * k.cols * k.tokens);
      auto rate = [&](std::vector<double> seconds, bool best) {
        std::sort(seconds.begin(), seconds.end());
        return work / seconds[best ? 0 : seconds.size() / 2];
      };
      std::printf("%-28s %6.2f (median %6.2f) %s, %6.2f (median %6.2f) by processor time\n",
                  k.name.c_str(), rate(k.wall, true), rate(k.wall, false),
                  k.tokens ? "GFLOP/s" : "GB/s", rate(k.processor, true), rate(k.processor, false));
    }
  }

 private:
  static int64_t each(const Kernel& k) { return k.tokens ? 1 : kPart / k.matrixBytes; }
  static int64_t dispatches(const Kernel& k) { return each(k) * (kPool / kPart); }

  // Random bytes whose exponents and scales are small.
  static void fill(uint8_t* at) {
    std::mt19937_64 bits(1);
    auto* words = reinterpret_cast<uint64_t*>(at);
    for (int64_t i = 0; i < kPart / 8; ++i) words[i] = bits() & 0x3c3f3c3f3c3f3c3full;
  }

  void round(Kernel& k) {
    auto commands = device_->CreateCommandBuffer();
    for (const auto& part : weights_)
      for (int64_t i = 0; i < each(k); ++i) {
        hal::Dispatch dispatch;
        dispatch.executable = k.executable.get();
        dispatch.grid = k.grid;
        auto at = static_cast<uint64_t>(i * k.matrixBytes / 256 * 256);
        std::vector<hal::BufferRef> refs = {
            {small_.get(), 0}, {part.get(), at}, {small_.get(), static_cast<uint64_t>(k.actBytes)}};
        dispatch.bindings = refs;
        std::vector<int64_t> push = {std::max<int64_t>(k.tokens, 1)};
        dispatch.push = push;
        dispatch.label = k.name;
        must(commands->Append(dispatch));
        must(commands->Barrier());
      }
    must(commands->End());
    auto done = device_->CreateSemaphore(0);
    hal::Submission submission;
    submission.commands = commands.get();
    submission.signal = {{done, 1}};
    double start = now(), used = processorTime();
    must(device_->queue().Submit(std::move(submission)));
    must(done->Wait(1));
    k.wall.push_back(now() - start);
    k.processor.push_back(processorTime() - used);
  }

  TargetProfile profile_;
  hal::DriverRegistry registry_;
  std::unique_ptr<hal::Device> device_;
  std::vector<std::vector<uint8_t>> code_;  // of each kernel
  std::vector<Kernel> kernels_;
  std::vector<std::shared_ptr<hal::Buffer>> weights_;
  std::shared_ptr<hal::Buffer> small_;  // activations, then outputs
};

}  // namespace
}  // namespace fathom::testing

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  struct Shape {
    long rows, cols, tokens;
  };
  std::vector<std::string> encodings;
  std::vector<Shape> shapes;
  for (int i = 2; i < argc; ++i) {
    Shape shape = {0, 0, 0};
    if (std::sscanf(argv[i], "%ldx%ldx%ld", &shape.rows, &shape.cols, &shape.tokens) >= 2)
      shapes.push_back(shape);
    else
      encodings.push_back(argv[i]);
  }
  if (encodings.empty()) encodings = {"q4"};
  if (shapes.empty())
    shapes = {{4096, 4096, 0}, {2048, 1408, 0}, {1408, 2048, 0}, {4096, 4096, 64}};
  fathom::testing::Bench bench(argc > 1 ? argv[1] : "vulkan:lavapipe");
  for (const std::string& enc : encodings)
    for (const Shape& shape : shapes) {
      std::string name = enc + "_" + std::to_string(shape.rows) + "x" + std::to_string(shape.cols);
      if (shape.tokens) name += "x" + std::to_string(shape.tokens);
      bench.add(name, enc, shape.rows, shape.cols, shape.tokens, "");
      if (shape.tokens) continue;
      long stride = (shape.rows * 5 / 4 + 63) / 64 * 64;
      bench.add(name + "_records", enc, shape.rows, shape.cols, 0,
                ", out_act = \"i8\", out_stride = " + std::to_string(stride));
    }
  bench.run();
}
