// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The fathom program as a user runs it: output, exit codes, errors.
#include <sys/wait.h>

#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/runtime/artifact/history_model.h"
#include "tests/unit/runtime/session/byte_tokenizer.h"

namespace fathom {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFile;

struct Result {
  int code = -1;
  std::string out, err;
};

// `arguments` as a shell line.
Result Fathom(const std::string& arguments, const std::string& input = "") {
  const TemporaryFile out({}), err({}), in(testing::Bytes(input.begin(), input.end()));
  const std::string command = std::string(FATHOM_PROGRAM) + " " + arguments + " <'" + in.path() +
                              "' >'" + out.path() + "' 2>'" + err.path() + "'";
  const int status = std::system(command.c_str());
  const auto read = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read(out.path()),
          read(err.path())};
}

constexpr char kTemplate[] =
    "{% for m in messages %}<|role|>{{ m['role'] }}:{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|role|>assistant:{% endif %}";

class ToolsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = new TemporaryFile(
        testing::HistoryModel({.vocab = 128, .tokenizer = testing::ByteTokenizer(kTemplate)})
            .Build());
    chat_model_ =
        new TemporaryFile(testing::HistoryModel({.vocab = testing::kByteVocabulary,
                                                 .tokenizer = testing::ByteTokenizer(kTemplate)})
                              .Build());
    plain_ = new TemporaryFile(testing::HistoryModel().Build());
  }
  static void TearDownTestSuite() {
    delete model_;
    delete chat_model_;
    delete plain_;
  }
  static std::string Expected(const std::string& prompt, int count) {
    std::string text;
    for (int32_t token : testing::ExpectedGreedy({prompt.begin(), prompt.end()}, count, 128)) {
      text.push_back(static_cast<char>(token));
    }
    return text;
  }
  static std::string Run(const std::string& rest) {
    return "run -m " + model_->path() + " " + rest;
  }

  static TemporaryFile *model_, *chat_model_, *plain_;
};
TemporaryFile* ToolsTest::model_;
TemporaryFile* ToolsTest::chat_model_;
TemporaryFile* ToolsTest::plain_;

TEST_F(ToolsTest, RunContinuesAText) {
  const Result r = Fathom(Run("-p 'Once upon' -n 20 --temp 0 -t 2"));
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, Expected("Once upon", 20) + "\n");
  EXPECT_THAT(r.err, AllOf(HasSubstr("prompt 9 tokens"), HasSubstr("generated 20 tokens"),
                           HasSubstr("token limit"), Not(HasSubstr("\r"))));
}

TEST_F(ToolsTest, PlanSaysWhatFits) {
  const auto plan = [](const std::string& rest) {
    return Fathom("plan " + model_->path() + " --json " + rest);
  };
  Result r = plan("--device=cpu");
  EXPECT_EQ(r.code, 0) << r.err;
  auto json = nlohmann::json::parse(r.out);
  // 1024 tokens of 4 bytes; the arena holds one hash, the logits a row of 128.
  EXPECT_EQ(json["kv_cache"], 4096);
  EXPECT_EQ(json["scratch"], 64);
  EXPECT_EQ(json["weights"], 512);
  EXPECT_EQ(json["inputs_and_logits"], 3 * 4 * 1024 + 4 * 16 + 4 + 4 + 4 * 128);
  EXPECT_EQ(json["largest_context"], 1024);
  EXPECT_EQ(json["longest_binding"], 4 * 1024);  // tokens, positions; logits and weights are shorter
  EXPECT_TRUE(json["fits"]);
  json = nlohmann::json::parse(plan("--device=null -c 100 -b 3 --chunk 10").out);
  EXPECT_EQ(json["kv_cache"], 2 * 256 * 3);
  EXPECT_EQ(json["inputs_and_logits"], 3 * 4 * 10 + 4 * 2 * 3 + 4 * 3 + 4 * 3 + 4 * 128 * 3);
  r = plan("-c 1025");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("one of 1024 would"));
  EXPECT_FALSE(nlohmann::json::parse(r.out)["fits"]);
  EXPECT_EQ(plan("--chunk 0").code, 1);
  r = Fathom("plan " + model_->path() + " --device=auto");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.err, HasSubstr("device: cpu:0"));
  EXPECT_THAT(r.out, AllOf(HasSubstr("KV cache"), HasSubstr("largest context")));
}

TEST_F(ToolsTest, ADeviceWithoutCodeNamesTheTarget) {
  const Result r = Fathom("devices --json");
  for (const auto& device : nlohmann::json::parse(r.out)) {
    if (device["id"] != "vulkan:0" || !device["usable"]) continue;
    const Result run = Fathom(Run("-p a -n 1 --device=vulkan:0"));
    EXPECT_EQ(run.code, 2);
    EXPECT_THAT(run.err, AllOf(HasSubstr("no program for the device vulkan:0"),
                               HasSubstr("--target=vulkan:")));
    auto asks = testing::HistoryModel({.target = "vulkan:mine", .features = {"quantum"}});
    asks.header.programs[0]->driver = "vulkan";
    const TemporaryFile wants(asks.Build());
    const Result lacks = Fathom("run -p a -n 1 --device=vulkan:0 -m " + wants.path());
    EXPECT_EQ(lacks.code, 2);
    EXPECT_THAT(lacks.err, AllOf(HasSubstr("vulkan:mine: the device vulkan:0"),
                                 HasSubstr("lacks quantum"), HasSubstr("--target=vulkan:generic")));
  }
  const Result none = Fathom(Run("-p a -n 1 --device=vulkan:77"));
  EXPECT_NE(none.code, 0);
  EXPECT_THAT(none.err, HasSubstr("vulkan:77"));
}

