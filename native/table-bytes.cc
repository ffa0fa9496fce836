// FileTable, third part: what changes bytes (write, truncate, zero), jobs, and base content.

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "table-locked.h"
#include "table.h"

namespace lattice {

namespace {

constexpr uint64_t kFullBytes = kSlabBytes;
constexpr uint64_t kKeepCleanBytes = uint64_t{1} << 20;  // of a settled file that is still open

}  // namespace

// ---- changes --------------------------------------------------------------------------------

void Table::mark_dirty(Record& r) {
  if (r.dirty_told) return;
  r.dirty_told = true;
  raise({EventKind::dirty, static_cast<double>(r.ino)});
}

void Table::note_clean_state(Record& r) {
  if (r.dirty()) return;
  if (r.job == 0 && r.overlay && r.open_count == 0) r.overlay->current.reset();
  r.dirty_told = false;
}

// The write times move; an mtime that a caller set before is history.
void Table::touch(Record& r) {
  now(&r.attr.mtime_sec, &r.attr.mtime_nsec);
  r.attr.ctime_sec = r.attr.mtime_sec;
  r.attr.ctime_nsec = r.attr.mtime_nsec;
}

void Table::tell_full(Record& r) {
  if (r.full_told || r.overlay->counts().dirty_data < kFullBytes) return;
  r.full_told = true;
  raise({EventKind::full, static_cast<double>(r.ino)});
}

// After a change of content.
void Table::wrote(Record& r) {
  touch(r);
  mark_dirty(r);
  tell_full(r);
}

void Table::grow(Record& r, uint64_t size) {
  r.overlay->put_hole(r.attr.size, size, State::dirty);
  r.attr.size = size;
}

void Table::shrink(Record& r, uint64_t size) {
  r.overlay->cut(size, UINT64_MAX);
  cut_places(r, size, UINT64_MAX);
  answered(r, size, UINT64_MAX);
  r.attr.size = size;
  r.window_end = std::min(r.window_end, size);
}

Outcome Table::write_locked(Record& r, uint64_t offset, const uint8_t* bytes, size_t size) {
  if (size == 0) return Outcome::ok;
  if (offset > r.attr.size) grow(r, offset);
  if (!r.overlay->write(offset, bytes, size)) return Outcome::no_memory;
  r.attr.size = std::max(r.attr.size, offset + size);
  wrote(r);
  return Outcome::ok;
}

Outcome Table::write(uint64_t ino, uint64_t offset, const uint8_t* bytes, size_t size) {
  Settled settled;
  Outcome outcome;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    if (!locked->overlay) return Outcome::no_overlay;
    if (parked_write_count_.load() > 0 || full()) {
      locked.unlock();
      press();
      return Outcome::full;
    }
    outcome = write_locked(*locked, offset, bytes, size);
    examine_parked(*locked, &settled);
  }
  settled.send();
  return outcome;
}

void Table::truncate_locked(Record& r, uint64_t size, Settled* settled) {
  if (size > r.attr.size) {
    grow(r, size);
  } else {
    shrink(r, size);
    r.size_dirty = true;  // no extent shows it
  }
  wrote(r);
  examine_parked(r, settled);
}

Outcome Table::truncate(uint64_t ino, uint64_t size) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    if (!locked->overlay) return Outcome::no_overlay;
    truncate_locked(*locked, size, &settled);
  }
  settled.send();
  relieve();
  return Outcome::ok;
}

Outcome Table::zero(uint64_t ino, uint64_t offset, uint64_t length, bool may_grow) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    if (!locked->overlay) return Outcome::no_overlay;
    Record& r = *locked;
    uint64_t end = offset + length;
    if (!may_grow) end = std::min(end, r.attr.size);
    if (offset >= end) return Outcome::ok;
    if (end > r.attr.size) grow(r, end);
    r.overlay->put_hole(offset, end, State::dirty);
    wrote(r);
    examine_parked(r, &settled);
  }
  settled.send();
  relieve();
  return Outcome::ok;
}

