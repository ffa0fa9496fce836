// The pure native code without node: prints what cutting, LZ4 and HChaCha20 make of generated data,
// so that a build for one machine can be compared with a build for another. Also checks that each
// block inflates to its input, and HChaCha20 against draft-irtf-cfrg-xchacha-03, 2.2.1. Linked
// without what needs node (N-API, OpenSSL): see test/native/aarch64.ts.

#include <cstdio>
#include <cstring>
#include <vector>

#include "../../../native/aead.h"
#include "../../../native/cut.h"
#include "../../../native/lz4.h"

namespace {

uint64_t state = 0x9e3779b97f4a7c15;

// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016.
uint64_t draw() {
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return state * 0x2545f4914f6cdd1d;
}

// Half noise, half runs with short periods: both are chunked, and LZ4 finds something.
std::vector<uint8_t> generate(size_t size) {
  std::vector<uint8_t> out;
  while (out.size() < size) {
    const size_t run = 1 + draw() % 5000;
    const size_t period = draw() % 2 == 0 ? 0 : 1 + draw() % 40;
    for (size_t i = 0; i < run && out.size() < size; i++) {
      const bool copies = period > 0 && i >= period;
      out.push_back(copies ? out[out.size() - period] : static_cast<uint8_t>(draw() >> 56));
    }
  }
  return out;
}

void print_bytes(const char* what, const uint8_t* data, size_t size) {
  std::printf("%s ", what);
  for (size_t i = 0; i < size; i++) std::printf("%02x", data[i]);
  std::printf("\n");
}

uint64_t fnv1a(const uint8_t* data, size_t size) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 0x100000001b3;
  return hash;
}

bool hchacha20_vector() {
  const uint8_t input[16] = {0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0, 0x31, 0x41, 0x59, 0x27};
  const uint8_t expected[32] = {0x82, 0x41, 0x3b, 0x42, 0x27, 0xb2, 0x7b, 0xfe, 0xd3, 0x0e, 0x42,
                                0x50, 0x8a, 0x87, 0x7d, 0x73, 0xa0, 0xf9, 0xe4, 0xd5, 0x8a, 0x74,
                                0xa8, 0x53, 0xc1, 0x2e, 0xc4, 0x13, 0x26, 0xd3, 0xec, 0xdc};
  uint8_t key[32], out[32];
  for (int i = 0; i < 32; i++) key[i] = static_cast<uint8_t>(i);
  lattice::hchacha20(out, key, input);
  print_bytes("hchacha20", out, sizeof out);
  return std::memcmp(out, expected, sizeof out) == 0;
}

bool cuts(const std::vector<uint8_t>& data, size_t min, size_t avg, size_t max) {
  static lattice::CutTable table;
  uint8_t gear[2048];
  for (uint8_t& byte : gear) byte = static_cast<uint8_t>(draw() >> 56);
  if (!lattice::cut_init(&table, gear, min, avg, max)) return false;
  std::printf("cut");
  for (size_t at = 0; at < data.size();) {
    const size_t length = lattice::cut_next(table, data.data() + at, data.size() - at, true);
    if (length == 0 || length > data.size() - at) return false;
    std::printf(" %zu", length);
    at += length;
  }
  std::printf("\n");
  return true;
}

bool lz4(const uint8_t* data, size_t size) {
  std::vector<uint8_t> block(size + size / 200 + 32), back(size);
  const size_t length = lattice::lz4_compress(data, size, block.data(), block.size());
  std::printf("lz4 %zu %zu %016llx\n", size, length,
              static_cast<unsigned long long>(fnv1a(block.data(), length)));
  return length > 0 && lattice::lz4_decompress(block.data(), length, back.data(), size) &&
         std::memcmp(back.data(), data, size) == 0;
}

}  // namespace

int main() {
  const std::vector<uint8_t> data = generate(4 << 20);
  bool ok = hchacha20_vector();
  ok = cuts(data, 64, 256, 1024) && ok;
  ok = cuts(data, 65536, 131072, 524288) && ok;
  for (size_t at = 0; at < data.size(); at += 131072) ok = lz4(&data[at], 131072) && ok;
  for (size_t size = 1; size < 300; size++) ok = lz4(&data[size * 1000], size) && ok;
  std::printf(ok ? "ok\n" : "not ok\n");
  return ok ? 0 : 1;
}
