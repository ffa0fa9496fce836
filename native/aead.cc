// XChaCha20-Poly1305 = HChaCha20 of our own + ChaCha20-Poly1305 of OpenSSL (RFC 8439), as
// draft-irtf-cfrg-xchacha-03 composes them: subkey = HChaCha20(key, nonce[0..16)), IV = four zero
// bytes and nonce[16..24). The addon links no libcrypto: the EVP functions are looked up in the
// node executable, so that a runtime without them is a fallback and not a crash.
//
// Segments are STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015): the nonce is a random
// prefix, the segment's index and a last flag, so that segments can be opened alone and can be
// neither reordered, dropped nor cut off. The subkey depends on the prefix only: one per buffer.

#include "aead.h"

#include <dlfcn.h>

#include <cstring>

#include "napi-util.h"

namespace lattice {

namespace {

struct Evp {
  void* (*ctx_new)();
  void (*ctx_free)(void*);
  int (*ctx_reset)(void*);
  int (*ctx_ctrl)(void*, int, int, void*);
  const void* (*chacha20_poly1305)();
  int (*encrypt_init)(void*, const void*, void*, const uint8_t*, const uint8_t*);
  int (*encrypt_update)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*encrypt_final)(void*, uint8_t*, int*);
  int (*decrypt_init)(void*, const void*, void*, const uint8_t*, const uint8_t*);
  int (*decrypt_update)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*decrypt_final)(void*, uint8_t*, int*);
  bool complete = true;

  Evp() {
    find(&ctx_new, "EVP_CIPHER_CTX_new");
    find(&ctx_free, "EVP_CIPHER_CTX_free");
    find(&ctx_reset, "EVP_CIPHER_CTX_reset");
    find(&ctx_ctrl, "EVP_CIPHER_CTX_ctrl");
    find(&chacha20_poly1305, "EVP_chacha20_poly1305");
    find(&encrypt_init, "EVP_EncryptInit_ex");
    find(&encrypt_update, "EVP_EncryptUpdate");
    find(&encrypt_final, "EVP_EncryptFinal_ex");
    find(&decrypt_init, "EVP_DecryptInit_ex");
    find(&decrypt_update, "EVP_DecryptUpdate");
    find(&decrypt_final, "EVP_DecryptFinal_ex");
  }

  template <typename Function>
  void find(Function* slot, const char* name) {
    void* symbol = dlsym(RTLD_DEFAULT, name);
    if (symbol == nullptr) complete = false;
    std::memcpy(slot, &symbol, sizeof symbol);
  }
};

const Evp& evp() {
  static const Evp table;
  return table;
}

constexpr int kCtrlGetTag = 0x10;  // EVP_CTRL_AEAD_GET_TAG
constexpr int kCtrlSetTag = 0x11;  // EVP_CTRL_AEAD_SET_TAG
constexpr size_t kMaxBytes = size_t{1} << 30;

// One context per thread, reset after each use: no subkey outlives its call.
struct Context {
  void* ctx = evp().ctx_new();
  ~Context() {
    if (ctx != nullptr) evp().ctx_free(ctx);
  }
};

void* context() {
  if (!evp().complete) return nullptr;
  thread_local Context holder;
  return holder.ctx;
}

struct Resetting {
  void* ctx;
  ~Resetting() {
    if (ctx != nullptr) evp().ctx_reset(ctx);
  }
};

uint32_t load32(const uint8_t* p) {
  return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
}

void store32(uint8_t* p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = static_cast<uint8_t>(v >> (8 * i));
}

uint32_t rotate(uint32_t v, int n) { return (v << n) | (v >> (32 - n)); }

void quarter(uint32_t* x, int a, int b, int c, int d) {
  x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 16);
  x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 12);
  x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 8);
  x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 7);
}

bool seal_message(void* ctx, const uint8_t iv[12], const uint8_t* ad, size_t ad_size,
                  const uint8_t* plain, size_t size, uint8_t* out) {
  const Evp& e = evp();
  int n = 0;
  if (e.encrypt_init(ctx, nullptr, nullptr, nullptr, iv) != 1) return false;
  if (ad_size > 0 && e.encrypt_update(ctx, nullptr, &n, ad, static_cast<int>(ad_size)) != 1) {
    return false;
  }
  if (size > 0 && e.encrypt_update(ctx, out, &n, plain, static_cast<int>(size)) != 1) return false;
  return e.encrypt_final(ctx, out + size, &n) == 1 &&
         e.ctx_ctrl(ctx, kCtrlGetTag, kTagBytes, out + size) == 1;
}

