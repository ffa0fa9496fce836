// FileTable, fourth part: reads that may have to wait. A READ of absent bytes is parked with its
// record and `need` is raised once per absent range; it is looked at again after every fill,
// settle, truncate and write. Bytes whose place is known are read without anybody's help.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "signals.h"
#include "table-locked.h"
#include "table.h"

namespace lattice {

namespace {

constexpr uint64_t kNearBefore = 512 << 10, kNearAfter = 256 << 10;
constexpr uint64_t kWindowFirst = uint64_t{1} << 20, kWindowMax = uint64_t{4} << 20;
constexpr uint64_t kTriggerReach = uint64_t{1} << 20;
constexpr uint64_t kDropMargin = uint64_t{2} << 20;
constexpr size_t kPartsMax = 512;
constexpr size_t kZeroBytes = 128 << 10;
const uint8_t kZeros[kZeroBytes] = {};

}  // namespace

// ---- composing a reply ----------------------------------------------------------------------

// False when a part of [begin, end) is absent. Dirty bytes may still be overwritten in place: with
// any of them in the range, all of it is copied.
bool Table::slice(Record& r, uint64_t begin, uint64_t end, ReadSlice* into) {
  if (!r.overlay->covers(begin, end)) return false;
  bool copy = false;
  uint64_t at = begin;
  for (auto it = r.overlay->at_or_after(begin); at < end; ++it) {
    const Extent& e = it->second;
    const uint64_t skip = at - it->first;
    uint64_t length = std::min(e.length - skip, end - at);
    at += length;
    if (e.hole) {
      while (length > 0) {
        const uint64_t part = std::min<uint64_t>(length, kZeroBytes);
        into->parts.push_back({kZeros, static_cast<size_t>(part)});
        length -= part;
      }
      continue;
    }
    if (e.state == State::dirty && !e.fixed) copy = true;
    into->parts.push_back({e.bytes() + skip, static_cast<size_t>(length)});
    into->refs.push_back(e.arena);
  }
  into->total = static_cast<size_t>(end - begin);
  if (!copy && into->parts.size() <= kPartsMax) return true;
  into->copied.resize(into->total);
  uint8_t* to = into->copied.data();
  for (const ReadSlice::Part& part : into->parts) {
    std::memcpy(to, part.data, part.size);
    to += part.size;
  }
  into->refs.clear();
  into->parts.assign(1, {into->copied.data(), into->total});
  return true;
}

// As slice(); what is absent is taken from a direct read. False when a part is in neither.
bool Table::slice_with(Record& r, uint64_t begin, uint64_t end, const DirectRead& direct,
                       ReadSlice* into) {
  into->copied.resize(static_cast<size_t>(end - begin));
  const auto& extents = r.overlay->extents();
  uint64_t at = begin;
  for (auto it = r.overlay->at_or_after(begin); at < end;) {
    const bool inside = it != extents.end() && it->first <= at;
    uint8_t* const to = into->copied.data() + (at - begin);
    uint64_t stop = end;
    if (inside) {
      const Extent& e = it->second;
      stop = std::min(end, it->first + e.length);
      if (e.hole) std::memset(to, 0, static_cast<size_t>(stop - at));
      else std::memcpy(to, e.bytes() + (at - it->first), static_cast<size_t>(stop - at));
      ++it;
    } else {
      if (it != extents.end()) stop = std::min(end, it->first);
      const auto part = std::find_if(direct.parts.begin(), direct.parts.end(), [&](const Range& p) {
        return p.begin <= at && at < p.end;
      });
      if (part == direct.parts.end()) return false;
      stop = std::min(stop, part->end);
      std::memcpy(to, direct.bytes.data() + (at - direct.begin), static_cast<size_t>(stop - at));
    }
    at = stop;
  }
  into->total = into->copied.size();
  into->refs.clear();
  into->parts.assign(1, {into->copied.data(), into->total});
  return true;
}

// ---- asking for what is absent --------------------------------------------------------------

// Marks the sub-ranges that are absent and were not asked for yet; `ask(begin, end)` for each.
template <typename Ask>
static void mark_asked(Record& r, uint64_t begin, uint64_t end, Ask ask) {
  for (const Range& gap : r.overlay->absent(begin, end)) {
    uint64_t at = gap.begin;
    while (at < gap.end) {
      auto next = r.asked.upper_bound(at);
      if (next != r.asked.begin() && std::prev(next)->second > at) {
        at = std::prev(next)->second;
        continue;
      }
      const uint64_t stop = next == r.asked.end() ? gap.end : std::min(gap.end, next->first);
      r.asked.emplace(at, stop);
      ask(at, stop);
      at = stop;
    }
  }
}

void Table::raise_need(const Record& r, uint64_t begin, uint64_t end, bool sequential) {
  raise({EventKind::need, double(r.ino), double(begin), double(end - begin),
         double(sequential ? 1 : 0)});
}

// Raises `need` for the sub-ranges that are absent and were not asked for yet.
void Table::need(Record& r, uint64_t begin, uint64_t end, bool sequential) {
  mark_asked(r, begin, end,
             [&](uint64_t from, uint64_t to) { raise_need(r, from, to, sequential); });
}

// What was asked for in [begin, end) has come, or never will.
void Table::answered(Record& r, uint64_t begin, uint64_t end) {
  auto it = r.asked.upper_bound(begin);
  if (it != r.asked.begin() && std::prev(it)->second > begin) --it;
  while (it != r.asked.end() && it->first < end) {
    const auto [from, to] = *it;
    it = r.asked.erase(it);
    if (from < begin) r.asked.emplace(from, begin);
    if (to > end) it = r.asked.emplace(end, to).first;
  }
}

// Where all that is absent in [begin, end) lies, unless a part of it is on its way already.
bool Table::known_places(Record& r, uint64_t begin, uint64_t end,
                         std::vector<BundlePiece>* known) {
  if (!r.places) return false;
  for (const Range& gap : r.overlay->absent(begin, end)) {
    const auto next = r.asked.upper_bound(gap.begin);
    const bool coming = (next != r.asked.end() && next->first < gap.end) ||
                        (next != r.asked.begin() && std::prev(next)->second > gap.begin);
    if (coming || !r.places->find(gap.begin, gap.end, known)) {
      known->clear();
      return false;
    }
  }
  return true;
}

// Of a kernel's READ: its own range, or a growing window when the file is read in sequence.
// `known`: what to read for it, where nobody needs to be asked.
void Table::ask_for(Record& r, uint64_t begin, uint64_t end, std::vector<BundlePiece>* known) {
  const bool near_last = begin <= r.read_end + kNearBefore && begin + kNearBefore >= r.read_end;
  const bool near_window = r.window_end != 0 && begin + kNearBefore >= r.window_end &&
                           begin <= r.window_end + kNearAfter;
  // The second READ of a sequence follows the first one closely; later ones may arrive out of
  // order.
  const bool follows = r.window_bytes > 0 || begin >= r.read_end;
  if (begin != 0 && !(near_last && near_window && follows)) {
    r.window_end = end;
    r.window_bytes = 0;
    r.trigger = UINT64_MAX;
    if (!known_places(r, begin, end, known)) need(r, begin, end, false);
    return;
  }
  r.window_bytes = begin == 0 ? kWindowFirst
                              : std::clamp(2 * r.window_bytes, kWindowFirst, kWindowMax);
  const uint64_t stop = std::max(end, std::min(r.attr.size, begin + r.window_bytes));
  r.window_end = stop;
  r.trigger = stop < r.attr.size ? stop - r.window_bytes / 2 : UINT64_MAX;
  need(r, begin, stop, true);
}

// A READ that passes the middle of the window asks for the next one, before it is needed.
void Table::read_ahead(Record& r, uint64_t begin, uint64_t end) {
  if (r.trigger == UINT64_MAX || end < r.trigger || end >= r.trigger + kTriggerReach ||
      begin + kNearBefore < r.read_end || begin > r.read_end + kNearBefore) {
    return;
  }
  r.window_bytes = std::clamp(2 * r.window_bytes, kWindowFirst, kWindowMax);
  const uint64_t from = r.window_end;
  const uint64_t stop = std::min(r.attr.size, from + r.window_bytes);
  r.window_end = stop;
  r.trigger = stop < r.attr.size ? stop - r.window_bytes / 2 : UINT64_MAX;
  if (from < stop) need(r, from, stop, true);
}

// A sequential reader does not come back: what lies well behind it is dropped.
void Table::drop_behind(Record& r, uint64_t begin) {
  if (r.window_bytes == 0) return;
  uint64_t limit = begin;
  for (const ParkedRead& p : r.parked) limit = std::min(limit, p.offset);
  if (begin < r.dropped_to) r.dropped_to = begin;
  if (limit < kDropMargin || limit - kDropMargin < r.dropped_to + kDropMargin / 2) return;
  r.overlay->cut_clean(r.dropped_to, limit - kDropMargin);
  r.dropped_to = limit - kDropMargin;
}

// ---- parked reads ---------------------------------------------------------------------------

// Answers every parked READ that can be answered now; asks for what the others lack.
void Table::examine_parked(Record& r, Settled* settled) {
  for (size_t i = 0; i < r.parked.size();) {
    ParkedRead& p = r.parked[i];
    const uint64_t end = std::min(p.offset + p.size, r.attr.size);
    ReadSlice found;
    if (p.offset < end && !slice(r, p.offset, end, &found)) {
      need(r, p.offset, end, false);
      i++;
      continue;
    }
    settled->answers.push_back({std::move(p.waiter), p.unique, 0, std::move(found)});
    r.parked.erase(r.parked.begin() + static_cast<ptrdiff_t>(i));
    parked_reads_--;
  }
}

void Table::park(Record& r, const ParkedRead& read) {
  r.parked.push_back(read);
  parked_reads_++;
}

Outcome Table::read_for(const WaiterRef& waiter, uint64_t unique, uint64_t ino, uint64_t offset,
                        uint32_t size, ReadSlice* into) {
  std::vector<BundlePiece> known;
  uint64_t epoch;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    if (!locked->overlay) return Outcome::no_overlay;
    Record& r = *locked;
    const uint64_t end = std::min(offset + size, r.attr.size);
    if (offset >= end) return Outcome::ok;
    const bool present = slice(r, offset, end, into);
    if (present) {
      read_ahead(r, offset, end);
      drop_behind(r, offset);
    } else {
      ask_for(r, offset, end, &known);
      if (known.empty()) park(r, {waiter, unique, offset, size});
    }
    r.read_end = end;
    if (known.empty()) return present ? Outcome::ok : Outcome::parked;
    epoch = r.epoch;
  }
  DirectRead direct{offset, std::vector<uint8_t>(size), {}};
  const bool came = read_at_once(ino, epoch, known, *waiter, &direct);
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    if (!locked->overlay) return Outcome::no_overlay;
    Record& r = *locked;
    const uint64_t end = std::min(offset + size, r.attr.size);
    if (offset >= end || slice(r, offset, end, into)) return Outcome::ok;
    if (came && r.epoch == epoch && slice_with(r, offset, end, direct, into)) return Outcome::ok;
    park(r, {waiter, unique, offset, size});
    if (!came) {
      for (const BundlePiece& piece : known) {
        mark_asked(r, std::max(offset, piece.offset), std::min(end, piece.end()),
                   [](uint64_t, uint64_t) {});
      }
    }
    need(r, offset, end, false);  // what has gone again meanwhile
  }
  if (!came) read_elsewhere(ino, epoch, std::move(known));
  return Outcome::parked;
}

