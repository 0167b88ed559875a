// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The safetensors reader: values, fp8 block scales, shards, and every way a file can lie.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "frontend/weights/checkpoint.h"
#include "tests/unit/frontend/weights/test_files.h"

namespace fathom {
namespace {

using ::testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

std::vector<float> ReadAll(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return {};
  std::vector<float> out(tensor->elements());
  EXPECT_TRUE(checkpoint.ReadRows(*tensor, 0, tensor->rows(), out.data()).ok());
  return out;
}

TEST(Safetensors, ReadsAFile) {
  const TempDir dir;
  const std::string path =
      dir.Write("model.safetensors",
                Safetensors(R"({"__metadata__":{"format":"pt"},)"
                            R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},)"
                            R"("a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},)"
                            R"("s":{"dtype":"U8","shape":[],"data_offsets":[30,31]}}   )",
                            BytesOf<float>({1, 2, 3, 4, 5, 6}) +
                                BytesOf<uint16_t>({0x3f80, 0xc000, 0x4049}) + "\x07"));
  for (const std::string& name : {path, dir.path()}) {
    const auto checkpoint = Checkpoint::Open(name);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ((*checkpoint)->kind(), CheckpointKind::kSafetensors);
    ASSERT_EQ((*checkpoint)->tensors().size(), 3u);
    EXPECT_EQ((*checkpoint)->tensors()[0].name, "a");
    EXPECT_EQ((*checkpoint)->tensors()[1].name, "b");
    EXPECT_EQ((*checkpoint)->total_bytes(), 31u);
    EXPECT_EQ(*(*checkpoint)->metadata().String("format"), "pt");
    ASSERT_EQ((*checkpoint)->files().size(), 1u);
    EXPECT_EQ((*checkpoint)->files()[0].path, path);
    EXPECT_THAT(ReadAll(**checkpoint, "b"), ElementsAre(1, -2, 3.140625));
    EXPECT_THAT(ReadAll(**checkpoint, "s"), ElementsAre(7));

    const TensorInfo* a = (*checkpoint)->Find("a");
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(a->rows(), 3u);
    EXPECT_EQ(a->columns(), 2u);
    EXPECT_TRUE(a->verbatim);
    EXPECT_EQ((*checkpoint)->data(*a).size(), 24u);
    std::vector<float> rows(4);
    ASSERT_TRUE((*checkpoint)->ReadRows(*a, 1, 3, rows.data()).ok());
    EXPECT_THAT(rows, ElementsAre(3, 4, 5, 6));
    ASSERT_TRUE((*checkpoint)->ReadRows(*a, 3, 3, nullptr).ok());
    (*checkpoint)->WillNeed(*a);
    (*checkpoint)->DropPages(*a);
    EXPECT_THAT(ReadAll(**checkpoint, "a"), ElementsAre(1, 2, 3, 4, 5, 6));
    ExpectError((*checkpoint)->ReadRows(*a, 2, 4, rows.data()), kInvalid,
                {"\"a\"", "0..3", "2..4"});
    EXPECT_EQ((*checkpoint)->Find("c"), nullptr);
  }
}

TEST(Safetensors, Rank3IsAMatrixOfRows) {
  const TempDir dir;
  const auto checkpoint = Checkpoint::Open(dir.Write(
      "x.safetensors", Safetensors(R"({"e":{"dtype":"I8","shape":[2,2,3],"data_offsets":[0,12]}})",
                                   BytesOf<int8_t>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}))));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::vector<float> rows(6);
  ASSERT_TRUE((*checkpoint)->ReadRows((*checkpoint)->tensors()[0], 1, 3, rows.data()).ok());
  EXPECT_THAT(rows, ElementsAre(3, 4, 5, 6, 7, 8));
}

