// See session-told.h.

#include "session-told.h"

namespace lattice {

namespace {

constexpr size_t kEntriesMax = 32 * 1024;  // about 350 bytes each, 850 with the longest names
constexpr size_t kDirectoriesMax = 32 * 1024;

}  // namespace

void ToldEntries::put(uint64_t directory, std::string_view name, const fuse_entry_out& entry) {
  std::lock_guard lock(mutex_);
  erase_node(entry.nodeid);
  if (places_.size() >= kEntriesMax || directories_.size() >= kDirectoriesMax) drop_all();
  const auto [it, is_new] = directories_[directory].entries.try_emplace(std::string(name));
  if (!is_new) places_.erase(it->second.nodeid);
  it->second = entry;
  places_[entry.nodeid] = {directory, it->first};
  any_ = true;
}

void ToldEntries::put_end(uint64_t directory, uint64_t cookie) {
  std::lock_guard lock(mutex_);
  if (directories_.size() >= kDirectoriesMax) drop_all();
  directories_[directory].end = cookie;
  any_ = true;
}

bool ToldEntries::take(uint64_t directory, std::string_view name, fuse_entry_out* into) {
  if (!any_) return false;
  std::lock_guard lock(mutex_);
  const auto found = directories_.find(directory);
  if (found == directories_.end()) return false;
  auto& entries = found->second.entries;
  const auto it = entries.find(name);
  if (it == entries.end()) return false;
  *into = it->second;
  entries.erase(it);
  places_.erase(into->nodeid);
  return true;
}

bool ToldEntries::ends_at(uint64_t directory, uint64_t cookie) {
  if (!any_) return false;
  std::lock_guard lock(mutex_);
  const auto found = directories_.find(directory);
  return found != directories_.end() && found->second.end != 0 && found->second.end == cookie;
}

void ToldEntries::forget(uint64_t directory) {
  if (!any_) return;
  std::lock_guard lock(mutex_);
  const auto found = directories_.find(directory);
  if (found == directories_.end()) return;
  for (const auto& [name, entry] : found->second.entries) places_.erase(entry.nodeid);
  directories_.erase(found);
  any_ = !directories_.empty();
}

void ToldEntries::forget_node(uint64_t ino) {
  if (!any_) return;
  std::lock_guard lock(mutex_);
  erase_node(ino);
}

void ToldEntries::forget_all() {
  if (!any_) return;
  std::lock_guard lock(mutex_);
  drop_all();
}

void ToldEntries::drop_all() {
  directories_.clear();
  places_.clear();
  any_ = false;
}

void ToldEntries::erase_node(uint64_t ino) {
  const auto place = places_.find(ino);
  if (place == places_.end()) return;
  const auto found = directories_.find(place->second.directory);
  if (found != directories_.end()) found->second.entries.erase(place->second.name);
  places_.erase(place);
}

}  // namespace lattice