bool open_message(void* ctx, const uint8_t iv[12], const uint8_t* ad, size_t ad_size,
                  const uint8_t* sealed, size_t size, uint8_t* out) {
  const Evp& e = evp();
  int n = 0;
  uint8_t tag[kTagBytes], rest[kTagBytes];
  std::memcpy(tag, sealed + size, kTagBytes);
  if (e.decrypt_init(ctx, nullptr, nullptr, nullptr, iv) != 1) return false;
  if (ad_size > 0 && e.decrypt_update(ctx, nullptr, &n, ad, static_cast<int>(ad_size)) != 1) {
    return false;
  }
  if (size > 0 && e.decrypt_update(ctx, out, &n, sealed, static_cast<int>(size)) != 1) return false;
  return e.ctx_ctrl(ctx, kCtrlSetTag, kTagBytes, tag) == 1 && e.decrypt_final(ctx, rest, &n) == 1;
}

// A context keyed for all messages under key and nonce[0..16), or nullptr.
void* keyed(const uint8_t key[32], const uint8_t nonce[16], bool sealing) {
  void* ctx = context();
  if (ctx == nullptr) return nullptr;
  const Evp& e = evp();
  uint8_t subkey[32];
  hchacha20(subkey, key, nonce);
  const void* cipher = e.chacha20_poly1305();
  const int ok = sealing ? e.encrypt_init(ctx, cipher, nullptr, subkey, nullptr)
                         : e.decrypt_init(ctx, cipher, nullptr, subkey, nullptr);
  wipe(subkey, sizeof subkey);
  return ok == 1 ? ctx : nullptr;
}

void segment_iv(uint8_t iv[12], const uint8_t prefix[kNoncePrefixBytes], uint32_t index,
                bool last) {
  std::memset(iv, 0, 4);
  std::memcpy(iv + 4, prefix + 16, 3);
  for (int i = 0; i < 4; i++) iv[7 + i] = static_cast<uint8_t>(index >> (24 - 8 * i));
  iv[11] = last ? 1 : 0;
}

}  // namespace

bool aead_available() { return evp().complete; }

void wipe(void* data, size_t size) {
  std::memset(data, 0, size);
  asm volatile("" : : "r"(data) : "memory");
}

