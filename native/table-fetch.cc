// FileTable, fourth part: fetches. A read plan's bundle pieces are read from their packs and opened
// off the loop; pieces of one bundle that follow each other are one pread. What comes is put into
// the overlay where it was opened, without a copy. Damage is a result, never a crash: every length
// is checked against the bundle's own, and a seal that does not open yields no byte.
//
// A small fetch whose bytes the page cache has is done at once, on the caller's thread: handing it
// to another costs as much as the work. Headers that were read are remembered, so that a random
// read is one read of the disk; a remembered header that does not open its segments (the
// descriptor's number may name another file by now) is read again before anything is called
// damaged.

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bundle.h"
#include "table.h"

namespace lattice {

namespace {

enum Result { filled = 0, stale = 1, damaged = 2, io_error = 3, would_wait = 4 };

constexpr uint64_t kGroupBytesMax = kBundleMaxBytes;
// A fetch of at most so many bytes may be done at once.
constexpr uint64_t kAtOnceBytesMax = 64 * 1024;
constexpr size_t kHeadersMax = 16 * 1024;

// 0, or the errno; a file that ends too early is damage (EBADMSG). With `at_once`, EAGAIN unless
// the page cache has all of it (or the kernel cannot tell).
int pread_all(int fd, uint8_t* into, size_t size, uint64_t offset, bool at_once) {
  while (size > 0) {
    const iovec part{into, size};
    const ssize_t n = at_once ? preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT)
                              : pread(fd, into, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return at_once ? EAGAIN : errno;
    if (n == 0) return at_once ? EAGAIN : EBADMSG;
    into += n;
    size -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

}  // namespace

struct Table::Fetch {
  uint64_t id, ino, epoch;
  std::vector<BundlePiece> pieces;
  std::atomic<size_t> left{0};
  std::atomic<int> result{filled};

  // The gravest result wins.
  void note(int outcome) {
    int known = result.load();
    while (outcome > known && !result.compare_exchange_weak(known, outcome)) {
    }
  }
};

bool Table::known_header(const BundlePiece& piece, uint8_t header[kBundleHeaderBytes]) {
  std::lock_guard lock(keys_mutex_);
  const auto it = headers_.find({piece.fd, piece.bundle_offset, piece.bundle_bytes});
  if (it == headers_.end()) return false;
  std::memcpy(header, it->second.data(), kBundleHeaderBytes);
  return true;
}

void Table::keep_header(const BundlePiece& piece, const uint8_t header[kBundleHeaderBytes]) {
  std::lock_guard lock(keys_mutex_);
  if (headers_.size() >= kHeadersMax) headers_.clear();
  auto& slot = headers_[{piece.fd, piece.bundle_offset, piece.bundle_bytes}];
  std::memcpy(slot.data(), header, kBundleHeaderBytes);
}

void Table::set_bundle_key(const std::string& epoch_id, const uint8_t key[32]) {
  std::lock_guard lock(keys_mutex_);
  std::vector<uint8_t>& slot = keys_[epoch_id];
  if (!slot.empty()) wipe(slot.data(), slot.size());
  slot.assign(key, key + 32);
}

bool Table::bundle_key(const uint8_t* epoch_id, uint8_t key[32]) {
  std::lock_guard lock(keys_mutex_);
  const std::string epoch(reinterpret_cast<const char*>(epoch_id), kBundleEpochBytes);
  const auto it = keys_.find(epoch);
  if (it == keys_.end()) return false;
  std::memcpy(key, it->second.data(), 32);
  return true;
}

void Table::wipe_keys() {
  std::lock_guard lock(keys_mutex_);
  for (auto& [epoch, key] : keys_) wipe(key.data(), key.size());
  keys_.clear();
}

int Table::fetch_at_once(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces) {
  uint64_t bytes = 0;
  for (const BundlePiece& piece : pieces) bytes += piece.length;
  if (bytes > kAtOnceBytesMax) return -1;
  for (const BundlePiece& piece : pieces) {
    const int result = open_group(ino, epoch, &piece, 1, true);
    if (result == would_wait) return -1;
    if (result != filled) return result;
  }
  return filled;
}

uint64_t Table::fetch(uint64_t ino, uint64_t epoch, std::vector<BundlePiece> pieces) {
  auto fetch = std::make_shared<Fetch>();
  fetch->id = next_fetch_++;
  fetch->ino = ino;
  fetch->epoch = epoch;
  fetch->pieces = std::move(pieces);
  const auto& all = fetch->pieces;
  // Groups of neighbours in one bundle; each is one pread and one opening.
  std::vector<std::pair<size_t, size_t>> groups;
  for (size_t i = 0; i < all.size(); i++) {
    if (!groups.empty()) {
      const BundlePiece& first = all[groups.back().first];
      const BundlePiece& last = all[i - 1];
      if (first.fd == all[i].fd && first.bundle_offset == all[i].bundle_offset &&
          first.bundle_bytes == all[i].bundle_bytes &&
          last.plain_offset + last.length <= all[i].plain_offset &&
          all[i].plain_offset - (last.plain_offset + last.length) <= kSegmentBytes &&
          all[i].plain_offset + all[i].length - first.plain_offset <= kGroupBytesMax) {
        groups.back().second = i + 1;
        continue;
      }
    }
    groups.emplace_back(i, i + 1);
  }
  fetch->left = groups.size();
  if (groups.empty()) {
    raise({EventKind::fetch_done, double(ino), double(fetch->id), double(filled)});
    return fetch->id;
  }
  for (const auto& [begin, end] : groups) {
    post([this, fetch, begin = begin, end = end] { run_fetch_task(fetch, begin, end); });
  }
  return fetch->id;
}

void Table::run_fetch_task(const std::shared_ptr<Fetch>& fetch, size_t begin, size_t end) {
  if (fetch->result.load() == filled) {
    fetch->note(open_group(fetch->ino, fetch->epoch, fetch->pieces.data() + begin, end - begin,
                           false));
  }
  if (--fetch->left > 0) return;
  raise({EventKind::fetch_done, double(fetch->ino), double(fetch->id),
         double(fetch->result.load())});
}

int Table::open_group(uint64_t ino, uint64_t epoch, const BundlePiece* pieces, size_t count,
                      bool at_once) {
  const BundlePiece& first = pieces[0];
  const BundlePiece& last = pieces[count - 1];
  BundleRange range;
  if (!bundle_range(first.bundle_bytes, first.plain_offset,
                    last.plain_offset + last.length - first.plain_offset, &range)) {
    return damaged;
  }
  if (base_epoch(ino) != epoch) return stale;
  // The header and the segments; one read when they are close together or the header is known.
  thread_local std::vector<uint8_t> sealed;
  const bool together = range.sealed_offset <= kBundleHeaderBytes + kSealedSegmentBytes;
  const size_t lead = together ? range.sealed_offset : kBundleHeaderBytes;
  sealed.resize(lead + range.sealed_bytes);
  const auto read_header = [&] {
    return pread_all(first.fd, sealed.data(), kBundleHeaderBytes, first.bundle_offset, at_once);
  };
  bool known = !together && known_header(first, sealed.data());
  int error = 0;
  if (together) {
    error = pread_all(first.fd, sealed.data(), sealed.size(), first.bundle_offset, at_once);
  } else {
    if (!known) error = read_header();
    if (error == 0) {
      error = pread_all(first.fd, sealed.data() + lead, range.sealed_bytes,
                        first.bundle_offset + range.sealed_offset, at_once);
    }
  }
  if (error == EAGAIN && at_once) return would_wait;
  if (error != 0) return error == EBADMSG ? damaged : io_error;

  ArenaRef arena = arena_new(range.plain_bytes);
  if (!arena) return io_error;
  const auto open_segments = [&] {
    uint8_t key[32];
    if (!bundle_header_ok(sealed.data(), first.bundle_bytes)) return false;
    if (!bundle_key(sealed.data() + kBundleEpochAt, key)) return false;
    const bool opened = bundle_open(key, sealed.data(), range, sealed.data() + lead, arena->data);
    wipe(key, sizeof key);
    return opened;
  };
  bool opened = open_segments();
  if (!opened && known) {
    known = false;
    error = read_header();
    if (error == EAGAIN && at_once) return would_wait;
    if (error != 0) return error == EBADMSG ? damaged : io_error;
    opened = open_segments();
  }
  if (!opened) return damaged;
  if (!known && !together) keep_header(first, sealed.data());
  arena->fill = static_cast<uint32_t>(range.plain_bytes);
  for (size_t i = 0; i < count; i++) {
    const uint64_t pos = pieces[i].plain_offset - range.plain_offset;
    const Outcome outcome = fill_arena(ino, epoch, pieces[i].offset, pieces[i].length, arena,
                                       static_cast<uint32_t>(pos));
    if (outcome != Outcome::ok) return outcome == Outcome::refused ? stale : io_error;
  }
  return filled;
}

}  // namespace lattice
