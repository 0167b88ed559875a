// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Capabilities of a profile and its JSON form.
#include "compiler/target/TargetProfile.h"

#include <algorithm>

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

namespace fathom {
namespace {

llvm::Error fieldError(llvm::StringRef where, llvm::StringRef field, const llvm::Twine& expected) {
  return llvm::createStringError(where + ": " + field + ": expected " + expected);
}

llvm::Error readString(const llvm::json::Object& object, llvm::StringRef where,
                       llvm::StringRef field, bool required, std::string& out) {
  const llvm::json::Value* value = object.get(field);
  if (!value && !required) return llvm::Error::success();
  std::optional<llvm::StringRef> text;
  if (value) text = value->getAsString();
  if (!text) return fieldError(where, field, "a string");
  out = text->str();
  return llvm::Error::success();
}

llvm::Error readRate(const llvm::json::Object& object, llvm::StringRef where, llvm::StringRef field,
                     double& out) {
  const llvm::json::Value* value = object.get(field);
  if (!value) return llvm::Error::success();
  std::optional<double> number = value->getAsNumber();
  if (!number || !(*number >= 0)) return fieldError(where, field, "a number of at least 0");
  out = *number;
  return llvm::Error::success();
}

llvm::Error readInteger(const llvm::json::Object& object, llvm::StringRef where,
                        llvm::StringRef field, int64_t lo, int64_t hi, int64_t& out) {
  const llvm::json::Value* value = object.get(field);
  if (!value) return llvm::Error::success();
  std::optional<int64_t> number = value->getAsInteger();
  if (!number || *number < lo || *number > hi)
    return fieldError(where, field,
                      "an integer in [" + llvm::Twine(lo) + ", " + llvm::Twine(hi) + "]");
  out = *number;
  return llvm::Error::success();
}

llvm::Error readBool(const llvm::json::Object& object, llvm::StringRef where, llvm::StringRef field,
                     bool& out) {
  const llvm::json::Value* value = object.get(field);
  if (!value) return llvm::Error::success();
  std::optional<bool> flag = value->getAsBoolean();
  if (!flag) return fieldError(where, field, "true or false");
  out = *flag;
  return llvm::Error::success();
}

llvm::Error refuseUnknown(const llvm::json::Object& object, llvm::StringRef where,
                          llvm::ArrayRef<llvm::StringRef> known) {
  for (const auto& member : object)
    if (!llvm::is_contained(known, llvm::StringRef(member.first)))
      return llvm::createStringError(where + ": " + llvm::StringRef(member.first) +
                                     ": unknown field, expected one of " + llvm::join(known, ", "));
  return llvm::Error::success();
}

// The fields of a gpu object, in the order they are written.
struct GpuField {
  llvm::StringRef name;
  int64_t GpuProfile::*integer = nullptr;
  bool GpuProfile::*flag = nullptr;
  int64_t lo = 0, hi = 0;
};
const GpuField kGpuFields[] = {
    {"subgroup_size", &GpuProfile::subgroupSize, nullptr, 0, 128},
    {"workgroup_size", &GpuProfile::workgroupSize, nullptr, 32, 1024},
    {"shared_bytes", &GpuProfile::sharedBytes, nullptr, 16384, 1 << 20},
    {"max_buffer_range", &GpuProfile::maxBufferRange, nullptr, 1 << 12, int64_t{1} << 40},
    {"native_f16", nullptr, &GpuProfile::nativeF16},
    {"native_i8", nullptr, &GpuProfile::nativeI8},
    {"native_i16", nullptr, &GpuProfile::nativeI16},
    {"dot8", nullptr, &GpuProfile::dot8},
    {"async_copy", nullptr, &GpuProfile::asyncCopy},
    {"texel_loads", nullptr, &GpuProfile::texelLoads},
    {"shares_sums", nullptr, &GpuProfile::sharesSums},
    {"tokens_per_lane", &GpuProfile::tokensPerLane, nullptr, 1, 32},
    {"attention_splits", &GpuProfile::attentionSplits, nullptr, 1, 256},
    {"load_width", &GpuProfile::loadWidth, nullptr, 4, 16},
};

llvm::json::Object writeGpu(const GpuProfile& gpu) {
  llvm::json::Object object{{"isa", gpu.isa}, {"mma", gpu.mma}};
  for (const GpuField& field : kGpuFields) {
    if (field.integer)
      object[field.name] = gpu.*field.integer;
    else
      object[field.name] = gpu.*field.flag;
  }
  return object;
}

llvm::Error readGpu(const llvm::json::Object& object, llvm::StringRef where, GpuProfile& out) {
  llvm::SmallVector<llvm::StringRef> known = {"isa", "mma"};
  for (const GpuField& field : kGpuFields) known.push_back(field.name);
  if (llvm::Error error = refuseUnknown(object, where, known)) return error;
  if (llvm::Error error = readString(object, where, "isa", true, out.isa)) return error;
  if (llvm::Error error = readString(object, where, "mma", false, out.mma)) return error;
  for (const GpuField& field : kGpuFields)
    if (llvm::Error error = field.integer ? readInteger(object, where, field.name, field.lo,
                                                        field.hi, out.*field.integer)
                                          : readBool(object, where, field.name, out.*field.flag))
      return error;
  if (out.isa != "spirv" && out.isa != "nvvm") return fieldError(where, "isa", "'spirv' or 'nvvm'");
  if (!llvm::is_contained({"none", "mma_sync", "coop"}, out.mma))
    return fieldError(where, "mma", "'none', 'mma_sync' or 'coop'");
  auto powerOfTwo = [](int64_t n) { return (n & (n - 1)) == 0; };
  if (!powerOfTwo(out.workgroupSize)) return fieldError(where, "workgroup_size", "a power of two");
  if (!powerOfTwo(out.subgroupSize))
    return fieldError(where, "subgroup_size", "0 or a power of two");
  if (!powerOfTwo(out.loadWidth)) return fieldError(where, "load_width", "4, 8 or 16");
  return llvm::Error::success();
}

llvm::json::Object writeRates(const DeviceRates& rates) {
  llvm::json::Object object{{"read_gbps", rates.readGBps},
                            {"int8_gops", rates.int8Gops},
                            {"bf16_gflops", rates.bf16Gflops},
                            {"f32_gflops", rates.f32Gflops}};
  if (!rates.device.empty()) object["device"] = rates.device;
  return object;
}

llvm::Error readRates(const llvm::json::Value& value, llvm::StringRef where, llvm::StringRef field,
                      DeviceRates& out) {
  const llvm::json::Object* rates = value.getAsObject();
  if (!rates) return fieldError(where, field, "an object");
  const std::string inner = (where + ": " + field).str();
  if (llvm::Error error = refuseUnknown(
          *rates, inner, {"device", "read_gbps", "int8_gops", "bf16_gflops", "f32_gflops"}))
    return error;
  if (llvm::Error error = readString(*rates, inner, "device", false, out.device)) return error;
  for (auto [name, target] :
       {std::pair{"read_gbps", &out.readGBps}, std::pair{"int8_gops", &out.int8Gops},
        std::pair{"bf16_gflops", &out.bf16Gflops}, std::pair{"f32_gflops", &out.f32Gflops}})
    if (llvm::Error error = readRate(*rates, inner, name, *target)) return error;
  return llvm::Error::success();
}

}  // namespace

std::optional<std::string> TargetProfile::bindingFeature(int64_t bytes) const {
  constexpr int64_t kPromised = int64_t{1} << 27, kMega = 1 << 20;  // by Vulkan
  if (!gpu || gpu->isa != "spirv" || bytes <= kPromised) return std::nullopt;
  return "range_" + std::to_string((bytes + kMega - 1) / kMega) + "m";
}

void TargetProfile::setFeatures(std::vector<std::string> names) {
  llvm::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  features = std::move(names);
  auto has = [&](llvm::StringRef feature) { return llvm::is_contained(features, feature); };
  avx2 = has("avx2") && has("fma");
  avx512 = avx2 && has("avx512f") && has("avx512bw") && has("avx512cd") && has("avx512dq") &&
           has("avx512vl");
  vnni = avx512 && has("avx512vnni");
  avx512Bf16 = avx512 && has("avx512bf16");
  amx = vnni && avx512Bf16 && has("amx-tile") && has("amx-int8") && has("amx-bf16");
  neon = has("neon");
  f16c = has("f16c") || neon;
  dotprod = neon && has("dotprod");
  vectorBits = avx512 ? 512 : avx2 ? 256 : 128;
}

llvm::StringRef TargetProfile::activationFor(llvm::StringRef encoding) const {
  if (encoding == "q8" || encoding == "q4") return "i8";
  bool bf16 = avx512Bf16 || (gpu && gpu->mma == "mma_sync" && gpu->asyncCopy);
  return encoding == "bf16" && bf16 ? "bf16" : "f32";
}

llvm::json::Value TargetProfile::toJson() const {
  llvm::json::Object object{{"name", name},
                            {"driver", driver},
                            {"triple", triple},
                            {"cpu", cpu},
                            {"tune", tune},
                            {"features", features},
                            {"prefetch_bytes", prefetchBytes},
                            {"weight_streams", weightStreams},
                            {"workers", workers},
                            {"few_tokens", fewTokens},
                            {"few_context", fewContext}};
  if (gpu) object["gpu"] = writeGpu(*gpu);
  if (measured) object["measured"] = writeRates(*measured);
  if (published) object["published"] = writeRates(*published);
  return object;
}

llvm::Expected<TargetProfile> TargetProfile::fromJson(const llvm::json::Value& json,
                                                      llvm::StringRef where) {
  const llvm::json::Object* object = json.getAsObject();
  if (!object) return llvm::createStringError(where + ": expected an object");
  if (llvm::Error error = refuseUnknown(
          *object, where,
          {"name", "driver", "triple", "cpu", "tune", "features", "prefetch_bytes",
           "weight_streams", "workers", "few_tokens", "few_context", "gpu", "measured",
           "published"}))
    return error;

  TargetProfile profile;
  if (llvm::Error error = readString(*object, where, "name", true, profile.name)) return error;
  if (llvm::Error error = readString(*object, where, "driver", true, profile.driver)) return error;
  if (llvm::Error error = readString(*object, where, "triple", false, profile.triple)) return error;
  if (llvm::Error error = readString(*object, where, "cpu", false, profile.cpu)) return error;
  if (llvm::Error error = readString(*object, where, "tune", false, profile.tune)) return error;
  if (llvm::StringRef(profile.name).split(':').first != profile.driver)
    return fieldError(where, "name",
                      "a name that begins with the driver, '" + profile.driver + "'");

  const llvm::json::Array* list = object->getArray("features");
  if (!list) return fieldError(where, "features", "an array of strings");
  std::vector<std::string> names;
  for (const llvm::json::Value& value : *list) {
    std::optional<llvm::StringRef> text = value.getAsString();
    if (!text) return fieldError(where, "features", "an array of strings");
    names.push_back(text->str());
  }
  profile.setFeatures(std::move(names));

  if (llvm::Error error =
          readInteger(*object, where, "prefetch_bytes", 0, 1 << 20, profile.prefetchBytes))
    return error;
  if (llvm::Error error = readInteger(*object, where, "workers", 0, kMaxWorkers, profile.workers))
    return error;
  if (llvm::Error error =
          readInteger(*object, where, "weight_streams", 1, 2, profile.weightStreams))
    return error;
  if (llvm::Error error =
          readInteger(*object, where, "few_tokens", 0, kMaxFewTokens, profile.fewTokens))
    return error;
  if (llvm::Error error =
          readInteger(*object, where, "few_context", 0, kMaxFewContext, profile.fewContext))
    return error;
  if (const llvm::json::Value* value = object->get("gpu")) {
    const llvm::json::Object* gpu = value->getAsObject();
    if (!gpu) return fieldError(where, "gpu", "an object");
    if (llvm::Error error = readGpu(*gpu, (where + ": gpu").str(), profile.gpu.emplace()))
      return error;
  }
  for (auto [field, rates] :
       {std::pair{"measured", &profile.measured}, std::pair{"published", &profile.published}})
    if (const llvm::json::Value* value = object->get(field))
      if (llvm::Error error = readRates(*value, where, field, rates->emplace())) return error;
  return profile;
}

llvm::Error TargetProfile::save(llvm::StringRef path) const {
  // writeToOutput goes through a temporary file, so a full disk leaves no half profile.
  return llvm::writeToOutput(path, [&](llvm::raw_ostream& os) -> llvm::Error {
    os << llvm::formatv("{0:2}", toJson()) << "\n";
    return llvm::Error::success();
  });
}

llvm::Expected<TargetProfile> TargetProfile::load(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (std::error_code error = buffer.getError())
    return llvm::createStringError(error, path + ": " + error.message());
  llvm::Expected<llvm::json::Value> json = llvm::json::parse((*buffer)->getBuffer());
  if (!json) return llvm::createStringError(path + ": " + llvm::toString(json.takeError()));
  return fromJson(*json, path);
}

}  // namespace fathom
