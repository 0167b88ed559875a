// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every driver must do, whether it computes or not.
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/hal/driver_registry.h"

namespace fathom::hal {
namespace {

using ::testing::Each;

// The kernels of tests/unit/backends/test_kernels.c; a driver that cannot load them gets its own
// code here.
std::vector<uint8_t> TestCode(const std::string& driver) {
  std::ifstream file(FATHOM_TEST_IMAGE, std::ios::binary);
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {});
}

const std::vector<KernelInterface> kKernels = {{"count", 1, 2}, {"sum", 2, 1}};

class HalCts : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto device = MakeDriverRegistry().Open(GetParam(), {3});
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    auto executable = device_->LoadExecutable(TestCode(GetParam()), kKernels);
    ASSERT_TRUE(executable.ok()) << executable.status();
    executable_ = *std::move(executable);
  }
  bool computes() const { return GetParam().rfind("null", 0) != 0; }
  std::shared_ptr<Buffer> Allocate(uint64_t size, MemoryUse use = MemoryUse::host_io) {
    auto buffer = device_->allocator().Allocate(size, use);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    return *std::move(buffer);
  }
  // Adds 1 to each of `n` u32 of `buffer`, one workgroup each.
  Dispatch Count(const BufferRef& buffer, uint32_t n) {
    push_ = {n, 1};
    bindings_ = {buffer};
    return {executable_.get(), 0, {n, 1, 1}, bindings_, push_, "count"};
  }
  absl::Status SubmitAndWait(CommandBuffer* commands, DispatchTimes* times = nullptr) {
    auto done = device_->CreateSemaphore(0);
    absl::Status status = device_->queue().Submit({commands, {}, {{done, 1}}, times});
    return status.ok() ? done->Wait(1) : status;
  }
  static std::vector<uint32_t> Words(const Buffer& buffer, size_t n) {
    const auto* words = reinterpret_cast<const uint32_t*>(buffer.host());
    return {words, words + n};
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Executable> executable_;
  std::vector<int64_t> push_;
  std::vector<BufferRef> bindings_;
};

std::vector<std::string> AllDevices() {
  const DriverRegistry registry = MakeDriverRegistry();
  std::vector<std::string> ids;
  for (const auto& driver : registry.drivers()) {
    for (const DeviceInfo& info : driver->Devices()) ids.push_back(info.id);
  }
  return ids;
}

INSTANTIATE_TEST_SUITE_P(Devices, HalCts, ::testing::ValuesIn(AllDevices()), [](const auto& info) {
  std::string name = info.param;
  name[name.find(':')] = '_';
  return name;
});

TEST_P(HalCts, InfoNamesTheDevice) {
  EXPECT_EQ(device_->info().id, GetParam());
  EXPECT_FALSE(device_->info().name.empty());
  EXPECT_GE(device_->workers(), 1);
}

TEST_P(HalCts, AllocatesEveryKindOfMemory) {
  for (MemoryUse use :
       {MemoryUse::weights, MemoryUse::transient, MemoryUse::cache, MemoryUse::host_io}) {
    for (uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{4096}, uint64_t{5} << 20}) {
      auto buffer = Allocate(size, use);
      EXPECT_EQ(buffer->size(), size);
      if (buffer->host() == nullptr) {
        EXPECT_NE(use, MemoryUse::host_io);
        continue;
      }
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->host()) % 64, 0u);
      if (size != 0) {
        if (use == MemoryUse::cache) {
          EXPECT_EQ(buffer->host()[size - 1], 0);
        }
        std::memset(buffer->host(), 1, size);
      }
    }
  }
}

TEST_P(HalCts, RefusesImpossibleSizes) {
  for (uint64_t size : {UINT64_MAX, UINT64_MAX - 4096, uint64_t{1} << 62}) {
    const auto buffer = device_->allocator().Allocate(size, MemoryUse::transient);
    EXPECT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST_P(HalCts, ACacheCostsNothingUntilItIsTouched) {
  auto cache = Allocate(uint64_t{1} << 40, MemoryUse::cache);  // 1 TiB
  EXPECT_EQ(cache->size(), uint64_t{1} << 40);
}

TEST_P(HalCts, ReplaysARecordedList) {
  auto buffer = Allocate(4000);
  std::memset(buffer->host(), 0, 4000);
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->Append(Count({buffer.get()}, 1000)).ok());
  ASSERT_TRUE(commands->End().ok());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  if (computes()) {
    EXPECT_THAT(Words(*buffer, 1000), Each(50u));
  }
}

TEST_P(HalCts, BarriersOrderDispatches) {
  constexpr uint32_t kWords = 5000;
  auto buffer = Allocate(4 * kWords), sums = Allocate(64 * 100);
  std::memset(buffer->host(), 0, 4 * kWords);
  auto commands = device_->CreateCommandBuffer();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(commands->Append(Count({buffer.get()}, kWords)).ok());
    ASSERT_TRUE(commands->Barrier().ok());
    push_ = {kWords};
    bindings_ = {{buffer.get()}, {sums.get(), 64u * i}};
    ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"}).ok());
    ASSERT_TRUE(commands->Barrier().ok());
  }
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  for (uint32_t i = 0; computes() && i < 20; ++i) {
    EXPECT_EQ(Words(*sums, 16 * 20)[16 * i], (i + 1) * kWords);
  }
}

