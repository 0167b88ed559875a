// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The feature list against what the kernel says, and the CPUs that may be used.
#include "backends/cpu/driver/cpu_features.h"

#include <sched.h>

#include <fstream>
#include <set>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::cpu {
namespace {

TEST(CpuFeatures, AgreesWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) flags.insert(word);
    break;
  }
  ASSERT_FALSE(flags.empty());
  const std::vector<std::string> features = CpuFeatures();
  // LLVM's name, Linux's name.
  const std::pair<const char*, const char*> names[] = {
      {"avx2", "avx2"},         {"fma", "fma"},
      {"f16c", "f16c"},         {"avx512f", "avx512f"},
      {"avx512bw", "avx512bw"}, {"avx512vl", "avx512vl"},
      {"avx512dq", "avx512dq"}, {"avx512vnni", "avx512_vnni"},
      {"bmi2", "bmi2"},         {"avx512bf16", "avx512_bf16"},
      {"avxvnni", "avx_vnni"},  {"amx-int8", "amx_int8"},
      {"sse4.2", "sse4_2"},     {"popcnt", "popcnt"},
      {"dotprod", "asimddp"},   {"neon", "asimd"},
      {"i8mm", "i8mm"},         {"sve", "sve"},
  };
  for (const auto& [llvm, linux] : names) {
    EXPECT_EQ(HasFeature(features, llvm), flags.count(linux) == 1) << llvm;
  }
}

TEST(CpuFeatures, NamesMayBeSpelledEitherWay) {
  EXPECT_TRUE(HasFeature({"avx512vnni", "sse4.2"}, "avx512_vnni"));
  EXPECT_TRUE(HasFeature({"avx512vnni", "sse4.2"}, "sse42"));
  EXPECT_FALSE(HasFeature({"avx512vnni"}, "avx512"));
  EXPECT_FALSE(HasFeature({}, "avx2"));
}

TEST(UsableCpus, RespectsTheAffinity) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  const CpuSet all = UsableCpus();
  ASSERT_FALSE(all.cpus.empty());
  EXPECT_LE(all.physical, static_cast<int>(all.cpus.size()));
  EXPECT_EQ(std::set<int>(all.cpus.begin(), all.cpus.end()).size(), all.cpus.size());
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(all.cpus.back(), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_THAT(UsableCpus().cpus, ::testing::ElementsAre(all.cpus.back()));
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

}  // namespace
}  // namespace fathom::cpu
