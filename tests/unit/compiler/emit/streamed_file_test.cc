// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files read and written through the page cache and past it: the same bytes, or none.
#include "compiler/emit/streamed_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

Bytes RandomBytes(size_t size, uint32_t seed) {
  std::minstd_rand random(seed);
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() >> 8);
  return bytes;
}

Bytes Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class StreamedFileTest : public testing::TestWithParam<Caching> {
 protected:
  void SetUp() override {
    dir_ = fs::path(testing::TempDir()) / ("fathom-output-test-" + std::to_string(getpid()));
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::unique_ptr<OutputFile> Create(const fs::path& path) {
    auto file = OutputFile::Create(path, GetParam());
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }
  size_t Files() const { return std::distance(fs::directory_iterator(dir_), {}); }

  fs::path dir_;
};

// Pieces shorter and longer than a direct access, none of which begins or ends where a block does.
TEST_P(StreamedFileTest, WritesPiecesOfEveryLength) {
  const fs::path made = dir_ / "made";
  auto file = Create(made);
  ASSERT_NE(file, nullptr);
  Bytes expected;
  uint32_t seed = 1;
  for (size_t size : {64u, 0u, 4032u, 1u, 4096u, 9'000'001u, 777u, 8'388'608u, 3u}) {
    const Bytes bytes = RandomBytes(size, seed++);
    ASSERT_TRUE(file->Append(bytes).ok());
    expected.insert(expected.end(), bytes.begin(), bytes.end());
    EXPECT_EQ(file->size(), expected.size());
  }
  EXPECT_FALSE(fs::exists(made)) << "it is not whole yet";
  const Bytes prefix = RandomBytes(64, 99);
  std::copy(prefix.begin(), prefix.end(), expected.begin());
  ASSERT_TRUE(file->Finish(prefix).ok());
  EXPECT_TRUE(Read(made) == expected);
  EXPECT_EQ(Files(), 1u);
}

TEST_P(StreamedFileTest, ReadsAnyPart) {
  const fs::path path = dir_ / "read";
  const Bytes bytes = RandomBytes(26'000'001, 1);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto opened = File::Open(path);
  ASSERT_TRUE(opened.ok()) << opened.status();
  InputFile file(**opened, GetParam());
  struct Part {
    size_t offset, length;
  };
  for (const auto [offset, length] :
       {Part{0, 26'000'001}, Part{0, 0}, Part{4096, 1}, Part{4095, 2}, Part{8'388'607, 8'388'609},
        Part{1, 16'777'215}, Part{1, 16'777'216}, Part{26'000'000, 1}, Part{777, 20'000'000}}) {
    Bytes found;
    const absl::Status status = file.Read(offset, length, [&](absl::Span<const uint8_t> piece) {
      found.insert(found.end(), piece.begin(), piece.end());
      return absl::OkStatus();
    });
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(std::equal(found.begin(), found.end(), bytes.begin() + offset,
                           bytes.begin() + offset + length))
        << length << " bytes at " << offset;
  }
}

TEST_P(StreamedFileTest, ReadingEndsWithTheFirstError) {
  const fs::path path = dir_ / "read";
  std::ofstream(path) << std::string(20'000'000, 'x');
  const auto opened = File::Open(path);
  ASSERT_TRUE(opened.ok()) << opened.status();
  InputFile file(**opened, GetParam());
  int pieces = 0;
  absl::Status status = file.Read(5, 19'000'000, [&](absl::Span<const uint8_t>) {
    return ++pieces == 2 ? absl::AbortedError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status.message(), "enough");
  EXPECT_EQ(pieces, 2);
  // A file that has become shorter, within its first piece and behind it.
  for (size_t left : {20u, 9'000'000u}) {
    fs::resize_file(path, left);
    status = file.Read(5, 19'000'000, [](absl::Span<const uint8_t>) { return absl::OkStatus(); });
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(status.message(),
                testing::HasSubstr(path.string() + ": the file ends early"));
  }
}

// To what is still in the buffer, to what is written, and to the middle of a block.
TEST_P(StreamedFileTest, GoesBack) {
  const fs::path made = dir_ / "made";
  auto file = Create(made);
  ASSERT_NE(file, nullptr);
  Bytes expected;
  uint32_t seed = 1;
  for (const size_t back : {9'000'000u, 8'999'000u, 8'192u, 5'000u, 64u}) {
    const Bytes bytes = RandomBytes(9'000'500, seed++);
    ASSERT_TRUE(file->Append(bytes).ok());
    expected.insert(expected.end(), bytes.begin(), bytes.end());
    expected.resize(back);
    ASSERT_TRUE(file->Rewind(back).ok());
    EXPECT_EQ(file->size(), back);
  }
  const Bytes tail = RandomBytes(100, 99);
  ASSERT_TRUE(file->Append(tail).ok());
  expected.insert(expected.end(), tail.begin(), tail.end());
  ASSERT_TRUE(file->Finish({expected.data(), 64}).ok());
  EXPECT_TRUE(Read(made) == expected);
}

TEST_P(StreamedFileTest, NothingIsLeftWithoutFinish) {
  const fs::path made = dir_ / "made";
  std::ofstream(made) << "of last time";
  auto file = Create(made);
  ASSERT_NE(file, nullptr);
  ASSERT_TRUE(file->Append(RandomBytes(9'000'000, 1)).ok());
  EXPECT_EQ(Files(), 2u);
  file.reset();
  EXPECT_EQ(Files(), 1u);
  const Bytes left = Read(made);
  EXPECT_EQ(std::string(left.begin(), left.end()), "of last time");
}

// A limit on the length of files stands for a full disk.
TEST_P(StreamedFileTest, DiskThatTakesNoMore) {
  const fs::path made = dir_ / "made";
  auto file = Create(made);
  ASSERT_NE(file, nullptr);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limited{3 << 20, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  absl::Status status = file->Append(RandomBytes(9'000'000, 1));
  if (status.ok()) status = file->Finish(Bytes(64));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), testing::HasSubstr(made.string() + ": cannot write the output"));
  file.reset();
  EXPECT_EQ(Files(), 0u);
}

TEST_P(StreamedFileTest, FolderThatIsNotThere) {
  auto file = OutputFile::Create(dir_ / "none/made", GetParam());
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.status().message(), testing::HasSubstr("cannot create the output"));
}

