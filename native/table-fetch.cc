// FileTable, fifth part: fetches. Bundle pieces, of a read plan or of known places, are read from
// their packs and opened off the loop; pieces of one bundle that follow each other are one pread.
// What is raw is put into the overlay where it was opened, without a copy. Damage is a result,
// never a crash: every length is checked against the bundle's own, and a seal that does not open
// yields no byte.
//
// A small fetch is done at once, on the caller's thread, when the page cache has its bytes: handing
// it to another costs as much as the work. A session's thread also waits for the disk, while that
// has been quick of late and no other request is waiting. Headers that were read are remembered, so
// that a random read is one read of the disk; a remembered header that does not open its segments
// (the descriptor's number may name another file by now) is read again before anything is called
// damaged.

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "bundle.h"
#include "lz4.h"
#include "table.h"

namespace lattice {

namespace {

enum Result { filled = 0, stale = 1, damaged = 2, io_error = 3, would_wait = 4 };

constexpr uint64_t kGroupBytesMax = kBundleMaxBytes;
// A fetch of at most so many bytes may be done at once.
constexpr uint64_t kAtOnceBytesMax = 64 * 1024;
constexpr size_t kHeadersMax = 16 * 1024;

// Reads that take longer on average are not waited for on a session's thread; one slow read counts
// for this much at most.
constexpr uint64_t kQuickUs = 300;
constexpr size_t kHeadersAheadMax = 64;
constexpr uint64_t kSlowestUs = 10 * 1000;

// 0, or the errno; a file that ends too early is damage (EBADMSG). Unless it `waits`, EAGAIN when
// the page cache does not have all of it (or the kernel cannot tell).
int pread_all(int fd, uint8_t* into, size_t size, uint64_t offset, bool waits) {
  while (size > 0) {
    const iovec part{into, size};
    const ssize_t n = waits ? pread(fd, into, size, static_cast<off_t>(offset))
                            : preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return waits ? errno : EAGAIN;
    if (n == 0) return waits ? EBADMSG : EAGAIN;
    into += n;
    size -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

// Groups of neighbours in one bundle, as (first, behind the last): each is one pread and one
// opening.
std::vector<std::pair<size_t, size_t>> groups_of(const std::vector<BundlePiece>& all) {
  std::vector<std::pair<size_t, size_t>> groups;
  for (size_t i = 0; i < all.size(); i++) {
    if (!groups.empty()) {
      const BundlePiece& first = all[groups.back().first];
      const BundlePiece& last = all[i - 1];
      if (first.fd == all[i].fd && first.bundle_offset == all[i].bundle_offset &&
          first.bundle_bytes == all[i].bundle_bytes && last.plain_end() <= all[i].plain_offset &&
          all[i].plain_offset - last.plain_end() <= kSegmentBytes &&
          all[i].plain_end() - first.plain_offset <= kGroupBytesMax) {
        groups.back().second = i + 1;
        continue;
      }
    }
    groups.emplace_back(i, i + 1);
  }
  return groups;
}

// The chunk of a block, in memory of its own; empty when it does not inflate or there is no memory.
ArenaRef inflate(const BundlePiece& piece, const uint8_t* block) {
  if (piece.chunk_bytes == 0 || piece.chunk_bytes > kBundleMaxBytes ||
      uint64_t{piece.chunk_begin} + piece.length > piece.chunk_bytes) {
    return {};
  }
  ArenaRef arena = arena_new(piece.chunk_bytes);
  if (!arena || !lz4_decompress(block, piece.packed_bytes, arena->data, piece.chunk_bytes)) {
    return {};
  }
  arena->fill = piece.chunk_bytes;
  return arena;
}

}  // namespace

// Plaintext of a bundle from `plain_offset` on. Without an arena: valid until the thread opens the
// next one.
struct Table::Opened {
  const uint8_t* plain = nullptr;
  size_t plain_offset = 0;
  ArenaRef arena;
};

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
  for (const BundlePiece& piece : pieces) bytes += piece.plain_end() - piece.plain_offset;
  if (bytes > kAtOnceBytesMax) return -1;
  const int result = open_all(ino, epoch, pieces, false);
  return result == would_wait ? -1 : result;
}

uint64_t Table::fetch(uint64_t ino, uint64_t epoch, std::vector<BundlePiece> pieces) {
  auto fetch = std::make_shared<Fetch>();
  fetch->id = next_fetch_++;
  fetch->ino = ino;
  fetch->epoch = epoch;
  fetch->pieces = std::move(pieces);
  const auto groups = groups_of(fetch->pieces);
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
                           true));
  }
  if (--fetch->left > 0) return;
  raise({EventKind::fetch_done, double(fetch->ino), double(fetch->id),
         double(fetch->result.load())});
}

