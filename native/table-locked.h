// Locked: one record under its lock. When it ends, the table's sums have moved by what the record
// gained or lost. Only the table's own files include this.

#pragma once

#include "table.h"

namespace lattice {

class Table::Locked {
 public:
  Locked(Table& table, RecordRef record) : table_(table), record_(std::move(record)) { lock(); }
  Locked(Table& table, uint64_t ino) : Locked(table, table.find(ino)) {}
  ~Locked() { unlock(); }
  Locked(const Locked&) = delete;

  explicit operator bool() const { return record_ != nullptr; }
  Record* operator->() const { return record_.get(); }
  Record& operator*() const { return *record_; }
  const RecordRef& ref() const { return record_; }
  Overlay* overlay() const { return record_ ? record_->overlay.get() : nullptr; }

  void unlock() {
    if (!lock_.owns_lock()) return;
    table_.adjust(before_, *record_);
    lock_.unlock();
  }
  // Unlocks, and takes the record out of the table when nobody needs it any more.
  void unlock_or_remove() {
    if (!lock_.owns_lock()) return;
    table_.adjust(before_, *record_);
    table_.remove_if_unused(record_, lock_);
  }

 private:
  void lock() {
    if (!record_) return;
    lock_ = std::unique_lock(record_->mutex);
    if (record_->gone) {
      lock_.unlock();
      record_.reset();
      return;
    }
    before_ = sums(*record_);
  }

  Table& table_;
  RecordRef record_;
  std::unique_lock<std::mutex> lock_;
  Sums before_;
};

}  // namespace lattice
