// LZ4 blocks for JavaScript and for other native code. Pure; usable from any thread.

#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace lattice {

inline constexpr size_t kLz4MaxInput = 64 * 1024 * 1024;

// The size of the block written to out, or 0 when it does not fit into out_size bytes.
size_t lz4_compress(const uint8_t* in, size_t size, uint8_t* out, size_t out_size);

// True when the block is valid and inflates to exactly out_size bytes. Never reads or writes
// outside the two buffers; `out` may be partly written when false.
bool lz4_decompress(const uint8_t* in, size_t size, uint8_t* out, size_t out_size);

}  // namespace lattice

void register_lz4(napi_env env, napi_value exports);
