// FileTable, first part: life cycle, events, sums and relief. See table.h.

#include "table.h"

#include <algorithm>
#include <cerrno>

#include "table-locked.h"

namespace lattice {

namespace {

struct Registry {
  std::mutex mutex;
  std::unordered_map<uint64_t, std::weak_ptr<Table>> tables;
  uint64_t next = 1;
};

// Never destroyed: threads may outlive static destruction.
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

}  // namespace

void Settled::send() {
  for (Answer& answer : answers) {
    if (answer.error != 0) answer.waiter->answer_error(answer.unique, answer.error);
    else answer.waiter->answer_read(answer.unique, answer.slice);
  }
  answers.clear();
}

// ---- life cycle -----------------------------------------------------------------------------

std::shared_ptr<Table> Table::create() {
  std::shared_ptr<Table> table(new Table, [](Table* last) {
    delete_elsewhere(last, last->own_thread());
  });
  {
    Registry& all = registry();
    std::lock_guard lock(all.mutex);
    table->handle_ = all.next++;
    all.tables.emplace(table->handle_, table);
  }
  Table* const self = table.get();
  for (int i = 0; i < 2; i++) table->threads_.emplace_back([self, i] { self->run(i == 0); });
  return table;
}

std::shared_ptr<Table> Table::by_handle(uint64_t handle) {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  const auto it = all.tables.find(handle);
  return it == all.tables.end() ? nullptr : it->second.lock();
}

bool Table::own_thread() const {
  return std::any_of(threads_.begin(), threads_.end(), [](const std::thread& thread) {
    return thread.get_id() == std::this_thread::get_id();
  });
}

Table::~Table() {
  close();
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.tables.erase(handle_);
}

void Table::close() {
  if (closed_.exchange(true)) return;
  {
    std::lock_guard lock(work_mutex_);
    stopping_ = true;
  }
  work_ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  cancel_all(nullptr, ENOTCONN);
  wipe_keys();
}

void Table::set_limits(uint64_t dirty_max, uint64_t clean_max) {
  dirty_max_ = dirty_max;
  clean_max_ = clean_max;
  relieve();
}

// ---- events ---------------------------------------------------------------------------------

// With events_mutex_ held.
std::shared_ptr<Wakeable> Table::newest_listener() {
  while (!listeners_.empty()) {
    if (auto listener = listeners_.back().lock()) return listener;
    listeners_.pop_back();
  }
  return nullptr;
}

void Table::add_listener(const std::shared_ptr<Wakeable>& listener) {
  {
    std::lock_guard lock(events_mutex_);
    listeners_.push_back(listener);
    if (events_.empty()) return;
  }
  listener->wake();
}

void Table::remove_listener(const Wakeable* listener) {
  std::shared_ptr<Wakeable> next;
  {
    std::lock_guard lock(events_mutex_);
    std::erase_if(listeners_, [listener](const auto& weak) {
      const auto held = weak.lock();
      return held == nullptr || held.get() == listener;
    });
    if (!events_.empty()) next = newest_listener();
  }
  if (next) next->wake();
}

void Table::raise(Event event) {
  std::shared_ptr<Wakeable> listener;
  {
    std::lock_guard lock(events_mutex_);
    events_.push_back(event);
    listener = newest_listener();
  }
  if (listener) listener->wake();
}

size_t Table::take_events(double* rows, size_t max_rows) {
  size_t count = 0;
  while (count < max_rows) {
    Event e;
    {
      std::lock_guard lock(events_mutex_);
      if (events_.empty()) break;
      e = events_.front();
      events_.pop_front();
    }
    if (e.kind == EventKind::forgotten && known_again(static_cast<uint64_t>(e.ino))) continue;
    rows[0] = static_cast<int>(e.kind);
    rows[1] = e.ino, rows[2] = e.a, rows[3] = e.b, rows[4] = e.c;
    rows += 5;
    count++;
  }
  return count;
}

// A reply gave the ino to the kernel again before anybody heard that it was forgotten.
bool Table::known_again(uint64_t ino) {
  Locked locked(*this, ino);
  if (!locked || (locked->nlookup == 0 && locked->open_count == 0)) return false;
  locked->watched = true;
  return true;
}

// ---- sums and relief ------------------------------------------------------------------------

Table::Sums Table::sums(const Record& record) {
  Sums s;
  s.memory = record.job_data;
  if (record.overlay) {
    const Counts& c = record.overlay->counts();
    s.memory += c.dirty_data;
    s.dirty = c.dirty_data + c.frozen_data;
    s.clean = c.clean_data;
  }
  return s;
}

void Table::adjust(const Sums& before, const Record& record) {
  const Sums after = sums(record);
  memory_ += after.memory - before.memory;  // modulo 2^64: also when it falls
  dirty_ += after.dirty - before.dirty;
  clean_ += after.clean - before.clean;
}

void Table::relieve() {
  if (parked_write_count_.load() > 0 && !full()) {
    post([this] { resume_writes(); });
  }
  if (clean_.load() > clean_max_.load()) evict_clean();
}

// With the record's lock held: a record that is gone does not come back into the list.
void Table::touch_clean(const RecordRef& record) {
  record->used_tick = ++ticks_;
  std::lock_guard lock(clean_mutex_);
  if (record->in_clean_list) return;
  record->in_clean_list = true;
  record->clean_list_at = clean_list_.insert(clean_list_.end(), record);
}

// With the record's lock held, when it goes.
void Table::leave_clean_list(Record& record) {
  std::lock_guard lock(clean_mutex_);
  if (!record.in_clean_list) return;
  record.in_clean_list = false;
  clean_list_.erase(record.clean_list_at);
}

// Drops the clean bytes of the records that were not used for longest.
void Table::evict_clean() {
  size_t tries;
  {
    std::lock_guard lock(clean_mutex_);
    tries = clean_list_.size();
  }
  uint64_t newest = ticks_.load();
  while (tries-- > 0 && clean_.load() > clean_max_.load()) {
    RecordRef record;
    {
      std::lock_guard lock(clean_mutex_);
      if (clean_list_.empty()) return;
      record = std::move(clean_list_.front());
      clean_list_.pop_front();
      record->in_clean_list = false;
    }
    Locked locked(*this, record);
    if (!locked || !locked.overlay()) continue;
    const bool newest_one = locked->used_tick.load() == newest && tries > 0;
    if (newest_one || !locked->parked.empty()) touch_clean(record);
    else locked.overlay()->cut_clean(0, UINT64_MAX);
  }
}

void Table::totals(double out[6]) {
  out[0] = static_cast<double>(dirty_.load());
  out[1] = static_cast<double>(clean_.load());
  {
    std::lock_guard lock(mutex_);
    out[2] = static_cast<double>(records_.size());
  }
  out[3] = static_cast<double>(parked_reads_.load());
  out[4] = static_cast<double>(parked_write_count_.load());
  out[5] = static_cast<double>(slabs_in_use());
}

}  // namespace lattice
