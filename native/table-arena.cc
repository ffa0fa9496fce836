// Arenas and the pool of slabs; see table-arena.h. The pool is one per process: mounts share it.

#include "table-arena.h"

#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <new>
#include <vector>

namespace lattice {

namespace {

constexpr size_t kKeptBytesMax = size_t{96} << 20;
constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr size_t kSmallClasses[] = {size_t{4} << 10, size_t{16} << 10, size_t{64} << 10,
                                    size_t{256} << 10, size_t{1} << 20};
// Whole huge pages.
constexpr size_t kSlabClasses[] = {size_t{2} << 20, size_t{4} << 20, kSlabBytes};

struct Pool {
  std::mutex mutex;
  std::array<std::vector<uint8_t*>, std::size(kSlabClasses)> kept;
  size_t kept_bytes = 0;
  bool taken = false;  // since the last idle trim
  std::atomic<size_t> in_use{0};

  std::vector<uint8_t*>& kept_of(size_t size) {
    return kept[std::countr_zero(size / kSlabClasses[0])];
  }
};

// Never destroyed: arenas may outlive static destruction in other threads.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

// Aligned to a huge page.
uint8_t* slab_map(size_t size) {
  const size_t whole = size + kHugePageBytes;
  void* mapped = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto base = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t begin = (base + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  if (begin > base) munmap(mapped, begin - base);
  const uintptr_t end = begin + size;
  if (base + whole > end) munmap(reinterpret_cast<void*>(end), base + whole - end);
  auto* data = reinterpret_cast<uint8_t*>(begin);
#ifdef MADV_HUGEPAGE
  madvise(data, size, MADV_HUGEPAGE);
#endif
#ifdef MADV_DONTDUMP
  madvise(data, size, MADV_DONTDUMP);
#endif
  return data;
}

uint8_t* slab_take(size_t size) {
  Pool& p = pool();
  uint8_t* data = nullptr;
  {
    std::lock_guard lock(p.mutex);
    p.taken = true;
    std::vector<uint8_t*>& kept = p.kept_of(size);
    if (!kept.empty()) {
      data = kept.back();
      kept.pop_back();
      p.kept_bytes -= size;
    }
  }
  if (data == nullptr) data = slab_map(size);
  if (data != nullptr) p.in_use++;
  return data;
}

void slab_give(uint8_t* data, size_t size) {
  Pool& p = pool();
  p.in_use--;
  {
    std::lock_guard lock(p.mutex);
    if (p.kept_bytes + size <= kKeptBytesMax) {
      p.kept_of(size).push_back(data);
      p.kept_bytes += size;
      return;
    }
  }
  munmap(data, size);
}

// The smallest class that holds `bytes`.
size_t class_of(size_t bytes) {
  for (const size_t size : kSmallClasses) {
    if (bytes <= size) return size;
  }
  for (const size_t size : kSlabClasses) {
    if (bytes <= size) return size;
  }
  return 0;
}

}  // namespace

ArenaRef arena_new(size_t bytes) {
  const size_t capacity = class_of(bytes);
  if (capacity == 0) return {};
  const bool slab = capacity >= kSlabClasses[0];
  auto* data = slab ? slab_take(capacity) : static_cast<uint8_t*>(std::malloc(capacity));
  if (data == nullptr) return {};
  auto* arena = new (std::nothrow) Arena;
  if (arena == nullptr) {
    if (slab) slab_give(data, capacity);
    else std::free(data);
    return {};
  }
  arena->slab = slab;
  arena->capacity = static_cast<uint32_t>(capacity);
  arena->data = data;
  return ArenaRef(arena);
}

void ArenaRef::release() {
  if (arena_ == nullptr || arena_->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (arena_->slab) slab_give(arena_->data, arena_->capacity);
  else std::free(arena_->data);
  delete arena_;
  arena_ = nullptr;
}

size_t slabs_in_use() { return pool().in_use.load(); }

size_t slabs_kept() {
  std::lock_guard lock(pool().mutex);
  size_t count = 0;
  for (const auto& kept : pool().kept) count += kept.size();
  return count;
}

void slabs_trim_idle() {
  decltype(Pool::kept) kept;
  {
    std::lock_guard lock(pool().mutex);
    if (std::exchange(pool().taken, false)) return;
    kept.swap(pool().kept);
    pool().kept_bytes = 0;
  }
  for (size_t i = 0; i < kept.size(); i++) {
    for (uint8_t* data : kept[i]) munmap(data, kSlabClasses[i]);
  }
}

}  // namespace lattice
