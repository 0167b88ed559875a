// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Joining, replacing and hashing of std::string_view, which the packaged Abseil's own functions do
// not take.
#ifndef FATHOM_RUNTIME_TEXT_STRINGS_H_
#define FATHOM_RUNTIME_TEXT_STRINGS_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>

namespace fathom::text {

namespace internal {
inline void AppendOne(std::string* out, std::string_view text) { out->append(text); }
template <typename T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
void AppendOne(std::string* out, T number) {
  out->append(std::to_string(number));
}
}  // namespace internal

// The arguments, texts or numbers, one after another.
template <typename... Args>
std::string Cat(const Args&... args) {
  std::string out;
  (internal::AppendOne(&out, args), ...);
  return out;
}

// Every `pattern` (not empty) in `text` becomes `content`.
inline std::string ReplaceAll(std::string_view text, std::string_view pattern,
                              std::string_view content) {
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(pattern); at != text.npos; at = text.find(pattern, done)) {
    out.append(text, done, at - done).append(content);
    done = at + pattern.size();
  }
  return out.append(text, done);
}

// For hash tables that are keyed by strings and asked with views.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

}  // namespace fathom::text

#endif  // FATHOM_RUNTIME_TEXT_STRINGS_H_
