// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Regular files through POSIX calls.
#include "runtime/artifact/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/base/status.h"

namespace fathom {

absl::StatusOr<std::unique_ptr<File>> File::Open(const std::string& path) {
  // O_NONBLOCK: opening a FIFO that nobody writes must not wait.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    const std::string message = absl::StrCat(path, ": cannot open: ", std::strerror(errno));
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  struct stat info;
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return InputError(path, "not a regular file");
  }
  return std::unique_ptr<File>(new File(path, descriptor, static_cast<uint64_t>(info.st_size)));
}

File::~File() {
  ::close(descriptor_);
  if (direct_ >= 0) ::close(direct_);
}

absl::Status File::ReadAt(uint64_t offset, absl::Span<uint8_t> out) const {
  return Read(descriptor_, offset, out);
}

absl::Status File::ReadDirect(uint64_t offset, absl::Span<uint8_t> out) const {
  std::call_once(direct_opened_, [this] {
    // The same file, whatever the path means by now.
    const std::string again = absl::StrCat("/proc/self/fd/", descriptor_);
    direct_ = ::open(again.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  });
  // The file's last bytes are no whole block.
  const size_t whole = out.size() / kDirectBlock * kDirectBlock;
  if (direct_ < 0 || !Read(direct_, offset, out.first(whole)).ok()) return ReadAt(offset, out);
  return ReadAt(offset + whole, out.subspan(whole));
}

absl::Status File::Read(int descriptor, uint64_t offset, absl::Span<uint8_t> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const size_t want = std::min<size_t>(out.size() - done, size_t{1} << 30);
    const ssize_t got =
        ::pread(descriptor, out.data() + done, want, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      return absl::DataLossError(absl::StrCat(path_, ": cannot read ", want, " bytes at offset ",
                                              offset + done, ": ", std::strerror(errno)));
    }
    if (got == 0) {
      return absl::DataLossError(absl::StrCat(path_, ": the file ends early: expected ", out.size(),
                                              " bytes at offset ", offset, ", found ", done));
    }
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status File::CheckUnchanged() const {
  struct stat info;
  if (::fstat(descriptor_, &info) != 0 || static_cast<uint64_t>(info.st_size) != size_) {
    return absl::DataLossError(absl::StrCat(path_,
                                            ": the file changed since it was opened: expected ",
                                            size_, " bytes, found ", info.st_size));
  }
  return absl::OkStatus();
}

}  // namespace fathom
