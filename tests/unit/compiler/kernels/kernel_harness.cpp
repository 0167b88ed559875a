// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The harness of the kernel tests.
#include "tests/unit/compiler/kernels/kernel_harness.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <set>

#include "backends/cpu/driver/cpu_features.h"
#include "compiler/kernels/Kernels.h"
#include "compiler/target/Target.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "tests/unit/compiler/kernels/emulator.h"

namespace fathom::testing {
namespace {

const TargetRegistry& registry() {
  static const TargetRegistry* all = [] {
    auto* made = new TargetRegistry;
    registerTargets(*made);
    return made;
  }();
  return *all;
}

mlir::MLIRContext& context() {
  static auto* made = new mlir::MLIRContext(mlir::MLIRContext::Threading::DISABLED);
  return *made;
}

std::map<const void*, size_t>& guarded() {
  static std::map<const void*, size_t> sizes;
  return sizes;
}

mlir::DictionaryAttr parseConfig(const std::string& text) {
  auto attr = llvm::dyn_cast_or_null<mlir::DictionaryAttr>(
      mlir::parseAttribute("{" + text + "}", &context()));
  EXPECT_TRUE(attr) << "not a dictionary: " << text;
  return attr;
}

}  // namespace

std::string compileBytes(const TargetProfile& profile, const std::vector<KernelSpec>& specs,
                         std::vector<char>& bytes, unsigned threads) {
  llvm::SmallVector<char, 0> code;
  std::vector<KernelRequest> requests;
  for (const KernelSpec& spec : specs)
    requests.push_back(
        {spec.name, spec.family, parseConfig(spec.config), mlir::UnknownLoc::get(&context())});
  std::string errors;
  mlir::ScopedDiagnosticHandler handler(&context(), [&](mlir::Diagnostic& diagnostic) {
    errors += diagnostic.str() + "\n";
    return mlir::success();
  });
  CodegenOptions options;
  options.threads = threads;
  if (const char* directory = std::getenv("FATHOM_TEST_DUMP"))
    options.dump = [path = std::string(directory)](llvm::StringRef kernel, llvm::StringRef stage,
                                                   llvm::StringRef text) {
      std::error_code error;
      llvm::raw_fd_ostream(path + "/" + kernel.str() + "." + stage.str(), error) << text;
    };
  if (failed(registry().find(profile.driver)->compile(requests, profile, code, options)) &&
      errors.empty())
    errors = "failed without a diagnostic";
  bytes.assign(code.begin(), code.end());
  return errors;
}

TargetProfile profileNamed(const std::string& name) {
  llvm::Expected<TargetProfile> profile = parseTarget(registry(), name.substr(0, name.find('+')));
  if (!profile) {
    ADD_FAILURE() << llvm::toString(profile.takeError());
    return {};
  }
  if (name.ends_with("+single")) {
    profile->prefetchBytes = 6912;
    profile->weightStreams = 1;
  }
  return *profile;
}

std::vector<std::string> runnableProfiles() {
  // For work on one target: its name alone.
  if (const char* only = std::getenv("FATHOM_TEST_PROFILE")) return {only};
  const std::vector<std::string> host = cpu::CpuFeatures();
  std::vector<std::string> names;
  // Native code may have matrix units; the same processor then runs the widest vectors as well.
  for (const char* name : {"cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:x86-64-v4-bf16", "cpu:native"}) {
    TargetProfile profile = profileNamed(name);
    bool runs = true;
    for (const std::string& feature : profile.features)
      runs = runs && cpu::HasFeature(host, feature);
    if (runs) names.push_back(name);
  }
  if (haveAarch64Emulator()) names.push_back("cpu:aarch64");
  for (const std::string& name : gpuProfiles()) names.push_back(name);
  return names;
}

std::vector<std::string> gpuProfiles() {
  const char* only = std::getenv("FATHOM_TEST_PROFILE");
  std::vector<std::string> names;
  for (const std::string name :
       {"vulkan:generic", "cuda:sm_80", "vulkan:lavapipe", "cuda:sm_120"}) {
    bool rest = name == "vulkan:lavapipe" || name == "cuda:sm_120";
    if (only ? name != only : rest) continue;
    if (!registry().find(llvm::StringRef(name).split(':').first)) continue;
    TargetProfile profile = profileNamed(name);
    if (haveGpu(profile.driver, name, profile.features)) names.push_back(name);
  }
  return names;
}

bool isGpu(const std::string& profile) { return profileNamed(profile).gpu.has_value(); }

GuardedMemory::GuardedMemory(size_t bytes, int fill) : size_(bytes) {
  size_t page = sysconf(_SC_PAGESIZE);
  size_t used = (bytes + 63) / 64 * 64;
  mapped_ = (used + page - 1) / page * page + page;
  base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base_ == MAP_FAILED) std::abort();
  mprotect(static_cast<char*>(base_) + mapped_ - page, page, PROT_NONE);
  data_ = static_cast<char*>(base_) + mapped_ - page - used;
  std::memset(data_, fill, used);
  guarded()[data_] = size_;
}

