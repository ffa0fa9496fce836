// FileTable, third part: reads and writes that may have to wait. A READ of absent bytes is parked
// with its record and `need` is raised once per absent range; it is looked at again after every
// fill, settle, truncate and write. A WRITE above the dirty limit is parked with its payload, in
// one queue for the whole table, and resumed in order by a thread of the table's own.

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

// ---- asking for what is absent --------------------------------------------------------------

// Raises `need` for the sub-ranges that are absent and were not asked for yet.
void Table::need(Record& r, uint64_t begin, uint64_t end, bool sequential) {
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
      raise({EventKind::need, double(r.ino), double(at), double(stop - at),
             double(sequential ? 1 : 0)});
      at = stop;
    }
  }
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

// Of a kernel's READ: its own range, or a growing window when the file is read in sequence.
void Table::ask_for(Record& r, uint64_t begin, uint64_t end) {
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
    need(r, begin, end, false);
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

Outcome Table::read_for(const WaiterRef& waiter, uint64_t unique, uint64_t ino, uint64_t offset,
                        uint32_t size, ReadSlice* into) {
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
    ask_for(r, offset, end);
    r.parked.push_back({waiter, unique, offset, size});
    parked_reads_++;
  }
  r.read_end = end;
  return present ? Outcome::ok : Outcome::parked;
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

// ---- writes, landing and back-pressure -------------------------------------------------------

Outcome Table::write_for(const WaiterRef& waiter, uint64_t unique, uint64_t ino, uint64_t offset,
                         const uint8_t* bytes, uint32_t size, bool kill) {
  Settled settled;
  Outcome outcome;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    if (!locked->overlay) return Outcome::no_overlay;
    if (parked_write_count_.load() > 0 || full()) {
      locked.unlock();
      {
        std::lock_guard lock(parked_mutex_);
        if (refusal_.load() != 0) return Outcome::full;
        parked_writes_.push_back(
            {waiter, unique, ino, offset, std::vector<uint8_t>(bytes, bytes + size), kill});
        parked_write_count_++;
      }
      press();
      relieve();  // it may have fallen meanwhile
      return Outcome::parked;
    }
    if (kill) kill_suid(*locked);
    outcome = write_locked(*locked, offset, bytes, size);
    if (!locked->parked.empty()) examine_parked(*locked, &settled);
  }
  settled.send();
  return outcome;
}

void Table::refuse_writes(int error) {
  Settled settled;
  {
    std::lock_guard lock(parked_mutex_);
    refusal_ = error;  // under the lock: nobody parks after the queue was answered
    if (error == 0) return;
    for (ParkedWrite& w : parked_writes_) {
      settled.answers.push_back({std::move(w.waiter), w.unique, error, {}});
      parked_write_count_--;
    }
    parked_writes_.clear();
  }
  settled.send();
}

void Table::resume_writes() {
  {
    std::lock_guard lock(parked_mutex_);
    if (resuming_) return;
    resuming_ = true;
  }
  for (;;) {
    ParkedWrite w;
    {
      std::lock_guard lock(parked_mutex_);
      if (parked_writes_.empty() || full() || closed_) {
        resuming_ = false;
        break;
      }
      w = std::move(parked_writes_.front());
      parked_writes_.pop_front();
    }
    Outcome outcome = Outcome::absent_record;
    Settled settled;
    {
      Locked locked(*this, w.ino);
      if (locked.overlay() != nullptr) {
        if (w.kill_suid) kill_suid(*locked);
        outcome = write_locked(*locked, w.offset, w.payload.data(), w.payload.size());
        if (!locked->parked.empty()) examine_parked(*locked, &settled);
      }
    }
    settled.send();
    const auto size = static_cast<uint32_t>(w.payload.size());
    if (outcome == Outcome::ok) w.waiter->answer_write(w.unique, size);
    else w.waiter->answer_error(w.unique, outcome == Outcome::no_memory ? ENOMEM : EIO);
    parked_write_count_--;  // only now: later WRITEs must not overtake this one
  }
}

// Says once that writers wait; tick() repeats it while it lasts.
void Table::press() {
  if (pressing_.exchange(true)) return;
  raise({EventKind::pressure});
  hurry_tick();
}

