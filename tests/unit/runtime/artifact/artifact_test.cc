// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening, reading and hashing honest artifacts, and files that are something else.
#include "runtime/artifact/artifact.h"

#include <sys/stat.h>

#include <chrono>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom {
namespace {

using testing::Bytes;
using ::testing::HasSubstr;
using testing::TemporaryFile;

absl::Status OpenStatus(const Bytes& bytes) {
  const TemporaryFile file(bytes);
  return Artifact::Open(file.path()).status();
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(Artifact, Opens) {
  const TemporaryFile file(testing::HistoryModel({.tokenizer = Bytes(100, 7)}).Build());
  const auto artifact = Artifact::Open(file.path());
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_EQ((*artifact)->header().model()->vocab_size(), 100u);
  EXPECT_EQ((*artifact)->header().programs()->size(), 1u);
  const auto tokenizer = (*artifact)->ReadSegment(2);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*tokenizer, Bytes(100, 7));
  EXPECT_FALSE((*artifact)->ReadSegment(3).ok());
}

TEST(Artifact, RefusesWhatIsNoArtifact) {
  EXPECT_THAT(Message(OpenStatus({})), HasSubstr("expected at least 64 bytes, found 0"));
  for (size_t size = 1; size < 64; ++size) EXPECT_FALSE(OpenStatus(Bytes(size, 'F')).ok());
  const std::string page =
      "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body></body></html>";
  EXPECT_THAT(Message(OpenStatus(Bytes(page.begin(), page.end()))),
              HasSubstr("not a fathom artifact"));
}

TEST(Artifact, RefusesWhatIsNoFile) {
  EXPECT_EQ(Artifact::Open("no/such/file").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(Artifact::Open("/").status()), HasSubstr("not a regular file"));
  EXPECT_FALSE(Artifact::Open("/dev/zero").ok());
  const TemporaryFile file({});
  const std::string fifo = file.path() + ".fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_FALSE(Artifact::Open(fifo).ok());  // and does not wait for a writer
  ::unlink(fifo.c_str());
}

TEST(Artifact, RefusesOtherVersions) {
  for (uint16_t major : {0, 1, 3, 65535}) {
    auto builder = testing::HistoryModel();
    builder.lie_in_prefix = [&](schema::ArtifactPrefix& prefix) { prefix.major = major; };
    const absl::Status status = OpenStatus(builder.Build());
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(Message(status), HasSubstr(absl::StrCat("format ", major, ".", schema::kFormatMinor,
                                                        " is not supported: expected 2.x; compile "
                                                        "the model again")));
  }
  auto builder = testing::HistoryModel();
  builder.lie_in_prefix = [&](schema::ArtifactPrefix& prefix) { prefix.minor = 9; };
  EXPECT_TRUE(OpenStatus(builder.Build()).ok());  // additions only
}

TEST(Artifact, RefusesLyingPrefixes) {
  const std::pair<const char*, std::function<void(schema::ArtifactPrefix&)>> lies[] = {
      {"truncated", [](auto& p) { p.file_length += 1; }},
      {"follow", [](auto& p) { p.file_length -= 1; }},
      {"truncated", [](auto& p) { p.file_length = UINT64_MAX; }},
      {"misplaced", [](auto& p) { p.header_offset += 1; }},
      {"misplaced", [](auto& p) { p.header_offset = 0; }},
      {"outside", [](auto& p) { p.header_offset = UINT64_MAX - 63; }},
      {"outside", [](auto& p) { p.header_length += 1; }},
      {"out of range", [](auto& p) { p.header_length = UINT64_MAX; }},
      {"out of range", [](auto& p) { p.header_length = 0; }},
      {"hash", [](auto& p) { p.header_length -= 1; }},
      {"hash", [](auto& p) { p.header_digest[23] ^= 1; }},
      {"reserved", [](auto& p) { p.reserved = 1; }},
  };
  for (const auto& [message, lie] : lies) {
    auto builder = testing::HistoryModel();
    builder.lie_in_prefix = lie;
    EXPECT_THAT(Message(OpenStatus(builder.Build())), HasSubstr(message));
  }
}

// What fathom-compile --header-only writes: prefix and header without anything between.
TEST(Artifact, OpensAHeaderAlone) {
  const auto cut = [](testing::Bytes file) {
    const schema::ArtifactPrefix prefix = schema::DecodePrefix(file.data());
    file.erase(file.begin() + schema::kPrefixBytes,
               file.begin() + static_cast<ptrdiff_t>(prefix.header_offset));
    return file;
  };
  const testing::Bytes bytes = cut(testing::HistoryModel().Build());
  const auto artifact = Artifact::FromHeader("there", bytes);
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_EQ((*artifact)->path(), "there");
  EXPECT_EQ((*artifact)->header().model()->name()->str(), "test model");
  EXPECT_FALSE((*artifact)->has_file());
  EXPECT_THAT(Message((*artifact)->ReadSegment(0).status()), HasSubstr("no segments"));
  EXPECT_THAT(Message((*artifact)->VerifyHashes()), HasSubstr("no segments"));

  const auto refused = [](const testing::Bytes& wrong) {
    return Message(Artifact::FromHeader("there", wrong).status());
  };
  EXPECT_THAT(refused({}), HasSubstr("there: too short"));
  EXPECT_THAT(refused({bytes.begin(), bytes.end() - 1}), HasSubstr("there: header: length"));
  testing::Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_THAT(refused(longer), HasSubstr("there: header: length"));
  testing::Bytes damaged = bytes;
  damaged.back() ^= 1;
  EXPECT_THAT(refused(damaged), HasSubstr("hash"));
  auto builder = testing::HistoryModel();
  builder.lie = [](schema::ArtifactT& a) { a.model->vocab_size = 0; };
  EXPECT_THAT(refused(cut(builder.Build())), HasSubstr("model.vocab_size"));
}

TEST(Artifact, VerifiesHashes) {
  const TemporaryFile file(testing::HistoryModel().Build());
  const auto artifact = Artifact::Open(file.path());
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  uint64_t last = 0, all = 0;
  EXPECT_TRUE((*artifact)
                  ->VerifyHashes(3,
                                 [&](uint64_t done, uint64_t total) {
                                   EXPECT_GE(done, last);
                                   last = done;
                                   all = total;
                                   return true;
                                 })
                  .ok());
  EXPECT_EQ(last, all);
  EXPECT_GT(all, 0u);
  EXPECT_EQ((*artifact)->VerifyHashes(1, [](uint64_t, uint64_t) { return false; }).code(),
            absl::StatusCode::kCancelled);
}

TEST(Artifact, NoticesOneFlippedBitInEverySegment) {
  const Bytes good = testing::HistoryModel({.tokenizer = Bytes(100, 7)}).Build();
  uint64_t places[3][2];  // begin, end of code, weights, tokenizer
  {
    const TemporaryFile file(good);
    const auto artifact = Artifact::Open(file.path());
    ASSERT_TRUE(artifact.ok()) << artifact.status();
    for (int i = 0; i < 3; ++i) {
      const auto* segment = (*artifact)->header().segments()->Get(i);
      places[i][0] = segment->offset();
      places[i][1] = segment->offset() + segment->length();
    }
  }
  for (const auto& [begin, end] : places) {
    for (uint64_t at : {begin, (begin + end) / 2, end - 1}) {
      Bytes bad = good;
      bad[at] ^= 0x10;
      const TemporaryFile file(bad);
      const auto artifact = Artifact::Open(file.path());
      ASSERT_TRUE(artifact.ok()) << artifact.status();
      const absl::Status status = (*artifact)->VerifyHashes(2);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << "offset " << at;
      EXPECT_THAT(Message(status), HasSubstr("hash does not match"));
    }
  }
}

TEST(Artifact, NoticesBytesBetweenTensors) {
  auto builder = testing::HistoryModel();
  builder.AddTensor(1, "second", {4}, schema::Encoding::raw_f32, Bytes(16, 1));
  Bytes bytes = builder.Build();
  const uint64_t gap = builder.header.segments[1]->offset + builder.header.tensors[0]->length;
  ASSERT_EQ(bytes[gap], 0);
  bytes[gap] = 1;
  const TemporaryFile file(bytes);
  const auto artifact = Artifact::Open(file.path());
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_THAT(Message((*artifact)->VerifyHashes()), HasSubstr("bytes between tensors"));
}

// A header of the size that a 27-layer mixture has: 400 tensors, 1500 commands.
TEST(Artifact, OpensALargeHeaderQuickly) {
  auto builder = testing::HistoryModel();
  for (int i = 0; i < 400; ++i) {
    builder.AddTensor(1, "layers." + std::to_string(i) + ".mlp.experts.gate_proj.weight", {4},
                      schema::Encoding::raw_f32, Bytes(16, 1));
  }
  for (auto& entry : builder.header.programs[0]->entries) {
    const size_t count = entry->commands.size();
    for (int i = 0; i < 150; ++i) {
      for (size_t c = 0; c < count; ++c) {
        entry->commands.push_back(std::make_unique<schema::CommandT>());
        *entry->commands.back() = schema::CommandT(*entry->commands[c]);
      }
    }
  }
  const TemporaryFile file(builder.Build());
  const auto start = std::chrono::steady_clock::now();
  const auto artifact = Artifact::Open(file.path());
  const auto time = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(artifact.ok()) << artifact.status();
  EXPECT_GT((*artifact)->prefix().header_length, 100'000u);
  EXPECT_LT(time, std::chrono::milliseconds(100));
}

}  // namespace
}  // namespace fathom