// fallocate without flags: room is never reserved, so only the size can change.
Outcome Table::allocate(uint64_t ino, uint64_t offset, uint64_t length) {
  Locked locked(*this, ino);
  if (!locked) return Outcome::absent_record;
  if (!locked->overlay) return Outcome::no_overlay;
  if (offset + length <= locked->attr.size) return Outcome::ok;
  grow(*locked, offset + length);
  wrote(*locked);
  return Outcome::ok;
}

std::vector<double> Table::overlay_rows(uint64_t ino, uint64_t begin, uint64_t end) {
  std::vector<double> rows;
  Locked locked(*this, ino);
  if (!locked.overlay() || begin >= end) return rows;
  const auto& extents = locked.overlay()->extents();
  for (auto it = locked.overlay()->at_or_after(begin); it != extents.end() && it->first < end;
       ++it) {
    const double from = static_cast<double>(std::max(it->first, begin));
    const double to = static_cast<double>(std::min(it->first + it->second.length, end));
    const double state = static_cast<double>(it->second.state);
    const double hole = it->second.hole ? 1 : 0;
    const size_t n = rows.size();
    if (n >= 4 && rows[n - 4] + rows[n - 3] == from && rows[n - 2] == state &&
        rows[n - 1] == hole) {
      rows[n - 3] += to - from;
    } else {
      rows.insert(rows.end(), {from, to - from, state, hole});
    }
  }
  return rows;
}

// ---- jobs -----------------------------------------------------------------------------------

std::shared_ptr<const Job> Table::freeze(uint64_t ino, Outcome* outcome) {
  *outcome = Outcome::ok;
  Locked locked(*this, ino);
  if (!locked) return nullptr;
  Record& r = *locked;
  if (r.job != 0) {
    *outcome = Outcome::refused;
    return nullptr;
  }
  if (!r.dirty()) return nullptr;
  auto job = std::make_shared<Job>();
  job->ino = ino;
  job->attr = r.attr;
  if (r.overlay) {
    r.overlay->freeze([&job](uint64_t offset, const Extent& e) {
      job->parts.push_back({offset, e.length, e.hole, e.arena, e.hole ? nullptr : e.bytes()});
      if (!e.hole) job->data_bytes += e.length;
    });
  }
  {
    std::lock_guard lock(jobs_mutex_);
    job->id = next_job_++;
    jobs_.emplace(job->id, job);
  }
  r.job = job->id;
  r.job_size_dirty = r.size_dirty;
  r.job_data = job->data_bytes;
  r.size_dirty = false;
  r.full_told = false;
  return job;
}

std::shared_ptr<const Job> Table::job(uint64_t id) {
  std::lock_guard lock(jobs_mutex_);
  const auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : it->second;
}

bool Table::read_frozen(const Job& job, uint64_t offset, uint8_t* into, size_t size) {
  auto part = std::upper_bound(job.parts.begin(), job.parts.end(), offset,
                               [](uint64_t at, const Job::Part& p) { return at < p.offset; });
  if (part == job.parts.begin()) return size == 0;
  --part;
  while (size > 0) {
    if (part == job.parts.end() || offset < part->offset || offset >= part->offset + part->length) {
      return false;
    }
    const uint64_t skip = offset - part->offset;
    const size_t count = static_cast<size_t>(std::min<uint64_t>(size, part->length - skip));
    if (part->hole) std::memset(into, 0, count);
    else std::memcpy(into, part->data + skip, count);
    into += count;
    offset += count;
    size -= count;
    ++part;
  }
  return true;
}

