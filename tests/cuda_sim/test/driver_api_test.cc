// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The stand-in library as a program sees it: opened at run time, called through the driver API.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "tests/cuda_sim/test/sim_test.h"

namespace fathom::cuda_sim {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

// Adds 1 to each of 64 words.
const char kAddOne[] = R"(
  .reg .b32 %t, %v; .reg .b64 %p, %at;
  ld.param.u64 %p, [p0];
  mov.u32 %t, %tid.x;
  mul.wide.u32 %at, %t, 4;
  add.u64 %p, %p, %at;
  ld.global.u32 %v, [%p];
  add.u32 %v, %v, 1;
  st.global.u32 [%p], %v;
  ret;)";

class DriverApi : public ::testing::Test {
 protected:
  void SetUp() override {
    report_ = std::filesystem::temp_directory_path() /
              ("fathom_cuda_api_" + std::to_string(::getpid()) + ".txt");
    ::setenv("FATHOM_CUDA_SIM_REPORT", report_.c_str(), 1);
    library_ = ::dlopen(FATHOM_CUDA_SIM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library_, nullptr) << ::dlerror();
    ASSERT_EQ(Call<int(unsigned)>("cuInit", 0u), 0);
    ASSERT_EQ(Call<int(void**, int)>("cuDevicePrimaryCtxRetain", &context_, 0), 0);
    ASSERT_EQ(Call<int(void*)>("cuCtxSetCurrent", context_), 0);
  }
  void TearDown() override {
    EXPECT_EQ(Call<int(void*)>("cuCtxSetCurrent", nullptr), 0);
    EXPECT_EQ(Call<int(int)>("cuDevicePrimaryCtxRelease_v2", 0), 0);
    ::unsetenv("FATHOM_CUDA_SIM_REPORT");
    std::filesystem::remove(report_);
  }
  template <typename F, typename... A>
  int Call(const char* name, A... arguments) {
    auto* function = reinterpret_cast<F*>(::dlsym(library_, name));
    EXPECT_NE(function, nullptr) << name;
    return function(arguments...);
  }
  // The function k of `body`, with 64 words of zero.
  void Prepare(const std::string& body) {
    const std::string text = Ptx(1, body);
    ASSERT_EQ(Call<int(void**, const void*)>("cuModuleLoadData", &module_, text.c_str()), 0);
    ASSERT_EQ(
        Call<int(void**, void*, const char*)>("cuModuleGetFunction", &function_, module_, "k"), 0);
    ASSERT_EQ(Call<int(uint64_t*, size_t)>("cuMemAlloc_v2", &memory_, size_t{256}), 0);
    ASSERT_EQ(Call<int(uint64_t, unsigned char, size_t)>("cuMemsetD8_v2", memory_, 0, size_t{256}),
              0);
    ASSERT_EQ(Call<int(void**, unsigned)>("cuStreamCreate", &stream_, 1u), 0);
  }
  int Launch(unsigned threads = 64) {
    void* arguments[] = {&memory_};
    return Call<int(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                    void*, void**, void**)>("cuLaunchKernel", function_, 1u, 1u, 1u, threads, 1u,
                                            1u, 0u, stream_, arguments, nullptr);
  }
  int Synchronize() { return Call<int(void*)>("cuStreamSynchronize", stream_); }
  std::vector<uint32_t> Words() {
    std::vector<uint32_t> words(64);
    EXPECT_EQ(
        Call<int(void*, uint64_t, size_t)>("cuMemcpyDtoH_v2", words.data(), memory_, size_t{256}),
        0);
    return words;
  }

  std::filesystem::path report_;
  void* library_ = nullptr;
  void* context_ = nullptr;
  void* module_ = nullptr;
  void* function_ = nullptr;
  void* stream_ = nullptr;
  uint64_t memory_ = 0;
};

TEST_F(DriverApi, ExportsNothingElse) {
  for (const char* name : {"cuInit", "cuLaunchKernel", "cuGraphLaunch", "cuMemcpyDtoDAsync_v2"}) {
    EXPECT_NE(::dlsym(library_, name), nullptr) << name;
  }
  EXPECT_EQ(::dlsym(library_,
                    "_ZN6fathom8cuda_sim8ParsePtxERKNSt7__cxx1112basic_stringIcSt11char_"
                    "traitsIcESaIcEEE"),
            nullptr);
}

TEST_F(DriverApi, AStreamRunsWhenSomebodyWaits) {
  Prepare(kAddOne);
  ASSERT_EQ(Launch(), 0);
  EXPECT_THAT(Words(), Each(0u));  // a copy outside the stream does not wait for it
  ASSERT_EQ(Synchronize(), 0);
  EXPECT_THAT(Words(), Each(1u));
}

TEST_F(DriverApi, EventsOrderStreams) {
  Prepare(kAddOne);
  void* other = nullptr;
  void* event = nullptr;
  uint64_t copy = 0;
  ASSERT_EQ(Call<int(void**, unsigned)>("cuStreamCreate", &other, 1u), 0);
  ASSERT_EQ(Call<int(void**, unsigned)>("cuEventCreate", &event, 0u), 0);
  ASSERT_EQ(Call<int(uint64_t*, size_t)>("cuMemAlloc_v2", &copy, size_t{256}), 0);
  ASSERT_EQ(Launch(), 0);
  ASSERT_EQ(Call<int(void*, void*)>("cuEventRecord", event, stream_), 0);
  ASSERT_EQ(Call<int(void*, void*, unsigned)>("cuStreamWaitEvent", other, event, 0u), 0);
  ASSERT_EQ(Call<int(uint64_t, uint64_t, size_t, void*)>("cuMemcpyDtoDAsync_v2", copy, memory_,
                                                         size_t{256}, other),
            0);
  ASSERT_EQ(Call<int(void*)>("cuStreamSynchronize", other), 0);
  memory_ = copy;
  EXPECT_THAT(Words(), Each(1u));
}

