// FileTable, second part: records and attributes, and what the kernel has of them: lookups, opens.

#include <sys/stat.h>
#include <time.h>

#include <algorithm>

#include "table-locked.h"
#include "table.h"

namespace lattice {

namespace {

constexpr uint32_t kSetByCaller =
    kAttrMode | kAttrUid | kAttrGid | kAttrAtime | kAttrMtime | kAttrCtime;

}  // namespace

void now(int64_t* seconds, uint32_t* nanoseconds) {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  *seconds = t.tv_sec;
  *nanoseconds = static_cast<uint32_t>(t.tv_nsec);
}

// ---- records --------------------------------------------------------------------------------

RecordRef Table::find(uint64_t ino) {
  std::lock_guard lock(mutex_);
  const auto it = records_.find(ino);
  return it == records_.end() ? nullptr : it->second;
}

RecordRef Table::find_or_make(uint64_t ino) {
  std::lock_guard lock(mutex_);
  RecordRef& slot = records_[ino];
  if (!slot) {
    slot = std::make_shared<Record>(ino);
    slot->epoch = ++epochs_;
  }
  return slot;
}

bool Table::removable(const Record& r) const {
  return (r.looked_up || r.watched) && r.nlookup == 0 && r.open_count == 0 && !r.busy() &&
         r.parked.empty() && !r.attr_queued;
}

// Takes the record's lock over and releases it.
void Table::remove_if_unused(const RecordRef& record, std::unique_lock<std::mutex>& lock) {
  if (record->gone || !removable(*record)) {
    lock.unlock();
    return;
  }
  record->gone = true;
  leave_clean_list(*record);
  drop_places(*record);
  const Sums before = sums(*record);
  record->overlay.reset();
  adjust(before, *record);
  const bool watched = record->watched;
  {
    std::lock_guard table_lock(mutex_);
    const auto it = records_.find(record->ino);
    if (it != records_.end() && it->second == record) records_.erase(it);
  }
  lock.unlock();
  if (watched) raise({EventKind::forgotten, static_cast<double>(record->ino)});
}

// What the engine says, except what the record holds dirty.
void Table::apply_told(Record& r, const Attr& told) {
  uint32_t keep = r.explicit_mask;
  if (r.overlay) keep |= kAttrSize | kAttrMtime | kAttrCtime;
  if (r.explicit_mask != 0) keep |= kAttrCtime;
  r.attr.rdev = told.rdev;
  apply(r, kAttrAll & ~keep, told);
}

void Table::attach(uint64_t ino, const Attr& attr) {
  for (;;) {
    Locked locked(*this, find_or_make(ino));
    if (!locked) continue;  // it was removed meanwhile
    apply_told(*locked, attr);
    return;
  }
}

Outcome Table::open_data(uint64_t ino) {
  Locked locked(*this, ino);
  if (!locked) return Outcome::absent_record;
  if (!locked->overlay) locked->overlay = std::make_unique<Overlay>();
  return Outcome::ok;
}

bool Table::attrs(uint64_t ino, Attr* into) {
  Locked locked(*this, ino);
  if (locked) *into = locked->attr;
  return static_cast<bool>(locked);
}

// Never too few: programs take a file without blocks for one without data. What is dirty or frozen
// may lie over data of the base as well as over its holes: all of it counts as over holes.
uint64_t Table::blocks_of(const Record& r) {
  const Counts c = r.overlay ? r.overlay->counts() : Counts{};
  const uint64_t held_holes = c.hole_bytes - c.clean_hole_bytes;
  const int64_t held = static_cast<int64_t>(held_holes + c.dirty_data + c.frozen_data);
  const int64_t size = static_cast<int64_t>(r.attr.size);
  const int64_t base = r.base_hole_bytes + size - static_cast<int64_t>(r.base_size) - held;
  const int64_t seen = static_cast<int64_t>(c.clean_hole_bytes);
  const int64_t holes = static_cast<int64_t>(held_holes) + std::max(base, seen);
  return static_cast<uint64_t>(size - std::clamp<int64_t>(holes, 0, size) + 511) / 512;
}

bool Table::attrs_and_blocks(uint64_t ino, Attr* into, uint64_t* blocks) {
  Locked locked(*this, ino);
  if (!locked) return false;
  *into = locked->attr;
  *blocks = blocks_of(*locked);
  return true;
}

// Sets what `mask` names; nlink always.
void Table::apply(Record& r, uint32_t mask, const Attr& a) {
  r.attr.nlink = a.nlink;
  if (mask & kAttrMode) r.attr.mode = a.mode;
  if (mask & kAttrUid) r.attr.uid = a.uid;
  if (mask & kAttrGid) r.attr.gid = a.gid;
  if (mask & kAttrAtime) r.attr.atime_sec = a.atime_sec, r.attr.atime_nsec = a.atime_nsec;
  if (mask & kAttrMtime) r.attr.mtime_sec = a.mtime_sec, r.attr.mtime_nsec = a.mtime_nsec;
  if (mask & kAttrCtime) r.attr.ctime_sec = a.ctime_sec, r.attr.ctime_nsec = a.ctime_nsec;
  if ((mask & kAttrSize) && a.size != r.attr.size) {
    if (a.size < r.attr.size && r.overlay) {
      r.overlay->cut(a.size, UINT64_MAX);
      cut_places(r, a.size, UINT64_MAX);
      answered(r, a.size, UINT64_MAX);
    }
    r.attr.size = a.size;
  }
}

Outcome Table::set_attrs(uint64_t ino, uint32_t mask, const Attr& attr) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    apply(*locked, mask, attr);
    if (mask & kAttrSize) examine_parked(*locked, &settled);
  }
  settled.send();
  relieve();
  return Outcome::ok;
}

