// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// TargetProfile: what passes may ask about the machine that code is made for.
#ifndef FATHOM_COMPILER_TARGET_TARGETPROFILE_H
#define FATHOM_COMPILER_TARGET_TARGETPROFILE_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

namespace fathom {

/// Rates of one device, all of it at work. Optional: code never depends on them, estimates and
/// reports do. 0: unknown.
struct DeviceRates {
  std::string device;     // which one: "NVIDIA A100 SXM 80 GB"
  double readGBps = 0;    // main memory
  double int8Gops = 0;    // int8 multiply-adds, two operations each
  double bf16Gflops = 0;  // bf16 multiply-adds (float16 where there is no bf16)
  double f32Gflops = 0;   // float32 multiply-adds
};

/// What a GPU can do beside float32 and 32-bit integers, and how kernels cut their work for it.
struct GpuProfile {
  /// Which operations of its own the code may contain: "spirv" (SPIR-V 1.6 for Vulkan 1.3) or
  /// "nvvm".
  std::string isa;

  int64_t subgroupSize = 0;     // lanes that run together; 0: any, kernels must not depend on it
  int64_t workgroupSize = 64;   // lanes of a workgroup, a power of two of at least 32
  int64_t sharedBytes = 16384;  // workgroup memory that a kernel may use
  int64_t maxBufferRange =
      1 << 27;  // bytes that a kernel's binding may span; weights are cut by it

  bool nativeF16 = false;    // arithmetic and storage of float16
  bool nativeI8 = false;     // 8-bit integers, in storage as well
  bool nativeI16 = false;    // 16-bit integers, in storage as well
  bool dot8 = false;         // products of four packed 8-bit integers, summed to 32 bits
  std::string mma = "none";  // matrix units: "none", "mma_sync" or "coop"
  bool asyncCopy = false;    // copies from memory to workgroup memory beside the arithmetic

  bool texelLoads = false;  // what a dispatch only reads is bound as texels of unsigned integers
  bool sharesSums = true;   // with few tokens lanes share an output's sum through workgroup memory
  int64_t tokensPerLane = 8;     // tokens of a matrix product with many tokens that a lane computes
  int64_t attentionSplits = 16;  // parts of the context that workgroups share, per token decoded
  int64_t loadWidth = 16;        // bytes of the widest load worth making: 4, 8 or 16

  /// Offsets of bindings are multiples of this. The runtime's transient buffers and tensors begin
  /// at multiples of it.
  static constexpr int64_t kBindingAlignment = 256;
};

/// A target by name. Passes decide by the capabilities below and never by the name.
struct TargetProfile {
  std::string name;    // "cpu:x86-64-v4"
  std::string driver;  // "cpu": the runtime driver that loads the code
  std::string triple;  // "x86_64-unknown-linux-gnu"; empty for a target without machine code
  std::string cpu;     // LLVM's processor name whose instructions may always be used: "x86-64-v4"
  std::string tune;    // LLVM's processor name to schedule for: "znver4"; empty: `cpu`

  /// What the loader must find on the device before it picks this code: LLVM's feature names,
  /// sorted. x86-64-v3 is avx2 bmi bmi2 f16c fma lzcnt movbe; v4 adds avx512bw avx512cd avx512dq
  /// avx512f avx512vl; further ones are avx512vnni, avx512bf16 and amx-bf16 amx-int8 amx-tile.
  /// AArch64 knows neon and dotprod.
  std::vector<std::string> features;

  // Capabilities, derived from `features` by setFeatures().
  bool avx2 = false;
  bool avx512 = false;      // F, BW, CD, DQ and VL together
  bool vnni = false;        // vpdpbusd on 512-bit registers
  bool avx512Bf16 = false;  // vdpbf16ps on 512-bit registers
  bool amx = false;         // matrix units for int8 and bf16, beside all of the above
  bool f16c = false;        // f16 <-> f32 conversion in hardware
  bool neon = false;
  bool dotprod = false;      // AArch64 sdot
  int64_t vectorBits = 128;  // widest vector register

  /// How far ahead of its reads a kernel prefetches a stream of weights, in bytes. 0 leaves it to
  /// the hardware where one row is multiplied, which is better on some processors (Zen 4: a quarter
  /// faster) and worse on others (Sapphire Rapids: a third slower; Zen 5: a tenth).
  int64_t prefetchBytes = 0;

  /// How many streams of weights, 1 or 2, the product of one row reads beside each other; they
  /// share prefetchBytes. Two are faster on some processors (Sapphire Rapids: a tenth) and slower
  /// on others (Zen 5: a fifteenth).
  int64_t weightStreams = 2;

  /// How many workers of a CPU the code is made for. Each of them should find work in the attention
  /// of one token, and no more pieces than that be made. Any number runs the code, with the same
  /// results. 0: unknown.
  int64_t workers = 0;
  static constexpr int64_t kMaxWorkers = 4096;

  /// Where projections of many tokens run by matrix units: up to how many tokens of a prompt the
  /// kernels of steps are faster, and up to how many tokens of context, added up over them. Units
  /// cost the same up to a tile of 16 rows, most of it unpacking weights; a step costs its time and
  /// some for each token, and its attention reads the context once for each. They met at 20 to 24
  /// tokens where it was measured (docs/design/010-matrix-units.md). Without units the shape of
  /// latent attention decides, unless fewTokens is 0: then no prompt is computed as steps.
  int64_t fewTokens = 16;
  int64_t fewContext = 8192;
  /// Bounds of the two: what an artifact may say (docs/spec/artifact.md), and more than any
  /// context.
  static constexpr int64_t kMaxFewTokens = 4096, kMaxFewContext = int64_t{1} << 40;

  /// There for a GPU.
  std::optional<GpuProfile> gpu;

  std::optional<DeviceRates> measured;
  /// What the maker of a device of this kind publishes (docs/design/006-estimates.md).
  std::optional<DeviceRates> published;

  /// The most bytes that a dispatch's binding may span.
  int64_t maxBinding() const { return gpu ? gpu->maxBufferRange : INT64_MAX; }

  /// The feature that a device must have to bind `bytes` at once; none where every device does.
  std::optional<std::string> bindingFeature(int64_t bytes) const;

  /// What the byte offset of a dispatch's binding must be a multiple of; the rest of an offset goes
  /// into the kernel's configuration. 1: any offset may be bound.
  int64_t bindingAlignment() const { return gpu ? GpuProfile::kBindingAlignment : 1; }

  /// Replaces `features` (sorted, unique) and every capability that follows from it.
  void setFeatures(std::vector<std::string> names);

  /// The activation form (encodings.md) that a weight encoding is multiplied with here:
  /// f32 -> f32; bf16 -> bf16 where the dot product exists, else f32; q8, q4 -> i8 (whose products
  /// are made by shifts where there is no dot product).
  llvm::StringRef activationFor(llvm::StringRef encoding) const;

  /// One object: name, driver, triple, cpu, tune, features, prefetch_bytes, weight_streams,
  /// workers, few_tokens, few_context, gpu?, measured?, published?.
  llvm::json::Value toJson() const;

  /// The inverse. `where` names the file in errors: "profile.json: features: expected an array of
  /// strings". Unknown keys are errors.
  static llvm::Expected<TargetProfile> fromJson(const llvm::json::Value& json,
                                                llvm::StringRef where);

  llvm::Error save(llvm::StringRef path) const;
  static llvm::Expected<TargetProfile> load(llvm::StringRef path);
};

}  // namespace fathom

#endif  // FATHOM_COMPILER_TARGET_TARGETPROFILE_H
