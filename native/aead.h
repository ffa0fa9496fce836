// XChaCha20-Poly1305 over the OpenSSL that the node executable carries. Usable from any thread:
// contexts are thread-local.

#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace lattice {

inline constexpr size_t kSegmentBytes = 16 * 1024;  // plaintext of every segment but the last
inline constexpr size_t kTagBytes = 16;
inline constexpr size_t kNoncePrefixBytes = 19;  // then segment u32 BE, then last flag u8

// False when the executable lacks the EVP symbols; then only sodium is left to the caller.
bool aead_available();

// HChaCha20 (draft-irtf-cfrg-xchacha-03, 2.2).
void hchacha20(uint8_t out[32], const uint8_t key[32], const uint8_t input[16]);

// Overwrites secrets in a way that the compiler keeps.
void wipe(void* data, size_t size);

// One message: out has size + kTagBytes bytes. False on failure of the library.
bool aead_seal(const uint8_t key[32], const uint8_t nonce[24], const uint8_t* ad, size_t ad_size,
               const uint8_t* plain, size_t size, uint8_t* out);
// sealed_size >= kTagBytes; out has sealed_size - kTagBytes bytes, all zero when false.
bool aead_open(const uint8_t key[32], const uint8_t nonce[24], const uint8_t* ad, size_t ad_size,
               const uint8_t* sealed, size_t sealed_size, uint8_t* out);

// max(1, ceil(plain_size / kSegmentBytes))
size_t segment_count(size_t plain_size);

// A whole buffer as segments; out has size + kTagBytes * segment_count(size) bytes.
bool aead_seal_segments(const uint8_t key[32], const uint8_t prefix[kNoncePrefixBytes],
                        const uint8_t* ad, size_t ad_size, const uint8_t* plain, size_t size,
                        uint8_t* out);
// `sealed` holds exactly the segments from `first` on, of a buffer that has `total` of them.
// out has sealed_size - kTagBytes * (their number) bytes, all zero when false.
bool aead_open_segments(const uint8_t key[32], const uint8_t prefix[kNoncePrefixBytes],
                        const uint8_t* ad, size_t ad_size, const uint8_t* sealed,
                        size_t sealed_size, uint32_t first, uint32_t total, uint8_t* out);

}  // namespace lattice

void register_aead(napi_env env, napi_value exports);
