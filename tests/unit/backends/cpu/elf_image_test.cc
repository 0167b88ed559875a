// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code images: a good one, and every way a bad one can reach outside itself.
#include "backends/cpu/driver/elf_image.h"

#include <elf.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fathom::cpu {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

Bytes TestImage() {
  std::ifstream file(FATHOM_TEST_IMAGE, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

std::string LoadError(const Bytes& bytes) {
  const auto image = ElfImage::Load(bytes);
  return image.ok() ? "" : std::string(image.status().message());
}

// The program headers of a good image, changed in place.
Bytes WithHeaders(const std::function<void(Elf64_Phdr&)>& change) {
  Bytes bytes = TestImage();
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  for (int i = 0; i < header.e_phnum; ++i) {
    uint8_t* at = bytes.data() + header.e_phoff + static_cast<size_t>(i) * sizeof(Elf64_Phdr);
    Elf64_Phdr segment;
    std::memcpy(&segment, at, sizeof(segment));
    change(segment);
    std::memcpy(at, &segment, sizeof(segment));
  }
  return bytes;
}

// The dynamic entries, changed in place.
Bytes WithDynamic(const std::function<void(Elf64_Dyn&)>& change) {
  Bytes bytes = TestImage();
  WithHeaders([&](Elf64_Phdr& segment) {
    if (segment.p_type != PT_DYNAMIC) return;
    for (uint64_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn entry;
      std::memcpy(&entry, bytes.data() + segment.p_offset + at, sizeof(entry));
      change(entry);
      std::memcpy(bytes.data() + segment.p_offset + at, &entry, sizeof(entry));
    }
  });
  return bytes;
}

TEST(ElfImage, LoadsAndRuns) {
  const auto image = ElfImage::Load(TestImage());
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ((*image)->kernels().size(), 6u);
  const ImageKernel& sum = (*image)->kernels()[4];
  EXPECT_EQ(sum.name, "sum");
  EXPECT_EQ(sum.bindings, 2u);
  EXPECT_EQ(sum.push, 1u);
  EXPECT_EQ(sum.scratch_bytes, 4000u);
  uint32_t in[3] = {5, 6, 7}, out[1] = {};
  uint32_t scratch[1000];
  void* bindings[] = {in, out};
  const int64_t push[] = {3};
  const fathom_cpu_args args = {bindings, push, scratch};
  sum.code(&args, 0, 0, 0);
  EXPECT_EQ(out[0], 18u);
}

TEST(ElfImage, NothingIsWritableAndExecutable) {
  const auto image = ElfImage::Load(TestImage());
  ASSERT_TRUE(image.ok()) << image.status();
  const auto code = reinterpret_cast<uintptr_t>((*image)->kernels()[0].code);
  std::ifstream maps("/proc/self/maps");
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    char flags[5] = {};
    ASSERT_EQ(std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, flags), 3);
    if (code < begin || code >= end) continue;
    found = true;
    EXPECT_EQ(flags[1], '-');
    EXPECT_EQ(flags[2], 'x');
  }
  EXPECT_TRUE(found);
}

TEST(ElfImage, RefusesOtherFiles) {
  EXPECT_THAT(LoadError({}), HasSubstr("not an ELF file"));
  EXPECT_THAT(LoadError(Bytes(100, 'x')), HasSubstr("not an ELF file"));
  Bytes bytes = TestImage();
  bytes[EI_CLASS] = ELFCLASS32;
  EXPECT_THAT(LoadError(bytes), HasSubstr("64-bit"));
  bytes = TestImage();
  bytes[offsetof(Elf64_Ehdr, e_type)] = ET_EXEC;
  EXPECT_THAT(LoadError(bytes), HasSubstr("shared object"));
}

TEST(ElfImage, RefusesAnotherArchitecture) {
  Bytes bytes = TestImage();
  bytes[offsetof(Elf64_Ehdr, e_machine)] = EM_386;
  bytes[offsetof(Elf64_Ehdr, e_machine) + 1] = 0;
  const auto image = ElfImage::Load(bytes);
  EXPECT_EQ(image.status().code(), absl::StatusCode::kUnimplemented);
}

TEST(ElfImage, RefusesDangerousSegments) {
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) {
                if (s.p_type == PT_LOAD) s.p_flags = PF_R | PF_W | PF_X;
              })),
              HasSubstr("writable and executable"));
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) {
                if (s.p_type == PT_GNU_STACK) s.p_type = PT_TLS;
              })),
              HasSubstr("thread-local"));
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) {
                if (s.p_type == PT_GNU_STACK) s.p_type = PT_INTERP;
              })),
              HasSubstr("interpreter"));
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) { s.p_memsz = UINT64_MAX; })),
              HasSubstr("outside"));
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) { s.p_offset = UINT64_MAX - 10; })),
              HasSubstr("outside"));
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) { s.p_vaddr = 0; })),
              HasSubstr("share a page"));
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) {
                if (s.p_type == PT_LOAD) s.p_type = PT_NOTE;
              })),
              HasSubstr("nothing to load"));
  EXPECT_THAT(LoadError(WithHeaders([](Elf64_Phdr& s) {
                if (s.p_type == PT_DYNAMIC) s.p_type = PT_NOTE;
              })),
              HasSubstr("no dynamic section"));
}

TEST(ElfImage, RefusesWhatOnlyADynamicLinkerCouldDo) {
  const auto replace_with = [](int64_t tag) {
    bool done = false;
    return WithDynamic([tag, done](Elf64_Dyn& entry) mutable {
      // The entry least needed by the loader.
      if (!done && entry.d_tag == DT_SYMENT) {
        entry.d_tag = tag;
        done = true;
      }
    });
  };
  EXPECT_THAT(LoadError(replace_with(DT_NEEDED)), HasSubstr("another library"));
  EXPECT_THAT(LoadError(replace_with(DT_INIT)), HasSubstr("initialiser"));
  EXPECT_THAT(LoadError(replace_with(DT_INIT_ARRAYSZ)), HasSubstr("initialiser"));
  EXPECT_THAT(LoadError(replace_with(DT_JMPREL)), HasSubstr("relocation"));
  EXPECT_THAT(LoadError(replace_with(DT_REL)), HasSubstr("relocation"));
  EXPECT_THAT(LoadError(WithDynamic([](Elf64_Dyn& entry) {
                if (entry.d_tag == DT_GNU_HASH) entry.d_tag = DT_DEBUG;
              })),
              HasSubstr("hash table"));
  EXPECT_THAT(LoadError(WithDynamic([](Elf64_Dyn& entry) {
                if (entry.d_tag == DT_NULL) entry.d_tag = DT_DEBUG;
              })),
              HasSubstr("no end"));
  EXPECT_THAT(LoadError(WithDynamic([](Elf64_Dyn& entry) {
                if (entry.d_tag == DT_STRTAB) entry.d_un.d_val = uint64_t{1} << 40;
              })),
              HasSubstr("outside the image"));
}

TEST(ElfImage, SurvivesEveryCut) {
  const Bytes good = TestImage();
  for (size_t size = 0; size < good.size(); ++size) {
    (void)ElfImage::Load({good.data(), size});  // section headers at the end are not needed
  }
}

TEST(ElfImage, SurvivesEveryFlippedByte) {
  const Bytes good = TestImage();
  size_t refused = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    for (uint8_t mask : {0x01, 0x80, 0xff}) {
      Bytes bad = good;
      bad[i] ^= mask;
      refused += !ElfImage::Load(bad).ok();
    }
  }
  EXPECT_GT(refused, 100u);
}

}  // namespace
}  // namespace fathom::cpu
