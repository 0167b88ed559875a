// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files cut and flipped everywhere: each gives an error or a sound artifact, never a crash. Run
// these under the asan preset too.
#include <set>

#include "gtest/gtest.h"
#include "runtime/artifact/artifact.h"
#include "runtime/artifact/verifier.h"
#include "tests/unit/runtime/artifact/history_model.h"

namespace fathom {
namespace {

using testing::Bytes;
using testing::TemporaryFile;

absl::Status OpenStatus(const Bytes& bytes) {
  const TemporaryFile file(bytes);
  return Artifact::Open(file.path()).status();
}

struct Parts {
  Bytes file;
  schema::ArtifactPrefix prefix;
  Bytes header;
};

Parts SmallModel() {
  Parts parts;
  parts.file = testing::HistoryModel({.code = Bytes(10, 1), .tokenizer = Bytes(10, 2)}).Build();
  parts.prefix = schema::DecodePrefix(parts.file.data());
  parts.header.assign(parts.file.begin() + static_cast<ptrdiff_t>(parts.prefix.header_offset),
                      parts.file.end());
  return parts;
}

// VerifyHeader wants aligned bytes, as Open gives it.
absl::Status Verify(const schema::ArtifactPrefix& prefix, const Bytes& header) {
  std::vector<uint64_t> aligned((header.size() + 7) / 8);
  std::memcpy(aligned.data(), header.data(), header.size());
  return VerifyHeader("file", prefix,
                      {reinterpret_cast<const uint8_t*>(aligned.data()), header.size()});
}

// What a sound header promises: whoever follows it stays inside the file. Touches every field.
uint64_t Walk(const schema::Artifact& header, uint64_t file_length) {
  uint64_t touched = header.model()->name()->size();
  for (const auto* segment : *header.segments()) {
    EXPECT_LE(segment->offset() + segment->length(), file_length);
    touched += segment->digest()->bytes()->Get(31);
  }
  for (const auto* tensor : *header.tensors()) {
    EXPECT_LE(tensor->offset() + tensor->length(),
              header.segments()->Get(tensor->segment())->length());
  }
  for (const auto* program : *header.programs()) {
    EXPECT_LT(program->code(), header.segments()->size());
    for (const auto* entry : *program->entries()) {
      for (const auto* buffer : *entry->buffers())
        touched += entry->exprs()->Get(buffer->size())->a();
      for (const auto* command : *entry->commands()) {
        if (command->kind() == schema::CommandKind::barrier) continue;
        touched += program->kernels()->Get(command->kernel())->name()->size();
        for (uint32_t index : *command->grid()) touched += entry->exprs()->Get(index)->a();
        for (const auto* binding : *command->bindings()) {
          if (binding->tensor() >= 0) {
            EXPECT_LT(binding->offset(), header.tensors()->Get(binding->tensor())->length());
          } else {
            touched += entry->buffers()->Get(binding->buffer())->name()->size();
          }
        }
      }
    }
  }
  return touched;
}

TEST(Damage, CutAtEveryByteOfPrefixAndHeader) {
  const Parts good = SmallModel();
  ASSERT_TRUE(OpenStatus(good.file).ok());
  std::set<size_t> cuts;
  for (size_t i = 0; i < 64; ++i) cuts.insert(i);
  for (size_t i = good.prefix.header_offset; i < good.file.size(); ++i) cuts.insert(i);
  for (size_t i = 4095; i < good.file.size(); i += 4096) cuts.insert({i, i + 1});
  for (size_t cut : cuts) {
    const Bytes bad(good.file.begin(), good.file.begin() + static_cast<ptrdiff_t>(cut));
    EXPECT_FALSE(OpenStatus(bad).ok()) << "cut at " << cut;
  }
}

// The prefix made true of the cut file, so that the verifiers are reached.
TEST(Damage, HeaderCutWithATruePrefix) {
  const Parts good = SmallModel();
  for (size_t cut = 1; cut < good.header.size(); ++cut) {
    const Bytes header(good.header.begin(), good.header.begin() + static_cast<ptrdiff_t>(cut));
    schema::ArtifactPrefix prefix = good.prefix;
    prefix.header_length = cut;
    prefix.file_length = prefix.header_offset + cut;
    if (Verify(prefix, header).ok()) {
      // Only bytes that nothing refers to were cut.
      std::vector<uint64_t> aligned((header.size() + 7) / 8);
      std::memcpy(aligned.data(), header.data(), header.size());
      Walk(*schema::GetArtifact(aligned.data()), prefix.file_length);
    }
  }
}

TEST(Damage, EveryByteOfThePrefixFlipped) {
  const Parts good = SmallModel();
  for (size_t i = 0; i < 64; ++i) {
    for (uint8_t mask : {0x01, 0x80, 0xff}) {
      Bytes bad = good.file;
      bad[i] ^= mask;
      // The minor version is the one field that may differ.
      EXPECT_EQ(OpenStatus(bad).ok(), i == 10 || i == 11) << "byte " << i;
    }
  }
}

TEST(Damage, EveryByteOfTheHeaderFlipped) {
  const Parts good = SmallModel();
  size_t sound = 0;
  for (size_t i = 0; i < good.header.size(); ++i) {
    for (int mask : {0x01, 0x10, 0x80, 0xff}) {
      Bytes bad = good.header;
      bad[i] = static_cast<uint8_t>(bad[i] ^ mask);
      // The hash in the prefix refuses it; an attacker would mend the hash.
      if (mask == 0xff) {
        Bytes file = good.file;
        file[good.prefix.header_offset + i] ^= 0xff;
        EXPECT_FALSE(OpenStatus(file).ok());
      }
      if (!Verify(good.prefix, bad).ok()) continue;
      ++sound;
      std::vector<uint64_t> aligned((bad.size() + 7) / 8);
      std::memcpy(aligned.data(), bad.data(), bad.size());
      Walk(*schema::GetArtifact(aligned.data()), good.prefix.file_length);
    }
  }
  EXPECT_GT(sound, 0u);  // digests, labels, constants: a flip there is for `fathom verify` to find
}

// All 32-bit words replaced by values that break arithmetic.
TEST(Damage, EveryWordOfTheHeaderReplaced) {
  const Parts good = SmallModel();
  for (size_t i = 0; i + 4 <= good.header.size(); i += 4) {
    for (uint32_t word : {0u, 1u, 7u, 0x7fffffffu, 0x80000000u, 0xffffffffu, 0xfffffffcu}) {
      Bytes bad = good.header;
      std::memcpy(&bad[i], &word, 4);
      if (!Verify(good.prefix, bad).ok()) continue;
      std::vector<uint64_t> aligned((bad.size() + 7) / 8);
      std::memcpy(aligned.data(), bad.data(), bad.size());
      Walk(*schema::GetArtifact(aligned.data()), good.prefix.file_length);
    }
  }
}

}  // namespace
}  // namespace fathom