// A 5 x 7 matrix of the code 0x38 (1.0) with blocks of 2 x 3: 3 x 3 scales, the last ones partial.
std::string Fp8File(const std::string& scale_dtype, const std::string& scale_bytes,
                    const std::string& scale_shape = "[3,3]") {
  return Safetensors(R"({"w":{"dtype":"F8_E4M3","shape":[5,7],"data_offsets":[0,35]},)"
                     R"("w_scale_inv":{"dtype":")" +
                         scale_dtype + R"(","shape":)" + scale_shape + R"(,"data_offsets":[35,)" +
                         std::to_string(35 + scale_bytes.size()) + "]}}",
                     std::string(35, '\x38') + scale_bytes);
}

TEST(Safetensors, Fp8BlockScalesMultiply) {
  const TempDir dir;
  const CheckpointOptions options{.fp8_block_rows = 2, .fp8_block_columns = 3};
  const auto f32 = Checkpoint::Open(
      dir.Write("f32.safetensors", Fp8File("F32", BytesOf<float>({1, 2, 3, 4, 5, 6, 7, 8, 0.5f}))),
      options);
  ASSERT_TRUE(f32.ok()) << f32.status();
  EXPECT_THAT(ReadAll(**f32, "w"), ElementsAre(1, 1, 1, 2, 2, 2, 3,  //
                                               1, 1, 1, 2, 2, 2, 3,  //
                                               4, 4, 4, 5, 5, 5, 6,  //
                                               4, 4, 4, 5, 5, 5, 6,  //
                                               7, 7, 7, 8, 8, 8, 0.5));
  std::vector<float> row(7);
  ASSERT_TRUE((*f32)->ReadRows(*(*f32)->Find("w"), 3, 4, row.data()).ok());
  EXPECT_THAT(row, ElementsAre(4, 4, 4, 5, 5, 5, 6));

  const auto ue8m0 = Checkpoint::Open(
      dir.Write("ue8m0.safetensors", Fp8File("F8_E8M0", BytesOf<uint8_t>({127, 128, 126, 127, 127,
                                                                          127, 127, 127, 130}))),
      options);
  ASSERT_TRUE(ue8m0.ok()) << ue8m0.status();
  const std::vector<float> values = ReadAll(**ue8m0, "w");
  EXPECT_EQ(values[3], 2.0f);
  EXPECT_EQ(values[6], 0.5f);
  EXPECT_EQ(values[34], 8.0f);
}

TEST(Safetensors, Fp8CompanionOfAnotherShapeOrType) {
  const TempDir dir;
  const auto read = [&](const std::string& content, const CheckpointOptions& options) {
    const auto checkpoint = Checkpoint::Open(dir.Write("m.safetensors", content), options);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    std::vector<float> out(35);
    return (*checkpoint)->ReadRows(*(*checkpoint)->Find("w"), 0, 5, out.data());
  };
  const std::string scales = BytesOf<float>({1, 2, 3, 4, 5, 6, 7, 8, 9});
  ExpectError(read(Fp8File("F32", scales), {}), kInvalid,
              {"m.safetensors", "w_scale_inv", "shape", "expected [1, 1]", "found [3, 3]"});
  ExpectError(read(Fp8File("I32", scales), {.fp8_block_rows = 2, .fp8_block_columns = 3}), kInvalid,
              {"m.safetensors", "w_scale_inv", "dtype", "found I32"});
  std::string renamed = Fp8File("F32", scales);
  renamed.replace(renamed.find("scale_inv"), 9, "scale\"   ");
  renamed.replace(renamed.find("\"   \""), 5, "\"    ");
  ExpectError(read(renamed, {}), kUnsupported, {"m.safetensors", "w_scale", "weight_scale_inv"});
}

TEST(Safetensors, Shards) {
  const TempDir dir;
  dir.Write("model-1.safetensors",
            Safetensors(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "\x01"));
  dir.Write("blob",
            Safetensors(R"({"b":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})", "\x02\x03"));
  // Model caches are directories of symbolic links.
  ASSERT_EQ(symlink("blob", dir.File("model-2.safetensors").c_str()), 0);
  dir.Write("model.safetensors.index.json",
            R"({"metadata":{"total_size":3},"weight_map":{)"
            R"("a":"model-1.safetensors","b":"model-2.safetensors"}})");
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->files().size(), 2u);
  EXPECT_THAT(ReadAll(**checkpoint, "a"), ElementsAre(1));
  EXPECT_THAT(ReadAll(**checkpoint, "b"), ElementsAre(2, 3));
}