void hchacha20(uint8_t out[32], const uint8_t key[32], const uint8_t input[16]) {
  uint32_t x[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  for (int i = 0; i < 8; i++) x[4 + i] = load32(key + 4 * i);
  for (int i = 0; i < 4; i++) x[12 + i] = load32(input + 4 * i);
  for (int round = 0; round < 10; round++) {
    quarter(x, 0, 4, 8, 12), quarter(x, 1, 5, 9, 13);
    quarter(x, 2, 6, 10, 14), quarter(x, 3, 7, 11, 15);
    quarter(x, 0, 5, 10, 15), quarter(x, 1, 6, 11, 12);
    quarter(x, 2, 7, 8, 13), quarter(x, 3, 4, 9, 14);
  }
  for (int i = 0; i < 4; i++) store32(out + 4 * i, x[i]);
  for (int i = 0; i < 4; i++) store32(out + 16 + 4 * i, x[12 + i]);
  wipe(x, sizeof x);
}

bool aead_seal(const uint8_t key[32], const uint8_t nonce[24], const uint8_t* ad, size_t ad_size,
               const uint8_t* plain, size_t size, uint8_t* out) {
  if (size > kMaxBytes || ad_size > kMaxBytes) return false;
  Resetting guard{keyed(key, nonce, true)};
  if (guard.ctx == nullptr) return false;
  uint8_t iv[12] = {};
  std::memcpy(iv + 4, nonce + 16, 8);
  return seal_message(guard.ctx, iv, ad, ad_size, plain, size, out);
}

bool aead_open(const uint8_t key[32], const uint8_t nonce[24], const uint8_t* ad, size_t ad_size,
               const uint8_t* sealed, size_t sealed_size, uint8_t* out) {
  if (sealed_size < kTagBytes || sealed_size > kMaxBytes || ad_size > kMaxBytes) return false;
  const size_t size = sealed_size - kTagBytes;
  Resetting guard{keyed(key, nonce, false)};
  uint8_t iv[12] = {};
  std::memcpy(iv + 4, nonce + 16, 8);
  const bool ok =
      guard.ctx != nullptr && open_message(guard.ctx, iv, ad, ad_size, sealed, size, out);
  if (!ok && size > 0) std::memset(out, 0, size);
  return ok;
}

size_t segment_count(size_t plain_size) {
  return plain_size == 0 ? 1 : (plain_size + kSegmentBytes - 1) / kSegmentBytes;
}

bool aead_seal_segments(const uint8_t key[32], const uint8_t prefix[kNoncePrefixBytes],
                        const uint8_t* ad, size_t ad_size, const uint8_t* plain, size_t size,
                        uint8_t* out) {
  if (size > kMaxBytes || ad_size > kMaxBytes) return false;
  Resetting guard{keyed(key, prefix, true)};
  if (guard.ctx == nullptr) return false;
  const size_t count = segment_count(size);
  for (size_t i = 0; i < count; i++) {
    const size_t begin = i * kSegmentBytes;
    const size_t length = size - begin < kSegmentBytes ? size - begin : kSegmentBytes;
    uint8_t iv[12];
    segment_iv(iv, prefix, static_cast<uint32_t>(i), i + 1 == count);
    if (!seal_message(guard.ctx, iv, ad, ad_size, plain + begin, length, out)) return false;
    out += length + kTagBytes;
  }
  return true;
}

bool aead_open_segments(const uint8_t key[32], const uint8_t prefix[kNoncePrefixBytes],
                        const uint8_t* ad, size_t ad_size, const uint8_t* sealed,
                        size_t sealed_size, uint32_t first, uint32_t total, uint8_t* out) {
  if (sealed_size > kMaxBytes || ad_size > kMaxBytes) return false;
  Resetting guard{keyed(key, prefix, false)};
  const size_t whole = kSegmentBytes + kTagBytes;
  const size_t tags = (sealed_size + whole - 1) / whole * kTagBytes;
  uint8_t* const out_begin = out;
  const size_t out_size = sealed_size > tags ? sealed_size - tags : 0;
  uint32_t index = first;
  bool ok = guard.ctx != nullptr && sealed_size > 0;
  while (ok && sealed_size > 0) {
    const size_t length = sealed_size < whole ? sealed_size : whole;
    // Only the last segment of all may be short.
    ok = index < total && length >= kTagBytes && (length == whole || index + 1 == total);
    if (!ok) break;
    uint8_t iv[12];
    segment_iv(iv, prefix, index, index + 1 == total);
    ok = open_message(guard.ctx, iv, ad, ad_size, sealed, length - kTagBytes, out);
    sealed += length;
    sealed_size -= length;
    out += length - kTagBytes;
    index++;
  }
  if (!ok && out_size > 0) std::memset(out_begin, 0, out_size);
  return ok;
}

}  // namespace lattice

