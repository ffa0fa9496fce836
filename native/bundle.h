// The layout of a sealed bundle for native readers; src/chunks/bundle-layout.ts draws it. Header
// only. The header is the associated data of every segment, whole.

#pragma once

#include <cstddef>
#include <cstdint>

#include "aead.h"

namespace lattice {

inline constexpr size_t kBundleHeaderBytes = 81;
inline constexpr size_t kBundleMaxBytes = 1024 * 1024;
inline constexpr size_t kBundleEpochAt = 18;  // epoch id, 8 bytes
inline constexpr size_t kBundleEpochBytes = 8;
inline constexpr size_t kBundleCountAt = 58;   // segment count, u32 BE
inline constexpr size_t kBundlePrefixAt = 62;  // nonce prefix, kNoncePrefixBytes
inline constexpr size_t kSealedSegmentBytes = kSegmentBytes + kTagBytes;

// Plaintext bytes of a bundle of `sealed_bytes`, or 0 when no bundle has that size.
inline size_t bundle_plain_bytes(size_t sealed_bytes) {
  if (sealed_bytes <= kBundleHeaderBytes || sealed_bytes > kBundleMaxBytes) return 0;
  const size_t body = sealed_bytes - kBundleHeaderBytes;
  const size_t segments = (body + kSealedSegmentBytes - 1) / kSealedSegmentBytes;
  const size_t last = body - (segments - 1) * kSealedSegmentBytes;
  return last <= kTagBytes ? 0 : body - segments * kTagBytes;
}

// Version, suite, sizes and segment count fit together. `header` has kBundleHeaderBytes bytes.
inline bool bundle_header_ok(const uint8_t* header, size_t sealed_bytes) {
  const size_t plain = bundle_plain_bytes(sealed_bytes);
  const uint8_t* c = header + kBundleCountAt;
  const uint32_t count = uint32_t{c[0]} << 24 | uint32_t{c[1]} << 16 | uint32_t{c[2]} << 8 | c[3];
  return header[0] == 0 && header[1] == 1 && plain >= 4 && count == segment_count(plain);
}

struct BundleRange {
  uint32_t first_segment;
  uint32_t total_segments;
  size_t sealed_offset;  // from the start of the bundle
  size_t sealed_bytes;
  size_t plain_offset;  // of the first byte that these segments hold
  size_t plain_bytes;   // that they hold
};

// The segments that hold [offset, offset + length) of the plaintext; false when out of bounds.
inline bool bundle_range(size_t sealed_bytes, size_t offset, size_t length, BundleRange* out) {
  const size_t plain = bundle_plain_bytes(sealed_bytes);
  if (length == 0 || offset >= plain || length > plain - offset) return false;
  const size_t first = offset / kSegmentBytes;
  const size_t last = (offset + length - 1) / kSegmentBytes;
  const size_t begin = kBundleHeaderBytes + first * kSealedSegmentBytes;
  const size_t whole_end = kBundleHeaderBytes + (last + 1) * kSealedSegmentBytes;
  const size_t end = whole_end < sealed_bytes ? whole_end : sealed_bytes;
  out->first_segment = static_cast<uint32_t>(first);
  out->total_segments = static_cast<uint32_t>(segment_count(plain));
  out->sealed_offset = begin;
  out->sealed_bytes = end - begin;
  out->plain_offset = first * kSegmentBytes;
  out->plain_bytes = end - begin - (last - first + 1) * kTagBytes;
  return true;
}

// Opens the segments of `range` (sealed: exactly range.sealed_bytes) into out (range.plain_bytes).
inline bool bundle_open(const uint8_t key[32], const uint8_t* header, const BundleRange& range,
                        const uint8_t* sealed, uint8_t* out) {
  return aead_open_segments(key, header + kBundlePrefixAt, header, kBundleHeaderBytes, sealed,
                            range.sealed_bytes, range.first_segment, range.total_segments, out);
}

}  // namespace lattice