// What was to be read from known places did not come: the engine is asked for it.
void Table::not_read(uint64_t ino, const std::vector<BundlePiece>& pieces, bool forget) {
  Locked locked(*this, ino);
  if (!locked) return;
  Record& r = *locked;
  for (const BundlePiece& piece : pieces) {
    if (forget) cut_places(r, piece.offset, piece.end());
    auto it = r.asked.upper_bound(piece.offset);
    if (it != r.asked.begin() && std::prev(it)->second > piece.offset) --it;
    for (; it != r.asked.end() && it->first < piece.end(); ++it) {
      raise_need(r, std::max(it->first, piece.offset), std::min(it->second, piece.end()), false);
    }
  }
}

Outcome Table::read(uint64_t ino, uint64_t offset, uint64_t length, std::vector<uint8_t>* into) {
  Locked locked(*this, ino);
  if (!locked) return Outcome::absent_record;
  if (!locked->overlay) return Outcome::no_overlay;
  const uint64_t end = std::min(offset + length, locked->attr.size);
  const bool sequential = offset == locked->call_end;
  locked->call_end = std::max(offset, end);
  if (offset >= end) return Outcome::ok;
  ReadSlice found;
  if (!slice(*locked, offset, end, &found)) {
    need(*locked, offset, end, sequential);
    return Outcome::parked;
  }
  into->reserve(found.total);
  for (const ReadSlice::Part& part : found.parts) {
    into->insert(into->end(), part.data, part.data + part.size);
  }
  return Outcome::ok;
}

