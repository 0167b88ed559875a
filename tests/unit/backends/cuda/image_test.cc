// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Verification of code images: what is accepted, and one test for each lie.
#include "backends/cuda/driver/image.h"

#include <elf.h>

#include <cstring>
#include <functional>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/backends/cuda/test_code.h"

namespace fathom::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

GpuFacts TestFacts() {
  GpuFacts facts;
  facts.name = "test GPU";
  facts.sm = 80;
  facts.max_shared_optin = 64 * 1024;
  return facts;
}

absl::Status Read(const abi::ImageT& image) {
  const std::vector<uint8_t> code = Pack(image);
  return ReadImage(code, TestFacts()).status();
}

// The status of a good image after `change`.
absl::Status Changed(const std::function<void(abi::ImageT&)>& change) {
  abi::ImageT image = TestImage();
  change(image);
  return Read(image);
}

std::vector<uint8_t> TestElf() {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_shoff = sizeof(header);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 1;
  Elf64_Shdr section = {};
  section.sh_type = SHT_PROGBITS;
  section.sh_offset = sizeof(header);
  section.sh_size = sizeof(section);
  std::vector<uint8_t> bytes(sizeof(header) + sizeof(section));
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), &section, sizeof(section));
  return bytes;
}

void AddCubin(abi::ImageT& image, uint32_t arch, std::vector<uint8_t> bytes) {
  auto cubin = std::make_unique<abi::CubinT>();
  cubin->arch = arch;
  cubin->bytes = std::move(bytes);
  image.cubins.push_back(std::move(cubin));
}

TEST(CudaImage, ReadsWhatWasWritten) {
  abi::ImageT stored = TestImage();
  AddCubin(stored, 90, TestElf());
  AddCubin(stored, 80, TestElf());
  const std::vector<uint8_t> code = Pack(stored);
  const auto image = ReadImage(code, TestFacts());
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ(image->kernels.size(), 4u);
  EXPECT_EQ(image->cubin.size(), TestElf().size());
  EXPECT_EQ(image->ptx, stored.ptx);
  const ImageKernel& reverse = image->kernels[3];
  EXPECT_EQ(reverse.name, "reverse");
  EXPECT_EQ(reverse.entry, "test_reverse");
  EXPECT_EQ(reverse.bindings, 1u);
  EXPECT_EQ(reverse.push, 1u);
  EXPECT_THAT(reverse.workgroup, ::testing::ElementsAre(256, 1, 1));
  EXPECT_EQ(reverse.shared_bytes, 1024u);
}

TEST(CudaImage, TakesOnlyACubinForExactlyThisGpu) {
  abi::ImageT stored = TestImage();
  AddCubin(stored, 86, TestElf());
  AddCubin(stored, 75, TestElf());
  const std::vector<uint8_t> code = Pack(stored);
  const auto image = ReadImage(code, TestFacts());
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_TRUE(image->cubin.empty());
}

TEST(CudaImage, RefusesDamage) {
  const std::vector<uint8_t> good = Pack(TestImage());
  for (size_t length = 0; length < good.size(); length += 7) {
    const std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<long>(length));
    EXPECT_FALSE(ReadImage(cut, TestFacts()).ok()) << length;
  }
  std::vector<uint8_t> other = good;
  other[4] = 'X';
  EXPECT_THAT(ReadImage(other, TestFacts()).status().message(), HasSubstr("not one for CUDA"));
  // Whatever byte is wrong, nothing outside the image is touched.
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::vector<uint8_t> wrong = good;
    for (int n = 0; n < 3; ++n) wrong[random() % wrong.size()] = static_cast<uint8_t>(random());
    (void)ReadImage(wrong, TestFacts());
  }
}

