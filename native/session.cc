// Session: life cycle, answers, events; see session.h.

#include "session.h"

#include <cerrno>
#include <cstring>

#include "session-notify.h"

namespace lattice {

fuse_attr to_fuse_attr(uint64_t ino, const Attr& a, uint64_t blocks) {
  fuse_attr out{};
  out.ino = ino;
  out.size = a.size;
  out.blocks = blocks;
  out.atime = static_cast<uint64_t>(a.atime_sec);
  out.mtime = static_cast<uint64_t>(a.mtime_sec);
  out.ctime = static_cast<uint64_t>(a.ctime_sec);
  out.atimensec = a.atime_nsec;
  out.mtimensec = a.mtime_nsec;
  out.ctimensec = a.ctime_nsec;
  out.mode = a.mode;
  out.nlink = a.nlink;
  out.uid = a.uid;
  out.gid = a.gid;
  out.rdev = a.rdev;
  out.blksize = 4096;
  return out;
}

Attr from_fuse_attr(const fuse_attr& in) {
  Attr a;
  a.mode = in.mode;
  a.nlink = in.nlink;
  a.uid = in.uid;
  a.gid = in.gid;
  a.rdev = in.rdev;
  a.size = in.size;
  a.atime_sec = static_cast<int64_t>(in.atime);
  a.mtime_sec = static_cast<int64_t>(in.mtime);
  a.ctime_sec = static_cast<int64_t>(in.ctime);
  a.atime_nsec = in.atimensec;
  a.mtime_nsec = in.mtimensec;
  a.ctime_nsec = in.ctimensec;
  return a;
}

std::shared_ptr<Session> Session::start(int fd, const SessionConfig& config,
                                        std::shared_ptr<Wakeable> waker) {
  auto device = std::make_shared<Device>(fd);
  if (!device->ok()) return nullptr;
  std::shared_ptr<Session> session(new Session(config, std::move(waker)), [](Session* last) {
    delete_elsewhere(last, last->reader_.get_id() == std::this_thread::get_id());
  });
  session->scratch_bytes_ = kHeaderBytes + config.max_write;
  session->scratch_.reset(new uint8_t[session->scratch_bytes_]);
  session->device_ = device;
  session->notifications_ = session->start_notifications(device);
  config.table->add_listener(session->waker_);
  // The thread does not keep the session alive: close() joins it.
  Session* const self = session.get();
  session->reader_ = std::thread([self] { self->run_reader(); });
  return session;
}

std::shared_ptr<NotifyQueue> Session::start_notifications(std::shared_ptr<Device> device) {
  const std::shared_ptr<Table> table = config_.table;
  NotifyQueue::Ports ports;
  ports.is_open = [table](uint64_t ino) { return table->open_count(ino) > 0; };
  ports.on_its_way = [table](uint64_t ino) { return table->on_its_way(ino); };
  ports.known = [table] { return table->known_inos(); };
  ports.reached = [session = weak_from_this()](uint64_t mark) {
    const std::shared_ptr<Session> alive = session.lock();
    if (alive) alive->raise({EventKind::notified, static_cast<double>(mark)});
  };
  return NotifyQueue::start(std::move(device), std::move(ports));
}

Session::~Session() { close(); }

void Session::close() {
  if (closed_.exchange(true)) return;
  const std::shared_ptr<Device> open = device();
  if (open) open->stop();
  if (reader_.joinable()) reader_.join();
  notifications_->stop();
  config_.table->cancel_all(this, ENOTCONN);
  std::vector<uint64_t> waiting;
  {
    std::lock_guard lock(held_mutex_);
    for (const auto& [unique, held] : held_) waiting.push_back(unique);
    held_.clear();
  }
  for (const uint64_t unique : waiting) send(unique, ENOTCONN, nullptr, 0);
  {
    std::lock_guard lock(device_mutex_);
    device_.reset();
  }
  config_.table->kernel_gone();
  config_.table->remove_listener(waker_.get());
}

std::shared_ptr<Device> Session::device() {
  std::lock_guard lock(device_mutex_);
  return device_;
}

void Session::wake() {
  stats_.wakes++;
  waker_->wake();
}

void Session::raise(Event event) {
  {
    std::lock_guard lock(events_mutex_);
    events_.push_back(event);
  }
  wake();
}

size_t Session::take_events(double* rows, size_t max_rows) {
  size_t count = 0;
  {
    std::lock_guard lock(events_mutex_);
    for (; count < max_rows && !events_.empty(); count++, rows += 5) {
      const Event& e = events_.front();
      rows[0] = static_cast<int>(e.kind);
      rows[1] = e.ino, rows[2] = e.a, rows[3] = e.b, rows[4] = e.c;
      events_.pop_front();
    }
  }
  return count + config_.table->take_events(rows, max_rows - count);
}

void Session::release(size_t count) {
  if (ring_.release(count)) wake();
}

bool Session::notify(int kind, uint64_t ino, uint64_t a, uint64_t b, std::string name) {
  constexpr size_t kInvalidatedMax = 4096;
  if (kind == 5) return notifications_->push({kind, ino, a, b, {}});
  if (kind == 4) {
    names_.forget_all();
    told_.forget_all();
  } else {
    names_.forget(ino);
    told_.forget(ino);
    told_.forget_node(ino);
    if (kind == 3) told_.forget_node(a);
  }
  await_answers();
  {
    std::lock_guard lock(held_mutex_);
    if (held_.empty()) {
      invalidated_.clear();
    } else if (kind == 4 || invalidated_.size() >= kInvalidatedMax) {
      invalidated_.clear();
      all_invalidated_ = sequence_;
    } else {
      invalidated_[ino] = sequence_;
      if (kind == 3) invalidated_[a] = sequence_;
    }
  }
  if (kind != 4) return notifications_->push({kind, ino, a, b, std::move(name)});
  notifications_->everything();
  return true;
}

// What the reader answers by knowledge that was just taken away, it has answered.
void Session::await_answers() { std::lock_guard answered(answering_mutex_); }

// 0 or the errno of the device; after close() ENOTCONN.
int Session::send(uint64_t unique, int error, const void* payload, size_t size) {
  const std::shared_ptr<Device> open = device();
  if (!open) return ENOTCONN;
  fuse_out_header header{};
  header.error = -error;
  header.unique = unique;
  if (error != 0) size = 0;
  header.len = static_cast<uint32_t>(sizeof header + size);
  const iovec parts[2] = {{&header, sizeof header}, {const_cast<void*>(payload), size}};
  return open->send(parts, size > 0 ? 2 : 1);
}

void Session::unpark(uint64_t unique) {
  std::lock_guard lock(held_mutex_);
  parked_.erase(unique);
}

void Session::answer_read(uint64_t unique, const ReadSlice& slice) {
  unpark(unique);
  send_slice(unique, slice);
}

void Session::send_slice(uint64_t unique, const ReadSlice& slice) {
  const std::shared_ptr<Device> open = device();
  if (!open) return;
  fuse_out_header header{};
  header.unique = unique;
  header.len = static_cast<uint32_t>(sizeof header + slice.total);
  std::vector<iovec> parts;
  parts.reserve(slice.parts.size() + 1);
  parts.push_back({&header, sizeof header});
  for (const ReadSlice::Part& part : slice.parts) {
    parts.push_back({const_cast<uint8_t*>(part.data), part.size});
  }
  open->send(parts.data(), static_cast<int>(parts.size()));
}

void Session::answer_write(uint64_t unique, uint32_t size) {
  unpark(unique);
  send_written(unique, size);
}

void Session::send_written(uint64_t unique, uint32_t size) {
  fuse_write_out out{};
  out.size = size;
  send(unique, 0, &out, sizeof out);
}

bool Session::idle() {
  const std::shared_ptr<Device> open = device();
  return open && !open->waiting();
}

void Session::answer_error(uint64_t unique, int error) {
  unpark(unique);
  send(unique, error, nullptr, 0);
}

}  // namespace lattice
