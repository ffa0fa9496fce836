// Arenas: append-only, reference-counted blocks of memory that hold file bytes. Small ones come
// from malloc and grow with the file; streams use slabs of 2, 4 and then 8 MiB from a pool that
// recycles them and gives them back to the system when idle. Bytes below `fill` are never moved; an
// arena belongs to one record, whose lock guards `fill` and `reserved`. References may be held
// without any lock.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace lattice {

// The largest arena.
inline constexpr size_t kSlabBytes = size_t{8} << 20;

struct Arena {
  std::atomic<uint32_t> refs{0};
  bool slab = false;
  // The tail is the target of an outstanding readv: only the reader thread may append.
  bool reserved = false;
  uint32_t capacity = 0;
  uint32_t fill = 0;
  uint8_t* data = nullptr;

  uint32_t room() const { return capacity - fill; }
};

// A shared reference; the last one frees the arena or returns its slab to the pool.
class ArenaRef {
 public:
  ArenaRef() = default;
  explicit ArenaRef(Arena* arena) : arena_(arena) { acquire(); }
  ArenaRef(const ArenaRef& other) : arena_(other.arena_) { acquire(); }
  ArenaRef(ArenaRef&& other) noexcept : arena_(std::exchange(other.arena_, nullptr)) {}
  ArenaRef& operator=(ArenaRef other) noexcept {
    std::swap(arena_, other.arena_);
    return *this;
  }
  ~ArenaRef() { release(); }

  Arena* get() const { return arena_; }
  Arena* operator->() const { return arena_; }
  explicit operator bool() const { return arena_ != nullptr; }
  void reset() { *this = ArenaRef(); }
  bool sole() const { return arena_->refs.load(std::memory_order_acquire) == 1; }

 private:
  void acquire() {
    if (arena_ != nullptr) arena_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  void release();

  Arena* arena_ = nullptr;
};

// An arena of at least `bytes` (at most kSlabBytes): the smallest size class that holds them. Empty
// when the system has no memory.
ArenaRef arena_new(size_t bytes);
// Slabs in use, and slabs kept for reuse.
size_t slabs_in_use();
size_t slabs_kept();
// Returns the kept slabs to the system, unless one was taken since the last call.
void slabs_trim_idle();

}  // namespace lattice