TEST_P(HalCts, GridsOfEveryShape) {
  constexpr uint32_t kX = 7, kY = 5, kZ = 11;
  auto buffer = Allocate(4 * kX * kY * kZ);
  std::memset(buffer->host(), 0, buffer->size());
  auto commands = device_->CreateCommandBuffer();
  push_ = {kX, kY};
  bindings_ = {{buffer.get()}};
  ASSERT_TRUE(commands->Append({executable_.get(), 0, {kX, kY, kZ}, bindings_, push_, "all"}).ok());
  ASSERT_TRUE(commands->Append({executable_.get(), 0, {kX, 0, kZ}, bindings_, push_, "none"}).ok());
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  if (computes()) {
    EXPECT_THAT(Words(*buffer, kX * kY * kZ), Each(1u));
  }
}

TEST_P(HalCts, DispatchesWithoutABarrierAllRun) {
  auto buffer = Allocate(64 * 300);
  std::memset(buffer->host(), 0, buffer->size());
  auto commands = device_->CreateCommandBuffer();
  for (uint64_t i = 0; i < 100; ++i) {
    // Sizes from 0 to 32 words, each in a place of its own.
    ASSERT_TRUE(
        commands->Append(Count({buffer.get(), 128 * i}, static_cast<uint32_t>(i % 33))).ok());
  }
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  const auto words = Words(*buffer, 16 * 300);
  for (uint64_t i = 0; computes() && i < 100; ++i) {
    for (uint64_t w = 0; w < 32; ++w) EXPECT_EQ(words[32 * i + w], w < i % 33 ? 1u : 0u);
  }
}

TEST_P(HalCts, CopiesBetweenBuffers) {
  auto from = Allocate(4096), to = Allocate(4096);
  std::memset(from->host(), 7, 4096);
  std::memset(to->host(), 0, 4096);
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->Copy({from.get(), 64}, {to.get(), 128}, 1000).ok());
  EXPECT_FALSE(commands->Copy({from.get(), 4032}, {to.get(), 0}, 65).ok());
  EXPECT_FALSE(commands->Copy({from.get(), 0}, {to.get(), 4096}, 1).ok());
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  if (computes()) {
    EXPECT_EQ(to->host()[127], 0);
    EXPECT_EQ(to->host()[128], 7);
    EXPECT_EQ(to->host()[1127], 7);
    EXPECT_EQ(to->host()[1128], 0);
  }
}

TEST_P(HalCts, ImportedMemoryIsReadInPlace) {
  alignas(64) static uint32_t words[16] = {1, 2, 3, 4};
  auto imported =
      device_->allocator().Import({reinterpret_cast<const uint8_t*>(words), sizeof(words)});
  if (absl::IsUnimplemented(imported.status())) return;  // allowed: the caller copies
  ASSERT_TRUE(imported.ok()) << imported.status();
  auto sum = Allocate(64);
  auto commands = device_->CreateCommandBuffer();
  push_ = {4};
  bindings_ = {{imported->get()}, {sum.get()}};
  ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"}).ok());
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  if (computes()) {
    EXPECT_EQ(Words(*sum, 1)[0], 10u);
  }
}

TEST_P(HalCts, RefusesBadDispatches) {
  auto buffer = Allocate(4096);
  auto commands = device_->CreateCommandBuffer();
  const Dispatch good = Count({buffer.get()}, 4);
  Dispatch bad = good;
  bad.kernel = 2;
  EXPECT_FALSE(commands->Append(bad).ok());
  bad = good;
  bad.executable = nullptr;
  EXPECT_FALSE(commands->Append(bad).ok());
  bad = good;
  bad.push = {};
  EXPECT_FALSE(commands->Append(bad).ok());
  bad = good;
  bad.bindings = {};
  EXPECT_FALSE(commands->Append(bad).ok());
  for (const BufferRef& ref :
       {BufferRef{nullptr, 0}, BufferRef{buffer.get(), 4160}, BufferRef{buffer.get(), 4},
        BufferRef{buffer.get(), UINT64_MAX - 63}}) {
    bad = good;
    bad.bindings = {&ref, 1};
    EXPECT_FALSE(commands->Append(bad).ok());
  }
  EXPECT_TRUE(commands->labels().empty());
  EXPECT_TRUE(commands->Append(good).ok());
  EXPECT_TRUE(commands->End().ok());
  EXPECT_FALSE(commands->Append(good).ok());
  EXPECT_FALSE(commands->Barrier().ok());
  EXPECT_FALSE(commands->End().ok());
}

