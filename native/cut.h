// FastCDC for JavaScript and for other native code. Pure; usable from any thread.

#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace lattice {

struct CutTable {
  uint64_t gear[256];
  uint64_t shifted[256];  // gear << 1: the first byte of a step of two
  uint64_t mask_small;    // up to the average length: two bits more than log2(average)
  uint64_t mask_large;    // after it: two bits less
  size_t min, avg, max;
};

// Fills the table. False when the lengths break 64 <= min <= avg <= max, avg = 2^k, k in 8..26.
bool cut_init(CutTable* table, const uint8_t gear[2048], size_t min, size_t avg, size_t max);

// The length of the chunk at data, or 0 when `size` bytes do not decide it (never when final).
size_t cut_next(const CutTable& table, const uint8_t* data, size_t size, bool final);

}  // namespace lattice

void register_cut(napi_env env, napi_value exports);
