// The notify thread; see session-notify.h.

#include "session-notify.h"

#include <sched.h>

#include <algorithm>
#include <thread>

#include "fuse_abi.h"

namespace lattice {

namespace {

// Newer than the header of Debian 12; refused by a kernel without it.
constexpr int kNotifyIncEpoch = 8;

bool has_content(const Notification& n) {
  return n.kind == 1 && static_cast<int64_t>(n.a) >= 0;
}

// A failure is expected: what the kernel does not have cached needs no invalidation.
void send_notification(Device& device, const Notification& n) {
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

std::shared_ptr<NotifyQueue> NotifyQueue::start(std::shared_ptr<Device> device, Ports ports) {
  auto queue = std::make_shared<NotifyQueue>();
  queue->ports_ = std::move(ports);
  std::thread([queue, device = std::move(device)] { queue->run(device); }).detach();
  return queue;
}

bool NotifyQueue::push(Notification notification) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= kMax) return false;
    if (has_content(notification)) contents_[notification.ino].queued++;
    queue_.push_back(std::move(notification));
  }
  ready_.notify_one();
  return true;
}

void NotifyQueue::everything() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    std::erase_if(queue_, [](const Notification& n) { return n.kind != 5; });
    contents_.clear();
    queue_.push_front({4, 0, 0, 0, {}});
    all_pending_ = true;
  }
  ready_.notify_one();
}

bool NotifyQueue::content_pending(uint64_t ino) {
  std::lock_guard lock(mutex_);
  return all_pending_ || contents_.count(ino) > 0;
}

void NotifyQueue::opening(Device& device, uint64_t ino) {
  {
    std::lock_guard lock(mutex_);
    const auto it = contents_.find(ino);
    if (it != contents_.end()) it->second.opener_told = true;
    else if (!all_pending_) return;
  }
  await_turn();
  send_notification(device, {1, ino, UINT64_MAX, 0, {}});
}

bool NotifyQueue::is_told_opener(uint64_t ino) {
  std::lock_guard lock(mutex_);
  const auto it = contents_.find(ino);
  return it != contents_.end() && it->second.opener_told;
}

void NotifyQueue::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    queue_.clear();
    contents_.clear();
  }
  ready_.notify_one();
}

// The request that is being answered now may have read a record before it was updated.
void NotifyQueue::await_turn() const {
  const uint64_t seen = turn_.load(std::memory_order_acquire);
  if ((seen & 1) == 0) return;
  while (turn_.load(std::memory_order_acquire) == seen && !stopping_) sched_yield();
}

void NotifyQueue::write(Device& device, const Notification& next) {
  await_turn();
  if (next.kind == 4) return write_everything(device);
  if (next.kind == 5) return ports_.reached(next.ino);
  if (next.kind == 1) await_arrival(device, next.ino);
  if (!has_content(next) || !ports_.is_open(next.ino)) return send_notification(device, next);
  // Not once more: the kernel takes no smaller size from a READ that such a one meets.
  if (!is_told_opener(next.ino)) send_notification(device, {1, next.ino, UINT64_MAX, 0, {}});
}

// Whoever was answered with the inode has it in the kernel.
void NotifyQueue::await_arrival(Device& device, uint64_t ino) {
  const uint64_t directory = ports_.on_its_way(ino);
  if (directory != 0) send_notification(device, {2, directory, 0, 0, "."});
}

void NotifyQueue::write_everything(Device& device) {
  fuse_out_header header{};
  header.error = kNotifyIncEpoch;
  header.len = sizeof header;
  const iovec part{&header, sizeof header};
  device.send(&part, 1);
  for (const uint64_t ino : ports_.known()) {
    if (stopping_) return;
    const uint64_t offset = ports_.is_open(ino) ? UINT64_MAX : 0;
    send_notification(device, {1, ino, offset, 0, {}});
  }
}

void NotifyQueue::run(const std::shared_ptr<Device>& device) {
  std::unique_lock lock(mutex_);
  for (;;) {
    ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const Notification next = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    write(*device, next);
    lock.lock();
    if (next.kind == 4) {
      const auto again = std::find_if(queue_.begin(), queue_.end(),
                                      [](const Notification& n) { return n.kind == 4; });
      all_pending_ = again != queue_.end();
    }
    if (!has_content(next)) continue;
    const auto it = contents_.find(next.ino);
    if (it != contents_.end() && --it->second.queued == 0) contents_.erase(it);
  }
}

}  // namespace lattice
