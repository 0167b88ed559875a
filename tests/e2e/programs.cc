// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Shell commands whose output goes to temporary files.
#include "tests/e2e/programs.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace fathom::e2e {
namespace {

int RunShell(const std::string& command) {
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// What the file holds, which is then removed.
std::string TakeText(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  return text.str();
}

}  // namespace

std::string TemporaryPath(const std::string& ending) {
  static int count = 0;
  return std::filesystem::temp_directory_path() /
         ("fathom-e2e-" + std::to_string(getpid()) + "-" + std::to_string(count++) + ending);
}

int RunCompiler(const std::vector<std::string>& arguments, std::string* errors,
                const std::string& before) {
  const std::string log = TemporaryPath(".log");
  std::string command = before + " " + FATHOM_COMPILE_PROGRAM;
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  const int code = RunShell("{ " + command + "; } >'" + log + "' 2>&1");
  const std::string text = TakeText(log);
  if (errors) *errors = text;
  return code;
}

ProgramResult RunProgram(const std::string& arguments, const std::string& before) {
  const std::string out = TemporaryPath(".out"), err = TemporaryPath(".err");
  const int code = RunShell(before + " " + FATHOM_PROGRAM + " " + arguments + " >'" + out +
                            "' 2>'" + err + "'");
  return {code, TakeText(out), TakeText(err)};
}

}  // namespace fathom::e2e