void Table::fail(uint64_t ino, uint64_t offset, uint64_t length, int error) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (!locked) return;
    Record& r = *locked;
    answered(r, offset, offset + length);
    std::erase_if(r.parked, [&](ParkedRead& p) {
      if (p.offset >= offset + length || p.offset + p.size <= offset) return false;
      settled.answers.push_back({std::move(p.waiter), p.unique, error, {}});
      parked_reads_--;
      return true;
    });
  }
  settled.send();
}

bool Table::cancel(const Waiter* waiter, uint64_t ino, uint64_t unique, int error) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (locked) {
      std::erase_if(locked->parked, [&](ParkedRead& p) {
        if (p.waiter.get() != waiter || p.unique != unique) return false;
        settled.answers.push_back({std::move(p.waiter), p.unique, error, {}});
        parked_reads_--;
        return true;
      });
      locked.unlock_or_remove();
    }
  }
  {
    std::lock_guard lock(parked_mutex_);
    std::erase_if(parked_writes_, [&](ParkedWrite& w) {
      if (w.waiter.get() != waiter || w.unique != unique) return false;
      settled.answers.push_back({std::move(w.waiter), w.unique, error, {}});
      parked_write_count_--;
      return true;
    });
  }
  const bool found = !settled.answers.empty();
  settled.send();
  return found;
}