// True: what `direct` lacks is in it.
bool Table::read_at_once(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces,
                         Waiter& waiter, DirectRead* direct) {
  int result = open_direct(ino, epoch, pieces, false, direct);
  if (result == would_wait && pace_us_.load() <= kQuickUs && waiter.idle()) {
    result = open_direct(ino, epoch, pieces, true, direct);
  }
  return result == filled;
}

// Raw bytes are only copied; a chunk that had to be inflated is kept for the next reader.
int Table::open_direct(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces,
                       bool waits, DirectRead* direct) {
  for (const auto& [begin, end] : groups_of(pieces)) {
    Opened opened;
    const int result = open_bundle(pieces.data() + begin, end - begin, waits, false, &opened);
    if (result != filled) return result;
    for (size_t i = begin; i < end; i++) {
      const BundlePiece& piece = pieces[i];
      const uint8_t* bytes = opened.plain + (piece.plain_offset - opened.plain_offset);
      ArenaRef chunk;
      if (piece.packed_bytes > 0) {
        if (!(chunk = inflate(piece, bytes))) return damaged;
        bytes = chunk->data + piece.chunk_begin;
      }
      const uint64_t from = std::max(piece.offset, direct->begin);
      const uint64_t to = std::min(piece.end(), direct->begin + direct->bytes.size());
      if (from < to) {
        std::memcpy(direct->bytes.data() + (from - direct->begin), bytes + (from - piece.offset),
                    static_cast<size_t>(to - from));
        direct->parts.push_back({from, to});
      }
      if (chunk) fill_arena(ino, epoch, piece.offset, piece.length, chunk, piece.chunk_begin);
    }
  }
  return filled;
}

void Table::read_elsewhere(uint64_t ino, uint64_t epoch, std::vector<BundlePiece> pieces) {
  post([this, ino, epoch, pieces = std::move(pieces)] {
    const int result = open_all(ino, epoch, pieces, true);
    if (result != filled) not_read(ino, pieces, result != stale);
  });
}

// The first result that is not `filled` ends it.
int Table::open_all(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces,
                    bool waits) {
  for (const auto& [begin, end] : groups_of(pieces)) {
    const int result = open_group(ino, epoch, pieces.data() + begin, end - begin, waits);
    if (result != filled) return result;
  }
  return filled;
}

// Takes the measure of a small read that waits.
int Table::read_sealed(int fd, uint8_t* into, size_t size, uint64_t offset, bool waits) {
  if (!waits || size > kAtOnceBytesMax) return pread_all(fd, into, size, offset, waits);
  using std::chrono::steady_clock, std::chrono::microseconds, std::chrono::duration_cast;
  const auto begin = steady_clock::now();
  const int error = pread_all(fd, into, size, offset, true);
  const auto took = duration_cast<microseconds>(steady_clock::now() - begin).count();
  const uint64_t mean = pace_us_.load();
  pace_us_ = mean - mean / 8 + std::min(static_cast<uint64_t>(took), kSlowestUs) / 8;
  return error;
}

// Reads the headers of bundles that random reads will need, unless the disk is slow.
void Table::read_headers_ahead(const std::vector<BundlePiece>& pieces) {
  if (pace_us_.load() > kQuickUs) return;
  std::vector<BundlePiece> wanted;
  uint8_t header[kBundleHeaderBytes];
  for (const BundlePiece& piece : pieces) {
    const bool same = !wanted.empty() && wanted.back().fd == piece.fd &&
                      wanted.back().bundle_offset == piece.bundle_offset;
    if (!same && !known_header(piece, header)) wanted.push_back(piece);
  }
  if (wanted.empty() || wanted.size() > kHeadersAheadMax) return;
  post([this, wanted = std::move(wanted)] {
    for (const BundlePiece& piece : wanted) {
      posix_fadvise(piece.fd, static_cast<off_t>(piece.bundle_offset), kBundleHeaderBytes,
                    POSIX_FADV_WILLNEED);
    }
    uint8_t header[kBundleHeaderBytes];
    for (const BundlePiece& piece : wanted) {
      if (pread_all(piece.fd, header, sizeof header, piece.bundle_offset, true) != 0) return;
      keep_header(piece, header);
    }
  });
}