Outcome Table::settle(uint64_t id, bool ok, uint64_t thaw_begin) {
  const std::shared_ptr<const Job> ended = job(id);
  if (!ended) return Outcome::refused;
  Settled settled;
  {
    Locked locked(*this, ended->ino);
    if (!locked || locked->job != id) return Outcome::refused;
    Record& r = *locked;
    if (!ok) thaw_begin = 0;
    if (r.overlay) r.overlay->settle(thaw_begin);
    if (ok) r.base_hole_bytes -= static_cast<int64_t>(r.job_data);
    if (!ok && r.job_size_dirty) r.size_dirty = true;
    r.job = 0;
    r.job_data = 0;
    r.epoch = ++epochs_;
    for (const Job::Part& part : ended->parts) {
      cut_places(r, part.offset, part.offset + part.length);
    }
    if (r.overlay && r.was_open) {
      const uint64_t clean = r.overlay->counts().clean_data;
      if (r.open_count == 0 || clean > kKeepCleanBytes) r.overlay->cut_clean(0, UINT64_MAX);
    }
    note_clean_state(r);
    if (r.overlay) tell_full(r);
    examine_parked(r, &settled);
    if (r.overlay && r.overlay->counts().clean_data > 0) touch_clean(locked.ref());
    locked.unlock_or_remove();
  }
  {
    std::lock_guard lock(jobs_mutex_);
    jobs_.erase(id);
  }
  settled.send();
  relieve();
  return Outcome::ok;
}

uint64_t Table::base_epoch(uint64_t ino) {
  Locked locked(*this, ino);
  return locked ? locked->epoch : 0;
}

Outcome Table::replace_base(uint64_t ino, uint64_t offset, uint64_t length) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    if (!locked->overlay) return Outcome::no_overlay;
    Record& r = *locked;
    if (offset > r.attr.size) grow(r, offset);
    r.overlay->cut(offset, offset + length);
    r.base_hole_bytes -= static_cast<int64_t>(length);
    cut_places(r, offset, offset + length);
    r.attr.size = std::max(r.attr.size, offset + length);
    r.epoch = ++epochs_;
    touch(r);
    if (r.dirty()) mark_dirty(r);
    else note_clean_state(r);
    examine_parked(r, &settled);
  }
  settled.send();
  relieve();
  return Outcome::ok;
}

// ---- base content ---------------------------------------------------------------------------

// `put(overlay, gap)` for each absent sub-range below the size; then readers are looked at again.
template <typename Put>
Outcome Table::fill_with(uint64_t ino, uint64_t epoch, uint64_t begin, uint64_t end, Put put) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (!locked || !locked->overlay || locked->epoch != epoch) return Outcome::refused;
    Record& r = *locked;
    for (const Range& gap : r.overlay->absent(begin, std::min(end, r.attr.size))) {
      if (!put(*r.overlay, gap)) return Outcome::no_memory;
    }
    answered(r, begin, end);
    examine_parked(r, &settled);
    touch_clean(locked.ref());
  }
  settled.send();
  relieve();
  return Outcome::ok;
}

Outcome Table::fill(uint64_t ino, uint64_t epoch, uint64_t offset, const uint8_t* bytes,
                    uint64_t size) {
  ArenaRef arena;
  return fill_with(ino, epoch, offset, offset + size, [&](Overlay& overlay, const Range& gap) {
    for (uint64_t at = gap.begin; at < gap.end;) {
      const uint64_t part = std::min<uint64_t>(gap.end - at, kSlabBytes);
      if (!arena || arena->room() < part) arena = arena_new(static_cast<size_t>(part));
      if (!arena) return false;
      const uint32_t pos = arena->fill;
      std::memcpy(arena->data + pos, bytes + (at - offset), static_cast<size_t>(part));
      arena->fill += static_cast<uint32_t>(part);
      overlay.put_bytes(at, part, State::clean, arena, pos);
      at += part;
    }
    return true;
  });
}

Outcome Table::fill_hole(uint64_t ino, uint64_t epoch, uint64_t offset, uint64_t length) {
  return fill_with(ino, epoch, offset, offset + length, [](Overlay& overlay, const Range& gap) {
    overlay.put_hole(gap.begin, gap.end, State::clean);
    return true;
  });
}

Outcome Table::fill_arena(uint64_t ino, uint64_t epoch, uint64_t offset, uint64_t length,
                          const ArenaRef& arena, uint32_t pos) {
  return fill_with(ino, epoch, offset, offset + length, [&](Overlay& overlay, const Range& gap) {
    overlay.put_bytes(gap.begin, gap.end - gap.begin, State::clean, arena,
                      pos + static_cast<uint32_t>(gap.begin - offset));
    return true;
  });
}

}  // namespace lattice
