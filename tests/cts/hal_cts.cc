// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every driver must do, whether it computes or not.
#include <cstring>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cts/cts_fixture.h"

namespace fathom::hal {
namespace {

using ::testing::Each;

INSTANTIATE_TEST_SUITE_P(Devices, HalCts, ::testing::ValuesIn(CtsDevices()),
                         [](const auto& info) { return info.param.name; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HalCts);

TEST_P(HalCts, InfoNamesTheDevice) {
  EXPECT_THAT(GetParam().id, ::testing::EndsWith(device_->info().id));
  EXPECT_EQ(device_->info().unusable, "");
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
  if (!device_->info().cache_on_demand) GTEST_SKIP() << "this device takes memory at once";
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
  auto buffer = Allocate(4 * kWords), sums = Allocate(256 * 20);
  std::memset(buffer->host(), 0, 4 * kWords);
  auto commands = device_->CreateCommandBuffer();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(commands->Append(Count({buffer.get()}, kWords)).ok());
    ASSERT_TRUE(commands->Barrier().ok());
    push_ = {kWords};
    bindings_ = {{buffer.get()}, {sums.get(), 256u * i}};
    ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"}).ok());
    ASSERT_TRUE(commands->Barrier().ok());
  }
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  for (uint32_t i = 0; computes() && i < 20; ++i) {
    EXPECT_EQ(Words(*sums, 64 * 20)[64 * i], (i + 1) * kWords);
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
  auto buffer = Allocate(256 * 100);
  std::memset(buffer->host(), 0, buffer->size());
  auto commands = device_->CreateCommandBuffer();
  for (uint64_t i = 0; i < 100; ++i) {
    // Sizes from 0 to 32 words, each in a place of its own.
    ASSERT_TRUE(
        commands->Append(Count({buffer.get(), 256 * i, 128}, static_cast<uint32_t>(i % 33))).ok());
  }
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  const auto words = Words(*buffer, 64 * 100);
  for (uint64_t i = 0; computes() && i < 100; ++i) {
    for (uint64_t w = 0; w < 64; ++w) EXPECT_EQ(words[64 * i + w], w < i % 33 ? 1u : 0u);
  }
}

TEST_P(HalCts, ABindingBeginsWhereItSays) {
  auto buffer = Allocate(4096), sum = Allocate(256);
  auto* words = reinterpret_cast<uint32_t*>(buffer->host());
  for (uint32_t i = 0; i < 1024; ++i) words[i] = i;
  auto commands = device_->CreateCommandBuffer();
  push_ = {3};
  bindings_ = {{buffer.get(), 1024, 12}, {sum.get()}};
  ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"}).ok());
  // At its very end a buffer has nothing to bind, which is no error.
  push_ = {0};
  bindings_ = {{buffer.get(), 4096}, {buffer.get(), 0, 4}};
  ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"}).ok());
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  if (computes()) {
    EXPECT_EQ(Words(*sum, 1)[0], 256u + 257 + 258);
  }
}

// Weights, arena and cache may be memory that the host cannot reach: it goes through copies.
TEST_P(HalCts, MemoryOfEveryKindIsReachedByCopies) {
  constexpr uint64_t kBytes = 3 << 20;
  auto in = Allocate(kBytes), out = Allocate(kBytes);
  auto* words = reinterpret_cast<uint32_t*>(in->host());
  for (uint32_t i = 0; i < kBytes / 4; ++i) words[i] = i * 2654435761u;
  for (MemoryUse use : {MemoryUse::weights, MemoryUse::transient, MemoryUse::cache}) {
    std::memset(out->host(), 0, kBytes);
    auto middle = Allocate(kBytes, use);
    auto commands = device_->CreateCommandBuffer();
    ASSERT_TRUE(commands->Copy({in.get()}, {middle.get()}, kBytes).ok());
    ASSERT_TRUE(commands->Barrier().ok());
    ASSERT_TRUE(commands->Copy({middle.get()}, {out.get()}, kBytes).ok());
    ASSERT_TRUE(commands->End().ok());
    ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
    if (computes()) {
      EXPECT_EQ(std::memcmp(in->host(), out->host(), kBytes), 0);
    }
  }
}

TEST_P(HalCts, ACacheIsZero) {
  constexpr uint64_t kBytes = 1 << 20;
  for (int round = 0; round < 2; ++round) {
    auto cache = Allocate(kBytes, MemoryUse::cache);
    auto ones = Allocate(kBytes), out = Allocate(kBytes);
    std::memset(ones->host(), 0xff, kBytes);
    std::memset(out->host(), 0xff, kBytes);
    auto commands = device_->CreateCommandBuffer();
    ASSERT_TRUE(commands->Copy({cache.get()}, {out.get()}, kBytes).ok());
    ASSERT_TRUE(commands->Barrier().ok());
    // The next round may get the same memory back.
    ASSERT_TRUE(commands->Copy({ones.get()}, {cache.get()}, kBytes).ok());
    ASSERT_TRUE(commands->End().ok());
    ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
    if (computes()) {
      EXPECT_THAT(Words(*out, kBytes / 4), Each(0u));
    }
  }
}

TEST_P(HalCts, ABufferMayBeLongerThanABinding) {
  const uint64_t limit = device_->info().max_binding_bytes;
  if (limit == 0) GTEST_SKIP() << "this device binds buffers of any size";
  const uint64_t tail = 1 << 20;
  if (limit + tail > device_->info().max_buffer_bytes) {
    GTEST_SKIP() << "this device has no buffers longer than a binding";
  }
  auto buffer = Allocate(limit + tail, MemoryUse::weights);
  auto four = Allocate(16), sum = Allocate(256);
  const uint32_t words[4] = {1, 2, 3, 4};
  std::memcpy(four->host(), words, sizeof(words));
  const uint64_t far = limit / 256 * 256;
  auto commands = device_->CreateCommandBuffer();
  ASSERT_TRUE(commands->Copy({four.get()}, {buffer.get(), far}, 16).ok());
  ASSERT_TRUE(commands->Barrier().ok());
  push_ = {4};
  bindings_ = {{buffer.get(), far}, {sum.get()}};
  ASSERT_TRUE(commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"}).ok());
  // Without a length the kernel sees what the device can bind; a length beyond that is refused.
  bindings_[0] = {buffer.get(), 0};
  ASSERT_TRUE(commands->Append({executable_.get(), 1, {0, 1, 1}, bindings_, push_, "sum"}).ok());
  bindings_[0].bytes = limit + 4;
  const absl::Status status =
      commands->Append({executable_.get(), 1, {1, 1, 1}, bindings_, push_, "sum"});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  ASSERT_TRUE(commands->End().ok());
  ASSERT_TRUE(SubmitAndWait(commands.get()).ok());
  EXPECT_EQ(Words(*sum, 1)[0], 10u);
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
  alignas(4096) static uint32_t words[1024] = {1, 2, 3, 4};
  auto imported =
      device_->allocator().Import({reinterpret_cast<const uint8_t*>(words), sizeof(words)});
  if (!device_->info().imports_memory) {
    EXPECT_EQ(imported.status().code(), absl::StatusCode::kUnimplemented);
    GTEST_SKIP() << "the caller copies";
  }
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
        BufferRef{buffer.get(), UINT64_MAX - 63}, BufferRef{buffer.get(), 2048, 2049},
        BufferRef{buffer.get(), 0, UINT64_MAX}}) {
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
    ASSERT_TRUE(commands->Append(Count({buffer.get(), 1024u * i, 400}, 100)).ok());
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
