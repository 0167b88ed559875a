// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sequential reading and writing by direct system calls where possible.
#include "compiler/emit/streamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/checked.h"
#include "runtime/base/memory.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// What disks want direct accesses to be aligned to, in memory and in the file: 512 or 4096.
constexpr size_t kBlock = 4096;
// One direct access: long enough for a disk's full speed.
constexpr size_t kPieceBytes = 8 << 20;

absl::StatusOr<AlignedBytes> AllocatePiece() {
  AlignedBytes bytes(static_cast<uint8_t*>(std::aligned_alloc(kBlock, kPieceBytes)));
  if (bytes == nullptr) return absl::ResourceExhaustedError("no memory for a buffer of files");
  return bytes;
}

}  // namespace

void FreeAligned::operator()(uint8_t* memory) const { std::free(memory); }

Caching ChooseCaching(Caching caching, uint64_t bytes) {
  if (caching != Caching::automatic) return caching;
  return bytes > AvailableMemory() / 4 ? Caching::direct : Caching::cached;
}

OutputFile::OutputFile(const std::string& path)
    : path_(path), temporary_(absl::StrCat(path, ".partial-", getpid())) {}

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Create(const std::string& path,
                                                               Caching caching) {
  std::unique_ptr<OutputFile> file(new OutputFile(path));
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
  if (caching == Caching::direct) {
    FATHOM_ASSIGN_OR_RETURN(file->buffer_, AllocatePiece());
    file->fd_ = open(file->temporary_.c_str(), kFlags | O_DIRECT, 0644);
    file->direct_ = file->fd_ >= 0;
    // A file system without direct writes refuses only after it has made the file.
    if (file->fd_ < 0 && errno == EINVAL) (void)unlink(file->temporary_.c_str());
  }
  if (file->fd_ < 0) file->fd_ = open(file->temporary_.c_str(), kFlags, 0644);
  if (file->fd_ < 0) return file->SystemError("cannot create the output");
  return file;
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

absl::Status OutputFile::SystemError(const char* what) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", what, ": ", std::strerror(errno)));
}

absl::Status OutputFile::LeaveDirect() {
  const int flags = fcntl(fd_, F_GETFL);
  if (flags < 0 || fcntl(fd_, F_SETFL, flags & ~O_DIRECT) != 0)
    return SystemError("cannot write the output");
  direct_ = false;
  return absl::OkStatus();
}

absl::Status OutputFile::Write(const uint8_t* bytes, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd_, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL && direct_) {  // this disk wants larger blocks
      FATHOM_RETURN_IF_ERROR(LeaveDirect());
      continue;
    }
    if (n < 0) return SystemError("cannot write the output");
    bytes += n;
    size -= n;
    // The rest of a write cut short begins where direct writes cannot.
    if (direct_ && n % kBlock != 0) FATHOM_RETURN_IF_ERROR(LeaveDirect());
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Flush() {
  return Write(buffer_.get(), std::exchange(buffered_, 0));
}

absl::Status OutputFile::Append(absl::Span<const uint8_t> bytes) {
  size_ += bytes.size();
  if (!direct_) {
    FATHOM_RETURN_IF_ERROR(Flush());
    return Write(bytes.data(), bytes.size());
  }
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kPieceBytes - buffered_);
    std::memcpy(buffer_.get() + buffered_, bytes.data(), n);
    bytes.remove_prefix(n);
    buffered_ += n;
    if (buffered_ == kPieceBytes) FATHOM_RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Rewind(uint64_t size) {
  const uint64_t written = size_ - buffered_;
  size_ = size;
  if (size >= written) {
    buffered_ = size - written;
    return absl::OkStatus();
  }
  uint64_t begin = size;
  buffered_ = 0;
  if (direct_) {
    begin = size / kBlock * kBlock;
    buffered_ = size - begin;
    if (pread(fd_, buffer_.get(), kBlock, static_cast<off_t>(begin)) !=
        static_cast<ssize_t>(kBlock))
      return SystemError("cannot read the output again");
  }
  const auto end = static_cast<off_t>(begin);
  if (ftruncate(fd_, end) != 0 || lseek(fd_, end, SEEK_SET) != end)
    return SystemError("cannot shorten the output");
  return absl::OkStatus();
}

absl::Status OutputFile::Finish(absl::Span<const uint8_t> prefix) {
  // The end is no whole block.
  if (direct_) FATHOM_RETURN_IF_ERROR(LeaveDirect());
  FATHOM_RETURN_IF_ERROR(Flush());
  if (pwrite(fd_, prefix.data(), prefix.size(), 0) != static_cast<ssize_t>(prefix.size()))
    return SystemError("cannot write the output");
  if (fsync(fd_) != 0) return SystemError("cannot write the output");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
    return SystemError("cannot name the output");
  close(fd_);
  fd_ = -1;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<InputFile>> InputFile::Open(int descriptor, const std::string& path,
                                                           Caching caching) {
  std::unique_ptr<InputFile> file(new InputFile(path));
  for (AlignedBytes& buffer : file->buffers_) {
    FATHOM_ASSIGN_OR_RETURN(buffer, AllocatePiece());
  }
  // The same file, whatever the path means by now.
  const std::string again = absl::StrCat("/proc/self/fd/", descriptor);
  if (caching == Caching::direct) file->fd_ = open(again.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (file->fd_ < 0) file->fd_ = open(again.c_str(), O_RDONLY | O_CLOEXEC);
  if (file->fd_ < 0)
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": cannot open again: ", std::strerror(errno)));
  return file;
}

InputFile::~InputFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<size_t> InputFile::ReadPiece(uint8_t* buffer, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = pread(fd_, buffer + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return absl::DataLossError(absl::StrCat(path_, ": cannot read ", size - done,
                                              " bytes at offset ", offset + done, ": ",
                                              std::strerror(errno)));
    done += n;
    if (n == 0 || n % kBlock != 0) break;  // the file's end
  }
  return done;
}

absl::Status InputFile::Read(uint64_t offset, uint64_t length,
                             absl::FunctionRef<absl::Status(absl::Span<const uint8_t>)> take) {
  const uint64_t end = offset + length;
  uint64_t at = offset / kBlock * kBlock;
  auto begin = [&](uint64_t from, int buffer) {
    const size_t size = std::min<uint64_t>(kPieceBytes, RoundUp(end - from, kBlock));
    return std::async(std::launch::async, [this, from, size, buffer] {
      return ReadPiece(buffers_[buffer].get(), size, from);
    });
  };
  std::future<absl::StatusOr<size_t>> next;
  for (int current = 0; at < end; at += kPieceBytes, current ^= 1) {
    if (!next.valid()) next = begin(at, current);
    FATHOM_ASSIGN_OR_RETURN(const size_t size, next.get());
    if (at + size < std::min(end, at + kPieceBytes))
      return absl::DataLossError(absl::StrCat(path_, ": the file ends early: expected ", length,
                                              " bytes at offset ", offset, ", found ",
                                              at + size < offset ? 0 : at + size - offset));
    if (at + kPieceBytes < end) next = begin(at + kPieceBytes, current ^ 1);
    const uint64_t first = std::max(at, offset), last = std::min(end, at + size);
    FATHOM_RETURN_IF_ERROR(take({buffers_[current].get() + (first - at), last - first}));
  }
  return absl::OkStatus();
}

}  // namespace fathom
