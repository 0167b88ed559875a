// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where the layers of a cache lie, and how it grows when memory is short.
#include "runtime/exec/cache_memory.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/exec/transfer.h"
#include "runtime/hal/driver_registry.h"

namespace fathom {
namespace {

constexpr uint32_t kRow = 48, kPageTokens = 64;
constexpr uint64_t kPage = kRow * kPageTokens;  // of a layer

const schema::KvCache* MakeKv(flatbuffers::FlatBufferBuilder& builder, uint32_t layers) {
  builder.Finish(
      schema::CreateKvCache(builder, kPageTokens, layers, kRow, uint64_t{layers} * kPage));
  return flatbuffers::GetRoot<schema::KvCache>(builder.GetBufferPointer());
}

// The CPU with less memory than it has, which counts what is asked of it.
class ShortAllocator : public hal::Allocator {
 public:
  explicit ShortAllocator(hal::Allocator& inner) : inner_(inner) {}
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Allocate(uint64_t size,
                                                        hal::MemoryUse use) override {
    if (use == hal::MemoryUse::cache && used() + size > limit) {
      ++refused;
      return absl::ResourceExhaustedError(absl::StrCat("no memory for ", size, " bytes"));
    }
    auto buffer = inner_.Allocate(size, use);
    if (buffer.ok() && use == hal::MemoryUse::cache) given_.push_back(*buffer);
    most_used = std::max(most_used, used());
    return buffer;
  }
  absl::StatusOr<std::shared_ptr<hal::Buffer>> Import(absl::Span<const uint8_t> bytes) override {
    return inner_.Import(bytes);
  }
  uint64_t used() const {
    uint64_t bytes = 0;
    for (const auto& buffer : given_) {
      if (const auto alive = buffer.lock()) bytes += alive->size();
    }
    return bytes;
  }

  uint64_t limit = UINT64_MAX, most_used = 0;
  int refused = 0;

 private:
  hal::Allocator& inner_;
  std::vector<std::weak_ptr<hal::Buffer>> given_;
};

class ShortDevice : public hal::Device {
 public:
  explicit ShortDevice(std::unique_ptr<hal::Device> inner)
      : memory(inner->allocator()), inner_(std::move(inner)) {
    facts = inner_->info();
    facts.cache_on_demand = false;
  }
  const hal::DeviceInfo& info() const override { return facts; }
  absl::Status Supports(const std::string& target,
                        absl::Span<const std::string> features) const override {
    return inner_->Supports(target, features);
  }
  hal::Allocator& allocator() override { return memory; }
  hal::Queue& queue() override { return inner_->queue(); }
  absl::StatusOr<std::unique_ptr<hal::Executable>> LoadExecutable(
      absl::Span<const uint8_t> code, std::vector<hal::KernelInterface> kernels) override {
    return inner_->LoadExecutable(code, std::move(kernels));
  }
  std::unique_ptr<hal::CommandBuffer> CreateCommandBuffer() override {
    return inner_->CreateCommandBuffer();
  }
  std::shared_ptr<hal::Semaphore> CreateSemaphore(uint64_t value) override {
    return inner_->CreateSemaphore(value);
  }

  hal::DeviceInfo facts;
  ShortAllocator memory;

 private:
  const std::unique_ptr<hal::Device> inner_;
};

class CacheMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = hal::MakeDriverRegistry().Open("cpu", {});
    ASSERT_TRUE(opened.ok()) << opened.status();
    device_ = std::make_unique<ShortDevice>(*std::move(opened));
  }
  // The byte that stands in `page` of `layer`.
  static uint8_t Mark(uint32_t layer, uint32_t page) {
    return static_cast<uint8_t>(layer * 37 + page * 5 + 1);
  }
  static void Fill(const CacheMemory& cache, uint32_t layers, uint32_t begin, uint32_t end) {
    for (uint32_t layer = 0; layer < layers; ++layer) {
      const hal::BufferRef ref = cache.Layer(layer);
      ASSERT_GE(ref.bytes, end * kPage);
      ASSERT_LE(ref.offset + ref.bytes, ref.buffer->size());
      ASSERT_EQ(ref.offset % 4096, 0u);
      for (uint32_t page = begin; page < end; ++page) {
        std::memset(ref.buffer->host() + ref.offset + page * kPage, Mark(layer, page), kPage);
      }
    }
  }
  static void Check(const CacheMemory& cache, uint32_t layers, uint32_t end) {
    for (uint32_t layer = 0; layer < layers; ++layer) {
      const hal::BufferRef ref = cache.Layer(layer);
      const uint8_t* at = ref.buffer->host() + ref.offset;
      for (uint64_t i = 0; i < end * kPage; ++i) {
        ASSERT_EQ(at[i], Mark(layer, static_cast<uint32_t>(i / kPage))) << layer << " " << i;
      }
      for (uint64_t i = end * kPage; i < ref.bytes; ++i) ASSERT_EQ(at[i], 0) << layer << " " << i;
    }
  }