TEST_P(HalCts, RefusesListsThatHaveNotEnded) {
  auto commands = device_->CreateCommandBuffer();
  EXPECT_FALSE(device_->queue().Submit({commands.get(), {}, {}, nullptr}).ok());
  EXPECT_FALSE(device_->queue().Submit({nullptr, {}, {}, nullptr}).ok());
}

TEST_P(HalCts, TimesEachDispatch) {
  auto buffer = Allocate(4096);
  auto commands = device_->CreateCommandBuffer();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(commands->Append(Count({buffer.get()}, 100)).ok());
    if (i == 1) {
      ASSERT_TRUE(commands->Barrier().ok());
    }
  }
  ASSERT_TRUE(commands->End().ok());
  EXPECT_EQ(commands->labels().size(), 3u);
  DispatchTimes times;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(SubmitAndWait(commands.get(), &times).ok());
    EXPECT_EQ(times.size(), 3u);
    ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  }
}

TEST_P(HalCts, AnEmptyListRuns) {
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->Barrier().ok());
  ASSERT_TRUE(commands->End().ok());
  EXPECT_TRUE(SubmitAndWait(commands.get()).ok());
}

// B waits for a value that only A, submitted later on the same thread, would be too late to give:
// so the host gives it. Submit itself must not block.
TEST_P(HalCts, ASubmissionWaitsForItsSemaphores) {
  auto buffer = Allocate(4096);
  std::memset(buffer->host(), 0, 4096);
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->Append(Count({buffer.get()}, 4)).ok());
  ASSERT_TRUE(commands->End().ok());
  auto gate = device_->CreateSemaphore(0), done = device_->CreateSemaphore(0);
  ASSERT_TRUE(device_->queue().Submit({commands.get(), {{gate, 5}}, {{done, 1}}, nullptr}).ok());
  ASSERT_TRUE(device_->queue().Submit({commands.get(), {}, {{done, 2}}, nullptr}).ok());
  EXPECT_EQ(done->Wait(1, absl::Milliseconds(30)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Words(*buffer, 1)[0], 0u);
  ASSERT_TRUE(gate->Signal(5).ok());
  ASSERT_TRUE(done->Wait(2).ok());
  if (computes()) {
    EXPECT_THAT(Words(*buffer, 4), Each(2u));
  }
  // The order holds and the queue is fast again afterwards.
  ASSERT_TRUE(device_->queue().Submit({commands.get(), {{done, 2}}, {{done, 3}}, nullptr}).ok());
  EXPECT_TRUE(done->Wait(3).ok());
}

TEST_P(HalCts, AFailureTravelsThroughSubmissions) {
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->End().ok());
  auto gate = device_->CreateSemaphore(0);
  auto first = device_->CreateSemaphore(0), second = device_->CreateSemaphore(0);
  ASSERT_TRUE(device_->queue().Submit({commands.get(), {{gate, 1}}, {{first, 1}}, nullptr}).ok());
  ASSERT_TRUE(device_->queue().Submit({commands.get(), {{first, 1}}, {{second, 1}}, nullptr}).ok());
  gate->Fail(absl::DataLossError("the cause"));
  EXPECT_EQ(second->Wait(1).message(), "the cause");
  EXPECT_EQ(first->status().message(), "the cause");
  EXPECT_TRUE(SubmitAndWait(commands.get()).ok());  // the queue itself goes on
}

TEST_P(HalCts, ClosingADeviceFailsWhatStillWaits) {
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->End().ok());
  auto gate = device_->CreateSemaphore(0), done = device_->CreateSemaphore(0);
  ASSERT_TRUE(device_->queue().Submit({commands.get(), {{gate, 1}}, {{done, 1}}, nullptr}).ok());
  executable_.reset();
  device_.reset();
  EXPECT_EQ(done->Wait(1, absl::Seconds(5)).code(), absl::StatusCode::kCancelled);
}

TEST_P(HalCts, SeveralThreadsMaySubmit) {
  constexpr int kThreads = 4, kRounds = 50;
  auto buffer = Allocate(4 * 64);
  std::memset(buffer->host(), 0, buffer->size());
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->Append(Count({buffer.get()}, 64)).ok());
  ASSERT_TRUE(commands->End().ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) EXPECT_TRUE(SubmitAndWait(commands.get()).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (computes()) {
    EXPECT_THAT(Words(*buffer, 64), Each(kThreads * kRounds));
  }
}

}  // namespace
}  // namespace fathom::hal