// Its pause has become shorter.
void Table::hurry_tick() {
  { std::lock_guard lock(work_mutex_); }  // the ticking thread is either waiting or will see it
  work_ready_.notify_all();
}

ArenaRef Table::landing_reserve(uint64_t ino, size_t room) {
  Locked locked(*this, ino);
  if (!locked.overlay()) return {};
  Overlay& overlay = *locked.overlay();
  if (!overlay.current || overlay.current->reserved || full()) return {};
  if (!overlay.streams()) return {};
  // What is left of an arena is filled by copying, except in the largest, where it is little.
  const uint32_t left = overlay.current->room();
  if (left > 0 && left < room && overlay.current->capacity < kSlabBytes) return {};
  if (!overlay.current->slab && left >= room) return {};
  if (!overlay.ensure_room(room)) return {};
  if (!overlay.current->slab) return {};
  overlay.current->reserved = true;
  return overlay.current;
}

void Table::landing_release(uint64_t ino, const ArenaRef& arena) {
  Locked locked(*this, ino);
  // Only the reader looks at an arena that its record has left.
  arena->reserved = false;
}

Outcome Table::landing_write(uint64_t ino, const ArenaRef& arena, uint64_t offset, uint32_t size,
                             bool kill) {
  Locked locked(*this, ino);
  if (!locked) return Outcome::absent_record;
  if (!locked->overlay) return Outcome::no_overlay;
  Record& r = *locked;
  if (!r.parked.empty() || parked_write_count_.load() > 0 || full() ||
      r.overlay->in_place_possible(offset, offset + size)) {
    return Outcome::refused;
  }
  if (kill) kill_suid(r);
  if (offset > r.attr.size) grow(r, offset);
  arena->reserved = false;
  const uint32_t pos = arena->fill;
  arena->fill += size;
  r.overlay->landed(size);
  r.overlay->put_bytes(offset, size, State::dirty, arena, pos);
  r.attr.size = std::max(r.attr.size, offset + size);
  wrote(r);
  return Outcome::ok;
}

// ---- the table's own threads ----------------------------------------------------------------

void Table::post(std::function<void()> work) {
  {
    std::lock_guard lock(work_mutex_);
    if (stopping_) return;
    work_.push_back(std::move(work));
  }
  work_ready_.notify_one();
}

void Table::run(bool ticking) {
  using std::chrono::steady_clock;
  auto ticked = steady_clock::now();
  const auto due = [&] {
    const bool hurried = pressing_ || any_interrupted_;
    return ticked + (hurried        ? std::chrono::milliseconds(100)
                     : attrs_told_ ? std::chrono::milliseconds(1000)
                                   : std::chrono::milliseconds(10000));
  };
  std::unique_lock lock(work_mutex_);
  while (!stopping_) {
    if (ticking && steady_clock::now() >= due()) {
      lock.unlock();
      tick();
      ticked = steady_clock::now();
      lock.lock();
    } else if (!work_.empty()) {
      const auto work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      work();
      lock.lock();
    } else if (ticking) {
      work_ready_.wait_until(lock, due());
    } else {
      work_ready_.wait(lock);
    }
  }
}

void Table::tick() {
  examine_interrupted();
  if (pressing_) {
    if (!full()) resume_writes();
    // Cleared first: a writer that parks between the question and its answer presses by itself.
    pressing_ = false;
    if (full() || parked_write_count_.load() > 0) press();
  } else if (!attrs_told_ && !any_interrupted_) {
    slabs_trim_idle();
  }
  tell_attrs();
}

// Attributes that were set without JavaScript are fetched by it with the next request; when none
// comes, it is woken for them.
void Table::tell_attrs() {
  if (!attrs_told_.exchange(false)) return;
  {
    std::lock_guard lock(attrs_mutex_);
    if (dirty_attrs_.empty()) return;
    attrs_told_ = true;
  }
  std::shared_ptr<Wakeable> listener;
  {
    std::lock_guard lock(events_mutex_);
    listener = newest_listener();
  }
  if (listener) listener->wake();
}

}  // namespace lattice
