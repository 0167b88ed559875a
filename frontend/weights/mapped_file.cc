// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opens, maps and advises on files through POSIX calls.
#include "frontend/weights/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom {
namespace {

const char* KindOfFile(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "a special file";
}

uint64_t PageSize() {
  static const uint64_t size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO without a writer must not wait for one.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const std::string reason = std::strerror(errno);
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat(path, ": ", reason));
    return InputError(path, absl::StrCat("cannot be opened: ", reason));
  }
  struct stat st;
  if (fstat(fd, &st) != 0) {
    const std::string reason = std::strerror(errno);
    close(fd);
    return InputError(path, absl::StrCat("cannot be examined: ", reason));
  }
  if (!S_ISREG(st.st_mode)) {
    close(fd);
    return InputError(path, "kind of file", "a regular file", KindOfFile(st.st_mode));
  }
  if (st.st_size <= 0) {
    close(fd);
    return InputError(path, "file size", "a checkpoint file", "an empty file");
  }
  const uint64_t size = static_cast<uint64_t>(st.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    const std::string reason = std::strerror(errno);
    close(fd);
    return InputError(path, absl::StrCat("cannot be mapped: ", reason));
  }
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, fd, static_cast<const uint8_t*>(data), size, st.st_mtim));
}

MappedFile::~MappedFile() {
  munmap(const_cast<uint8_t*>(data_), size_);
  close(fd_);
}

absl::Status MappedFile::CheckUnchanged() const {
  struct stat st;
  if (fstat(fd_, &st) != 0 || static_cast<uint64_t>(st.st_size) < size_) {
    return InputError(path_, "the file became shorter while it was being read",
                      absl::StrCat(size_, " bytes"), absl::StrCat(st.st_size, " bytes"));
  }
  if (st.st_mtim.tv_sec != modified_.tv_sec || st.st_mtim.tv_nsec != modified_.tv_nsec) {
    return InputError(path_, "the file was written to while it was being read");
  }
  return absl::OkStatus();
}

void MappedFile::WillNeed(uint64_t offset, uint64_t length) const {
  if (!RangeFits(offset, length, size_) || length == 0) return;
  const uint64_t begin = offset / PageSize() * PageSize();
  madvise(const_cast<uint8_t*>(data_) + begin, offset + length - begin, MADV_WILLNEED);
}

void MappedFile::Drop(uint64_t offset, uint64_t length) const {
  if (!RangeFits(offset, length, size_)) return;
  // Only whole pages: a neighbour may still be using the edges.
  const uint64_t begin = RoundUp(offset, PageSize());
  const uint64_t end = (offset + length) / PageSize() * PageSize();
  if (begin < end) madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace fathom
