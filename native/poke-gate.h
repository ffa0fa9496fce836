// PokeGate: what the poker, a helper process of this one's, may ask of the session: nothing but the
// one poke that is announced. A poke goes through the mount only so that the kernel tells watchers
// (inotify) of a change that came past it; the session answers it as if it did what has been done
// already, and nothing is executed. Usable from any thread.

#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace lattice {

enum class PokeOp : uint32_t {
  none = 0,
  edit,     // open for writing, set mtime, close: the file `name` of `parent`, which is `ino`
  create,   // make `name` in `parent`: it is there already, as `ino`
  remove,   // remove `name` of `parent`: it is gone already; it was `ino`, 0: that lives on
  move,     // rename `name` of `parent` to `new_name` of `new_parent`: it is there already
  attrib,   // set both times of `ino`
};

struct Poke {
  PokeOp op = PokeOp::none;
  uint64_t ino = 0, generation = 0;
  uint32_t mode = 0;
  uint64_t parent = 0, new_parent = 0;
  std::string name, new_name;

  bool is_at(uint64_t directory, std::string_view one) const {
    return parent == directory && name == one;
  }
  bool goes_to(uint64_t directory, std::string_view one) const {
    return new_parent == directory && new_name == one;
  }
};

// How JavaScript's reply to a question that stands for a poke's request is to be completed.
enum class PokeReply : uint8_t { none, entry, opened_entry, attributes };

class PokeGate {
 public:
  // What the kernel is told of opens that count for nothing.
  static constexpr uint64_t kHandle = 0x6c61747469636501;
  // Inos that name nothing, for what the kernel never heard of and is to see removed.
  static constexpr uint64_t kGhosts = uint64_t{1} << 52;
  enum Used : uint32_t { kMain = 1, kTimes = 2, kGhost = 4 };

  // 0: none any more.
  void set_poker(uint32_t pid) {
    pid_ = pid;
    if (pid != 0) used_ = true;
  }
  // There is, or was, a poker.
  bool is_used() const { return used_; }
  bool is_poker(uint32_t pid) const { return pid != 0 && pid == pid_; }

  void expect(Poke poke) {
    std::lock_guard lock(mutex_);
    poke_ = std::move(poke);
    taken_ = 0;
  }
  // Ends the announced poke; which parts of it were asked for.
  uint32_t finish() {
    std::lock_guard lock(mutex_);
    poke_ = {};
    return taken_;
  }
  // The announced poke, and which parts were taken.
  Poke current(uint32_t* taken) {
    std::lock_guard lock(mutex_);
    *taken = taken_;
    return poke_;
  }
  // Once for each part.
  bool take(Used part) {
    std::lock_guard lock(mutex_);
    if (poke_.op == PokeOp::none || (taken_ & part) != 0) return false;
    taken_ |= part;
    return true;
  }
  uint64_t next_ghost() { return kGhosts + ++ghosts_; }

  std::atomic<uint64_t> refused{0};

 private:
  std::atomic<uint32_t> pid_{0};
  std::atomic<bool> used_{false};
  std::atomic<uint64_t> ghosts_{0};
  std::mutex mutex_;
  Poke poke_;
  uint32_t taken_ = 0;
};

}  // namespace lattice