GuardedMemory::~GuardedMemory() {
  guarded().erase(data_);
  munmap(base_, mapped_);
}

size_t GuardedMemory::sizeAt(const void* data) {
  auto found = guarded().find(data);
  return found == guarded().end() ? 0 : found->second;
}

// The specs as the lowering would configure them for a GPU.
static std::vector<KernelSpec> tuned(const TargetProfile& profile, std::vector<KernelSpec> specs,
                                     bool manyTokens) {
  for (KernelSpec& spec : specs) {
    mlir::NamedAttrList config(parseConfig(spec.config));
    kernels::tuneConfig(profile, spec.family, manyTokens, &context(), config);
    std::string text;
    llvm::raw_string_ostream(text) << config.getDictionary(&context());
    spec.config = text.substr(1, text.size() - 2);
  }
  return specs;
}

// Matrix units take over the projections for many tokens; the rest of a CPU's config is the test's.
static std::vector<KernelSpec> forMatrixUnits(std::vector<KernelSpec> specs) {
  for (KernelSpec& spec : specs)
    if (spec.family == "linear" || spec.family == "experts") spec.config += ", form = \"many\"";
  return specs;
}

std::unique_ptr<KernelImage> KernelImage::build(const TargetProfile& profile,
                                                const std::vector<KernelSpec>& specs,
                                                unsigned threads, bool manyTokens) {
  std::unique_ptr<KernelImage> image(new KernelImage);
  std::vector<char>& code = image->bytes_;
  image->profile_ = profile;
  image->specs_ = profile.gpu                 ? tuned(profile, specs, manyTokens)
                  : profile.amx && manyTokens ? forMatrixUnits(specs)
                                              : specs;
  std::string errors = compileBytes(profile, image->specs_, code, threads);
  if (!errors.empty()) {
    ADD_FAILURE() << errors;
    return nullptr;
  }
  if (profile.gpu) {
    image->gpu_ = std::make_unique<GpuImage>(profile.driver, code);
    return image;
  }
  image->emulated_ = llvm::Triple(profile.triple).isAArch64() &&
                     !llvm::Triple(llvm::sys::getProcessTriple()).isAArch64();
  if (image->emulated_) return image;
  (void)cpu::CpuFeatures();  // asks the system for what the code needs
  // Open for as long as the image lives: dlopen takes a path that it has seen for the same library.
  int fd = image->file_ = memfd_create("kernels", MFD_CLOEXEC);
  bool written =
      fd >= 0 && write(fd, code.data(), code.size()) == static_cast<ssize_t>(code.size());
  if (written)
    image->library_ =
        dlopen(("/proc/self/fd/" + std::to_string(fd)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!image->library_) {
    ADD_FAILURE() << "cannot load the image: " << dlerror();
    return nullptr;
  }
  image->table_ = static_cast<const fathom_cpu_table*>(dlsym(image->library_, FATHOM_CPU_TABLE));
  if (!image->table_ || image->table_->magic != FATHOM_CPU_MAGIC) {
    ADD_FAILURE() << "the image has no table";
    return nullptr;
  }
  return image;
}

KernelImage::~KernelImage() {
  if (library_) dlclose(library_);
  if (file_ >= 0) close(file_);
}

const fathom_cpu_entry* KernelImage::find(const std::string& name) const {
  for (uint32_t i = 0; i < table_->entries; ++i) {
    const fathom_cpu_entry& entry = table_->entry[i];
    if (name == reinterpret_cast<const char*>(&entry) + entry.name) return &entry;
  }
  return nullptr;
}

fathom_cpu_kernel KernelImage::code(const fathom_cpu_entry& entry) {
  return reinterpret_cast<fathom_cpu_kernel>(reinterpret_cast<uintptr_t>(&entry) +
                                             static_cast<intptr_t>(entry.code));
}

// The grid of a GPU for the rows and sequences that the CPU's grid x, y, z covers.
static std::array<uint32_t, 3> gpuGrid(const TargetProfile& profile, const KernelSpec& spec,
                                       uint32_t x, uint32_t y, const std::vector<int64_t>& push) {
  static const std::set<std::string> pushed = {"linear", "experts", "route_plan",
                                               "latent_attention_expanded", "attention_prefill"};
  bool split = spec.family == "attention" || spec.family == "latent_attention";
  bool planned = spec.family == "route" && !push.empty();
  int64_t rows = planned || pushed.count(spec.family) ? push[0] : split ? y : x;
  auto constant = [](int64_t v) { return mlir::getAffineConstantExpr(v, &context()); };
  std::array<uint32_t, 3> grid{};
  auto maps = kernels::kernelGrid(profile, spec.family, parseConfig(spec.config), constant(rows),
                                  constant(y));
  for (size_t i = 0; i < 3; ++i) {
    int64_t least = INT64_MAX;
    for (mlir::AffineExpr extent : maps[i].getResults())
      least = std::min(least, llvm::cast<mlir::AffineConstantExpr>(extent).getValue());
    grid[i] = static_cast<uint32_t>(least);
  }
  return grid;
}

void KernelImage::run(const std::string& name, uint32_t x, uint32_t y, uint32_t z,
                      const std::vector<void*>& bindings, const std::vector<int64_t>& push) const {
  if (gpu_) {
    auto spec = llvm::find_if(specs_, [&](const KernelSpec& s) { return s.name == name; });
    ASSERT_TRUE(spec != specs_.end()) << name;
    std::vector<HostMemory> memory;
    for (void* data : bindings) memory.push_back({data, GuardedMemory::sizeAt(data)});
    ASSERT_EQ(gpu_->run(name, gpuGrid(profile_, *spec, x, y, push), memory, push), "");
    return;
  }
  if (emulated_) {
    std::vector<EmulatedBuffer> buffers;
    for (void* data : bindings) buffers.push_back({data, GuardedMemory::sizeAt(data)});
    ASSERT_EQ(runEmulated(bytes_, name, x, y, z, buffers, push), "");
    return;
  }
  const fathom_cpu_entry* entry = find(name);
  ASSERT_TRUE(entry) << name;
  ASSERT_EQ(entry->bindings, bindings.size()) << name;
  ASSERT_EQ(entry->push, push.size()) << name;
  GuardedMemory scratch(entry->scratch_bytes);
  fathom_cpu_args args{bindings.data(), push.data(), scratch.data()};
  for (uint32_t k = z; k-- > 0;)
    for (uint32_t j = y; j-- > 0;)
      for (uint32_t i = x; i-- > 0;) code (*entry)(&args, i, j, k);
}

std::string compileError(const std::string& profile, const KernelSpec& spec) {
  std::vector<char> code;
  return compileBytes(profileNamed(profile), {spec}, code);
}

int64_t panelTiles(const std::string& profile, const std::string& config, bool manyTokens) {
  mlir::NamedAttrList tuned(parseConfig(config));
  kernels::tuneConfig(profileNamed(profile), "linear", manyTokens, &context(), tuned);
  return llvm::cast<mlir::IntegerAttr>(tuned.get("panel_tiles")).getInt();
}

std::vector<float> randomFloats(size_t count, uint32_t seed, float scale) {
  // Sums of uniform numbers from the generator's bits: std::normal_distribution is not portable.
  std::mt19937 bits(seed);
  std::vector<float> out(count);
  for (float& v : out) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += bits() * 0x1p-32 - 0.5;
    v = static_cast<float>(sum * 1.7320508 * scale);
  }
  return out;
}