TEST(Safetensors, BadShards) {
  const TempDir dir;
  const std::string a =
      Safetensors(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "1");
  const std::string ab = Safetensors(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
                                     R"("b":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}})",
                                     "12");
  dir.Write("1.safetensors", a);
  dir.Write("2.safetensors", ab);
  ASSERT_EQ(mkfifo(dir.File("fifo.safetensors").c_str(), 0600), 0);
  std::filesystem::create_directory(dir.File("sub.safetensors"));
  const auto open = [&](const std::string& weight_map) {
    dir.Write("model.safetensors.index.json", "{\"weight_map\":" + weight_map + "}");
    return Checkpoint::Open(dir.path()).status();
  };
  const std::string index = "model.safetensors.index.json: weight_map";
  ExpectError(open(R"({"a":"1.safetensors","b":"gone.safetensors"})"), kInvalid,
              {index, "gone.safetensors", "found no such file"});
  ExpectError(open(R"({"a":"1.safetensors","b":"2.safetensors"})"), kInvalid,
              {"2.safetensors", "\"a\"", "name used once", "1.safetensors"});
  ExpectError(open(R"({"a":"1.safetensors","c":"1.safetensors"})"), kInvalid,
              {index, "\"c\"", "expected the tensor in 1.safetensors", "found it in no shard"});
  for (const char* name :
       {"../1.safetensors", "/etc/passwd", "..", "x/1.safetensors", "", "x\\\\1.safetensors"}) {
    ExpectError(open(std::string(R"({"a":")") + name + "\"}"), kInvalid,
                {index, "\"a\"", "the name of a file beside the index"});
  }
  ExpectError(open(R"({"a":7})"), kInvalid, {index, "\"a\"", "found 7"});
  ExpectError(open("{}"), kInvalid, {index, "at least one tensor"});
  ExpectError(open("[]"), kInvalid, {index, "found an array"});
  ExpectError(open(R"({"a":"fifo.safetensors"})"), kInvalid,
              {"fifo.safetensors", "a regular file", "found a FIFO"});
  ExpectError(open(R"({"a":"sub.safetensors"})"), kInvalid,
              {"sub.safetensors", "a regular file", "found a directory"});
  // Swapped: the map points to the shard that does not hold the tensor.
  dir.Write("2.safetensors",
            Safetensors(R"({"b":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "2"));
  ExpectError(open(R"({"a":"2.safetensors","b":"1.safetensors"})"), kInvalid,
              {index, "1.safetensors", "2.safetensors"});
  // Short.
  dir.Write("2.safetensors",
            Safetensors(R"({"b":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})", ""));
  ExpectError(open(R"({"a":"1.safetensors","b":"2.safetensors"})"), kInvalid,
              {"2.safetensors", "\"b\"", "data_offsets"});
}

TEST(Safetensors, NotACheckpoint) {
  const TempDir dir;
  ExpectError(Checkpoint::Open(dir.path()).status(), kInvalid,
              {dir.path(), "model.safetensors.index.json", "neither"});
  ExpectError(Checkpoint::Open(dir.File("none")).status(), absl::StatusCode::kNotFound,
              {dir.File("none")});
  ExpectError(Checkpoint::Open(dir.Write("e.safetensors", "")).status(), kInvalid,
              {"e.safetensors", "an empty file"});
  ExpectError(Checkpoint::Open(dir.Write("h.bin", "<!DOCTYPE html><html></html>")).status(),
              kInvalid, {"h.bin", "file format", "<!DOCTYPE html>"});
  ExpectError(Checkpoint::Open("/dev/zero").status(), kInvalid, {"/dev/zero", "found a device"});
  for (size_t size = 1; size < 8; ++size) {
    ExpectError(Checkpoint::Open(dir.Write("s.safetensors", std::string(size, '\1'))).status(),
                kInvalid, {"s.safetensors", "at least 8 bytes", std::to_string(size)});
  }
}

struct BadHeader {
  const char* header;
  size_t data_bytes;
  absl::StatusCode code;
  std::vector<std::string> parts;  // of the message, beside the file's name
};

TEST(Safetensors, BadHeaders) {
  const std::vector<BadHeader> cases = {
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[4,0]}})",
       4,
       kInvalid,
       {"\"a\"", "data_offsets", "begin <= end", "[4, 0]"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[-4,0]}})",
       4,
       kInvalid,
       {"\"a\"", "data_offsets", "found -4"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[4]}})",
       4,
       kInvalid,
       {"\"a\"", "data_offsets", "found [4]"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4,8]}})",
       8,
       kInvalid,
       {"\"a\"", "data_offsets", "at most 2", "found 3"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4.0]}})",
       4,
       kInvalid,
       {"\"a\"", "data_offsets", "found 4.0"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":"0-4"}})",
       4,
       kInvalid,
       {"\"a\"", "data_offsets", "\"0-4\""}},
      {R"({"a":{"dtype":"I8","shape":[9],"data_offsets":[0,9]}})",
       8,
       kInvalid,
       {"\"a\"", "data_offsets", "at most 8", "found 9"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"I8","shape":[4],"data_offsets":[2,6]}})",
       6,
       kInvalid,
       {"\"b\"", "overlap", "begin 4", "begin 2"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})",
       4,
       kInvalid,
       {"\"b\"", "overlap"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"I8","shape":[4],"data_offsets":[6,10]}})",
       10,
       kInvalid,
       {"\"b\"", "hole", "begin 4", "begin 6"}},
      {R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})",
       5,
       kInvalid,
       {"file size", "header and tensors"}},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}})",
       4,
       kInvalid,
       {"\"a\"", "16 bytes", "F32", "found 4 bytes"}},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})",
       4,
       kInvalid,
       {"\"a\"", "shape", "below 2^64"}},
      {R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,4]}})",
       4,
       kInvalid,
       {"\"a\"", "less than 2^64"}},
      {R"({"a":{"dtype":"I8","shape":[4,0],"data_offsets":[0,0]}})",
       0,
       kInvalid,
       {"\"a\"", "shape", "positive", "[4, 0]"}},
      {R"({"a":{"dtype":"I8","shape":[-4],"data_offsets":[0,4]}})",
       4,
       kInvalid,
       {"\"a\"", "shape", "found -4"}},
      {R"({"a":{"dtype":"I8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})",
       1,
       kInvalid,
       {"\"a\"", "shape", "at most 8", "found 9"}},
      {R"({"a":{"dtype":"Q7","shape":[4],"data_offsets":[0,4]}})",
       4,
       kInvalid,
       {"\"a\"", "dtype", "\"Q7\""}},
      {R"({"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}})",
       4,
       kUnsupported,
       {"\"a\"", "dtype F4"}},
      {R"({"a":{"dtype":5,"shape":[4],"data_offsets":[0,4]}})",
       4,
       kInvalid,
       {"\"a\"", "dtype", "found 5"}},
      {R"({"a":{"shape":[4],"data_offsets":[0,4]}})", 4, kInvalid, {"\"a\"", "dtype", "none"}},
      {R"({"a":{"dtype":"I8","data_offsets":[0,4]}})", 4, kInvalid, {"\"a\"", "shape", "none"}},
      {R"({"a":{"dtype":"I8","shape":[4]}})", 4, kInvalid, {"\"a\"", "data_offsets", "none"}},
      {R"({"a":[1]})", 4, kInvalid, {"\"a\"", "an object", "found an array"}},
      {R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
       R"("a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}})",
       2,
       kInvalid,
       {"header", "\"a\"", "found twice"}},
      {R"({"a":{"dtype":"I8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})",
       1,
       kInvalid,
       {"header", "\"dtype\"", "found twice"}},
      {"{\"\xff\":{}}", 0, kInvalid, {"header", "UTF-8"}},
      {"{\"a\\u0000b\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
       1,
       kInvalid,
       {"a\\x00", "control characters"}},
      {R"({"__metadata__":{"a":1}})", 0, kInvalid, {"__metadata__", "\"a\"", "found 1"}},
      {R"({"__metadata__":"x"})", 0, kInvalid, {"__metadata__", "an object"}},
      {R"({"a":)", 0, kInvalid, {"header", "error at byte"}},
      {R"({"a":1e400})", 0, kInvalid, {"header", "error at byte"}},
      {R"({"a":NaN})", 0, kInvalid, {"header", "error at byte"}},
      {R"({} trailing)", 0, kInvalid, {"header", "error at byte"}},
  };
  const TempDir dir;
  for (const BadHeader& bad : cases) {
    SCOPED_TRACE(bad.header);
    const std::string path =
        dir.Write("bad.safetensors", Safetensors(bad.header, std::string(bad.data_bytes, '\0')));
    std::vector<std::string> parts = bad.parts;
    parts.push_back(path);
    ExpectError(Checkpoint::Open(path).status(), bad.code, parts);
  }
}

