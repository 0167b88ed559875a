// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The GGUF reader: typed keys, tensors of every type code, and every way a file can lie.
#include "frontend/weights/checkpoint.h"
#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

using ::testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

TEST(Gguf, ReadsKeysAndTensors) {
  const TempDir dir;
  GgufWriter writer;
  writer.Key(GgufText("general.architecture", "llama"))
      .Key(GgufU32("n", 7))
      .Key(GgufF32("f", 0.5f))
      .Key(GgufBool("flag", 1))
      .Key(GgufTexts("words", {"a", "", "c\xff"}))
      .Key(GgufI32s("ids", {-1, 2}))
      .Key(GgufString("big") + Bytes<uint32_t>(10) + Bytes<uint64_t>(~uint64_t{0}))
      .F32("m", {3, 2}, {1, 2, 3, 4, 5, 6})
      .Tensor("q", {32}, 8, Bytes<uint16_t>(0x3c00) + std::string(32, '\2'))
      .Tensor("h", {2}, 1, BytesOf<uint16_t>({0x3c00, 0xc000}));
  const auto checkpoint = Checkpoint::Open(dir.Write("a.gguf", writer.Done()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->kind(), CheckpointKind::kGguf);
  const CheckpointMetadata& keys = (*checkpoint)->metadata();
  EXPECT_EQ(*keys.String("general.architecture"), "llama");
  EXPECT_EQ(*keys.Uint("n"), 7u);
  EXPECT_EQ(*keys.Float("f"), 0.5);
  EXPECT_EQ(*keys.Float("n"), 7.0);
  EXPECT_EQ(*keys.Bool("flag"), true);
  EXPECT_THAT(*keys.Strings("words"), ElementsAre("a", "", "c\xff"));
  EXPECT_THAT(*keys.Ints("ids"), ElementsAre(-1, 2));
  EXPECT_THAT(*keys.Floats("ids"), ElementsAre(-1.0f, 2.0f));
  EXPECT_EQ(*keys.Uint("big"), ~uint64_t{0});
  ExpectError(keys.Int("big").status(), kInvalid, {"a.gguf: key big", "signed 64-bit", "u64"});
  ExpectError(keys.Uint("gone").status(), absl::StatusCode::kNotFound, {"a.gguf: key gone"});
  ExpectError(keys.Uint("f").status(), kInvalid, {"a.gguf: key f", "integer", "f32 0.5"});
  ExpectError(keys.Bool("n").status(), kInvalid, {"key n", "a bool", "u32 7"});
  ExpectError(keys.String("ids").status(), kInvalid, {"key ids", "an array of 2 i32"});
  ExpectError(keys.Strings("ids").status(), kInvalid, {"key ids", "an array of strings"});

  const TensorInfo* m = (*checkpoint)->Find("m");
  ASSERT_NE(m, nullptr);
  EXPECT_THAT(m->shape, ElementsAre(2, 3));
  std::vector<float> row(3);
  ASSERT_TRUE((*checkpoint)->ReadRows(*m, 1, 2, row.data()).ok());
  EXPECT_THAT(row, ElementsAre(4, 5, 6));
  std::vector<float> q(32);
  ASSERT_TRUE((*checkpoint)->ReadRows(*(*checkpoint)->Find("q"), 0, 1, q.data()).ok());
  EXPECT_THAT(q, testing::Each(2.0f));
  std::vector<float> h(2);
  ASSERT_TRUE((*checkpoint)->ReadRows(*(*checkpoint)->Find("h"), 0, 1, h.data()).ok());
  EXPECT_THAT(h, ElementsAre(1, -2));
  EXPECT_EQ((*checkpoint)->total_bytes(), 24u + 34u + 4u);
}

TEST(Gguf, AllSupportedTypeCodes) {
  const TempDir dir;
  const std::vector<std::pair<uint32_t, const char*>> codes = {
      {0, "F32"},  {1, "F16"},   {2, "Q4_0"},  {3, "Q4_1"},  {6, "Q5_0"}, {7, "Q5_1"},
      {8, "Q8_0"}, {12, "Q4_K"}, {13, "Q5_K"}, {14, "Q6_K"}, {24, "I8"},  {25, "I16"},
      {26, "I32"}, {27, "I64"},  {28, "F64"},  {30, "BF16"}};
  const std::vector<uint64_t> bytes = {1024, 512, 144, 160, 176,  192,  272,  144,
                                       176,  210, 256, 512, 1024, 2048, 2048, 512};
  GgufWriter writer;
  for (size_t i = 0; i < codes.size(); ++i) {
    writer.Tensor(codes[i].second, {256}, codes[i].first, std::string(bytes[i], '\0'));
  }
  const auto checkpoint = Checkpoint::Open(dir.Write("t.gguf", writer.Done()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  for (size_t i = 0; i < codes.size(); ++i) {
    const TensorInfo* tensor = (*checkpoint)->Find(codes[i].second);
    ASSERT_NE(tensor, nullptr);
    EXPECT_STREQ(StorageTypeName(tensor->type), codes[i].second);
    EXPECT_EQ(tensor->bytes, bytes[i]);
    std::vector<float> out(256, 1.0f);
    ASSERT_TRUE((*checkpoint)->ReadRows(*tensor, 0, 1, out.data()).ok());
    EXPECT_THAT(out, testing::Each(0.0f));
  }
}

std::string Head(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return "GGUF" + Bytes(version) + Bytes(tensors) + Bytes(keys);
}

std::string TensorEntry(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                        uint64_t offset) {
  return GgufString(name) + Bytes<uint32_t>(dims.size()) + BytesOf(dims) + Bytes(type) +
         Bytes(offset);
}

// One key (general.alignment 32 when empty), then one tensor entry and some room.
std::string OneTensor(const std::string& entry) {
  return Head(1, 1) + GgufU32("general.alignment", 32) + entry + std::string(256, '\0');
}
std::string OneKey(const std::string& key) { return Head(0, 1) + key + std::string(64, '\0'); }

struct BadFile {
  std::string content;
  absl::StatusCode code;
  std::vector<std::string> parts;
};

TEST(Gguf, BadFiles) {
  const uint64_t huge = ~uint64_t{0};
  const std::string room(64, '\0');
  const std::vector<BadFile> cases = {
      {"GGUX" + room, kInvalid, {"magic", "GGUX"}},
      {Head(0, 0, 0), kInvalid, {"version", "2 or 3", "found 0"}},
      {Head(0, 0, 1), kInvalid, {"version", "found 1"}},
      {Head(0, 0, 4), kInvalid, {"version", "found 4"}},
      {Head(0, 0, 0xffffffff), kInvalid, {"version", "4294967295"}},
      {Head(0, 0, 0x03000000), kUnsupported, {"version", "big-endian"}},
      {Head(huge, 0) + room, kInvalid, {"tensor_count", "at most 1", "18446744073709551615"}},
      {Head(0, huge) + room, kInvalid, {"metadata_kv_count", "at most 4"}},
      {Head(4, 0) + room, kInvalid, {"tensor_count", "at most 1", "found 4"}},
      {OneKey(Bytes(huge)), kInvalid, {"key 0 at byte 24", "at most 65535"}},
      {OneKey(Bytes<uint64_t>(1 << 30)), kInvalid, {"key 0 at byte 24", "1073741824"}},
      {OneKey(GgufString("")), kInvalid, {"key \"\"", "name"}},
      {OneKey(GgufU32("a\xff", 1)), kInvalid, {"a\\xff", "UTF-8"}},
      {OneKey(GgufU32(std::string_view("a\0b", 3), 1)), kInvalid, {"a\\x00", "NUL"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(13)),
       kInvalid,
       {"\"k\"", "value type", "found 13"}},
      {OneKey(GgufBool("k", 2)), kInvalid, {"\"k\"", "bool", "found 2"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(8) + Bytes(huge)),
       kInvalid,
       {"\"k\"", "length", "at most"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(9) + Bytes<uint32_t>(9) + Bytes<uint64_t>(1)),
       kInvalid,
       {"\"k\"", "nested arrays"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(9) + Bytes<uint32_t>(99) + Bytes<uint64_t>(1)),
       kInvalid,
       {"\"k\"", "value type", "found 99"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(9) + Bytes<uint32_t>(12) +
              Bytes<uint64_t>(huge / 4)),
       kInvalid,
       {"\"k\"", "array length", "at most 8 elements"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(9) + Bytes<uint32_t>(8) + Bytes(huge)),
       kInvalid,
       {"\"k\"", "array length", "at most 8 elements"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(9) + Bytes<uint32_t>(8) + Bytes<uint64_t>(2) +
              Bytes(huge)),
       kInvalid,
       {"\"k\"", "length"}},
      {OneKey(GgufString("k") + Bytes<uint32_t>(9) + Bytes<uint32_t>(7) + Bytes<uint64_t>(1) +
              "\3"),
       kInvalid,
       {"\"k\"", "bool", "found 3"}},
      {Head(0, 2) + GgufU32("k", 1) + GgufU32("k", 1) + room,
       kInvalid,
       {"\"k\"", "a key used once", "twice"}},
      {OneKey(GgufU32("general.alignment", 0)), kInvalid, {"general.alignment", "power of two"}},
      {OneKey(GgufU32("general.alignment", 3)), kInvalid, {"general.alignment", "found 3"}},
      {OneKey(GgufU32("general.alignment", 1 << 30)),
       kInvalid,
       {"general.alignment", "found 1073741824"}},
      {OneKey(GgufText("general.alignment", "32")), kInvalid, {"general.alignment", "integer"}},
      {OneKey(GgufU32("split.count", 3)), kUnsupported, {"split.count", "3 files"}},
      {OneTensor(TensorEntry("", {4}, 0, 0)), kInvalid, {"tensor \"\"", "name"}},
      {OneTensor(TensorEntry("a\nb", {4}, 0, 0)), kInvalid, {"a\\nb", "name"}},
      {OneTensor(TensorEntry("\xc3(", {4}, 0, 0)), kInvalid, {"\\xc3", "UTF-8"}},
      {OneTensor(Bytes<uint64_t>(1 << 30)), kInvalid, {"name of tensor 0", "at most 1024 bytes"}},
      {OneTensor(TensorEntry("t", {}, 0, 0)), kInvalid, {"\"t\"", "dimensions", "found 0"}},
      {OneTensor(TensorEntry("t", {1, 1, 1, 1, 1}, 0, 0)), kInvalid, {"\"t\"", "found 5"}},
      {OneTensor(GgufString("t") + Bytes<uint32_t>(10000)), kInvalid, {"\"t\"", "found 10000"}},
      {OneTensor(TensorEntry("t", {4, 0}, 0, 0)), kInvalid, {"\"t\"", "positive", "[4, 0]"}},
      {OneTensor(TensorEntry("t", {uint64_t{1} << 33, uint64_t{1} << 33}, 0, 0)),
       kInvalid,
       {"\"t\"", "below 2^64"}},
      {OneTensor(TensorEntry("t", {uint64_t{1} << 62}, 0, 0)),
       kInvalid,
       {"\"t\"", "less than 2^64 bytes"}},
      {OneTensor(TensorEntry("t", {0xffffffff}, 0, 0)), kInvalid, {"\"t\"", "end of the tensor"}},
      {OneTensor(TensorEntry("t", {uint64_t{1} << 60}, 0, 0)),
       kInvalid,
       {"\"t\"", "end of the tensor"}},
      {OneTensor(TensorEntry("t", {33}, 2, 0)), kInvalid, {"\"t\"", "multiple of 32", "found 33"}},
      {OneTensor(TensorEntry("t", {128, 2}, 14, 0)), kInvalid, {"\"t\"", "multiple of 256"}},
      {OneTensor(TensorEntry("t", {4}, 99, 0)), kInvalid, {"\"t\"", "tensor type", "found 99"}},
      {OneTensor(TensorEntry("t", {256}, 10, 0)), kUnsupported, {"\"t\"", "Q2_K", "Q4_K"}},
      {OneTensor(TensorEntry("t", {4}, 0, 32)), kInvalid, {"\"t\"", "offset", "found 32"}},
      {OneTensor(TensorEntry("t", {4}, 0, huge - 31)), kInvalid, {"\"t\"", "offset"}},
      {Head(2, 0) + TensorEntry("a", {4}, 0, 0) + TensorEntry("a", {4}, 0, 32) + room + room,
       kInvalid,
       {"\"a\"", "name used once"}},
      {Head(2, 0) + TensorEntry("a", {4}, 0, 0) + TensorEntry("b", {4}, 0, 0) + room + room,
       kInvalid,
       {"\"b\"", "offset", "expected 32", "found 0"}},
      {Head(2, 0) + TensorEntry("a", {4}, 0, 0) + TensorEntry("b", {4}, 0, 64) + room + room + room,
       kInvalid,
       {"\"b\"", "offset", "found 64"}},
  };
  const TempDir dir;
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    const std::string path = dir.Write("bad.gguf", cases[i].content);
    std::vector<std::string> parts = cases[i].parts;
    parts.push_back(path);
    ExpectError(Checkpoint::Open(path).status(), cases[i].code, parts);
  }
}

TEST(Gguf, EveryTruncationIsAnError) {
  const TempDir dir;
  GgufWriter writer;
  writer.Key(GgufTexts("words", {"a", "b"}))
      .Key(GgufU32("n", 1))
      .F32("t", {8}, std::vector<float>(8));
  const std::string whole = writer.Done();
  ASSERT_TRUE(Checkpoint::Open(dir.Write("t.gguf", whole)).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto status = Checkpoint::Open(dir.Write("t.gguf", whole.substr(0, size))).status();
    EXPECT_EQ(status.code(), kInvalid) << size << ": " << status;
  }
}

// Any single byte of the header may be wrong: the reader answers, whatever it says.
TEST(Gguf, EveryFlippedByteIsSurvived) {
  const TempDir dir;
  GgufWriter writer;
  writer.Key(GgufTexts("words", {"a", "b"}))
      .Key(GgufU32("general.alignment", 32))
      .F32("t", {8}, std::vector<float>(8));
  const std::string whole = writer.Done();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const char flip : {'\x01', '\xff'}) {
      std::string content = whole;
      content[i] = static_cast<char>(content[i] ^ flip);
      const auto checkpoint = Checkpoint::Open(dir.Write("f.gguf", content));
      if (!checkpoint.ok()) continue;
      for (const TensorInfo& tensor : (*checkpoint)->tensors()) {
        std::vector<float> out(tensor.elements());
        EXPECT_TRUE((*checkpoint)->ReadRows(tensor, 0, tensor.rows(), out.data()).ok());
      }
      for (const auto& [key, value] : (*checkpoint)->metadata().values()) {
        (void)(*checkpoint)->metadata().Strings(key);
        (void)(*checkpoint)->metadata().Floats(key);
        (void)(*checkpoint)->metadata().Ints(key);
      }
    }
  }
}

}  // namespace
}  // namespace fathom
