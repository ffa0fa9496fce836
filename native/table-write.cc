// FileTable, sixth part: writes that may have to wait, landing, and the table's own threads. A
// WRITE above the dirty limit is parked with its payload, in one queue for the whole table, and
// resumed in order by a thread of the table's own.

#include <algorithm>
#include <cerrno>

#include "table-locked.h"
#include "table.h"

namespace lattice {

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
