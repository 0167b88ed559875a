// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finding and starting fathom-compile: in place of this process, or beside it for its output.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "runtime/artifact/verifier.h"
#include "runtime/base/status.h"
#include "runtime/tools/commands.h"

namespace fathom::tools {
namespace {

constexpr char kProgram[] = "fathom-compile";
constexpr size_t kMaxOutput = kMaxHeaderBytes + schema::kPrefixBytes;

absl::Status NotFound(int error) {
  return UnsupportedError(kProgram, absl::StrCat("expected beside this program or on PATH, found "
                                                 "neither: ",
                                                 std::strerror(error)));
}

// Where it would be beside this program; "" when that cannot be told.
std::string Beside() {
  char self[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof(self));
  if (length <= 0 || length >= static_cast<ssize_t>(sizeof(self))) return "";
  const std::string path(self, static_cast<size_t>(length));
  return path.substr(0, path.rfind('/') + 1) + kProgram;
}

std::vector<char*> Arguments(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>(kProgram)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  return argv;
}

// Everything that can be read from `descriptor`, until its end or kMaxOutput bytes.
std::vector<uint8_t> ReadAll(int descriptor) {
  std::vector<uint8_t> bytes;
  size_t used = 0;
  while (used < kMaxOutput) {
    bytes.resize(used + (1 << 18));
    const ssize_t count = ::read(descriptor, bytes.data() + used, bytes.size() - used);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    used += static_cast<size_t>(count);
  }
  bytes.resize(used);
  return bytes;
}

}  // namespace

absl::Status ExecCompiler(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = Arguments(arguments);
  if (const std::string path = Beside(); !path.empty()) ::execv(path.c_str(), argv.data());
  ::execvp(kProgram, argv.data());
  return NotFound(errno);
}

absl::StatusOr<std::vector<uint8_t>> CompilerOutput(const std::vector<std::string>& arguments) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no pipe: ", std::strerror(errno)));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> argv = Arguments(arguments);
  pid_t child = 0;
  const std::string path = Beside();
  int error = path.empty() ? ENOENT
                           : ::posix_spawn(&child, path.c_str(), &actions, nullptr, argv.data(),
                                           environ);
  if (error != 0) error = ::posix_spawnp(&child, kProgram, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return NotFound(error);
  }
  std::vector<uint8_t> output = ReadAll(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  // What was wrong it has printed.
  const std::string message = absl::StrCat(kProgram, " failed (see above)");
  if (!WIFEXITED(status)) return absl::InternalError(message);
  if (WEXITSTATUS(status) == 1) return absl::InvalidArgumentError(message);
  if (WEXITSTATUS(status) == 2) return absl::UnimplementedError(message);
  return absl::InternalError(message);
}

bool IsCompilerInput(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return true;
  for (const char* ending : {".json", ".gguf", ".safetensors"}) {
    if (absl::EndsWith(path, ending)) return true;
  }
  return false;
}

absl::StatusOr<std::shared_ptr<const Artifact>> CompiledHeader(const CompileFlags& flags) {
  std::vector<std::string> arguments = {flags.input, "--header-only", "-q", "-o", "-"};
  if (!flags.quantize.empty()) arguments.push_back("--quantize=" + flags.quantize);
  for (const std::string& target : flags.targets) arguments.push_back("--target=" + target);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, CompilerOutput(arguments));
  return Artifact::FromHeader(flags.input, bytes);
}

}  // namespace fathom::tools
