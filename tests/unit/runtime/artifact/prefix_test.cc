// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The 64 bytes, field by field.
#include "runtime/schema/prefix.h"

#include <string>

#include "gtest/gtest.h"

namespace fathom::schema {
namespace {

TEST(Prefix, LayoutIsTheSpecs) {
  ArtifactPrefix prefix;
  prefix.major = 0x0102;
  prefix.minor = 0x0304;
  prefix.header_offset = 0x1122334455667788;
  prefix.header_length = 7;
  prefix.file_length = 9;
  for (size_t i = 0; i < kPrefixDigestBytes; ++i)
    prefix.header_digest[i] = static_cast<uint8_t>(i + 100);
  const auto bytes = EncodePrefix(prefix);
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "FATHOM\r\n");
  EXPECT_EQ(bytes[8], 0x02);
  EXPECT_EQ(bytes[9], 0x01);
  EXPECT_EQ(bytes[10], 0x04);
  EXPECT_EQ(bytes[12], 0);
  EXPECT_EQ(bytes[16], 0x88);
  EXPECT_EQ(bytes[23], 0x11);
  EXPECT_EQ(bytes[24], 7);
  EXPECT_EQ(bytes[32], 9);
  EXPECT_EQ(bytes[40], 100);
  EXPECT_EQ(bytes[63], 123);

  const ArtifactPrefix back = DecodePrefix(bytes.data());
  EXPECT_EQ(back.major, prefix.major);
  EXPECT_EQ(back.minor, prefix.minor);
  EXPECT_EQ(back.header_offset, prefix.header_offset);
  EXPECT_EQ(back.header_length, prefix.header_length);
  EXPECT_EQ(back.file_length, prefix.file_length);
  EXPECT_EQ(back.header_digest, prefix.header_digest);
}

}  // namespace
}  // namespace fathom::schema
