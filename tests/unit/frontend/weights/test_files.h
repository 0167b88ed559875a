// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files for tests of the checkpoint readers: a directory that goes away, and writers of both
// formats that will also write what is wrong.
#ifndef FATHOM_TESTS_UNIT_FRONTEND_WEIGHTS_TEST_FILES_H_
#define FATHOM_TESTS_UNIT_FRONTEND_WEIGHTS_TEST_FILES_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace fathom {

class TempDir {
 public:
  TempDir() {
    std::string pattern = testing::TempDir() + "/fathom_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  // Writes a file and returns its path.
  std::string Write(const std::string& name, std::string_view content) const {
    std::ofstream(File(name), std::ios::binary) << content;
    return File(name);
  }

 private:
  std::string path_;
};

template <typename T>
std::string Bytes(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  std::string bytes;
  for (const T value : values) bytes += Bytes(value);
  return bytes;
}

// Length, header and data of a safetensors file; nothing is checked.
inline std::string Safetensors(std::string_view header, std::string_view data) {
  return Bytes<uint64_t>(header.size()) + std::string(header) + std::string(data);
}

// GGUF pieces; their sum is a file. Type codes are the format's.
inline std::string GgufString(std::string_view text) {
  return Bytes<uint64_t>(text.size()) + std::string(text);
}
inline std::string GgufU32(std::string_view key, uint32_t value) {
  return GgufString(key) + Bytes<uint32_t>(4) + Bytes(value);
}
inline std::string GgufF32(std::string_view key, float value) {
  return GgufString(key) + Bytes<uint32_t>(6) + Bytes(value);
}
inline std::string GgufBool(std::string_view key, uint8_t value) {
  return GgufString(key) + Bytes<uint32_t>(7) + Bytes(value);
}
inline std::string GgufText(std::string_view key, std::string_view value) {
  return GgufString(key) + Bytes<uint32_t>(8) + GgufString(value);
}
inline std::string GgufTexts(std::string_view key, const std::vector<std::string>& values) {
  std::string bytes =
      GgufString(key) + Bytes<uint32_t>(9) + Bytes<uint32_t>(8) + Bytes<uint64_t>(values.size());
  for (const std::string& value : values) bytes += GgufString(value);
  return bytes;
}
inline std::string GgufI32s(std::string_view key, const std::vector<int32_t>& values) {
  return GgufString(key) + Bytes<uint32_t>(9) + Bytes<uint32_t>(5) +
         Bytes<uint64_t>(values.size()) + BytesOf(values);
}

// A whole GGUF file with right counts, offsets and alignment.
class GgufWriter {
 public:
  // `entry` is one of the pieces above.
  GgufWriter& Key(const std::string& entry) {
    keys_ += entry;
    ++key_count_;
    return *this;
  }
  // `dims` innermost first, as the file has them.
  GgufWriter& Tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                     const std::string& bytes) {
    tensors_ += GgufString(name) + Bytes<uint32_t>(dims.size()) + BytesOf(dims) + Bytes(type) +
                Bytes<uint64_t>(data_.size());
    data_ += bytes;
    data_.resize((data_.size() + 31) / 32 * 32);
    ++tensor_count_;
    return *this;
  }
  GgufWriter& F32(const std::string& name, const std::vector<uint64_t>& dims,
                  const std::vector<float>& values) {
    return Tensor(name, dims, 0, BytesOf(values));
  }
  std::string Done() const {
    std::string file =
        "GGUF" + Bytes<uint32_t>(3) + Bytes(tensor_count_) + Bytes(key_count_) + keys_ + tensors_;
    file.resize((file.size() + 31) / 32 * 32);
    return file + data_;
  }

 private:
  std::string keys_, tensors_, data_;
  uint64_t key_count_ = 0, tensor_count_ = 0;
};

// `status` has `code` and a message that contains every one of `parts`.
inline void ExpectError(const absl::Status& status, absl::StatusCode code,
                        const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status.ToString();
  for (const std::string& part : parts) {
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
  }
}

}  // namespace fathom

#endif  // FATHOM_TESTS_UNIT_FRONTEND_WEIGHTS_TEST_FILES_H_
