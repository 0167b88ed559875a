// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The 64-byte prefix of a .fathom file: what every version can read. Shared by writer and reader;
// std only.
#ifndef FATHOM_RUNTIME_SCHEMA_PREFIX_H_
#define FATHOM_RUNTIME_SCHEMA_PREFIX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fathom::schema {

inline constexpr size_t kPrefixBytes = 64;
inline constexpr char kArtifactMagic[9] = "FATHOM\r\n";  // 8 bytes; \r\n shows a text-mode copy
inline constexpr uint16_t kFormatMajor = 2;
inline constexpr uint16_t kFormatMinor = 1;
inline constexpr uint64_t kSegmentAlignment = 4096;
inline constexpr uint64_t kTensorAlignment = 256;
inline constexpr uint64_t kHeaderAlignment = 64;
inline constexpr size_t kPrefixDigestBytes = 24;

// Offsets and lengths are bytes from the start of the file.
struct ArtifactPrefix {
  uint16_t major = kFormatMajor;
  uint16_t minor = kFormatMinor;
  uint32_t reserved = 0;
  uint64_t header_offset = 0;
  uint64_t header_length = 0;
  uint64_t file_length = 0;
  // The first 24 bytes of the header's BLAKE2b-256 (the 32-byte digest, cut).
  std::array<uint8_t, kPrefixDigestBytes> header_digest{};
};

namespace internal {
inline void PutLittleEndian(uint8_t* to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}
inline uint64_t GetLittleEndian(const uint8_t* from, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(from[i]) << (8 * i);
  return value;
}
}  // namespace internal

// Writes `prefix` as the first 64 bytes of a file.
inline std::array<uint8_t, kPrefixBytes> EncodePrefix(const ArtifactPrefix& prefix) {
  std::array<uint8_t, kPrefixBytes> bytes{};
  std::memcpy(bytes.data(), kArtifactMagic, 8);
  internal::PutLittleEndian(&bytes[8], prefix.major, 2);
  internal::PutLittleEndian(&bytes[10], prefix.minor, 2);
  internal::PutLittleEndian(&bytes[12], prefix.reserved, 4);
  internal::PutLittleEndian(&bytes[16], prefix.header_offset, 8);
  internal::PutLittleEndian(&bytes[24], prefix.header_length, 8);
  internal::PutLittleEndian(&bytes[32], prefix.file_length, 8);
  std::memcpy(&bytes[40], prefix.header_digest.data(), kPrefixDigestBytes);
  return bytes;
}

inline bool HasArtifactMagic(const uint8_t bytes[kPrefixBytes]) {
  return std::memcmp(bytes, kArtifactMagic, 8) == 0;
}

// Reads the 64 bytes without judging them; the reader checks magic, version and ranges.
inline ArtifactPrefix DecodePrefix(const uint8_t bytes[kPrefixBytes]) {
  ArtifactPrefix prefix;
  prefix.major = static_cast<uint16_t>(internal::GetLittleEndian(bytes + 8, 2));
  prefix.minor = static_cast<uint16_t>(internal::GetLittleEndian(bytes + 10, 2));
  prefix.reserved = static_cast<uint32_t>(internal::GetLittleEndian(bytes + 12, 4));
  prefix.header_offset = internal::GetLittleEndian(bytes + 16, 8);
  prefix.header_length = internal::GetLittleEndian(bytes + 24, 8);
  prefix.file_length = internal::GetLittleEndian(bytes + 32, 8);
  std::memcpy(prefix.header_digest.data(), bytes + 40, kPrefixDigestBytes);
  return prefix;
}

}  // namespace fathom::schema

#endif  // FATHOM_RUNTIME_SCHEMA_PREFIX_H_