float bf16ToFloat(uint16_t bits) {
  uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

uint16_t floatToBf16(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
}

float f16ToFloat(uint16_t bits) {
  int exponent = bits >> 10 & 31;
  float magnitude = exponent ? std::ldexp(1024.0f + (bits & 1023), exponent - 25)
                             : std::ldexp(static_cast<float>(bits & 1023), -24);
  return bits & 0x8000 ? -magnitude : magnitude;
}

uint16_t floatToF16(float value) {
  // The nearest of all halves of this sign; the tie goes to the even one. |value| < 65520.
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  float magnitude = std::fabs(value);
  uint16_t low = 0, high = 0x7bff;
  while (low < high) {
    uint16_t middle = (low + high + 1) / 2;
    if (f16ToFloat(middle) <= magnitude)
      low = middle;
    else
      high = middle - 1;
  }
  if (low < 0x7bff) {
    float below = magnitude - f16ToFloat(low), above = f16ToFloat(low + 1) - magnitude;
    if (above < below || (above == below && (low & 1))) ++low;
  }
  return sign | low;
}

TestWeight encodeWeight(const std::string& enc, const std::vector<float>& values, int64_t rows,
                        int64_t cols) {
  int64_t step = enc == "f32" ? 1 : enc == "bf16" ? 2 : 64;
  int64_t stepBytes = enc == "q8" ? 1088 : enc == "q4" ? 576 : 64;
  int64_t steps = (cols + step - 1) / step, tiles = (rows + 15) / 16;
  TestWeight out;
  out.bytes.assign(tiles * steps * stepBytes, 0);
  out.values.assign(rows * cols, 0.0f);
  auto value = [&](int64_t r, int64_t k) {
    return r < rows && k < cols ? values[r * cols + k] : 0.0f;
  };
  for (int64_t tile = 0; tile < tiles; ++tile)
    for (int64_t s = 0; s < steps; ++s)
      for (int64_t lane = 0; lane < 16; ++lane) {
        uint8_t* at = out.bytes.data() + (tile * steps + s) * stepBytes;
        int64_t r = tile * 16 + lane;
        auto keep = [&](int64_t k, float v) {
          if (r < rows && k < cols) out.values[r * cols + k] = v;
        };
        if (enc == "f32") {
          float v = value(r, s);
          std::memcpy(at + 4 * lane, &v, 4);
          keep(s, v);
          continue;
        }
        if (enc == "bf16") {
          for (int64_t b = 0; b < 2; ++b) {
            uint16_t v = floatToBf16(value(r, 2 * s + b));
            std::memcpy(at + 4 * lane + 2 * b, &v, 2);
            keep(2 * s + b, bf16ToFloat(v));
          }
          continue;
        }
        for (int64_t g = 0; g < 2; ++g) {
          int64_t k0 = 64 * s + 32 * g;
          float amax = 0;
          for (int64_t k = 0; k < 32; ++k) amax = std::max(amax, std::fabs(value(r, k0 + k)));
          int limit = enc == "q8" ? 127 : 7;
          uint16_t bits = floatToF16(amax / limit);
          float scale = f16ToFloat(bits);
          std::memcpy(at + 2 * (16 * g + lane), &bits, 2);
          for (int64_t k = 0; k < 32; ++k) {
            float ratio = scale == 0 ? 0.0f : value(r, k0 + k) / scale;
            int low = enc == "q8" ? -127 : -8;
            int q = std::min(limit, std::max(low, static_cast<int>(std::nearbyint(ratio))));
            keep(k0 + k, scale * q);
            if (enc == "q8") {
              at[64 + 512 * g + 64 * (k / 4) + 4 * lane + k % 4] = static_cast<uint8_t>(q + 128);
            } else {
              uint8_t& byte = at[64 + 256 * g + 64 * (k % 16 / 4) + 4 * lane + k % 4];
              byte |= static_cast<uint8_t>((q + 8) << (k < 16 ? 0 : 4));
            }
          }
        }
      }
  return out;
}

TestAct encodeAct(const std::string& act, const std::vector<float>& values, int64_t rows,
                  int64_t cols) {
  auto up = [](int64_t v, int64_t to) { return (v + to - 1) / to * to; };
  TestAct out;
  int64_t kp = up(cols, 64);
  out.stride = act == "f32"    ? 4 * up(cols, 16)
               : act == "bf16" ? up(2 * cols, 64)
                               : up(kp + kp / 4, 64);
  out.bytes.assign(rows * out.stride, 0xff);
  out.values.assign(rows * cols, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    uint8_t* at = out.bytes.data() + r * out.stride;
    auto value = [&](int64_t k) { return k < cols ? values[r * cols + k] : 0.0f; };
    auto keep = [&](int64_t k, float v) {
      if (k < cols) out.values[r * cols + k] = v;
    };
    if (act == "f32") {
      for (int64_t k = 0; k < cols; ++k) {
        float v = value(k);
        std::memcpy(at + 4 * k, &v, 4);
        keep(k, v);
      }
    } else if (act == "bf16") {
      for (int64_t k = 0; k < up(cols, 2); ++k) {
        uint16_t v = floatToBf16(value(k));
        std::memcpy(at + 2 * k, &v, 2);
        keep(k, bf16ToFloat(v));
      }
    } else {
      for (int64_t g = 0; g < kp / 32; ++g) {
        float amax = 0;
        for (int64_t k = 32 * g; k < 32 * g + 32; ++k) amax = std::max(amax, std::fabs(value(k)));
        float scale = amax / 127;
        int32_t sum = 0;
        for (int64_t k = 32 * g; k < 32 * g + 32; ++k) {
          int8_t q = scale == 0 ? 0 : static_cast<int8_t>(std::nearbyint(value(k) / scale));
          std::memcpy(at + k, &q, 1);
          sum += q;
          keep(k, scale * q);
        }
        int32_t bias = -8 * sum;
        std::memcpy(at + kp + 4 * g, &scale, 4);
        std::memcpy(at + kp + kp / 8 + 4 * g, &bias, 4);
      }
    }
  }
  return out;
}

}  // namespace fathom::testing
