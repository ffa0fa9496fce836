// Places of one record, and the table's part in them; see table-places.h.

#include "table-places.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "bundle.h"
#include "table-locked.h"
#include "table.h"

namespace lattice {

namespace {

constexpr size_t kPlacesMax = 128 * 1024;  // of all records, about 120 bytes each
constexpr size_t kPacksMax = 256;

// The part [begin, end) of a piece that holds it.
BundlePiece part_of(const BundlePiece& whole, uint64_t begin, uint64_t end) {
  BundlePiece part = whole;
  const auto skipped = static_cast<uint32_t>(begin - whole.offset);
  part.offset = begin;
  part.length = static_cast<uint32_t>(end - begin);
  if (part.packed_bytes > 0) part.chunk_begin += skipped;
  else part.plain_offset += skipped;
  return part;
}

}  // namespace

PackRef PackFd::duplicate(int fd) {
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return own < 0 ? nullptr : PackRef(new PackFd(own));
}

PackFd::~PackFd() { close(fd_); }

void Places::put(const BundlePiece& piece) {
  if (piece.length == 0) return;
  cut(piece.offset, piece.end());
  pieces_.emplace(piece.offset, piece);
}

void Places::cut(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  auto it = pieces_.lower_bound(begin);
  if (it != pieces_.begin() && std::prev(it)->second.end() > begin) --it;
  while (it != pieces_.end() && it->first < end) {
    const BundlePiece piece = std::move(it->second);
    it = pieces_.erase(it);
    if (piece.offset < begin) {
      pieces_.emplace(piece.offset, part_of(piece, piece.offset, begin));
    }
    if (piece.end() > end) it = pieces_.emplace(end, part_of(piece, end, piece.end())).first;
  }
}

bool Places::find(uint64_t begin, uint64_t end, std::vector<BundlePiece>* into) const {
  const size_t known = into->size();
  auto it = pieces_.upper_bound(begin);
  if (it != pieces_.begin()) --it;
  for (uint64_t at = begin; at < end; ++it) {
    if (it == pieces_.end() || it->first > at || it->second.end() <= at) {
      into->resize(known);
      return false;
    }
    const BundlePiece& piece = it->second;
    const uint64_t stop = std::min(end, piece.end());
    uint64_t from = piece.offset, to = piece.end();
    if (piece.packed_bytes == 0) {
      const uint64_t first = (piece.plain_offset + (at - piece.offset)) & ~(kSegmentBytes - 1);
      const uint64_t last = (piece.plain_offset + (stop - piece.offset) + kSegmentBytes - 1) &
                            ~(kSegmentBytes - 1);
      if (first > piece.plain_offset) from += first - piece.plain_offset;
      to = std::min(to, piece.offset + (last - piece.plain_offset));
    }
    into->push_back(part_of(piece, from, to));
    at = stop;
  }
  return true;
}

// ---- of the table ---------------------------------------------------------------------------

// One descriptor for each file, whatever number it came under.
PackRef Table::pack_of(int fd) {
  struct stat s {};
  if (fstat(fd, &s) != 0) return nullptr;
  std::lock_guard lock(packs_mutex_);
  std::weak_ptr<const PackFd>& slot = packs_[{s.st_dev, s.st_ino}];
  if (PackRef known = slot.lock()) return known;
  std::erase_if(packs_, [&slot](const auto& entry) {
    return &entry.second != &slot && entry.second.expired();
  });
  if (packs_.size() > kPacksMax) {
    packs_.erase({s.st_dev, s.st_ino});
    return nullptr;
  }
  PackRef made = PackFd::duplicate(fd);
  slot = made;
  return made;
}

Outcome Table::set_places(uint64_t ino, uint64_t epoch, std::vector<BundlePiece> pieces) {
  for (BundlePiece& piece : pieces) {
    piece.pack = pack_of(piece.fd);
    if (!piece.pack) return Outcome::full;
    piece.fd = piece.pack->fd();
  }
  {
    Locked locked(*this, ino);
    if (!locked || !locked->overlay || locked->open_count == 0) return Outcome::refused;
    Record& r = *locked;
    if (r.epoch != epoch) return Outcome::refused;
    if (places_.load() + pieces.size() > kPlacesMax) drop_places(r);
    if (places_.load() + pieces.size() > kPlacesMax) return Outcome::full;
    if (!r.places) r.places = std::make_unique<Places>();
    const size_t before = r.places->size();
    for (const BundlePiece& piece : pieces) r.places->put(piece);
    places_ += r.places->size() - before;  // modulo 2^64: also when it falls
  }
  read_headers_ahead(pieces);
  return Outcome::ok;
}

void Table::cut_places(Record& r, uint64_t begin, uint64_t end) {
  if (!r.places) return;
  const size_t before = r.places->size();
  r.places->cut(begin, end);
  places_ += r.places->size() - before;
}

void Table::drop_places(Record& r) {
  if (!r.places) return;
  places_ -= r.places->size();
  r.places.reset();
}

}  // namespace lattice
