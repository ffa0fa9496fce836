// NotifyQueue: invalidations on their way to the kernel, written by a thread of its own. The kernel
// may make that thread wait for requests in flight; the thread is therefore detached and keeps only
// this queue, the table and the device alive, so that closing a session never waits for it.
//
// Order: whoever pushes has updated the records before. Before a notification is written, the reply
// that the reader thread may be making out of an older record is on its way (turns); replies of
// JavaScript's that are older carry lifetime 0 (Session::outdated). While content is to be thrown
// away, an OPEN is answered without FOPEN_KEEP_CACHE; a file that is open when its turn comes was
// opened so, and keeps its pages: waiting for a page that a READ holds could take long. Whoever
// opens it reads the new content at once, so that the kernel hears before that reply that the
// attributes are others (opening): else it would cut what is read at the size that it remembers.
//
// The kernel ignores what it is told of an inode that it does not know, though a reply that names
// it may lie before it with older attributes. Whoever takes such a reply holds the directory's
// lock: an entry is invalidated there first, which waits for that lock, and which cannot be. (Up to
// Linux 6.18, where it was tried; a kernel that looks for the entry before it locks does not wait.)
//
// Bounded: a push beyond kMax fails; everything() then takes the place of all that is queued.

#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "session-device.h"

namespace lattice {

struct Notification {
  // 1 inode(ino, offset a, length b; a < 0: attributes only) 2 entry(parent, name)
  // 3 delete(parent, child a, name) 4 everything 5 nothing: when its turn comes, all before it was
  // written
  int kind;
  uint64_t ino, a, b;
  std::string name;
};

class NotifyQueue {
 public:
  static constexpr size_t kMax = 65536;

  struct Ports {
    std::function<bool(uint64_t)> is_open;
    std::function<uint64_t(uint64_t)> on_its_way;  // Table::on_its_way
    std::function<std::vector<uint64_t>()> known;  // inos that the kernel has
    std::function<void(uint64_t)> reached;         // a kind 5, its ino; on the thread
  };

  static std::shared_ptr<NotifyQueue> start(std::shared_ptr<Device> device, Ports ports);
  bool push(Notification notification);
  // Everything that the kernel remembers, instead of what is queued. Marks (kind 5) stay.
  void everything();
  // Cached pages of the file are to be thrown away, and are not yet.
  bool content_pending(uint64_t ino);
  // Before the reply to an OPEN, on whatever thread makes it: attributes alone wait for nothing,
  // where somebody holds the inode.
  void opening(Device& device, uint64_t ino);
  void stop();

  // Around each request that the reader thread answers by itself.
  void begin_turn() { turn_.fetch_add(1, std::memory_order_acq_rel); }
  void end_turn() { turn_.fetch_add(1, std::memory_order_release); }

 private:
  struct Content {
    uint32_t queued = 0;
    bool opener_told = false;
  };

  void run(const std::shared_ptr<Device>& device);
  void await_turn() const;
  void write(Device& device, const Notification& next);
  void write_everything(Device& device);
  void await_arrival(Device& device, uint64_t ino);
  bool is_told_opener(uint64_t ino);

  Ports ports_;
  std::atomic<uint64_t> turn_{0};  // odd: the reader is answering
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Notification> queue_;
  std::unordered_map<uint64_t, Content> contents_;  // queued kind 1 with pages
  bool all_pending_ = false;
};

}  // namespace lattice
