// FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
// Storage Systems", IEEE TPDS 2020) over a 64-bit gear hash, two bytes a step.
//
// A chunk's first `min` bytes are skipped. From there fp = (fp << 1) + gear[byte] with fp = 0 at
// first; the chunk ends BEFORE the byte whose fp has only zeros under the mask, or at `max`. The
// mask has log2(avg) + 2 bits while the length is below avg and log2(avg) - 2 after (normalisation
// 2); its bits are the top ones below bit 63, so that the half step of a pair can be tested shifted
// left by one. src/chunks/chunker.ts holds the plain twin: both must cut alike, byte for byte.

#include "cut.h"

#include <cstring>
#include <vector>

#include "napi-util.h"

namespace lattice {

static uint64_t top_mask(unsigned bits) { return ((uint64_t{1} << bits) - 1) << (63 - bits); }

bool cut_init(CutTable* table, const uint8_t gear[2048], size_t min, size_t avg, size_t max) {
  unsigned log2 = 0;
  while ((size_t{1} << log2) < avg && log2 < 27) log2++;
  if (log2 < 8 || log2 > 26 || (size_t{1} << log2) != avg || min < 64 || min > avg || max < avg ||
      max > (size_t{1} << 28)) {
    return false;
  }
  for (size_t i = 0; i < 256; i++) {
    uint64_t entry = 0;
    for (size_t b = 0; b < 8; b++) entry |= uint64_t{gear[i * 8 + b]} << (8 * b);
    table->gear[i] = entry;
    table->shifted[i] = entry << 1;
  }
  table->mask_small = top_mask(log2 + 2);
  table->mask_large = top_mask(log2 - 2);
  table->min = min;
  table->avg = avg;
  table->max = max;
  return true;
}

// Scans [i, end) and returns the index of the first hit, or end. fp goes on between the regions.
static size_t scan(const CutTable& table, const uint8_t* data, size_t i, size_t end, uint64_t mask,
                   uint64_t* fp_inout) {
  uint64_t fp = *fp_inout;
  const uint64_t mask_shifted = mask << 1;
  for (; i + 1 < end; i += 2) {
    fp = (fp << 2) + table.shifted[data[i]];
    if (!(fp & mask_shifted)) return i;
    fp += table.gear[data[i + 1]];
    if (!(fp & mask)) return i + 1;
  }
  if (i < end) {
    fp = (fp << 1) + table.gear[data[i]];
    if (!(fp & mask)) return i;
    i++;
  }
  *fp_inout = fp;
  return i;
}

size_t cut_next(const CutTable& table, const uint8_t* data, size_t size, bool final) {
  const size_t undecided = final ? size : 0;
  if (size <= table.min && size < table.max) return undecided;
  const size_t end = size < table.max ? size : table.max;
  const size_t normal = end < table.avg ? end : table.avg;
  uint64_t fp = 0;
  size_t at = scan(table, data, table.min, normal, table.mask_small, &fp);
  if (at < normal) return at;
  at = scan(table, data, at, end, table.mask_large, &fp);
  if (at < end || end == table.max) return at;
  return undecided;
}

}  // namespace lattice

namespace {

using namespace lattice;

// cut(buffer, gear, min, avg, max, final) -> Uint32Array of chunk lengths
napi_value cut(napi_env env, napi_callback_info info) {
  napi_value args[6];
  Bytes data, gear;
  uint64_t min, avg, max;
  bool final;
  if (!get_args(env, info, 6, args) ||
      !get_bytes(env, args[0], &data, "cut: buffer must be a Uint8Array") ||
      !get_bytes(env, args[1], &gear, "cut: gear must be a Uint8Array") ||
      !get_uint(env, args[2], 64, 1 << 28, &min, "cut: min out of range") ||
      !get_uint(env, args[3], 256, 1 << 28, &avg, "cut: avg out of range") ||
      !get_uint(env, args[4], 256, 1 << 28, &max, "cut: max out of range")) {
    return nullptr;
  }
  if (napi_get_value_bool(env, args[5], &final) != napi_ok) {
    return throw_invalid(env, "cut: final must be a boolean");
  }
  if (gear.size != 2048) return throw_invalid(env, "cut: gear must be 2048 bytes");
  CutTable table;
  if (!cut_init(&table, gear.data, min, avg, max)) {
    return throw_invalid(env, "cut: needs 64 <= min <= avg = 2^k <= max");
  }
  std::vector<uint32_t> lengths;
  lengths.reserve(data.size / min + 1);
  for (size_t at = 0; at < data.size;) {
    const size_t length = cut_next(table, data.data + at, data.size - at, final);
    if (length == 0) break;
    lengths.push_back(static_cast<uint32_t>(length));
    at += length;
  }
  void* out = nullptr;
  napi_value buffer, result;
  if (napi_create_arraybuffer(env, lengths.size() * 4, &out, &buffer) != napi_ok ||
      napi_create_typedarray(env, napi_uint32_array, lengths.size(), buffer, 0, &result) !=
          napi_ok) {
    return nullptr;
  }
  if (!lengths.empty()) std::memcpy(out, lengths.data(), lengths.size() * 4);
  return result;
}

}  // namespace

void register_cut(napi_env env, napi_value exports) {
  lattice::export_function(env, exports, "cut", cut);
}