TEST_F(DriverApi, GraphsReplayWhatWasCaptured) {
  Prepare(kAddOne);
  void* graph = nullptr;
  void* executable = nullptr;
  ASSERT_EQ(Call<int(void*, int)>("cuStreamBeginCapture_v2", stream_, 1), 0);
  ASSERT_EQ(Launch(), 0);
  ASSERT_EQ(Launch(32), 0);
  EXPECT_EQ(Synchronize(), 900);  // not while it captures
  ASSERT_EQ(Call<int(void*, void**)>("cuStreamEndCapture", stream_, &graph), 0);
  ASSERT_EQ(Call<int(void**, void*, uint64_t)>("cuGraphInstantiateWithFlags", &executable, graph,
                                               uint64_t{0}),
            0);
  ASSERT_EQ(Call<int(void*)>("cuGraphDestroy", graph), 0);
  EXPECT_THAT(Words(), Each(0u));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(Call<int(void*, void*)>("cuGraphLaunch", executable, stream_), 0);
  }
  ASSERT_EQ(Synchronize(), 0);
  const auto words = Words();
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(words[i], i < 32 ? 6u : 3u);
  EXPECT_EQ(Call<int(void*)>("cuGraphExecDestroy", executable), 0);
  EXPECT_EQ(Call<int(void*)>("cuGraphExecDestroy", executable), 400);
}

TEST_F(DriverApi, AFaultStays) {
  Prepare(kAddOne);
  ASSERT_EQ(Launch(65), 0);  // a launch reports nothing
  EXPECT_EQ(Synchronize(), 700);
  EXPECT_EQ(Launch(), 700);
  uint64_t other = 0;
  EXPECT_EQ(Call<int(uint64_t*, size_t)>("cuMemAlloc_v2", &other, size_t{256}), 700);
  EXPECT_THAT(ReadText(report_), HasSubstr("thread (64,0,0)"));
  const char* name = nullptr;
  EXPECT_EQ(Call<int(int, const char**)>("cuGetErrorName", 700, &name), 0);
  EXPECT_STREQ(name, "CUDA_ERROR_ILLEGAL_ADDRESS");
}

TEST_F(DriverApi, RefusesWrongCalls) {
  Prepare(kAddOne);
  EXPECT_EQ(Launch(1025), 1);
  EXPECT_EQ(Call<int(void*)>("cuStreamSynchronize", &memory_), 400);
  EXPECT_EQ(Call<int(uint64_t)>("cuMemFree_v2", memory_ + 4), 1);
  EXPECT_EQ(Call<int(uint64_t, unsigned char, size_t)>("cuMemsetD8_v2", memory_, 0, size_t{257}),
            1);
  void* function = nullptr;
  EXPECT_EQ(Call<int(void**, void*, const char*)>("cuModuleGetFunction", &function, module_, "x"),
            500);
  EXPECT_EQ(Call<int(void**, const void*)>("cuModuleLoadData", &function, "\177ELF"), 209);
  int result = 0;
  std::thread([&] { result = Synchronize(); }).join();
  EXPECT_EQ(result, 201);  // a thread has no context until it sets one
}

TEST_F(DriverApi, TellsWhyPtxIsRefused) {
  char log[60] = "";
  int options[] = {5, 6};
  void* values[] = {log, reinterpret_cast<void*>(sizeof(log))};
  const std::string text = Ptx(1, "frobnicate;");
  EXPECT_EQ(Call<int(void**, const void*, unsigned, int*, void**)>(
                "cuModuleLoadDataEx", &module_, text.c_str(), 2u, options, values),
            218);
  EXPECT_THAT(std::string(log), HasSubstr("line 8: unknown instruction frobnicate"));
}

TEST_F(DriverApi, PinnedMemoryHasAnAddressOfItsOwn) {
  Prepare(kAddOne);
  void* host = nullptr;
  ASSERT_EQ(Call<int(void**, size_t, unsigned)>("cuMemHostAlloc", &host, size_t{256}, 2u), 0);
  uint64_t device = 0;
  ASSERT_EQ(
      Call<int(uint64_t*, void*, unsigned)>("cuMemHostGetDevicePointer_v2", &device, host, 0u), 0);
  EXPECT_NE(device, reinterpret_cast<uint64_t>(host));
  auto* words = static_cast<uint32_t*>(host);
  for (uint32_t i = 0; i < 64; ++i) words[i] = i;
  memory_ = device;
  ASSERT_EQ(Launch(), 0);
  ASSERT_EQ(Synchronize(), 0);
  for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(words[i], i + 1);
  EXPECT_EQ(Call<int(void*)>("cuMemFreeHost", host), 0);
  EXPECT_EQ(Call<int(void*)>("cuMemFreeHost", host), 1);
}

}  // namespace
}  // namespace fathom::cuda_sim
