// Overlay: the interval map of one record over its committed content. Extents are disjoint and
// keyed by their first offset; a range without an extent is absent (the base has it). Guarded by
// the record's lock.
//
// Invariants: bytes of frozen and clean extents never change in memory (neither do those that were
// frozen once: `fixed`), so readers may use them without the lock while they hold a reference. Only
// dirty extents that are not fixed are overwritten in place. `counts` is always the exact sum.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "table-arena.h"

namespace lattice {

enum class State : uint8_t { dirty = 1, frozen = 2, clean = 3 };

struct Extent {
  uint64_t length = 0;
  State state = State::dirty;
  bool hole = false;
  bool fixed = false;
  uint32_t pos = 0;  // in the arena
  ArenaRef arena;

  const uint8_t* bytes() const { return arena->data + pos; }
};

struct Counts {
  uint64_t dirty_data = 0, frozen_data = 0, clean_data = 0, hole_bytes = 0;
  uint64_t clean_hole_bytes = 0;  // of hole_bytes
  uint64_t dirty_extents = 0, frozen_extents = 0;
};

struct Range {
  uint64_t begin, end;
};

class Overlay {
 public:
  using Map = std::map<uint64_t, Extent>;

  const Map& extents() const { return extents_; }
  const Counts& counts() const { return counts_; }

  // The extent that contains `offset`, or the first one after it.
  Map::const_iterator at_or_after(uint64_t offset) const;
  bool covers(uint64_t begin, uint64_t end) const;
  // The sub-ranges of [begin, end) without an extent, ascending.
  std::vector<Range> absent(uint64_t begin, uint64_t end) const;

  // Makes [begin, end) absent.
  void cut(uint64_t begin, uint64_t end);
  void cut_clean(uint64_t begin, uint64_t end);
  void put_hole(uint64_t begin, uint64_t end, State state);
  // [begin, begin + length) is at arena->data + pos.
  void put_bytes(uint64_t begin, uint64_t length, State state, const ArenaRef& arena, uint32_t pos);
  // Copies bytes in as dirty: in place where that is allowed, appended elsewhere. False: no memory.
  bool write(uint64_t offset, const uint8_t* bytes, size_t size);
  // Dirty becomes frozen; calls `take(offset, extent)` for each, ascending.
  template <typename Take>
  void freeze(Take take) {
    for (auto& [offset, extent] : extents_) {
      if (extent.state != State::dirty) continue;
      set_state(extent, State::frozen);
      take(offset, extent);
    }
  }
  // Frozen becomes clean below `thaw_begin`, dirty (and fixed) from there on.
  void settle(uint64_t thaw_begin);

  // Where the next bytes go; see session landing. Empty until something was appended.
  ArenaRef current;
  // An arena with room for `size` more bytes (at most a slab), made `current`. False: no memory.
  bool ensure_room(size_t size);
  // Slabs are in use.
  bool streams() const { return appended_ > kStreamBytes; }
  // `size` bytes were put at the end of `current` from outside.
  void landed(size_t size) { appended_ += size; }
  bool in_place_possible(uint64_t begin, uint64_t end) const;

 private:
  using Iterator = Map::iterator;
  static constexpr uint64_t kStreamBytes = 1 << 20;

  static bool is_mutable(const Extent& e) { return e.state == State::dirty && !e.hole && !e.fixed; }
  Iterator find(uint64_t offset);
  void split(uint64_t offset);
  void insert(uint64_t offset, Extent extent);
  void merge_around(uint64_t begin, uint64_t end);
  bool joins(const Map::value_type& a, const Map::value_type& b) const;
  void account(const Extent& extent, bool add);
  void set_state(Extent& extent, State state);
  bool append(uint64_t offset, const uint8_t* bytes, size_t size);

  Map extents_;
  Counts counts_;
  uint64_t appended_ = 0;    // since it began to stream
  uint64_t settled_at_ = 0;  // `appended_` when all was stored the last time
};

}  // namespace lattice
