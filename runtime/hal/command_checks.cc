// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The words of what is wrong with a command.
#include "runtime/hal/command_checks.h"

#include "absl/strings/str_cat.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace fathom::hal {

absl::Status CheckOpen(bool ended) {
  if (!ended) return absl::OkStatus();
  return absl::InternalError("recording into a command buffer that has ended");
}

absl::Status CheckKernel(const Dispatch& dispatch) {
  if (dispatch.executable == nullptr || dispatch.kernel >= dispatch.executable->kernels().size()) {
    return absl::InternalError(absl::StrCat(dispatch.label, ": no kernel ", dispatch.kernel));
  }
  const KernelInterface& kernel = dispatch.executable->kernels()[dispatch.kernel];
  if (dispatch.bindings.size() == kernel.bindings && dispatch.push.size() == kernel.push) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat(
      dispatch.label, ": ", kernel.name, " takes ", kernel.bindings, " bindings and ", kernel.push,
      " push constants, found ", dispatch.bindings.size(), " and ", dispatch.push.size()));
}

absl::Status CheckRef(const std::string& where, const BufferRef& ref, uint64_t bytes,
                      uint64_t alignment) {
  if (ref.buffer == nullptr) return absl::InternalError(where + ": no buffer");
  if (!RangeFits(ref.offset, bytes, ref.buffer->size())) {
    return absl::OutOfRangeError(absl::StrCat(where, ": offset ", ref.offset, " with ", bytes,
                                              " bytes is outside a buffer of ",
                                              ref.buffer->size()));
  }
  if (ref.offset % alignment != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": expected an offset that is a multiple of ", alignment, ", found ", ref.offset));
  }
  return absl::OkStatus();
}

absl::Status CheckCopy(const BufferRef& from, const BufferRef& to, uint64_t bytes) {
  constexpr uint64_t kAlignment = 64;
  FATHOM_RETURN_IF_ERROR(CheckRef("copy: source", from, bytes, kAlignment));
  return CheckRef("copy: destination", to, bytes, kAlignment);
}

}  // namespace fathom::hal
