// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Getters of a kernel's configuration, and the cache's part of it.
#include "compiler/kernels/Config.h"

#include "compiler/kernels/CacheLayout.h"
#include "llvm/ADT/STLExtras.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;

namespace fathom::kernels {

Attribute Config::get(StringRef name, bool optional) {
  Attribute found = attrs_ ? attrs_.get(name) : Attribute();
  if (!found && !optional) {
    failed_ = true;
    emitError(loc_) << "kernel '" << kernel_ << "': config entry '" << name << "' is missing";
  }
  return found;
}

void Config::wrong(StringRef name, StringRef expected, Attribute found) {
  failed_ = true;
  emitError(loc_) << "kernel '" << kernel_ << "': config entry '" << name << "' must be "
                  << expected << ", found " << found;
}

int64_t Config::i(StringRef name, std::optional<int64_t> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or(0);
  if (auto a = dyn_cast<IntegerAttr>(found); a && a.getValue().getSignificantBits() <= 64)
    return a.getValue().getSExtValue();
  wrong(name, "an integer", found);
  return 0;
}

double Config::f(StringRef name, std::optional<double> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or(0);
  if (auto a = dyn_cast<FloatAttr>(found)) return a.getValueAsDouble();
  wrong(name, "a floating-point number", found);
  return 0;
}

bool Config::b(StringRef name, std::optional<bool> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or(false);
  if (auto a = dyn_cast<BoolAttr>(found)) return a.getValue();
  wrong(name, "a boolean", found);
  return false;
}

StringRef Config::s(StringRef name, std::optional<StringRef> otherwise) {
  Attribute found = get(name, otherwise.has_value());
  if (!found) return otherwise.value_or("");
  if (auto a = dyn_cast<StringAttr>(found)) return a.getValue();
  wrong(name, "a string", found);
  return "";
}

int Config::oneOf(StringRef name, ArrayRef<StringRef> allowed) {
  bool before = failed_;
  failed_ = false;
  StringRef value = s(name);
  bool readable = !failed_;
  failed_ |= before;
  if (!readable) return 0;
  const auto* it = llvm::find(allowed, value);
  if (it != allowed.end()) return static_cast<int>(it - allowed.begin());
  std::string list = "one of";
  for (StringRef a : allowed) list += " '" + a.str() + "'";
  wrong(name, list, attrs_.get(name));
  return 0;
}

int64_t Config::in(StringRef name, int64_t lo, int64_t hi, int64_t step,
                   std::optional<int64_t> otherwise) {
  int64_t value = i(name, otherwise);
  if (failed_) return lo;
  if (value >= lo && value <= hi && value % step == 0) return value;
  failed_ = true;
  InFlightDiagnostic d = emitError(loc_);
  d << "kernel '" << kernel_ << "': config entry '" << name << "' must be ";
  if (step > 1) d << "a multiple of " << step << " ";
  d << "in [" << lo << ", " << hi << "], found " << value;
  return lo;
}

bool Config::require(bool ok, const Twine& message) {
  if (ok) return true;
  failed_ = true;
  emitError(loc_) << "kernel '" << kernel_ << "': " << message;
  return false;
}

CacheLayout CacheLayout::read(Config& cfg, int64_t elements, int64_t runs) {
  CacheLayout c;
  c.bf16 = cfg.oneOf("kv", {"f32", "bf16"}) == 1;
  c.pageTokens = cfg.in("page_tokens", 16, 256, 16);
  c.rowBytes = elements * c.elemBytes();
  c.pageBytes = cfg.in("page_bytes", 0, kMaxStride, c.elemBytes());
  cfg.require(cfg.failed() || runs * c.runBytes() <= c.pageBytes,
              "page_bytes " + Twine(c.pageBytes) + " is less than " + Twine(c.pageTokens) +
                  " rows of " + Twine(runs * c.rowBytes) + " bytes");
  return c;
}

}  // namespace fathom::kernels
