// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Large files read or written once, front to back, through the page cache or past it.
#ifndef FATHOM_COMPILER_EMIT_STREAMED_FILE_H_
#define FATHOM_COMPILER_EMIT_STREAMED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/artifact/file.h"

namespace fathom {

// cached     through the page cache: whoever reads the file next needs no disk
// direct     past it (O_DIRECT): costs no copy and takes no memory from what else is being read. Where the file
//            system cannot, as if cached.
// automatic  direct for files above a quarter of the memory available: with the checkpoint, several times as large,
//            streaming through the same cache, little of such a file would stay there.
enum class Caching { automatic, cached, direct };

// What `caching` means for a file of `bytes`: cached or direct.
Caching ChooseCaching(Caching caching, uint64_t bytes);

// Memory that direct reads and writes may use.
struct FreeAligned {
  void operator()(uint8_t* memory) const;
};
using AlignedBytes = std::unique_ptr<uint8_t[], FreeAligned>;

// A new file. It appears under its name only when Finish succeeds; until then, and after any error, there is only a
// temporary file beside it, removed by the destructor. Not thread-safe.
class OutputFile {
 public:
  // `caching` is cached or direct. Errors: kInvalidArgument naming the path and the system's reason; so do the others.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Create(const std::string& path, Caching caching);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;

  absl::Status Append(absl::Span<const uint8_t> bytes);
  uint64_t size() const { return size_; }
  // Takes back what was appended behind the first `size` bytes.
  absl::Status Rewind(uint64_t size);

  // Puts `prefix` in place of the first bytes, syncs, renames to the final path.
  absl::Status Finish(absl::Span<const uint8_t> prefix);

 private:
  explicit OutputFile(const std::string& path);
  absl::Status SystemError(const char* what) const;
  absl::Status Write(const uint8_t* bytes, size_t size);
  absl::Status Flush();
  // From now on through the page cache.
  absl::Status LeaveDirect();

  std::string path_, temporary_;
  int fd_ = -1;
  bool direct_ = false;
  uint64_t size_ = 0;  // with what is in the buffer
  // Of direct files: bytes that are not written yet. All written before are whole blocks.
  AlignedBytes buffer_;
  size_t buffered_ = 0;
};

// Reads parts of a file in long pieces. Not thread-safe.
class InputFile {
 public:
  // `file` must outlive it. `caching` is cached or direct.
  InputFile(const File& file, Caching caching);

  // Gives [offset, offset + length) to `take` in pieces, in order, while the next piece is read. The first error of
  // `take`; kDataLoss when the file ends earlier or cannot be read.
  absl::Status Read(uint64_t offset, uint64_t length,
                    absl::FunctionRef<absl::Status(absl::Span<const uint8_t>)> take);

 private:
  const File& file_;
  const Caching caching_;
  AlignedBytes buffers_[2];
};

}  // namespace fathom

#endif  // FATHOM_COMPILER_EMIT_STREAMED_FILE_H_
