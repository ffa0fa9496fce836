// The notify thread; see session-notify.h.

#include "session-notify.h"

#include <thread>

#include "fuse_abi.h"

namespace lattice {

namespace {

// A failure is expected: what the kernel does not have cached needs no invalidation.
void write_notification(Device& device, const Notification& n) {
  fuse_out_header header{};
  iovec parts[3] = {{&header, sizeof header}, {}, {}};
  fuse_notify_inval_inode_out inode{};
  fuse_notify_inval_entry_out entry{};
  fuse_notify_delete_out removed{};
  int count = 2;
  if (n.kind == 1) {
    header.error = FUSE_NOTIFY_INVAL_INODE;
    inode.ino = n.ino;
    inode.off = static_cast<int64_t>(n.a);
    inode.len = static_cast<int64_t>(n.b);
    parts[1] = {&inode, sizeof inode};
  } else {
    const auto size = static_cast<uint32_t>(n.name.size());
    if (n.kind == 2) {
      header.error = FUSE_NOTIFY_INVAL_ENTRY;
      entry.parent = n.ino;
      entry.namelen = size;
      parts[1] = {&entry, sizeof entry};
    } else {
      header.error = FUSE_NOTIFY_DELETE;
      removed.parent = n.ino;
      removed.child = n.a;
      removed.namelen = size;
      parts[1] = {&removed, sizeof removed};
    }
    parts[2] = {const_cast<char*>(n.name.c_str()), n.name.size() + 1};
    count = 3;
  }
  size_t total = 0;
  for (int i = 0; i < count; i++) total += parts[i].iov_len;
  header.len = static_cast<uint32_t>(total);
  device.send(parts, count);
}

}  // namespace

std::shared_ptr<NotifyQueue> NotifyQueue::start(std::shared_ptr<Device> device) {
  auto queue = std::make_shared<NotifyQueue>();
  std::thread([queue, device = std::move(device)] { queue->run(device); }).detach();
  return queue;
}

bool NotifyQueue::push(Notification notification) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= kMax) return false;
    queue_.push_back(std::move(notification));
  }
  ready_.notify_one();
  return true;
}

void NotifyQueue::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    queue_.clear();
  }
  ready_.notify_one();
}

void NotifyQueue::run(const std::shared_ptr<Device>& device) {
  std::unique_lock lock(mutex_);
  for (;;) {
    ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const Notification next = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    write_notification(*device, next);
    lock.lock();
  }
}

}  // namespace lattice
