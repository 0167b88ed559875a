// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiles kernels in the test process, loads the image and runs grids over guarded buffers.
#ifndef FATHOM_TESTS_UNIT_COMPILER_KERNELS_KERNEL_HARNESS_H
#define FATHOM_TESTS_UNIT_COMPILER_KERNELS_KERNEL_HARNESS_H

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/abi/cpu_abi.h"
#include "compiler/target/TargetProfile.h"
#include "gtest/gtest.h"
#include "tests/unit/compiler/kernels/gpu_device.h"

namespace fathom::testing {

/// A kernel by family and configuration; the latter is the text of an MLIR dictionary without
/// braces: `rows = 33, enc = "q4", bias = true, eps = 1.0e-6`.
struct KernelSpec {
  std::string name;
  std::string family;
  std::string config;
};

/// The profiles whose code runs on this machine: x86-64-v3, x86-64-v4 and native as far as they do,
/// and cpu:aarch64 in an emulator where there is one (emulator.h).
std::vector<std::string> runnableProfiles();
/// A profile of every GPU driver of this build that has a device here; among runnableProfiles().
std::vector<std::string> gpuProfiles();
/// A name that ends in "+many" is the profile before it; projections take the form for many tokens.
/// "+single": a row's weights come in one stream, asked for ahead.
TargetProfile profileNamed(const std::string& name);
bool isGpu(const std::string& profile);

/// Memory whose end (rounded up to 64 bytes) is followed by a page that faults, and whose beginning
/// is 64-byte aligned: reading or writing past the end kills the test. Filled with `fill` bytes
/// (0xff makes every float a NaN).
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes, int fill = 0xff);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  void* data() const { return data_; }
  size_t size() const { return size_; }
  /// The size of the guarded memory that begins at `data`, 0 if there is none.
  static size_t sizeAt(const void* data);

 private:
  void* base_ = nullptr;
  size_t mapped_ = 0;
  void* data_ = nullptr;
  size_t size_ = 0;
};

/// A guarded array.
template <typename T>
class Guarded {
 public:
  explicit Guarded(size_t count) : memory_(count * sizeof(T)), count_(count) {}
  explicit Guarded(const std::vector<T>& values) : Guarded(values.size()) {
    if (!values.empty()) std::memcpy(memory_.data(), values.data(), values.size() * sizeof(T));
  }
  T* data() const { return static_cast<T*>(memory_.data()); }
  size_t size() const { return count_; }
  T& operator[](size_t i) const { return data()[i]; }
  std::vector<T> values() const { return std::vector<T>(data(), data() + count_); }
  operator void*() const { return memory_.data(); }

 private:
  GuardedMemory memory_;
  size_t count_;
};

/// An image of kernels, loaded if it is this machine's.
class KernelImage {
 public:
  /// Compiles `specs` for `profile`; null after a failed expectation with the diagnostics.
  static std::unique_ptr<KernelImage> build(const TargetProfile& profile,
                                            const std::vector<KernelSpec>& specs,
                                            unsigned threads = 2, bool manyTokens = false);
  static std::unique_ptr<KernelImage> build(const std::string& profile,
                                            const std::vector<KernelSpec>& specs,
                                            unsigned threads = 2) {
    return build(profileNamed(profile), specs, threads, profile.ends_with("+many"));
  }
  ~KernelImage();

  /// Runs every workgroup of the grid, the last first, with scratch full of NaNs. Fails the test
  /// when the kernel is missing or the counts differ from its table entry. Bindings are
  /// GuardedMemory; only AArch64 images, which run in an emulator, and GPUs insist on it. A GPU
  /// runs the grid that its profile has for what the CPU's grid covers.
  void run(const std::string& name, uint32_t x, uint32_t y, uint32_t z,
           const std::vector<void*>& bindings, const std::vector<int64_t>& push = {}) const;

  /// The table entry of a kernel, or null. Of a loaded image only.
  const fathom_cpu_entry* find(const std::string& name) const;
  static fathom_cpu_kernel code(const fathom_cpu_entry& entry);
  const fathom_cpu_table& table() const { return *table_; }
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  KernelImage() = default;
  std::vector<char> bytes_;
  void* library_ = nullptr;
  int file_ = -1;  // of the library
  const fathom_cpu_table* table_ = nullptr;
  bool emulated_ = false;
  TargetProfile profile_;
  std::vector<KernelSpec> specs_;
  std::unique_ptr<GpuImage> gpu_;
};

/// Compiles without loading, for any machine; answers the diagnostics, empty on success. Where the
/// environment variable FATHOM_TEST_DUMP names a directory, each kernel's MLIR, LLVM IR and
/// assembly go there.
std::string compileBytes(const TargetProfile& profile, const std::vector<KernelSpec>& specs,
                         std::vector<char>& bytes, unsigned threads = 2);

/// The diagnostics of compiling `spec`, which must fail; empty when it did not.
std::string compileError(const std::string& profile, const KernelSpec& spec);

/// The panel_tiles that the lowering gives a `linear` kernel of this configuration.
int64_t panelTiles(const std::string& profile, const std::string& config, bool manyTokens = false);

/// `count` numbers from a normal distribution, the same for a seed everywhere.
std::vector<float> randomFloats(size_t count, uint32_t seed, float scale = 1.0f);

/// A (rows, cols) matrix in tile16, and the values its bytes stand for.
struct TestWeight {
  std::vector<uint8_t> bytes;
  std::vector<float> values;  // rows x cols, decoded
};
/// Encodes plainly after docs/spec/encodings.md, sharing no code with the compiler. enc:
/// f32|bf16|q8|q4.
TestWeight encodeWeight(const std::string& enc, const std::vector<float>& values, int64_t rows,
                        int64_t cols);

/// Activation rows as records (or f32 rows) with the catalogue's strides, and their decoded values.
/// What the encodings leave unspecified is NaN.
struct TestAct {
  std::vector<uint8_t> bytes;
  std::vector<float> values;  // rows x cols, decoded
  int64_t stride = 0;         // bytes from row to row
};
TestAct encodeAct(const std::string& act, const std::vector<float>& values, int64_t rows,
                  int64_t cols);

float bf16ToFloat(uint16_t bits);
uint16_t floatToBf16(float value);
float f16ToFloat(uint16_t bits);
uint16_t floatToF16(float value);

}  // namespace fathom::testing

#endif  // FATHOM_TESTS_UNIT_COMPILER_KERNELS_KERNEL_HARNESS_H
