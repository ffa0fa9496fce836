// ToldEntries: entries of directories that JavaScript has told ahead of their LOOKUP, and where
// the listings of directories end. A program that looks one name up mostly asks for others beside
// it: those are answered without JavaScript, each once.
//
// What is held is true because whoever could change it takes it away first. An inode that the
// kernel knows is not held: its record is the authority. One that it does not know changes either
// past the kernel, and then the kernel must be told (Session::notify), or with a name of its
// directory: all entries of a directory go with every request that may change its names. Before the
// kernel is told of what others changed, everything goes (Session::untell). Files with
// more names than one are never held. At most kEntriesMax; usable from any thread.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "fuse_abi.h"

namespace lattice {

class ToldEntries {
 public:
  void put(uint64_t directory, std::string_view name, const fuse_entry_out& entry);
  // Behind this cookie the directory lists nothing.
  void put_end(uint64_t directory, uint64_t cookie);
  // The entry is the caller's from now on.
  bool take(uint64_t directory, std::string_view name, fuse_entry_out* into);
  bool ends_at(uint64_t directory, uint64_t cookie);
  // What is known of the names of a directory.
  void forget(uint64_t directory);
  // What is known of an inode under whatever name.
  void forget_node(uint64_t ino);
  void forget_all();

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const { return a == b; }
  };
  struct Directory {
    std::unordered_map<std::string, fuse_entry_out, Hash, Equal> entries;
    uint64_t end = 0;  // 0 = not known
  };
  struct Place {
    uint64_t directory;
    std::string name;
  };
  void erase_node(uint64_t ino);
  void drop_all();

  std::mutex mutex_;
  std::unordered_map<uint64_t, Directory> directories_;
  std::unordered_map<uint64_t, Place> places_;  // by ino
  std::atomic<bool> any_{false};  // spares the lock where nothing is held
};

}  // namespace lattice