TEST_F(ToolsTest, RunReadsFilesAndPipes) {
  const std::string expected = Expected("Once upon", 5) + "\n";
  EXPECT_EQ(Fathom(Run("-n 5 --temp 0 -q"), "Once upon\n").out, expected);
  const std::string text = "Once upon";
  const TemporaryFile file(testing::Bytes(text.begin(), text.end()));
  const Result r = Fathom(Run("-n 5 --temp 0 -q -f " + file.path()));
  EXPECT_EQ(r.out, expected);
  EXPECT_EQ(r.err, "");
}

TEST_F(ToolsTest, RunPrintsJson) {
  const Result r = Fathom(Run("-p abc -n 7 --temp 0 --json -q"));
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out);
  EXPECT_EQ(json["text"], Expected("abc", 7));
  EXPECT_EQ(json["generated_tokens"], 7);
  EXPECT_EQ(json["stop"], "token limit");
}

TEST_F(ToolsTest, ASeedRepeatsItself) {
  const std::string arguments = Run("-p abc -n 30 --temp 2 --top-k 0 --top-p 1 --min-p 0 -q -s ");
  const std::string first = Fathom(arguments + "7").out;
  EXPECT_EQ(Fathom(arguments + "7").out, first);
  EXPECT_NE(Fathom(arguments + "8").out, first);
  EXPECT_EQ(Fathom(arguments + "7 --deterministic --chunk 2").out, first);
}

TEST_F(ToolsTest, RunStopsAtAString) {
  const std::string text = Expected("abc", 30);
  // Two characters that the shell passes on.
  const auto passes = [](char c) { return std::isgraph(c) != 0 && c != '\''; };
  for (size_t i = 2; i + 2 < text.size(); ++i) {
    if (!passes(text[i]) || !passes(text[i + 1]) || text[i] == '-') continue;
    const std::string stop = text.substr(i, 2);
    EXPECT_EQ(Fathom(Run("-p abc -n 30 --temp 0 -q --stop '" + stop + "'")).out,
              text.substr(0, text.find(stop)) + "\n");
    return;
  }
  FAIL() << "the model made no two printable characters";
}

TEST_F(ToolsTest, YourMistakesExitWithOne) {
  const std::pair<std::string, const char*> cases[] = {
      {"run -m no/such.fathom -p x", "no/such.fathom"},
      {Run("-p ''"), "no text to continue"},
      {Run("-p x --temp -1"), "temperature"},
      {Run("-p x --top-p 2"), "top-p"},
      {Run("-p x -n -5"), "predict"},
      {Run("-p x -c 100000"), "ctx-size"},
      {Run("-p x -c 2 -f y"), "--file"},
      {Run("-f no/such.txt"), "no/such.txt"},
      {Run("-p abcdef -c 3"), "the context is full"},
      {Run("-p x --device tpu"), "tpu"},
      {Run("-p x --load sideways"), "sideways"},
      {Run("-p x -t 5000"), "5000"},
      {Run("-p x --unknown"), "--unknown"},
      {Run("-p x --stop ''"), "stop string"},
      {"run -p x", "--model"},
      {"", "subcommand"},
      {"fly", "fly"},
      {"run -m " + plain_->path() + " -p x", "no tokenizer"},
      {"chat -m " + plain_->path(), ""},
      {"verify -m no/such.fathom", "no/such.fathom"},
  };
  for (const auto& [arguments, message] : cases) {
    const Result r = Fathom(arguments, "hello\n");
    EXPECT_EQ(r.code, 1) << arguments;
    EXPECT_THAT(r.err, HasSubstr(message)) << arguments;
    EXPECT_EQ(r.out, "") << arguments;
  }
}

TEST_F(ToolsTest, UnsupportedExitsWithTwo) {
  const TemporaryFile future(testing::HistoryModel({.features = {"quantum"}}).Build());
  const Result r = Fathom("run -m " + future.path() + " -p x");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, AllOf(HasSubstr("quantum"), HasSubstr("--target=cpu:native")));
}

TEST_F(ToolsTest, HelpAndVersionExitWithZero) {
  for (const char* arguments : {"--help", "run --help", "bench --help", "--version"}) {
    const Result r = Fathom(arguments);
    EXPECT_EQ(r.code, 0) << arguments;
    EXPECT_NE(r.out, "") << arguments;
  }
}

