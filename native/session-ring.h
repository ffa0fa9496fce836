// RequestRing: the arena in which requests wait for JavaScript, whole FUSE messages in order of
// arrival. Producer: the reader thread; consumer: the JavaScript thread, which reads the bytes
// without a copy until it releases them. When the arena is full, requests wait on the heap: the
// producer never blocks (the kernel bounds how many requests can be outstanding).

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace lattice {

class RequestRing {
 public:
  static constexpr uint32_t kBytes = 4u << 20;

  RequestRing() : bytes_(new uint8_t[kBytes], std::default_delete<uint8_t[]>()) {}
  const std::shared_ptr<uint8_t>& bytes() const { return bytes_; }

  void push(const uint8_t* message, uint32_t size) {
    std::lock_guard lock(mutex_);
    if (overflow_.empty() && place(message, size)) return;
    overflow_.emplace_back(message, message + size);
  }

  // Rows of (offset, length).
  size_t take(uint32_t* rows, size_t max_rows) {
    std::lock_guard lock(mutex_);
    size_t count = 0;
    for (; count < max_rows && taken_ < slots_.size(); count++) {
      const Slot& slot = slots_[taken_++];
      *rows++ = slot.offset;
      *rows++ = slot.size;
    }
    return count;
  }

  // Frees the oldest `count` taken requests. True when others became available by that.
  bool release(size_t count) {
    std::lock_guard lock(mutex_);
    for (; count > 0 && taken_ > 0; count--, taken_--) slots_.pop_front();
    bool moved = false;
    while (!overflow_.empty() &&
           place(overflow_.front().data(), static_cast<uint32_t>(overflow_.front().size()))) {
      overflow_.pop_front();
      moved = true;
    }
    return moved;
  }

 private:
  struct Slot {
    uint32_t offset, size;
  };

  bool place(const uint8_t* message, uint32_t size) {
    const uint32_t room = (size + 7) & ~7u;
    uint32_t at;
    if (slots_.empty()) {
      at = 0;
      if (room > kBytes) return false;
    } else {
      const uint32_t tail = slots_.front().offset;
      at = head_;
      if (at > tail) {
        if (room > kBytes - at) at = 0;
      }
      if (at <= tail && room >= tail - at) return false;
    }
    std::memcpy(bytes_.get() + at, message, size);
    slots_.push_back({at, size});
    head_ = at + room;
    return true;
  }

  std::mutex mutex_;
  std::shared_ptr<uint8_t> bytes_;
  std::deque<Slot> slots_;
  size_t taken_ = 0;
  uint32_t head_ = 0;
  std::deque<std::vector<uint8_t>> overflow_;
};

}  // namespace lattice
