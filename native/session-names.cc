// See session-names.h.

#include "session-names.h"

#include <functional>

namespace lattice {

namespace {

constexpr size_t kNamesMax = 16 * 1024;  // of one directory
constexpr size_t kHeldMax = 128 * 1024;  // about 40 bytes each

uint64_t hash_of(std::string_view name) { return std::hash<std::string_view>{}(name); }

}  // namespace

void KnownNames::drop(std::unordered_map<uint64_t, Names>::iterator directory) {
  held_ -= directory->second.size() + 1;
  directories_.erase(directory);
}

void KnownNames::made(uint64_t directory, const std::vector<std::string_view>& names) {
  std::lock_guard lock(mutex_);
  if (names.size() >= kNamesMax) return;
  if (held_ + names.size() >= kHeldMax) {
    directories_.clear();
    held_ = 0;
  }
  const auto [it, is_new] = directories_.try_emplace(directory);
  if (is_new) held_++;
  for (const std::string_view name : names) {
    if (it->second.insert(hash_of(name)).second) held_++;
  }
}

void KnownNames::add(uint64_t directory, std::string_view name) {
  std::lock_guard lock(mutex_);
  const auto it = directories_.find(directory);
  if (it == directories_.end()) return;
  if (held_ >= kHeldMax || it->second.size() >= kNamesMax) return drop(it);
  if (it->second.insert(hash_of(name)).second) held_++;
}

void KnownNames::forget(uint64_t directory) {
  std::lock_guard lock(mutex_);
  const auto it = directories_.find(directory);
  if (it != directories_.end()) drop(it);
}

void KnownNames::forget_all() {
  std::lock_guard lock(mutex_);
  directories_.clear();
  held_ = 0;
}

bool KnownNames::lacks(uint64_t directory, std::string_view name) {
  std::lock_guard lock(mutex_);
  const auto it = directories_.find(directory);
  return it != directories_.end() && it->second.count(hash_of(name)) == 0;
}

}  // namespace lattice
