// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finding and starting fathom-compile.
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/base/status.h"
#include "runtime/tools/commands.h"

namespace fathom::tools {

absl::Status ExecCompiler(const std::vector<std::string>& arguments) {
  std::string program = "fathom-compile";
  std::vector<char*> argv = {program.data()};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  char self[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof(self));
  if (length > 0 && length < static_cast<ssize_t>(sizeof(self))) {
    const std::string path(self, static_cast<size_t>(length));
    ::execv((path.substr(0, path.rfind('/') + 1) + program).c_str(), argv.data());
  }
  ::execvp(program.c_str(), argv.data());
  return UnsupportedError("fathom-compile",
                          absl::StrCat("expected beside this program or on PATH, found neither: ",
                                       std::strerror(errno)));
}

}  // namespace fathom::tools