namespace {

using namespace lattice;

bool overlaps(const Bytes& a, const Bytes& b) {
  return a.size > 0 && b.size > 0 && a.data < b.data + b.size && b.data < a.data + a.size;
}

napi_value boolean(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

struct Call {
  Bytes key, nonce, ad, input, out;
};

// The five byte arguments that all calls have: key, nonce, associated data, input; output last.
bool get_call(napi_env env, napi_value* args, size_t count, size_t nonce_size, Call* call) {
  if (!get_bytes(env, args[0], &call->key, "aead: key must be a Uint8Array") ||
      !get_bytes(env, args[1], &call->nonce, "aead: nonce must be a Uint8Array") ||
      !get_bytes(env, args[2], &call->ad, "aead: associated data must be a Uint8Array") ||
      !get_bytes(env, args[3], &call->input, "aead: input must be a Uint8Array") ||
      !get_bytes(env, args[count - 1], &call->out, "aead: output must be a Uint8Array")) {
    return false;
  }
  const char* wrong = nullptr;
  if (!aead_available()) wrong = "aead: not available in this runtime";
  if (call->key.size != 32) wrong = "aead: key must be 32 bytes";
  if (call->nonce.size != nonce_size) wrong = "aead: nonce has the wrong length";
  if (call->input.size > kMaxBytes || call->ad.size > kMaxBytes) wrong = "aead: too large";
  if (overlaps(call->input, call->out)) wrong = "aead: input and output overlap";
  if (wrong != nullptr) throw_invalid(env, wrong);
  return wrong == nullptr;
}

napi_value seal(napi_env env, napi_callback_info info) {
  napi_value args[5];
  Call c;
  if (!get_args(env, info, 5, args) || !get_call(env, args, 5, 24, &c)) return nullptr;
  if (c.out.size != c.input.size + kTagBytes) {
    return throw_invalid(env, "seal: output must have 16 bytes more than the input");
  }
  if (!aead_seal(c.key.data, c.nonce.data, c.ad.data, c.ad.size, c.input.data, c.input.size,
                 c.out.data)) {
    napi_throw_error(env, "internal", "seal: OpenSSL refused");
  }
  return nullptr;
}

napi_value open(napi_env env, napi_callback_info info) {
  napi_value args[5];
  Call c;
  if (!get_args(env, info, 5, args) || !get_call(env, args, 5, 24, &c)) return nullptr;
  if (c.input.size < kTagBytes) return boolean(env, false);
  if (c.out.size != c.input.size - kTagBytes) {
    return throw_invalid(env, "open: output must have 16 bytes less than the input");
  }
  return boolean(env, aead_open(c.key.data, c.nonce.data, c.ad.data, c.ad.size, c.input.data,
                                c.input.size, c.out.data));
}

napi_value seal_segments(napi_env env, napi_callback_info info) {
  napi_value args[5];
  Call c;
  if (!get_args(env, info, 5, args) || !get_call(env, args, 5, kNoncePrefixBytes, &c)) {
    return nullptr;
  }
  if (c.out.size != c.input.size + kTagBytes * segment_count(c.input.size)) {
    return throw_invalid(env, "sealSegments: output has the wrong length");
  }
  if (!aead_seal_segments(c.key.data, c.nonce.data, c.ad.data, c.ad.size, c.input.data,
                          c.input.size, c.out.data)) {
    napi_throw_error(env, "internal", "sealSegments: OpenSSL refused");
  }
  return nullptr;
}

napi_value open_segments(napi_env env, napi_callback_info info) {
  napi_value args[7];
  Call c;
  uint64_t first, total;
  if (!get_args(env, info, 7, args) || !get_call(env, args, 7, kNoncePrefixBytes, &c) ||
      !get_uint(env, args[4], 0, UINT32_MAX - 1, &first, "openSegments: first out of range") ||
      !get_uint(env, args[5], 1, UINT32_MAX, &total, "openSegments: total out of range")) {
    return nullptr;
  }
  const size_t whole = kSegmentBytes + kTagBytes;
  const size_t count = (c.input.size + whole - 1) / whole;
  const size_t tail = c.input.size % whole;
  if (count == 0 || count > total - (first < total ? first : total) ||
      (tail != 0 && (tail < kTagBytes || first + count != total))) {
    return boolean(env, false);
  }
  if (c.out.size != c.input.size - count * kTagBytes) {
    return throw_invalid(env, "openSegments: output has the wrong length");
  }
  return boolean(env, aead_open_segments(c.key.data, c.nonce.data, c.ad.data, c.ad.size,
                                         c.input.data, c.input.size, static_cast<uint32_t>(first),
                                         static_cast<uint32_t>(total), c.out.data));
}

napi_value hchacha20_js(napi_env env, napi_callback_info info) {
  napi_value args[2];
  Bytes key, input;
  if (!get_args(env, info, 2, args) ||
      !get_bytes(env, args[0], &key, "hchacha20: key must be a Uint8Array") ||
      !get_bytes(env, args[1], &input, "hchacha20: input must be a Uint8Array")) {
    return nullptr;
  }
  if (key.size != 32 || input.size != 16) {
    return throw_invalid(env, "hchacha20: key must be 32 bytes, input 16");
  }
  void* out = nullptr;
  napi_value buffer, result;
  if (napi_create_arraybuffer(env, 32, &out, &buffer) != napi_ok ||
      napi_create_typedarray(env, napi_uint8_array, 32, buffer, 0, &result) != napi_ok) {
    return nullptr;
  }
  hchacha20(static_cast<uint8_t*>(out), key.data, input.data);
  return result;
}

napi_value available(napi_env env, napi_callback_info) { return boolean(env, aead_available()); }

}  // namespace

void register_aead(napi_env env, napi_value exports) {
  export_function(env, exports, "aeadAvailable", available);
  export_function(env, exports, "hchacha20", hchacha20_js);
  export_function(env, exports, "seal", seal);
  export_function(env, exports, "open", open);
  export_function(env, exports, "sealSegments", seal_segments);
  export_function(env, exports, "openSegments", open_segments);
}
