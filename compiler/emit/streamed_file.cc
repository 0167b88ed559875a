// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sequential reading and writing by direct system calls where possible.
#include "compiler/emit/streamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <future>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/memory.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

// One direct access: long enough for a disk's full speed.
constexpr size_t kPieceBytes = 8 << 20;

AlignedBytes AllocatePiece() {
  return AlignedBytes(new (std::align_val_t{kDirectBlock}) uint8_t[kPieceBytes]);
}

}  // namespace

void FreeAligned::operator()(uint8_t* memory) const {
  ::operator delete[](memory, std::align_val_t{kDirectBlock});
}

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
    file->buffer_ = AllocatePiece();
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
    if (direct_ && n % kDirectBlock != 0) FATHOM_RETURN_IF_ERROR(LeaveDirect());
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
    begin = size / kDirectBlock * kDirectBlock;
    buffered_ = size - begin;
    if (pread(fd_, buffer_.get(), kDirectBlock, static_cast<off_t>(begin)) !=
        static_cast<ssize_t>(kDirectBlock))
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

InputFile::InputFile(const File& file, Caching caching)
    : file_(file), caching_(caching), buffers_{AllocatePiece(), AllocatePiece()} {}

absl::Status InputFile::Read(uint64_t offset, uint64_t length,
                             absl::FunctionRef<absl::Status(absl::Span<const uint8_t>)> take) {
  const uint64_t end = offset + length;
  // Pieces begin where direct reads may.
  uint64_t at = offset / kDirectBlock * kDirectBlock;
  auto begin = [&](uint64_t from, int buffer) {
    const absl::Span<uint8_t> piece(buffers_[buffer].get(),
                                    std::min<uint64_t>(kPieceBytes, end - from));
    return std::async(std::launch::async, [this, from, piece] {
      return caching_ == Caching::direct ? file_.ReadDirect(from, piece) : file_.ReadAt(from, piece);
    });
  };
  std::future<absl::Status> next = begin(at, 0);
  for (int current = 0; at < end; at += kPieceBytes, current ^= 1) {
    FATHOM_RETURN_IF_ERROR(next.get());
    if (at + kPieceBytes < end) next = begin(at + kPieceBytes, current ^ 1);
    const uint64_t first = std::max(at, offset), last = std::min(end, at + kPieceBytes);
    FATHOM_RETURN_IF_ERROR(take({buffers_[current].get() + (first - at), last - first}));
  }
  return absl::OkStatus();
}

}  // namespace fathom