// Of one waiter, or of all of them (nullptr).
void Table::cancel_all(const Waiter* waiter, int error) {
  std::vector<RecordRef> records;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [ino, record] : records_) records.push_back(record);
  }
  Settled settled;
  for (const RecordRef& record : records) {
    Locked locked(*this, record);
    if (!locked) continue;
    std::erase_if(locked->parked, [&](ParkedRead& p) {
      if (waiter != nullptr && p.waiter.get() != waiter) return false;
      settled.answers.push_back({std::move(p.waiter), p.unique, error, {}});
      parked_reads_--;
      return true;
    });
  }
  {
    std::lock_guard lock(parked_mutex_);
    std::erase_if(parked_writes_, [&](ParkedWrite& w) {
      if (waiter != nullptr && w.waiter.get() != waiter) return false;
      settled.answers.push_back({std::move(w.waiter), w.unique, error, {}});
      parked_write_count_--;
      return true;
    });
  }
  settled.send();
}

bool Table::parked(const Waiter* waiter, uint64_t ino, uint64_t unique) {
  const auto same = [&](const auto& p) { return p.waiter.get() == waiter && p.unique == unique; };
  {
    Locked locked(*this, ino);
    if (locked && std::any_of(locked->parked.begin(), locked->parked.end(), same)) return true;
  }
  std::lock_guard lock(parked_mutex_);
  return std::any_of(parked_writes_.begin(), parked_writes_.end(), same);
}

void Table::interrupt(std::weak_ptr<Waiter> waiter, uint64_t ino, uint64_t unique, uint32_t pid) {
  if (dying(pid)) {
    cancel(waiter.lock().get(), ino, unique, EINTR);
    return;
  }
  {
    std::lock_guard lock(parked_mutex_);
    interrupted_.push_back({std::move(waiter), ino, unique, pid});
    any_interrupted_ = true;
  }
  hurry_tick();
}

// Whoever waits in spite of a signal may be killed later, without another word from the kernel.
void Table::examine_interrupted() {
  if (!any_interrupted_) return;
  std::vector<Interrupted> waiting;
  {
    std::lock_guard lock(parked_mutex_);
    waiting.swap(interrupted_);
  }
  std::erase_if(waiting, [this](const Interrupted& i) {
    const WaiterRef waiter = i.waiter.lock();
    if (!waiter || !parked(waiter.get(), i.ino, i.unique)) return true;
    return dying(i.pid) && (cancel(waiter.get(), i.ino, i.unique, EINTR), true);
  });
  std::lock_guard lock(parked_mutex_);
  std::move(waiting.begin(), waiting.end(), std::back_inserter(interrupted_));
  any_interrupted_ = !interrupted_.empty();
}

}  // namespace lattice
