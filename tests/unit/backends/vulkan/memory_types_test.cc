// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which memory serves what, on the memory layouts of real devices.
#include "backends/vulkan/driver/memory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::vulkan {
namespace {

using hal::MemoryUse;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kHost =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

VkPhysicalDeviceMemoryProperties Types(const std::vector<VkMemoryPropertyFlags>& flags) {
  VkPhysicalDeviceMemoryProperties memory = {};
  memory.memoryTypeCount = static_cast<uint32_t>(flags.size());
  for (size_t i = 0; i < flags.size(); ++i) memory.memoryTypes[i].propertyFlags = flags[i];
  memory.memoryHeapCount = 1;
  memory.memoryHeaps[0] = {uint64_t{1} << 30, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
  return memory;
}

// A discrete GPU: video memory, system memory (uncached, cached), a window into video memory.
const auto kDiscrete = Types({kLocal, kHost, kHost | kCached, kLocal | kHost});

TEST(MemoryTypes, DiscreteWeightsLieInVideoMemoryOutsideTheWindow) {
  for (MemoryUse use : {MemoryUse::weights, MemoryUse::transient, MemoryUse::cache}) {
    EXPECT_THAT(MemoryTypesFor(kDiscrete, false, use, 0xf), ElementsAre(0, 3));
  }
}

TEST(MemoryTypes, DiscreteInputsLieInCachedSystemMemory) {
  EXPECT_THAT(MemoryTypesFor(kDiscrete, false, MemoryUse::host_io, 0xf), ElementsAre(2, 1, 3));
}

TEST(MemoryTypes, UnifiedMemoryIsUsedDirectly) {
  const auto memory = Types({kLocal, kLocal | kHost, kLocal | kHost | kCached});
  EXPECT_THAT(MemoryTypesFor(memory, true, MemoryUse::weights, 0x7), ElementsAre(2, 1, 0));
  EXPECT_THAT(MemoryTypesFor(memory, true, MemoryUse::host_io, 0x7), ElementsAre(2, 1));
}

TEST(MemoryTypes, OnlyWhatTheBufferTakes) {
  EXPECT_THAT(MemoryTypesFor(kDiscrete, false, MemoryUse::weights, 0x8), ElementsAre(3));
  EXPECT_THAT(MemoryTypesFor(kDiscrete, false, MemoryUse::host_io, 0x1), IsEmpty());
  // Without any device-local type the others serve.
  EXPECT_THAT(MemoryTypesFor(kDiscrete, false, MemoryUse::weights, 0x6), ElementsAre(1, 2));
}

TEST(MemoryTypes, NeverLazyOrProtectedMemory) {
  const auto memory = Types({kLocal | VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT,
                             kLocal | VK_MEMORY_PROPERTY_PROTECTED_BIT, kLocal});
  EXPECT_THAT(MemoryTypesFor(memory, false, MemoryUse::transient, 0x7), ElementsAre(2));
}

}  // namespace
}  // namespace fathom::vulkan
