// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files read through the page cache and past it: the same bytes, the same errors.
#include "runtime/artifact/file.h"

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/runtime/artifact/artifact_builder.h"

namespace fathom {
namespace {

using testing::Bytes;

constexpr size_t kSize = 3 * kDirectBlock + 123;

Bytes Content() {
  Bytes bytes(kSize);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  return bytes;
}

struct Free {
  void operator()(uint8_t* memory) const { std::free(memory); }
};

TEST(File, DirectReadsGiveTheFilesBytes) {
  const Bytes bytes = Content();
  const testing::TemporaryFile temporary(bytes);
  const auto file = File::Open(temporary.path());
  ASSERT_TRUE(file.ok()) << file.status();
  const std::unique_ptr<uint8_t[], Free> memory(
      static_cast<uint8_t*>(std::aligned_alloc(kDirectBlock, 4 * kDirectBlock)));
  for (const uint64_t offset : {uint64_t{0}, kDirectBlock, 3 * kDirectBlock}) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{4097}, kSize - offset}) {
      if (offset + size > kSize) continue;
      const absl::Span<uint8_t> out(memory.get(), size);
      std::fill(out.begin(), out.end(), 0);
      const absl::Status status = (*file)->ReadDirect(offset, out);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(out, absl::MakeConstSpan(bytes).subspan(offset, size)) << size << " at " << offset;
    }
  }
  // One byte behind the end, and in a file that has become shorter.
  const absl::Span<uint8_t> all(memory.get(), kSize);
  EXPECT_EQ((*file)->ReadDirect(kDirectBlock, all).code(), absl::StatusCode::kDataLoss);
  ASSERT_EQ(::truncate(temporary.path().c_str(), 5000), 0);
  const absl::Status status = (*file)->ReadDirect(0, all);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("the file ends early"));
}

}  // namespace
}  // namespace fathom