TEST(Safetensors, HeaderLengthLies) {
  const TempDir dir;
  const auto open = [&](uint64_t length) {
    return Checkpoint::Open(dir.Write("l.safetensors", Bytes(length) + "{}")).status();
  };
  EXPECT_TRUE(open(2).ok());
  ExpectError(open(~uint64_t{0}), kInvalid,
              {"l.safetensors: header", "at most 100000000", "18446744073709551615"});
  ExpectError(open(3), kInvalid, {"l.safetensors: header", "at most 2 bytes", "found 3 bytes"});
  ExpectError(open(0), kInvalid, {"l.safetensors: header", "first byte"});
  ExpectError(open(1), kInvalid, {"l.safetensors: header", "error at byte"});
}

TEST(Safetensors, DeepAndWideHeaders) {
  const TempDir dir;
  const std::string deep = R"({"a":)" + std::string(10000, '[') + std::string(10000, ']') + "}";
  ExpectError(Checkpoint::Open(dir.Write("d.safetensors", Safetensors(deep, ""))).status(),
              kInvalid, {"d.safetensors: header", "nesting", "at most 64 levels"});
  const std::string name =
      "{\"" + std::string(2000, 'n') + R"(":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})";
  ExpectError(Checkpoint::Open(dir.Write("n.safetensors", Safetensors(name, "x"))).status(),
              kInvalid, {"n.safetensors", "name", "1024", "2000 bytes"});
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const TempDir dir;
  const std::string whole = Safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                                        BytesOf<float>({1, 2}));
  ASSERT_TRUE(Checkpoint::Open(dir.Write("t.safetensors", whole)).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto status =
        Checkpoint::Open(dir.Write("t.safetensors", whole.substr(0, size))).status();
    EXPECT_EQ(status.code(), kInvalid) << size << ": " << status;
  }
}

TEST(Safetensors, FileCutWhileOpen) {
  const TempDir dir;
  const std::string path = dir.Write(
      "c.safetensors", Safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                                   BytesOf<float>({1, 2})));
  const auto checkpoint = Checkpoint::Open(path);
  ASSERT_TRUE(checkpoint.ok());
  std::filesystem::resize_file(path, 10);
  float out[2];
  ExpectError((*checkpoint)->ReadRows((*checkpoint)->tensors()[0], 0, 1, out), kInvalid,
              {"c.safetensors", "shorter", "10 bytes"});
}

TEST(Safetensors, FileWrittenToWhileOpen) {
  const TempDir dir;
  const std::string content = Safetensors(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", BytesOf<float>({1, 2}));
  const std::string path = dir.Write("c.safetensors", content);
  const auto checkpoint = Checkpoint::Open(path);
  ASSERT_TRUE(checkpoint.ok());
  std::filesystem::last_write_time(
      path, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(2));
  float out[2];
  ExpectError((*checkpoint)->ReadRows((*checkpoint)->tensors()[0], 0, 1, out), kInvalid,
              {"c.safetensors", "written to"});
}

}  // namespace
}  // namespace fathom