TEST_F(ToolsTest, ChatTakesTurns) {
  const Result r = Fathom("chat -m " + chat_model_->path() + " --temp 0 -n 4 -v",
                          "hello\nagain\n/reset\nhello\n/exit\nnever\n");
  EXPECT_EQ(r.code, 0) << r.err;
  // One line of speed per answer, and the second turn computes only what is new.
  std::vector<std::string> lines;
  size_t at = 0;
  while ((at = r.err.find("prompt ", at)) != std::string::npos) {
    lines.push_back(r.err.substr(at, r.err.find(';', at) - at));
    ++at;
  }
  ASSERT_EQ(lines.size(), 3u) << r.err;
  EXPECT_THAT(lines[0], HasSubstr("prompt 23 tokens"));  // <role>user:hello<end><role>assistant:
  const int second = std::atoi(lines[1].c_str() + 7);
  EXPECT_LT(second, 45);
  EXPECT_GT(second, 22);
}

TEST_F(ToolsTest, InspectShowsEveryPart) {
  const Result text = Fathom("inspect " + model_->path() + " -v");
  EXPECT_EQ(text.code, 0) << text.err;
  for (const char* part :
       {"test model", "segments", "tokenizer", "gain", "raw_f32", "cpu:test", "prefill", "decode",
        "layers.0/history", "history", "pages of 64 tokens"}) {
    EXPECT_THAT(text.out, HasSubstr(part));
  }
  const Result r = Fathom("inspect -m " + model_->path() + " --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out);
  EXPECT_EQ(json["model"]["vocab_size"], 128);
  EXPECT_EQ(json["tensors"][0]["shape"][0], 128);
  EXPECT_EQ(json["programs"][0]["entries"][0]["commands"][0]["grid"][0], "T");
  EXPECT_EQ(json["programs"][0]["kv_cache"]["page_bytes"], 256);
}

TEST_F(ToolsTest, BenchMeasures) {
  const std::string flags = " -p 8,16 -n 2 -d 0,64 -r 2 -t 1 ";
  const Result r = Fathom("bench -m " + plain_->path() + flags + "--json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = nlohmann::json::parse(r.out);
  EXPECT_GT(json["read_bandwidth_bytes_per_second"].get<double>(), 1e8);
  EXPECT_EQ(json["weight_bytes_per_token"], 400);
  ASSERT_EQ(json["tests"].size(), 6u);
  EXPECT_EQ(json["tests"][0]["test"], "pp8");
  EXPECT_EQ(json["tests"][5]["test"], "tg2 @ d64");
  EXPECT_EQ(json["tests"][5]["runs"], 2);
  EXPECT_GT(json["tests"][5]["median_tokens_per_second"].get<double>(), 0);
  EXPECT_GT(json["tests"][5]["of_bandwidth"].get<double>(), 0);
  for (const auto& test : json["tests"]) {
    ASSERT_EQ(test["rounds"].size(), 2u) << test["test"];
    for (const auto& round : test["rounds"]) {
      EXPECT_GT(round["tokens_per_second"].get<double>(), 0);
      EXPECT_GT(round["read_bandwidth_bytes_per_second"].get<double>(), 1e8);
    }
  }
  const Result several =
      Fathom("bench -m " + plain_->path() + " -p 0 -n 2 -d 64,0 -b 2,1 -r 1 -t 1 --json");
  ASSERT_EQ(several.code, 0) << several.err;
  std::vector<std::string> names;
  const auto several_json = nlohmann::json::parse(several.out);
  for (const auto& test : several_json["tests"]) names.push_back(test["test"]);
  EXPECT_THAT(names, ElementsAre("tg2 x 2 @ d64", "tg2 @ d64", "tg2 x 2", "tg2"));
  const Result text = Fathom("bench -m " + plain_->path() + " -p 0 -n 2 -r 1 -t 1 --profile");
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("tg2"), HasSubstr("history  history"), HasSubstr("append  append")));
}

TEST_F(ToolsTest, DevicesListsThisMachine) {
  const Result text = Fathom("devices");
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, AllOf(HasSubstr("cpu:0"), HasSubstr("null:0")));
  const auto json = nlohmann::json::parse(Fathom("devices --json").out);
  EXPECT_EQ(json[0]["id"], "cpu:0");
  EXPECT_GT(json[0]["memory_bytes"].get<uint64_t>(), 0u);
}

TEST_F(ToolsTest, VerifyComparesHashes) {
  const Result good = Fathom("verify " + model_->path());
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("as they were written"));
  auto bytes = testing::HistoryModel().Build();
  bytes[4096 + 100] ^= 1;
  const TemporaryFile bad(bytes);
  const Result r = Fathom("verify " + bad.path());
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("segment code"));
  EXPECT_EQ(Fathom("bench -p 1 -n 1 -r 1 --check full -m " + bad.path()).code, 1);
}

TEST_F(ToolsTest, CompileSaysWhatIsMissing) {
  // Beside the program there may be a fathom-compile or not; both ways it must not be run by `run`.
  const Result r = Fathom("compile --help");
  EXPECT_THAT(r.code, ::testing::AnyOf(0, 2));
  if (r.code == 2) {
    EXPECT_THAT(r.err, HasSubstr("fathom-compile"));
  }
}

}  // namespace
}  // namespace fathom
