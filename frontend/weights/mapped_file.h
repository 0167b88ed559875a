// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A regular file mapped read-only, with the page hints that keep a streaming reader small.
#ifndef FATHOM_FRONTEND_WEIGHTS_MAPPED_FILE_H_
#define FATHOM_FRONTEND_WEIGHTS_MAPPED_FILE_H_

#include <time.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fathom {

// Immutable after Open and safe to share between threads. Pages are read when touched; nothing is
// copied. The mapping lives as long as the object.
class MappedFile {
 public:
  // Follows symbolic links (model caches are made of them) but refuses everything that is not a
  // regular file: directories, FIFOs, sockets, devices. Never blocks. An empty file is an error.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  absl::Span<const uint8_t> bytes() const { return {data_, size_}; }

  // An error when the file was cut or written to since it was mapped: touching pages behind its new
  // end would end the process, and new content was never verified. A caller asks before each read.
  absl::Status CheckUnchanged() const;

  // Tells the kernel that the range is about to be read, or is done with. Both are hints on whole
  // pages inside the range; contents stay readable.
  void WillNeed(uint64_t offset, uint64_t length) const;
  void Drop(uint64_t offset, uint64_t length) const;

 private:
  MappedFile(std::string path, int fd, const uint8_t* data, uint64_t size, const timespec& modified)
      : path_(std::move(path)), fd_(fd), data_(data), size_(size), modified_(modified) {}

  std::string path_;
  int fd_;
  const uint8_t* data_;
  uint64_t size_;
  timespec modified_;
};

}  // namespace fathom

#endif  // FATHOM_FRONTEND_WEIGHTS_MAPPED_FILE_H_