int Table::open_group(uint64_t ino, uint64_t epoch, const BundlePiece* pieces, size_t count,
                      bool waits) {
  if (base_epoch(ino) != epoch) return stale;
  // Raw bytes stay where they are opened.
  const bool some_raw =
      std::any_of(pieces, pieces + count, [](const BundlePiece& p) { return p.packed_bytes == 0; });
  Opened opened;
  const int result = open_bundle(pieces, count, waits, some_raw, &opened);
  return result == filled ? fill_pieces(ino, epoch, pieces, count, opened) : result;
}

// The segments of a group, in an arena or in memory that the thread uses again.
int Table::open_bundle(const BundlePiece* pieces, size_t count, bool waits, bool keeps,
                       Opened* out) {
  const BundlePiece& first = pieces[0];
  BundleRange range;
  if (!bundle_range(first.bundle_bytes, first.plain_offset,
                    pieces[count - 1].plain_end() - first.plain_offset, &range)) {
    return damaged;
  }
  // The header and the segments; one read when they are close together or the header is known.
  thread_local std::vector<uint8_t> sealed, scratch;
  const bool together = range.sealed_offset <= kBundleHeaderBytes + kSealedSegmentBytes;
  const size_t lead = together ? range.sealed_offset : kBundleHeaderBytes;
  sealed.resize(lead + range.sealed_bytes);
  const auto read_header = [&] {
    return pread_all(first.fd, sealed.data(), kBundleHeaderBytes, first.bundle_offset, waits);
  };
  bool known = !together && known_header(first, sealed.data());
  int error = 0;
  if (together) {
    error = read_sealed(first.fd, sealed.data(), sealed.size(), first.bundle_offset, waits);
  } else {
    if (!known && waits) {  // the disk finds it while it finds the segments
      posix_fadvise(first.fd, static_cast<off_t>(first.bundle_offset), kBundleHeaderBytes,
                    POSIX_FADV_WILLNEED);
    }
    error = read_sealed(first.fd, sealed.data() + lead, range.sealed_bytes,
                        first.bundle_offset + range.sealed_offset, waits);
    if (error == 0 && !known) error = read_header();
  }
  if (error == EAGAIN && !waits) return would_wait;
  if (error != 0) return error == EBADMSG ? damaged : io_error;

  if (keeps && !(out->arena = arena_new(range.plain_bytes))) return io_error;
  if (!keeps) scratch.resize(range.plain_bytes);
  uint8_t* const plain = keeps ? out->arena->data : scratch.data();
  const auto open_segments = [&] {
    uint8_t key[32];
    if (!bundle_header_ok(sealed.data(), first.bundle_bytes)) return false;
    if (!bundle_key(sealed.data() + kBundleEpochAt, key)) return false;
    const bool opened = bundle_open(key, sealed.data(), range, sealed.data() + lead, plain);
    wipe(key, sizeof key);
    return opened;
  };
  bool opened = open_segments();
  if (!opened && known) {
    known = false;
    error = read_header();
    if (error == EAGAIN && !waits) return would_wait;
    if (error != 0) return error == EBADMSG ? damaged : io_error;
    opened = open_segments();
  }
  if (!opened) return damaged;
  if (!known && !together) keep_header(first, sealed.data());
  if (keeps) out->arena->fill = static_cast<uint32_t>(range.plain_bytes);
  out->plain = plain;
  out->plain_offset = range.plain_offset;
  return filled;
}

int Table::fill_pieces(uint64_t ino, uint64_t epoch, const BundlePiece* pieces, size_t count,
                       const Opened& opened) {
  for (const BundlePiece* piece = pieces; piece < pieces + count; piece++) {
    const auto at = static_cast<uint32_t>(piece->plain_offset - opened.plain_offset);
    const bool packed = piece->packed_bytes > 0;
    const ArenaRef from = packed ? inflate(*piece, opened.plain + at) : opened.arena;
    if (!from) return damaged;
    const Outcome outcome = fill_arena(ino, epoch, piece->offset, piece->length, from,
                                       packed ? piece->chunk_begin : at);
    if (outcome != Outcome::ok) return outcome == Outcome::refused ? stale : io_error;
  }
  return filled;
}

}  // namespace lattice
