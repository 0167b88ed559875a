// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The cache file: a header of ours with length and checksum, then the driver's bytes.
#include "backends/vulkan/driver/pipeline_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace fathom::vulkan {
namespace {

struct FileHeader {
  char magic[8];
  uint32_t version;
  uint32_t zero;
  uint64_t length;
  uint64_t checksum;
};
static_assert(sizeof(FileHeader) == 32);
constexpr char kMagic[8] = {'F', 'T', 'H', 'M', 'V', 'K', 'P', 'C'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kMaxBytes = uint64_t{1} << 30;

// FNV-1a: finds damage and tells images apart; nobody gains by forging it in the user's own folder.
uint64_t Checksum(absl::Span<const uint8_t> bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

template <size_t N>
std::string Hex(const std::array<uint8_t, N>& bytes) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes.data()), N));
}

// The driver's own header names the device and the build of the driver it is for.
bool IsForDevice(absl::Span<const uint8_t> data, const DeviceFacts& facts) {
  VkPipelineCacheHeaderVersionOne header;
  if (data.size() < sizeof(header)) return false;
  std::memcpy(&header, data.data(), sizeof(header));
  return header.headerSize >= sizeof(header) && header.headerSize <= data.size() &&
         header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
         header.vendorID == facts.vendor_id && header.deviceID == facts.device_id &&
         std::memcmp(header.pipelineCacheUUID, facts.cache_uuid.data(), VK_UUID_SIZE) == 0;
}

std::string UserCacheFolder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return std::string(cache) + "/fathom";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.cache/fathom";
  return "";
}

}  // namespace

std::string PipelineCachePath(const std::string& folder, const DeviceFacts& facts,
                              absl::Span<const uint8_t> code) {
  if (folder == "off") return "";
  const std::string where = folder.empty() ? UserCacheFolder() : folder;
  if (where.empty()) return "";
  return absl::StrFormat("%s/vulkan-%s-%04x-%04x-%016x.cache", where, Hex(facts.driver_uuid),
                         facts.vendor_id, facts.device_id, Checksum(code));
}

std::vector<uint8_t> LoadPipelineCache(const std::string& path, const DeviceFacts& facts) {
  std::ifstream file(path, std::ios::binary);
  FileHeader header;
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header))) return {};
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.version != kVersion ||
      header.length > kMaxBytes) {
    return {};
  }
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error || size != sizeof(header) + header.length) return {};
  std::vector<uint8_t> data(header.length);
  if (!file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()))) {
    return {};
  }
  if (Checksum(data) != header.checksum || !IsForDevice(data, facts)) return {};
  return data;
}

absl::Status StorePipelineCache(const std::string& path, absl::Span<const uint8_t> data) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return InputError(path, "cannot make its folder: " + error.message());
  std::string temporary = path + ".XXXXXX";
  const int descriptor = ::mkstemp(temporary.data());
  if (descriptor < 0) return InputError(path, std::string("cannot write: ") + std::strerror(errno));
  FileHeader header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.length = data.size();
  header.checksum = Checksum(data);
  std::FILE* file = ::fdopen(descriptor, "wb");
  bool written = std::fwrite(&header, sizeof(header), 1, file) == 1 &&
                 std::fwrite(data.data(), 1, data.size(), file) == data.size();
  written &= std::fclose(file) == 0;
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) return absl::OkStatus();
  ::unlink(temporary.c_str());
  return InputError(path, std::string("cannot write: ") + std::strerror(errno));
}

}  // namespace fathom::vulkan
