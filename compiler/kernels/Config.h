// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The configuration of a kernel (docs/spec/kernels.md), read entry by entry with exact errors.
#ifndef FATHOM_COMPILER_KERNELS_CONFIG_H_
#define FATHOM_COMPILER_KERNELS_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"

namespace fathom::kernels {

/// Bounds on config entries: far above any model, far below what could overflow 64-bit offsets.
constexpr int64_t kMaxWidth = int64_t{1} << 24;
constexpr int64_t kMaxStride = int64_t{1} << 36;

/// The constants of a kernel. A getter without a default reports a missing entry; every getter
/// reports one of the wrong kind. After a report `failed()` holds and 0 (or "") was returned.
class Config {
 public:
  Config(mlir::DictionaryAttr attrs, mlir::Location loc, llvm::StringRef kernel)
      : attrs_(attrs), loc_(loc), kernel_(kernel) {}

  bool has(llvm::StringRef name) const { return attrs_ && attrs_.contains(name); }
  int64_t i(llvm::StringRef name, std::optional<int64_t> otherwise = {});
  double f(llvm::StringRef name, std::optional<double> otherwise = {});
  bool b(llvm::StringRef name, std::optional<bool> otherwise = {});
  llvm::StringRef s(llvm::StringRef name, std::optional<llvm::StringRef> otherwise = {});
  /// s(name), which must be one of `allowed`; answers its place in the list.
  int oneOf(llvm::StringRef name, llvm::ArrayRef<llvm::StringRef> allowed);
  /// i(name), which must lie in [lo, hi] and be a multiple of `step`.
  int64_t in(llvm::StringRef name, int64_t lo, int64_t hi, int64_t step = 1,
             std::optional<int64_t> otherwise = {});
  /// Reports "kernel 'k': <message>" unless `ok`.
  bool require(bool ok, const llvm::Twine& message);
  bool failed() const { return failed_; }

 private:
  mlir::Attribute get(llvm::StringRef name, bool optional);
  void wrong(llvm::StringRef name, llvm::StringRef expected, mlir::Attribute found);

  mlir::DictionaryAttr attrs_;
  mlir::Location loc_;
  std::string kernel_;
  bool failed_ = false;
};

}  // namespace fathom::kernels

#endif  // FATHOM_COMPILER_KERNELS_CONFIG_H_
