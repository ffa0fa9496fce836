// The interval map; see table-overlay.h.

#include "table-overlay.h"

#include <algorithm>
#include <cstring>

namespace lattice {

Overlay::Map::const_iterator Overlay::at_or_after(uint64_t offset) const {
  auto it = extents_.upper_bound(offset);
  if (it != extents_.begin()) {
    auto before = std::prev(it);
    if (before->first + before->second.length > offset) return before;
  }
  return it;
}

Overlay::Iterator Overlay::find(uint64_t offset) {
  auto it = extents_.upper_bound(offset);
  if (it != extents_.begin()) {
    auto before = std::prev(it);
    if (before->first + before->second.length > offset) return before;
  }
  return it;
}

bool Overlay::covers(uint64_t begin, uint64_t end) const {
  for (auto it = at_or_after(begin); begin < end; ++it) {
    if (it == extents_.end() || it->first > begin) return false;
    begin = it->first + it->second.length;
  }
  return true;
}

std::vector<Range> Overlay::absent(uint64_t begin, uint64_t end) const {
  std::vector<Range> gaps;
  for (auto it = at_or_after(begin); begin < end; ++it) {
    if (it == extents_.end() || it->first >= end) {
      gaps.push_back({begin, end});
      break;
    }
    if (it->first > begin) gaps.push_back({begin, it->first});
    begin = it->first + it->second.length;
  }
  return gaps;
}

void Overlay::account(const Extent& e, bool add) {
  const auto move = [add](uint64_t& counter, uint64_t by) { add ? counter += by : counter -= by; };
  if (e.hole && e.state == State::clean) move(counts_.clean_hole_bytes, e.length);
  if (e.hole) move(counts_.hole_bytes, e.length);
  else if (e.state == State::dirty) move(counts_.dirty_data, e.length);
  else if (e.state == State::frozen) move(counts_.frozen_data, e.length);
  else move(counts_.clean_data, e.length);
  if (e.state == State::dirty) move(counts_.dirty_extents, 1);
  if (e.state == State::frozen) move(counts_.frozen_extents, 1);
}

void Overlay::set_state(Extent& extent, State state) {
  account(extent, false);
  extent.state = state;
  account(extent, true);
}

void Overlay::insert(uint64_t offset, Extent extent) {
  account(extent, true);
  extents_.emplace(offset, std::move(extent));
}

// After it, no extent reaches across `offset`.
void Overlay::split(uint64_t offset) {
  auto it = find(offset);
  if (it == extents_.end() || it->first >= offset) return;
  Extent& left = it->second;
  const uint64_t keep = offset - it->first;
  account(left, false);
  Extent right = left;
  right.length = left.length - keep;
  if (!right.hole) right.pos += static_cast<uint32_t>(keep);
  left.length = keep;
  account(left, true);
  insert(offset, std::move(right));
}

void Overlay::cut(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  split(begin);
  split(end);
  auto it = extents_.lower_bound(begin);
  while (it != extents_.end() && it->first < end) {
    account(it->second, false);
    it = extents_.erase(it);
  }
}

void Overlay::cut_clean(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  auto it = find(begin);
  while (it != extents_.end() && it->first < end) {
    const uint64_t extent_begin = it->first;
    const uint64_t extent_end = extent_begin + it->second.length;
    if (it->second.state == State::clean) {
      cut(std::max(begin, extent_begin), std::min(end, extent_end));
      it = find(std::min(end, extent_end));
    } else {
      ++it;
    }
  }
}

bool Overlay::joins(const Map::value_type& a, const Map::value_type& b) const {
  const Extent &x = a.second, &y = b.second;
  if (a.first + x.length != b.first || x.state != y.state || x.hole != y.hole) return false;
  if (x.hole) return true;
  return x.fixed == y.fixed && x.arena.get() == y.arena.get() && x.pos + x.length == y.pos;
}

// Joins neighbours that are alike, from the extent before `begin` to the one at `end`.
void Overlay::merge_around(uint64_t begin, uint64_t end) {
  auto it = extents_.lower_bound(begin);
  if (it != extents_.begin()) --it;
  while (it != extents_.end() && it->first < end) {
    auto next = std::next(it);
    if (next == extents_.end()) break;
    if (!joins(*it, *next)) {
      it = next;
      continue;
    }
    account(it->second, false);
    account(next->second, false);
    it->second.length += next->second.length;
    account(it->second, true);
    extents_.erase(next);
  }
}

void Overlay::put_hole(uint64_t begin, uint64_t end, State state) {
  if (begin >= end) return;
  cut(begin, end);
  Extent extent;
  extent.length = end - begin;
  extent.state = state;
  extent.hole = true;
  insert(begin, std::move(extent));
  merge_around(begin, end + 1);
}

void Overlay::put_bytes(uint64_t begin, uint64_t length, State state, const ArenaRef& arena,
                        uint32_t pos) {
  if (length == 0) return;
  cut(begin, begin + length);
  Extent extent;
  extent.length = length;
  extent.state = state;
  extent.pos = pos;
  extent.arena = arena;
  insert(begin, std::move(extent));
  merge_around(begin, begin + length + 1);
}

// Arenas grow with what was appended: a small file costs little, a stream gets 1 MiB, then slabs of
// 2, 4, 8 and 8 MiB. What slowly written files hold so stays within a few times their bytes.
bool Overlay::ensure_room(size_t size) {
  if (current && !current->reserved) {
    if (current->fill > 0 && current.sole()) current->fill = 0;
    if (current->room() >= size) return true;
  }
  const uint64_t next =
      appended_ < kStreamBytes ? std::min(2 * appended_, kStreamBytes) : appended_ + 1;
  const uint64_t want = std::max<uint64_t>(size, next);
  ArenaRef fresh = arena_new(static_cast<size_t>(std::min<uint64_t>(want, kSlabBytes)));
  if (!fresh) return false;
  current = std::move(fresh);
  return true;
}

bool Overlay::append(uint64_t offset, const uint8_t* bytes, size_t size) {
  while (size > 0) {
    // Fill what is left of the arena before the next one is taken.
    size_t part = std::min(size, kSlabBytes);
    if (current && !current->reserved && current->room() > 0 && current->room() < part) {
      part = current->room();
    }
    if (!ensure_room(part)) return false;
    Arena* arena = current.get();
    part = std::min<size_t>(part, arena->room());
    std::memcpy(arena->data + arena->fill, bytes, part);
    const uint32_t pos = arena->fill;
    arena->fill += static_cast<uint32_t>(part);
    appended_ += part;
    put_bytes(offset, part, State::dirty, current, pos);
    offset += part;
    bytes += part;
    size -= part;
  }
  return true;
}

bool Overlay::write(uint64_t offset, const uint8_t* bytes, size_t size) {
  const uint64_t end = offset + size;
  while (offset < end) {
    auto it = find(offset);
    const bool inside = it != extents_.end() && it->first <= offset;
    if (inside && is_mutable(it->second)) {
      const uint64_t stop = std::min(end, it->first + it->second.length);
      const size_t part = static_cast<size_t>(stop - offset);
      std::memcpy(it->second.arena->data + it->second.pos + (offset - it->first), bytes, part);
      bytes += part;
      offset = stop;
      continue;
    }
    uint64_t stop = end;
    for (auto next = it; next != extents_.end() && next->first < end; ++next) {
      if (next->first > offset && is_mutable(next->second)) {
        stop = next->first;
        break;
      }
    }
    const size_t part = static_cast<size_t>(stop - offset);
    if (!append(offset, bytes, part)) return false;
    bytes += part;
    offset = stop;
  }
  return true;
}

bool Overlay::in_place_possible(uint64_t begin, uint64_t end) const {
  for (auto it = at_or_after(begin); it != extents_.end() && it->first < end; ++it) {
    if (is_mutable(it->second)) return true;
  }
  return false;
}

void Overlay::settle(uint64_t thaw_begin) {
  split(thaw_begin);
  for (auto& [offset, extent] : extents_) {
    if (extent.state != State::frozen) continue;
    if (offset < thaw_begin) {
      set_state(extent, State::clean);
    } else {
      set_state(extent, State::dirty);
      extent.fixed = !extent.hole;
    }
  }
  merge_around(0, UINT64_MAX);
  if (counts_.dirty_extents != 0) return;
  // A slow writer (of a log, say) begins with a small arena again.
  if (appended_ - settled_at_ < kStreamBytes) {
    current.reset();
    appended_ = 0;
  }
  settled_at_ = appended_;
}

}  // namespace lattice
