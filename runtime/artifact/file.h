// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A regular file opened for reading by offset.
#ifndef FATHOM_RUNTIME_ARTIFACT_FILE_H_
#define FATHOM_RUNTIME_ARTIFACT_FILE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fathom {

// What disks want direct accesses to be aligned to, in memory and in the file: 512 or 4096.
inline constexpr uint64_t kDirectBlock = 4096;

// Thread-safe: reads carry their offset.
class File {
 public:
  // Refuses what is not a regular file (directory, FIFO, device), without blocking on it.
  static absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // bytes, as of Open
  int descriptor() const { return descriptor_; }

  // Fills `out` from `offset`. A file that has become shorter since Open gives an error.
  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const;
  // The same past the page cache, which then holds nothing that it did not hold before; where the
  // system cannot, as ReadAt. `offset` and the address of `out` are multiples of kDirectBlock.
  absl::Status ReadDirect(uint64_t offset, absl::Span<uint8_t> out) const;
  // Fails when the file's size is no longer what Open saw.
  absl::Status CheckUnchanged() const;

 private:
  File(std::string path, int descriptor, uint64_t size)
      : path_(std::move(path)), descriptor_(descriptor), size_(size) {}
  absl::Status Read(int descriptor, uint64_t offset, absl::Span<uint8_t> out) const;

  const std::string path_;
  const int descriptor_;
  const uint64_t size_;
  mutable std::once_flag direct_opened_;
  mutable int direct_ = -1;  // a descriptor of its own; -1 where the file system has no direct reads
};

}  // namespace fathom

#endif  // FATHOM_RUNTIME_ARTIFACT_FILE_H_