TEST(CudaImage, RefusesLies) {
  const auto message = [](const std::function<void(abi::ImageT&)>& change) {
    const absl::Status status = Changed(change);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message([](auto& image) { image.ptx = ""; }), HasSubstr("ptx"));
  EXPECT_THAT(message([](auto& image) { image.ptx += std::string("\0hidden", 7); }),
              HasSubstr("a text without NUL"));
  EXPECT_THAT(message([](auto& image) { image.kernels[1]->name = "count"; }),
              HasSubstr("the kernel count is there twice"));
  EXPECT_THAT(message([](auto& image) { image.kernels[1]->entry = ""; }),
              HasSubstr("kernel sum: its entry has no name"));
  EXPECT_THAT(message([](auto& image) { image.kernels[1]->entry = std::string("a\0b", 3); }),
              HasSubstr("its entry has no name"));
  EXPECT_THAT(message([](auto& image) {
                image.kernels[0]->workgroup = {1, 1};
              }),
              HasSubstr("workgroup: expected 3 sizes, found 2"));
  EXPECT_THAT(message([](auto& image) {
                image.kernels[0]->workgroup = {1, 0, 1};
              }),
              HasSubstr("found 0"));
  EXPECT_THAT(message([](auto& image) { image.kernels[0]->bindings = UINT32_MAX; }),
              HasSubstr("expected at most 512, found 4294967297"));
}

TEST(CudaImage, RefusesBrokenCubins) {
  const auto broken = [](const std::function<void(Elf64_Ehdr&, Elf64_Shdr&)>& change) {
    std::vector<uint8_t> bytes = TestElf();
    Elf64_Ehdr header;
    Elf64_Shdr section;
    std::memcpy(&header, bytes.data(), sizeof(header));
    std::memcpy(&section, bytes.data() + sizeof(header), sizeof(section));
    change(header, section);
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + sizeof(header), &section, sizeof(section));
    return std::string(Changed([&](auto& image) { AddCubin(image, 80, bytes); }).message());
  };
  EXPECT_EQ(broken([](auto&, auto&) {}), "");
  EXPECT_THAT(broken([](auto& header, auto&) { header.e_ident[0] = 0; }),
              HasSubstr("no whole ELF"));
  EXPECT_THAT(broken([](auto& header, auto&) { header.e_shnum = 2; }), HasSubstr("no whole ELF"));
  EXPECT_THAT(broken([](auto& header, auto&) { header.e_shoff = UINT64_MAX; }),
              HasSubstr("no whole ELF"));
  EXPECT_THAT(broken([](auto& header, auto&) { header.e_phnum = 1; }), HasSubstr("no whole ELF"));
  EXPECT_THAT(broken([](auto&, auto& section) { section.sh_size = 1 << 20; }),
              HasSubstr("the cubin for sm_80 is no whole ELF file"));
  EXPECT_THAT(std::string(Changed([](auto& image) {
                            AddCubin(image, 90, {1, 2, 3});
                          }).message()),
              HasSubstr("the cubin for sm_90"));
}

TEST(CudaImage, RefusesWhatTheGpuCannotRun) {
  const auto message = [](const std::function<void(abi::ImageT&)>& change) {
    const absl::Status status = Changed(change);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message([](auto& image) { image.sm = 90; }),
              HasSubstr("made for sm_90; test GPU is sm_80"));
  EXPECT_THAT(message([](auto& image) {
                image.kernels[0]->workgroup = {32, 33, 1};
              }),
              AllOf(HasSubstr("kernel count: needs blocks of 32 x 33 x 1 threads"),
                    HasSubstr("1024 in all")));
  EXPECT_THAT(message([](auto& image) {
                image.kernels[0]->workgroup = {1, 1, 128};
              }),
              HasSubstr("1024 x 1024 x 64"));
  EXPECT_THAT(message([](auto& image) { image.kernels[3]->shared_bytes = 70'000; }),
              HasSubstr("kernel reverse: needs 70000 bytes of shared memory; test GPU has 65536"));
}

}  // namespace
}  // namespace fathom::cuda