  flatbuffers::FlatBufferBuilder builder_;
  std::unique_ptr<ShortDevice> device_;
};

TEST_F(CacheMemoryTest, AMemoryThatIsTakenAsItIsTouchedIsOneBuffer) {
  device_->facts.cache_on_demand = true;
  CacheMemory cache(*device_, *MakeKv(builder_, 27), 100);
  EXPECT_EQ(cache.pages(), 0u);
  ASSERT_TRUE(cache.Grow(1).ok());
  EXPECT_EQ(cache.pages(), 100u);
  EXPECT_EQ(cache.buffers(), 1u);
  Fill(cache, 27, 0, 100);
  Check(cache, 27, 100);
}

TEST_F(CacheMemoryTest, GrowsAndKeepsItsContent) {
  for (const uint32_t layers : {1u, 2u, 8u, 19u}) {
    builder_.Clear();
    CacheMemory cache(*device_, *MakeKv(builder_, layers), 300);
    uint32_t filled = 0;
    for (const uint32_t pages : {1u, 16u, 17u, 100u, 300u}) {
      ASSERT_TRUE(cache.Grow(pages).ok());
      ASSERT_GE(cache.pages(), pages);
      ASSERT_LE(cache.pages(), 300u);
      Check(cache, layers, filled);
      Fill(cache, layers, filled, pages);
      filled = pages;
    }
    Check(cache, layers, 300);
    EXPECT_LE(cache.buffers(), 8u);
  }
}

TEST_F(CacheMemoryTest, BuffersStayBelowTheLongest) {
  device_->facts.max_buffer_bytes = 10 * kPage;
  const schema::KvCache& kv = *MakeKv(builder_, 20);
  EXPECT_EQ(MaxCachePages(device_->facts, kv), 10u);
  device_->facts.max_binding_bytes = 7 * kPage + 1;
  EXPECT_EQ(MaxCachePages(device_->facts, kv), 7u);
  for (const auto& [most, buffers] : {std::pair{2u, 7u}, {3u, 10u}, {4u, 10u}, {7u, 20u}, {10u, 20u}}) {
    CacheMemory cache(*device_, kv, most);
    ASSERT_TRUE(cache.Grow(most).ok());
    EXPECT_EQ(cache.buffers(), buffers) << most;
    Fill(cache, 20, 0, most);
    Check(cache, 20, most);
    std::set<const hal::Buffer*> all;
    for (uint32_t layer = 0; layer < 20; ++layer) all.insert(cache.Layer(layer).buffer);
    EXPECT_EQ(all.size(), buffers);
    for (const hal::Buffer* buffer : all) EXPECT_LE(buffer->size(), device_->facts.max_buffer_bytes);
  }
}

// While one group moves, the others are there once: never a second whole cache.
TEST_F(CacheMemoryTest, GrowsOneGroupAfterTheOther) {
  CacheMemory cache(*device_, *MakeKv(builder_, 16), 256);
  ASSERT_TRUE(cache.Grow(128).ok());
  const uint64_t before = device_->memory.used();
  Fill(cache, 16, 0, 128);
  device_->memory.limit = 2 * before + before / 8;
  ASSERT_TRUE(cache.Grow(256).ok());
  EXPECT_EQ(device_->memory.refused, 0);
  EXPECT_EQ(device_->memory.used(), 2 * before);
  Check(cache, 16, 128);
}

TEST_F(CacheMemoryTest, TakesJustEnoughWhenMemoryIsShort) {
  CacheMemory cache(*device_, *MakeKv(builder_, 8), 1000);
  ASSERT_TRUE(cache.Grow(100).ok());
  Fill(cache, 8, 0, 100);
  const uint64_t page = device_->memory.used() / 100;
  device_->memory.limit = 130 * page;
  ASSERT_TRUE(cache.Grow(110).ok());
  Check(cache, 8, 100);
  Fill(cache, 8, 100, 110);
  EXPECT_EQ(cache.pages(), 110u);
  // Old and new of a group no longer fit beside each other: through the host.
  device_->memory.limit = 131 * page;
  ASSERT_TRUE(cache.Grow(120).ok());
  Check(cache, 8, 110);
  // Not at all: what there is stays.
  const absl::Status status = cache.Grow(130);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(cache.pages(), 120u);
  Check(cache, 8, 110);
  device_->memory.limit = UINT64_MAX;
  ASSERT_TRUE(cache.Grow(130).ok());
  Check(cache, 8, 110);
}

}  // namespace
}  // namespace fathom
