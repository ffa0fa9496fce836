// NotifyQueue: invalidations on their way to the kernel, written by a thread of its own. The kernel
// may make that thread wait for requests in flight; the thread is therefore detached and keeps only
// this queue and the device alive, so that closing a session never waits for it.

#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "session-device.h"

namespace lattice {

struct Notification {
  // 1 inode(ino, offset a, length b) 2 entry(parent, name) 3 delete(parent, child a, name)
  int kind;
  uint64_t ino, a, b;
  std::string name;
};

class NotifyQueue {
 public:
  static constexpr size_t kMax = 65536;

  static std::shared_ptr<NotifyQueue> start(std::shared_ptr<Device> device);
  bool push(Notification notification);
  void stop();

 private:
  void run(const std::shared_ptr<Device>& device);

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Notification> queue_;
  bool stopping_ = false;
};

}  // namespace lattice
