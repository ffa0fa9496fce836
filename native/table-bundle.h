// Opening a stretch of a sealed bundle: the one place in the addon that knows its layout (drawn in
// src/chunks/bundle-layout.ts): header of 81 bytes, then segments of 16 KiB plaintext with a tag of
// 16 bytes each. Pure arithmetic and AEAD; no I/O.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aead.h"

namespace lattice {

inline constexpr size_t kBundleHeaderBytes = 81;
inline constexpr size_t kBundleMaxBytes = size_t{1} << 20;
inline constexpr size_t kEpochIdBytes = 8;
inline constexpr size_t kSealedSegmentBytes = kSegmentBytes + kTagBytes;

struct BundleHeader {
  const uint8_t* bytes;

  // A header that can belong to a bundle of `sealed_bytes`; nothing is authentic yet.
  static bool parse(const uint8_t* bytes, size_t sealed_bytes, BundleHeader* out) {
    if (sealed_bytes <= kBundleHeaderBytes + kTagBytes || sealed_bytes > kBundleMaxBytes) {
      return false;
    }
    const size_t body = sealed_bytes - kBundleHeaderBytes;
    const size_t segments = (body + kSealedSegmentBytes - 1) / kSealedSegmentBytes;
    if (body - (segments - 1) * kSealedSegmentBytes <= kTagBytes) return false;
    out->bytes = bytes;
    return bytes[0] == 0 && bytes[1] == 1 && out->segments() == segments;
  }
  const uint8_t* epoch_id() const { return bytes + 18; }
  const uint8_t* nonce_prefix() const { return bytes + 62; }
  uint32_t segments() const {
    return uint32_t{bytes[58]} << 24 | uint32_t{bytes[59]} << 16 | uint32_t{bytes[60]} << 8 |
           bytes[61];
  }
};

// Which sealed bytes of a bundle hold [offset, offset + length) of its plaintext.
struct SegmentSpan {
  uint32_t first = 0, count = 0;
  size_t sealed_offset = 0, sealed_bytes = 0;
  size_t plain_bytes = 0;  // that these segments open to
  size_t skip = 0;         // from their start to `offset`

  static bool of(size_t bundle_bytes, uint64_t offset, uint64_t length, SegmentSpan* out) {
    if (bundle_bytes <= kBundleHeaderBytes || bundle_bytes > kBundleMaxBytes || length == 0 ||
        offset > kBundleMaxBytes || length > kBundleMaxBytes) {
      return false;
    }
    const uint64_t first = offset / kSegmentBytes;
    const uint64_t last = (offset + length - 1) / kSegmentBytes;
    const uint64_t begin = kBundleHeaderBytes + first * kSealedSegmentBytes;
    uint64_t end = kBundleHeaderBytes + (last + 1) * kSealedSegmentBytes;
    if (end > bundle_bytes) end = bundle_bytes;
    const uint64_t count = last - first + 1;
    if (begin >= end || end - begin <= count * kTagBytes) return false;
    out->first = static_cast<uint32_t>(first);
    out->count = static_cast<uint32_t>(count);
    out->sealed_offset = static_cast<size_t>(begin);
    out->sealed_bytes = static_cast<size_t>(end - begin);
    out->plain_bytes = static_cast<size_t>(end - begin - count * kTagBytes);
    out->skip = static_cast<size_t>(offset - first * kSegmentBytes);
    return out->skip + length <= out->plain_bytes;
  }
};

}  // namespace lattice
