// The LZ4 block format (github.com/lz4/lz4, doc/lz4_Block_format.md), written from its description:
// a block is a row of sequences
//
//   token: literal length (4 bits) | match length - 4 (4 bits); 15 = more bytes follow, each added,
//   until one is not 255 ‖ literals ‖ offset u16 LE, 1 to 65535 back ‖ the match's further length
//
// The last sequence ends after its literals. The last 5 bytes are literals and no match begins in
// the last 12. The compressor remembers one position per hash of 4 bytes and walks faster the
// longer it finds nothing, so that incompressible data costs little.

#include "lz4.h"

#include <cstring>

#include "napi-util.h"

namespace lattice {

namespace {

constexpr size_t kMinMatch = 4;
constexpr size_t kLastLiterals = 5;
constexpr size_t kNoMatchTail = 12;
constexpr size_t kMaxOffset = 65535;
constexpr unsigned kHashBits = 13;
constexpr unsigned kSkipShift = 6;  // after 64 misses the step grows by one, and so on

uint32_t load32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

uint64_t load64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

uint32_t hash(const uint8_t* p) { return (load32(p) * 2654435761u) >> (32 - kHashBits); }

// Bytes that are equal from a and b on, b not reaching end.
size_t match_length(const uint8_t* a, const uint8_t* b, const uint8_t* end) {
  const uint8_t* const begin = b;
  while (b + 8 <= end) {
    const uint64_t difference = load64(a) ^ load64(b);
    if (difference != 0) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
      return static_cast<size_t>(b - begin) +
             static_cast<size_t>(__builtin_ctzll(difference)) / 8;
#else
      return static_cast<size_t>(b - begin) +
             static_cast<size_t>(__builtin_clzll(difference)) / 8;
#endif
    }
    a += 8;
    b += 8;
  }
  while (b < end && *a == *b) a++, b++;
  return static_cast<size_t>(b - begin);
}

struct Output {
  uint8_t* at;
  uint8_t* const end;

  bool room(size_t bytes) const { return static_cast<size_t>(end - at) >= bytes; }

  // What a length of at least 15 adds after the token.
  void extra(size_t rest) {
    for (; rest >= 255; rest -= 255) *at++ = 255;
    *at++ = static_cast<uint8_t>(rest);
  }
};

// One sequence; match_bytes = 0 for the last one. False when it does not fit.
bool put_sequence(Output* out, const uint8_t* literals, size_t literal_bytes, size_t offset,
                  size_t match_bytes) {
  const size_t match_code = match_bytes == 0 ? 0 : match_bytes - kMinMatch;
  if (!out->room(1 + literal_bytes + literal_bytes / 255 + 1 + 2 + match_code / 255 + 1)) {
    // The estimate is a few bytes generous; so is the caller's bound.
    return false;
  }
  uint8_t* const token = out->at++;
  *token = static_cast<uint8_t>((literal_bytes < 15 ? literal_bytes : 15) << 4);
  if (literal_bytes >= 15) out->extra(literal_bytes - 15);
  if (literal_bytes > 0) std::memcpy(out->at, literals, literal_bytes);
  out->at += literal_bytes;
  if (match_bytes == 0) return true;
  *out->at++ = static_cast<uint8_t>(offset);
  *out->at++ = static_cast<uint8_t>(offset >> 8);
  *token |= static_cast<uint8_t>(match_code < 15 ? match_code : 15);
  if (match_code >= 15) out->extra(match_code - 15);
  return true;
}

}  // namespace

size_t lz4_compress(const uint8_t* in, size_t size, uint8_t* out, size_t out_size) {
  if (size > kLz4MaxInput) return 0;
  Output output{out, out + out_size};
  const uint8_t* const end = in + size;
  const uint8_t* anchor = in;  // the first byte that no sequence covers yet
  if (size > kNoMatchTail) {
    uint32_t table[1u << kHashBits] = {};  // position + 1; 0 = none
    const uint8_t* const match_limit = end - kLastLiterals;
    const uint8_t* const search_limit = end - kNoMatchTail;
    const uint8_t* at = in;
    size_t misses = size_t{1} << kSkipShift;
    while (at <= search_limit) {
      uint32_t* const slot = &table[hash(at)];
      const uint32_t known = *slot;
      *slot = static_cast<uint32_t>(at - in) + 1;
      const uint8_t* candidate = known == 0 ? nullptr : in + (known - 1);
      if (candidate == nullptr || static_cast<size_t>(at - candidate) > kMaxOffset ||
          load32(candidate) != load32(at)) {
        at += misses++ >> kSkipShift;
        continue;
      }
      while (at > anchor && candidate > in && at[-1] == candidate[-1]) at--, candidate--;
      const size_t length =
          kMinMatch + match_length(candidate + kMinMatch, at + kMinMatch, match_limit);
      const size_t literal_bytes = static_cast<size_t>(at - anchor);
      if (!put_sequence(&output, anchor, literal_bytes, static_cast<size_t>(at - candidate),
                        length)) {
        return 0;
      }
      at += length;
      anchor = at;
      misses = size_t{1} << kSkipShift;
      if (at <= search_limit) table[hash(at - 2)] = static_cast<uint32_t>(at - 2 - in) + 1;
    }
  }
  if (!put_sequence(&output, anchor, static_cast<size_t>(end - anchor), 0, 0)) return 0;
  return static_cast<size_t>(output.at - out);
}

