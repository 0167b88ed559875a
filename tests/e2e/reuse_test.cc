// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiling again takes over encoded weights, never those of a source that has changed, and never other bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "tests/e2e/programs.h"

namespace fathom::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kModel[] = "tests/golden/deepseek_v3_plain";  // one model.safetensors, float32

std::string Slurp(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}
void Spill(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

struct Reuse {
  int reused = 0, all = 0;
};

class Reusing : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("fathom-reuse-test-" + std::to_string(getpid()));
    fs::create_directories(dir_);
    fs::copy(kModel, dir_ / "model", fs::copy_options::recursive);
    Spill(dir_ / "other.json", R"({"name": "null:other", "driver": "null", "features": []})");
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string At(const std::string& name) const { return dir_ / name; }

  // Compiles to `output`; how many weights were reused, of how many (0 of 0 when it does not say).
  Reuse Compile(const std::string& output, std::vector<std::string> flags, const std::string& input = "") {
    flags.insert(flags.begin(), input.empty() ? At("model") : input);
    flags.insert(flags.end(), {"-o", output});
    EXPECT_EQ(RunCompiler(flags, &log_), 0) << log_;
    std::smatch found;
    if (!std::regex_search(log_, found, std::regex(R"((\d+) of (\d+) weights reused)"))) return {};
    return {std::stoi(found[1]), std::stoi(found[2])};
  }
  // Expects what `Compile` would have made without reusing anything.
  void ExpectFresh(const std::string& made, std::vector<std::string> flags, const std::string& input = "") {
    flags.push_back("--reuse=off");
    EXPECT_EQ(Compile(At("fresh"), flags, input).reused, 0);
    EXPECT_TRUE(Slurp(made) == Slurp(At("fresh")));
  }

  fs::path dir_;
  std::string log_;
};

TEST_F(Reusing, OtherCodeOverTheSameWeights) {
  const std::string out = At("a.fathom");
  EXPECT_EQ(Compile(out, {"--target=null", "--quantize=q4"}).reused, 0);
  const std::vector<std::string> both = {"--target=null," + At("other.json"), "--quantize=q4"};
  const Reuse again = Compile(out, both);
  EXPECT_GT(again.all, 20);
  EXPECT_EQ(again.reused, again.all);
  ExpectFresh(out, both);
  // The same content elsewhere, and an artifact that is not the output.
  fs::rename(dir_ / "model", dir_ / "moved");
  const Reuse moved = Compile(At("b.fathom"), {"--target=null", "--quantize=q4", "--reuse=" + out, "-t", "1"}, At("moved"));
  EXPECT_EQ(moved.reused, again.all);
  ExpectFresh(At("b.fathom"), {"--target=null", "--quantize=q4"}, At("moved"));
}

// One bit of one weight, with the file's size and time put back as they were.
TEST_F(Reusing, NeverAChangedSource) {
  const std::string out = At("a.fathom");
  const std::vector<std::string> flags = {"--target=null", "--quantize=q8"};
  Compile(out, flags);
  const int all = Compile(out, flags).all;
  const fs::path weights = dir_ / "model/model.safetensors";
  const std::string original = Slurp(weights);
  const auto time = fs::last_write_time(weights);
  int changed = 0;
  for (size_t at : {original.size() - 2, original.size() / 2, original.size() / 3}) {
    std::string bytes = original;
    at = at / 4 * 4 + 2;  // the exponent's last bit of a float32: finite stays finite
    bytes[at] = static_cast<char>(bytes[at] ^ 0x80);
    Spill(weights, bytes);
    fs::last_write_time(weights, time);
    Spill(out, Slurp(out));  // the old artifact is the newer file
    const std::string before = Slurp(out);
    const Reuse reuse = Compile(out, flags);
    EXPECT_LT(reuse.reused, all) << at;
    EXPECT_GE(reuse.reused, all - 4) << at << ": weights that did not change are kept";
    changed += !(Slurp(out) == before);
    ExpectFresh(out, flags);
  }
  EXPECT_EQ(changed, 3);
  // Other random weights of the same shapes.
  Compile(out, {"--target=null", "--weights=random:1"}, At("model/config.json"));
  Compile(out, {"--target=null", "--weights=random:2"}, At("model/config.json"));
  ExpectFresh(out, {"--target=null", "--weights=random:2"}, At("model/config.json"));
}

TEST_F(Reusing, OnlyWhatIsEncodedAlike) {
  const std::string out = At("a.fathom");
  Compile(out, {"--target=null", "--quantize=q8"});
  const Reuse reuse = Compile(out, {"--target=null", "--quantize=q4"});
  EXPECT_GT(reuse.reused, 0) << "norms and routers are float32 in both";
  EXPECT_LT(reuse.reused, reuse.all);
  ExpectFresh(out, {"--target=null", "--quantize=q4"});
}

TEST_F(Reusing, NothingDamaged) {
  const std::string out = At("a.fathom");
  const std::vector<std::string> flags = {"--target=null", "--quantize=q8"};
  Compile(out, flags);
  const int all = Compile(out, flags).all;
  std::string bytes = Slurp(out);
  bytes[bytes.size() / 2] ^= 1;  // among the weights, which are most of the file
  Spill(out, bytes);
  EXPECT_EQ(Compile(out, flags).reused, all - 1);
  EXPECT_THAT(log_, ContainsRegex("weight '[^']+' is encoded again: its hash does not match"));
  ExpectFresh(out, flags);
  // Something else under the output's name is replaced without a word, as ever.
  Spill(out, "the artifact of yesterday");
  EXPECT_EQ(Compile(out, flags).reused, 0);
  EXPECT_THAT(log_, Not(HasSubstr("encoded again")));
  ExpectFresh(out, flags);
}

TEST_F(Reusing, ANamedArtifactMustBeOne) {
  EXPECT_EQ(RunCompiler({At("model"), "--target=null", "--reuse=" + At("none.fathom"), "-o", At("a.fathom")}, &log_), 1);
  EXPECT_THAT(log_, HasSubstr("none.fathom"));
  Spill(At("text"), std::string(100, 'x'));
  EXPECT_EQ(RunCompiler({At("model"), "--target=null", "--reuse=" + At("text"), "-o", At("a.fathom")}, &log_), 1);
  EXPECT_THAT(log_, HasSubstr("not a fathom artifact"));
  EXPECT_FALSE(fs::exists(At("a.fathom")));
}

}  // namespace
}  // namespace fathom::e2e