void Table::queue_attr(Record& r, uint32_t mask) {
  r.explicit_mask |= mask;
  if (r.attr_queued || r.explicit_mask == 0) return;
  r.attr_queued = true;
  {
    std::lock_guard lock(attrs_mutex_);
    dirty_attrs_.push_back(r.ino);
  }
  if (!attrs_told_.exchange(true)) hurry_tick();
}

// A caller's change; ctime moves unless it is given.
void Table::change_locked(Record& r, uint32_t mask, const Attr& attr) {
  mask &= kSetByCaller;
  if (mask == 0) return;
  Attr changed = attr;
  changed.nlink = r.attr.nlink;
  apply(r, mask, changed);
  if (!(mask & kAttrCtime)) now(&r.attr.ctime_sec, &r.attr.ctime_nsec);
  queue_attr(r, mask);
}

Outcome Table::change_attrs(uint64_t ino, uint32_t mask, const Attr& attr) {
  Locked locked(*this, ino);
  if (!locked) return Outcome::absent_record;
  change_locked(*locked, mask, attr);
  return Outcome::ok;
}

void pack_attr(const Attr& a, double* into) {
  const double values[12] = {
      double(a.mode),       double(a.nlink),      double(a.uid),       double(a.gid),
      double(a.rdev),       double(a.size),       double(a.atime_sec), double(a.atime_nsec),
      double(a.mtime_sec),  double(a.mtime_nsec), double(a.ctime_sec), double(a.ctime_nsec)};
  std::copy(values, values + 12, into);
}

size_t Table::take_dirty_attrs(double* rows, size_t max_rows) {
  size_t count = 0;
  while (count < max_rows) {
    uint64_t ino;
    {
      std::lock_guard lock(attrs_mutex_);
      if (dirty_attrs_.empty()) break;
      ino = dirty_attrs_.front();
      dirty_attrs_.pop_front();
    }
    Locked locked(*this, ino);
    if (!locked) continue;
    locked->attr_queued = false;
    if (locked->explicit_mask != 0) {
      rows[0] = static_cast<double>(ino);
      rows[1] = locked->explicit_mask;
      pack_attr(locked->attr, rows + 2);
      rows += 14;
      count++;
      locked->explicit_mask = 0;
    }
    locked.unlock_or_remove();
  }
  return count;
}

bool Table::set_base_holes(uint64_t ino, uint64_t bytes, uint64_t base_size) {
  Locked locked(*this, ino);
  if (!locked) return false;
  const uint64_t before = blocks_of(*locked);
  locked->base_hole_bytes = static_cast<int64_t>(bytes);
  locked->base_size = base_size;
  return locked->nlookup > 0 && blocks_of(*locked) != before;
}

void Table::watch_forget(uint64_t ino) {
  {
    Locked locked(*this, ino);
    if (locked) {
      locked->watched = true;
      locked.unlock_or_remove();
      return;
    }
  }
  raise({EventKind::forgotten, static_cast<double>(ino)});
}

Outcome Table::drop(uint64_t ino) {
  Locked locked(*this, ino);
  if (!locked) return Outcome::ok;
  if (locked->job != 0 || locked->open_count != 0 || !locked->parked.empty()) {
    return Outcome::refused;
  }
  drop_places(*locked);
  locked->overlay.reset();
  locked->gone = true;
  leave_clean_list(*locked);
  if (locked->attr_queued) {
    std::lock_guard lock(attrs_mutex_);
    std::erase(dirty_attrs_, ino);
  }
  std::lock_guard lock(mutex_);
  const auto it = records_.find(ino);
  if (it != records_.end() && it->second == locked.ref()) records_.erase(it);
  return Outcome::ok;
}

// ---- the kernel's references ----------------------------------------------------------------