namespace {

// Adds the bytes that follow a length of 15. False when the input ends or the sum is absurd.
bool read_extra(const uint8_t** at, const uint8_t* end, size_t* length) {
  uint8_t byte;
  do {
    if (*at >= end || *length > kLz4MaxInput) return false;
    byte = *(*at)++;
    *length += byte;
  } while (byte == 255);
  return true;
}

// A match may overlap what it produces: then the bytes repeat with period `offset`.
void copy_match(uint8_t* to, size_t offset, size_t length, const uint8_t* out_end) {
  const uint8_t* from = to - offset;
  if (offset >= 8 && static_cast<size_t>(out_end - to) >= length + 8) {
    uint8_t* const stop = to + length;
    do {
      std::memcpy(to, from, 8);
      to += 8;
      from += 8;
    } while (to < stop);
  } else if (offset >= length) {
    std::memcpy(to, from, length);
  } else if (offset == 1) {
    std::memset(to, *from, length);
  } else {
    for (size_t i = 0; i < length; i++) to[i] = from[i];
  }
}

}  // namespace

bool lz4_decompress(const uint8_t* in, size_t size, uint8_t* out, size_t out_size) {
  const uint8_t* at = in;
  const uint8_t* const end = in + size;
  uint8_t* to = out;
  uint8_t* const out_end = out + out_size;
  while (at < end) {
    const uint8_t token = *at++;
    size_t literal_bytes = token >> 4;
    if (literal_bytes == 15 && !read_extra(&at, end, &literal_bytes)) return false;
    if (literal_bytes > static_cast<size_t>(end - at) ||
        literal_bytes > static_cast<size_t>(out_end - to)) {
      return false;
    }
    if (literal_bytes <= 16 && end - at >= 16 && out_end - to >= 16) {
      std::memcpy(to, at, 16);
    } else if (literal_bytes > 0) {
      std::memcpy(to, at, literal_bytes);
    }
    at += literal_bytes;
    to += literal_bytes;
    if (at == end) return to == out_end && (token & 15) == 0;
    if (end - at < 2) return false;
    const size_t offset = size_t{at[0]} | size_t{at[1]} << 8;
    at += 2;
    size_t match_bytes = (token & 15);
    if (match_bytes == 15 && !read_extra(&at, end, &match_bytes)) return false;
    match_bytes += kMinMatch;
    if (offset == 0 || offset > static_cast<size_t>(to - out) ||
        match_bytes > static_cast<size_t>(out_end - to)) {
      return false;
    }
    copy_match(to, offset, match_bytes, out_end);
    to += match_bytes;
  }
  return false;
}

}  // namespace lattice

namespace {

using namespace lattice;

bool get_buffers(napi_env env, napi_callback_info info, Bytes* in, Bytes* out) {
  napi_value args[2];
  if (!get_args(env, info, 2, args) ||
      !get_bytes(env, args[0], in, "lz4: input must be a Uint8Array") ||
      !get_bytes(env, args[1], out, "lz4: output must be a Uint8Array")) {
    return false;
  }
  const bool overlap = in->size > 0 && out->size > 0 && in->data < out->data + out->size &&
                       out->data < in->data + in->size;
  if (in->size > kLz4MaxInput || out->size > kLz4MaxInput || overlap) {
    throw_invalid(env, overlap ? "lz4: input and output overlap" : "lz4: too large");
    return false;
  }
  return true;
}

napi_value compress(napi_env env, napi_callback_info info) {
  Bytes in, out;
  if (!get_buffers(env, info, &in, &out)) return nullptr;
  napi_value result = nullptr;
  const size_t size = lz4_compress(in.data, in.size, out.data, out.size);
  napi_create_uint32(env, static_cast<uint32_t>(size), &result);
  return result;
}

napi_value decompress(napi_env env, napi_callback_info info) {
  Bytes in, out;
  if (!get_buffers(env, info, &in, &out)) return nullptr;
  napi_value result = nullptr;
  napi_get_boolean(env, lz4_decompress(in.data, in.size, out.data, out.size), &result);
  return result;
}

}  // namespace

void register_lz4(napi_env env, napi_value exports) {
  export_function(env, exports, "lz4Compress", compress);
  export_function(env, exports, "lz4Decompress", decompress);
}
