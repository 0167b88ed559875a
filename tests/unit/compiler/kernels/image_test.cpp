// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The code image of the CPU target: reproducible, freestanding, for every profile.
#include "compiler/target/Target.h"
#include "llvm/Object/ELFObjectFile.h"
#include "tests/unit/compiler/kernels/kernel_harness.h"

namespace fathom::testing {
namespace {

const std::vector<KernelSpec>& specs() {
  static const std::vector<KernelSpec> all = {
      {"blk.0/embed", "embed", "vocab = 40, hidden = 64, enc = \"q8\", out_ld = 64"},
      {"q4", "linear",
       "rows = 32, cols = 64, enc = \"q4\", act = \"i8\", act_stride = 128, out_ld = 32, epilogue "
       "= "
       "\"swiglu\", panel_tiles = 2"},
      {"bf16", "linear",
       "rows = 32, cols = 64, enc = \"bf16\", act = \"f32\", act_stride = 256, out_ld = 32, "
       "epilogue = "
       "\"residual\", panel_tiles = 2"},
      {"rope", "add", "n = 64, ld = 64"},
  };
  return all;
}

TEST(Image, ListsItsKernels) {
  auto image = KernelImage::build("cpu:x86-64-v3", specs());
  ASSERT_TRUE(image);
  EXPECT_EQ(image->table().abi, FATHOM_CPU_ABI);
  ASSERT_EQ(image->table().entries, specs().size());
  for (const KernelSpec& spec : specs()) EXPECT_TRUE(image->find(spec.name)) << spec.name;
  EXPECT_EQ(image->find("q4")->bindings, 4u);
  EXPECT_EQ(image->find("q4")->push, 1u);
  EXPECT_EQ(image->find("bf16")->bindings, 4u);
  EXPECT_EQ(image->find("blk.0/embed")->push, 0u);
}

TEST(Image, SameBytesForEveryNumberOfThreads) {
  auto once = KernelImage::build("cpu:x86-64-v3", specs(), 1);
  auto again = KernelImage::build("cpu:x86-64-v3", specs(), 3);
  ASSERT_TRUE(once && again);
  EXPECT_EQ(once->bytes(), again->bytes());
}

TEST(Image, AnEmptyProgramHasAnEmptyTable) {
  auto image = KernelImage::build("cpu:x86-64-v3", {});
  ASSERT_TRUE(image);
  EXPECT_EQ(image->table().entries, 0u);
}

// Linking refuses imports, relocations and further symbols, so that success says they are not
// there; here for the machines that the tests cannot run on as well.
TEST(Image, LinksFreestandingForEveryProfile) {
  struct {
    const char* profile;
    uint16_t machine;
  } cases[] = {{"cpu:x86-64-v4", llvm::ELF::EM_X86_64},
               {"cpu:x86-64-v4-vnni", llvm::ELF::EM_X86_64},
               {"cpu:x86-64-v4-bf16", llvm::ELF::EM_X86_64},
               {"cpu:x86-64-v4-amx", llvm::ELF::EM_X86_64},
               {"cpu:aarch64", llvm::ELF::EM_AARCH64},
               {"cpu:aarch64-dotprod", llvm::ELF::EM_AARCH64}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.profile);
    std::vector<char> bytes;
    ASSERT_EQ(compileBytes(profileNamed(c.profile), specs(), bytes), "");
    auto file = llvm::object::ELFFile<llvm::object::ELF64LE>::create({bytes.data(), bytes.size()});
    ASSERT_TRUE(static_cast<bool>(file)) << llvm::toString(file.takeError());
    EXPECT_EQ(file->getHeader().e_machine, c.machine);
    EXPECT_EQ(file->getHeader().e_type, llvm::ELF::ET_DYN);
  }
}

TEST(Image, ErrorsNameTheKernel) {
  std::vector<KernelSpec> twice = {specs()[3], specs()[3]};
  std::vector<char> bytes;
  TargetProfile profile = profileNamed("cpu:x86-64-v3");
  EXPECT_NE(compileBytes(profile, twice, bytes).find("kernel 'rope' is requested twice"),
            std::string::npos);
  EXPECT_NE(compileBytes(profile, {{"k", "warp", ""}}, bytes)
                .find("kernel 'k': unknown family 'warp', expected one of add"),
            std::string::npos);
  EXPECT_TRUE(bytes.empty());
}

TEST(Image, RefusesProfilesThatLlvmDoesNotKnow) {
  std::vector<char> bytes;
  auto error = [&](auto change) {
    TargetProfile profile = profileNamed("cpu:x86-64-v3");
    change(profile);
    return compileBytes(profile, {specs()[3]}, bytes);
  };
  EXPECT_NE(error([](TargetProfile& p) {
              p.triple = "sparc-unknown-linux";
            }).find("triple: expected x86_64 or aarch64 with ELF, found 'sparc-unknown-linux'"),
            std::string::npos);
  EXPECT_NE(error([](TargetProfile& p) { p.triple = "no triple"; }).find("'no triple'"),
            std::string::npos);
  EXPECT_NE(error([](TargetProfile& p) { p.cpu = "z80"; }).find("cpu: expected"),
            std::string::npos);
  EXPECT_NE(error([](TargetProfile& p) { p.tune = "z80"; }).find("tune: expected"),
            std::string::npos);
  EXPECT_NE(error([](TargetProfile& p) {
              p.setFeatures({"avx2", "fma", "mmu"});
            }).find("'mmu'"),
            std::string::npos);
  EXPECT_NE(error([](TargetProfile& p) { p.setFeatures({}); }).find("avx2"), std::string::npos);
  // Features of one architecture on the other.
  EXPECT_NE(error([](TargetProfile& p) {
              p.triple = "aarch64-unknown-linux-gnu";
              p.cpu = "generic";
            }).find("features"),
            std::string::npos);
  EXPECT_TRUE(bytes.empty());
}

TEST(Image, NullTargetTakesEverything) {
  std::vector<char> bytes;
  EXPECT_EQ(compileBytes(profileNamed("null"), {{"k", "warp", ""}, {"l", "woof", ""}}, bytes), "");
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "k\nl\n");
}

}  // namespace
}  // namespace fathom::testing