Attr Table::register_entry(uint64_t ino, const Attr& told, uint64_t directory, bool opened,
                           uint64_t* blocks) {
  for (;;) {
    Locked locked(*this, find_or_make(ino));
    if (!locked) continue;
    Record& r = *locked;
    // A record is the authority; only a new one believes what it is told (nlink: always).
    if (r.attr.mode == 0) apply_told(r, told);
    else r.attr.nlink = told.nlink;
    if (directory != 0) r.nlookup++, r.looked_up = true, r.named_in = directory;
    if (opened) r.open_count++, r.was_open = true;
    *blocks = blocks_of(r);
    return r.attr;
  }
}

void Table::opened(uint64_t ino) {
  Locked locked(*this, ino);
  if (locked) locked->open_count++, locked->was_open = true, locked->named_in = 0;
}

uint64_t Table::on_its_way(uint64_t ino) {
  Locked locked(*this, ino);
  return locked ? locked->named_in : 0;
}

void Table::forget(uint64_t ino, uint64_t count) {
  Locked locked(*this, ino);
  if (!locked) return;
  locked->nlookup -= std::min(count, locked->nlookup);
  locked.unlock_or_remove();
}

void Table::released(uint64_t ino) {
  bool last = false;
  {
    Locked locked(*this, ino);
    if (!locked || locked->open_count == 0) return;
    Record& r = *locked;
    r.named_in = 0;
    last = --r.open_count == 0;
    if (last) {
      if (r.overlay) {
        r.overlay->cut_clean(0, UINT64_MAX);
        r.overlay->current.reset();  // what lies in it keeps it
      }
      drop_places(r);
      r.window_end = r.window_bytes = r.read_end = r.dropped_to = 0;
      r.trigger = UINT64_MAX;
    }
    locked.unlock_or_remove();
  }
  if (last) raise({EventKind::released, static_cast<double>(ino)});
}

void Table::kernel_gone() {
  std::vector<RecordRef> records;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [ino, record] : records_) records.push_back(record);
  }
  for (const RecordRef& record : records) {
    const bool was_open = [&] {
      Locked locked(*this, record);
      if (!locked) return false;
      locked->nlookup = 0;
      const bool open = std::exchange(locked->open_count, 0) > 0;
      if (open && locked.overlay()) locked.overlay()->cut_clean(0, UINT64_MAX);
      drop_places(*locked);
      note_clean_state(*locked);
      locked.unlock_or_remove();
      return open;
    }();
    if (was_open) raise({EventKind::released, static_cast<double>(record->ino)});
  }
}

int Table::flushed(uint64_t ino) {
  int error = 0;
  {
    Locked locked(*this, ino);
    if (!locked) return 0;
    std::swap(error, locked->error);
    if (!locked->dirty()) return error;
  }
  raise({EventKind::flush, static_cast<double>(ino)});
  return error;
}

Outcome Table::setattr(uint64_t ino, uint32_t mask, const Attr& attr, bool has_size, uint64_t size,
                       bool kill, Attr* after, uint64_t* blocks) {
  Settled settled;
  {
    Locked locked(*this, ino);
    if (!locked) return Outcome::absent_record;
    Record& r = *locked;
    if (has_size && !r.overlay) return Outcome::no_overlay;
    const bool chown = (mask & (kAttrUid | kAttrGid)) != 0 && !S_ISDIR(r.attr.mode);
    if ((kill || chown) && !(mask & kAttrMode)) kill_suid(r);
    if (has_size) truncate_locked(r, size, &settled);
    change_locked(r, mask, attr);
    *after = r.attr;
    *blocks = blocks_of(r);
  }
  settled.send();
  relieve();
  return Outcome::ok;
}

void Table::kill_suid(Record& r) {
  if (!S_ISREG(r.attr.mode)) return;
  uint32_t mode = r.attr.mode & ~uint32_t{S_ISUID};
  if (mode & S_IXGRP) mode &= ~uint32_t{S_ISGID};
  if (mode == r.attr.mode) return;
  r.attr.mode = mode;
  queue_attr(r, kAttrMode);
}

void Table::report_error(uint64_t ino, int error) {
  Locked locked(*this, ino);
  if (locked) locked->error = error;
}

int Table::take_error(uint64_t ino) {
  int error = 0;
  Locked locked(*this, ino);
  if (locked) std::swap(error, locked->error);
  return error;
}

uint64_t Table::open_count(uint64_t ino) {
  Locked locked(*this, ino);
  return locked ? locked->open_count : 0;
}

std::vector<uint64_t> Table::known_inos() {
  std::vector<uint64_t> inos;
  std::lock_guard lock(mutex_);
  inos.reserve(records_.size());
  for (const auto& [ino, record] : records_) inos.push_back(ino);
  return inos;
}

uint64_t Table::dirty_bytes(uint64_t ino) {
  Locked locked(*this, ino);
  return locked.overlay() ? locked.overlay()->counts().dirty_data : 0;
}

bool Table::is_dirty(uint64_t ino) {
  Locked locked(*this, ino);
  return locked && locked->dirty();
}

}  // namespace lattice