// Memory has no disk to write to directly; older kernels refuse to try.
TEST_P(StreamedFileTest, FileSystemInMemory) {
  const fs::path made = fs::path("/dev/shm") / ("fathom-output-test-" + std::to_string(getpid()));
  if (access("/dev/shm", W_OK) != 0) GTEST_SKIP() << "no /dev/shm";
  auto file = Create(made);
  ASSERT_NE(file, nullptr);
  const Bytes bytes = RandomBytes(9'000'000, 1);
  ASSERT_TRUE(file->Append(bytes).ok());
  ASSERT_TRUE(file->Finish({bytes.data(), 64}).ok());
  EXPECT_TRUE(Read(made) == bytes);
  fs::remove(made);
}

INSTANTIATE_TEST_SUITE_P(Modes, StreamedFileTest,
                         testing::Values(Caching::cached, Caching::direct),
                         [](const auto& info) {
                           return info.param == Caching::cached ? "Cached" : "Direct";
                         });

TEST(ChooseCachingTest, LargeFilesPassTheCache) {
  EXPECT_EQ(ChooseCaching(Caching::automatic, 1 << 20), Caching::cached);
  EXPECT_EQ(ChooseCaching(Caching::automatic, uint64_t{1} << 60), Caching::direct);
  EXPECT_EQ(ChooseCaching(Caching::cached, uint64_t{1} << 60), Caching::cached);
  EXPECT_EQ(ChooseCaching(Caching::direct, 1), Caching::direct);
}

}  // namespace
}  // namespace fathom
