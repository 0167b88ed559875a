// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stop strings, wherever the pieces are cut.
#include "runtime/session/stop_strings.h"

#include "gtest/gtest.h"

namespace fathom {
namespace {

// Feeds `text` in pieces of `size` bytes; what was shown, and whether a stop string was found.
std::pair<std::string, bool> Feed(const std::vector<std::string>& stops, const std::string& text,
                                  size_t size) {
  auto stop = StopStrings::Create(stops);
  EXPECT_TRUE(stop.ok()) << stop.status();
  std::string shown;
  for (size_t i = 0; i < text.size(); i += size) {
    shown += stop->Add(text.substr(i, size));
    // Nothing shown may have to be taken back.
    const auto first = text.find(stops[0]);
    if (first != std::string::npos) {
      EXPECT_LE(shown.size(), first);
    }
  }
  if (!stop->found()) shown += stop->Finish();
  return {shown, stop->found()};
}

TEST(StopStrings, FoundAcrossPieces) {
  for (size_t size = 1; size <= 20; ++size) {
    EXPECT_EQ(Feed({"END"}, "some text EN ENEND after", size),
              std::make_pair(std::string("some text EN EN"), true));
    EXPECT_EQ(Feed({"aab"}, "xaaaab", size), std::make_pair(std::string("xaa"), true));
    EXPECT_EQ(Feed({"never"}, "neve nev n", size),
              std::make_pair(std::string("neve nev n"), false));
    EXPECT_EQ(Feed({"\n\n"}, "one\ntwo\n\nthree", size),
              std::make_pair(std::string("one\ntwo"), true));
  }
}

TEST(StopStrings, TheFirstOfSeveralWins) {
  for (size_t size = 1; size <= 12; ++size) {
    EXPECT_EQ(Feed({"cd", "zz", "bcx"}, "abcdzz", size).first, "ab");
  }
}

TEST(StopStrings, HoldsBackOnlyWhatCouldMatch) {
  auto stop = StopStrings::Create({"stop"});
  ASSERT_TRUE(stop.ok());
  EXPECT_EQ(stop->Add("go st"), "go ");
  EXPECT_EQ(stop->Add("art"), "start");
  EXPECT_EQ(stop->Add("s"), "");
  EXPECT_EQ(stop->Finish(), "s");
  EXPECT_EQ(stop->Add("stop it"), "");
  EXPECT_TRUE(stop->found());
  EXPECT_EQ(stop->Add("more"), "");
}

TEST(StopStrings, NoneShowsEverythingAtOnce) {
  auto stop = StopStrings::Create({});
  ASSERT_TRUE(stop.ok());
  EXPECT_EQ(stop->Add("anything"), "anything");
}

TEST(StopStrings, Limits) {
  EXPECT_FALSE(StopStrings::Create({""}).ok());
  EXPECT_FALSE(StopStrings::Create({std::string(2000, 'x')}).ok());
  EXPECT_FALSE(StopStrings::Create(std::vector<std::string>(100000, "x")).ok());
}

}  // namespace
}  // namespace fathom
