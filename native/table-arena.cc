// Arenas and the pool of slabs; see table-arena.h. The pool is one per process: mounts share it.

#include "table-arena.h"

#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace lattice {

namespace {

constexpr size_t kKeptSlabsMax = 12;  // 96 MiB
constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr size_t kClasses[] = {size_t{4} << 10, size_t{16} << 10, size_t{64} << 10,
                               size_t{256} << 10, size_t{1} << 20};

struct Pool {
  std::mutex mutex;
  std::vector<uint8_t*> kept;
  bool taken = false;  // since the last idle trim
  std::atomic<size_t> in_use{0};
};

// Never destroyed: arenas may outlive static destruction in other threads.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

// Aligned to a huge page, so that a slab is four of them.
uint8_t* slab_map() {
  const size_t size = kSlabBytes + kHugePageBytes;
  void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto base = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t begin = (base + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  if (begin > base) munmap(mapped, begin - base);
  const uintptr_t end = begin + kSlabBytes;
  if (base + size > end) munmap(reinterpret_cast<void*>(end), base + size - end);
  auto* data = reinterpret_cast<uint8_t*>(begin);
#ifdef MADV_HUGEPAGE
  madvise(data, kSlabBytes, MADV_HUGEPAGE);
#endif
#ifdef MADV_DONTDUMP
  madvise(data, kSlabBytes, MADV_DONTDUMP);
#endif
  return data;
}

uint8_t* slab_take() {
  Pool& p = pool();
  uint8_t* data = nullptr;
  {
    std::lock_guard lock(p.mutex);
    p.taken = true;
    if (!p.kept.empty()) {
      data = p.kept.back();
      p.kept.pop_back();
    }
  }
  if (data == nullptr) data = slab_map();
  if (data != nullptr) p.in_use++;
  return data;
}

void slab_give(uint8_t* data) {
  Pool& p = pool();
  p.in_use--;
  {
    std::lock_guard lock(p.mutex);
    if (p.kept.size() < kKeptSlabsMax) {
      p.kept.push_back(data);
      return;
    }
  }
  munmap(data, kSlabBytes);
}

}  // namespace

ArenaRef arena_new(size_t bytes) {
  if (bytes > kSlabBytes) return {};
  size_t capacity = kSlabBytes;
  for (const size_t size : kClasses) {
    if (bytes <= size) {
      capacity = size;
      break;
    }
  }
  const bool slab = capacity == kSlabBytes;
  auto* data = slab ? slab_take() : static_cast<uint8_t*>(std::malloc(capacity));
  if (data == nullptr) return {};
  auto* arena = new (std::nothrow) Arena;
  if (arena == nullptr) {
    if (slab) slab_give(data);
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
  if (arena_->slab) slab_give(arena_->data);
  else std::free(arena_->data);
  delete arena_;
  arena_ = nullptr;
}

size_t slabs_in_use() { return pool().in_use.load(); }

size_t slabs_kept() {
  std::lock_guard lock(pool().mutex);
  return pool().kept.size();
}

void slabs_trim_idle() {
  std::vector<uint8_t*> kept;
  {
    std::lock_guard lock(pool().mutex);
    if (std::exchange(pool().taken, false)) return;
    kept.swap(pool().kept);
  }
  for (uint8_t* data : kept) munmap(data, kSlabBytes);
}

}  // namespace lattice
