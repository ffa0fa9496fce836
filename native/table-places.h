// Places: where the committed content of one record lies in packs, as far as the engine has told.
// A READ of a known place needs no JavaScript. What is known is true of the bytes, not of a
// version: a place is cut when a job with its range settles, or its base is replaced, or the file
// is cut there. Guarded by the record's lock.

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace lattice {

// A descriptor of a pack that stays open as long as anybody holds it.
class PackFd {
 public:
  // A duplicate of `fd`; nullptr when the system has none left.
  static std::shared_ptr<const PackFd> duplicate(int fd);
  ~PackFd();
  PackFd(const PackFd&) = delete;
  int fd() const { return fd_; }

 private:
  explicit PackFd(int fd) : fd_(fd) {}
  const int fd_;
};
using PackRef = std::shared_ptr<const PackFd>;

// [offset, offset + length) of a file is a stretch of a bundle's plaintext, or of one LZ4 block.
struct BundlePiece {
  uint64_t offset = 0;
  uint64_t bundle_offset = 0;
  uint32_t length = 0, bundle_bytes = 0;
  uint32_t plain_offset = 0;  // of the stretch; of the whole block
  uint32_t packed_bytes = 0;  // of the block; 0 = raw
  uint32_t chunk_bytes = 0;   // what the block inflates to
  uint32_t chunk_begin = 0;   // where the stretch begins in that
  int fd = -1;
  PackRef pack;  // or the caller keeps the descriptor open

  uint64_t end() const { return offset + length; }
  // Of the bundle's plaintext that is needed.
  uint64_t plain_end() const {
    return uint64_t{plain_offset} + (packed_bytes > 0 ? packed_bytes : length);
  }
};

class Places {
 public:
  size_t size() const { return pieces_.size(); }
  // What was known of the same range is replaced.
  void put(const BundlePiece& piece);
  void cut(uint64_t begin, uint64_t end);
  // Appends what holds [begin, end), widened to the segments and blocks that must be opened anyway.
  // False when a part is not known; then nothing is appended.
  bool find(uint64_t begin, uint64_t end, std::vector<BundlePiece>* into) const;

 private:
  std::map<uint64_t, BundlePiece> pieces_;  // by offset, apart from each other
};

}  // namespace lattice
