// The Linux transport; see session-device.h.

#include "session-device.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace lattice {

namespace {

// Unused by the C library and the runtime. Its handler does nothing: the call it interrupts ends.
int stop_signal() {
  static const int number = [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGRTMIN + 9, &action, nullptr);
    return SIGRTMIN + 9;
  }();
  return number;
}

}  // namespace

Device::Device(int fd) : fd_(fd), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  struct stat s {};
  blocking_ = fstat(fd_, &s) == 0 && S_ISCHR(s.st_mode);
  if (blocking_) stop_signal();
  const int flags = fcntl(fd_, F_GETFL);
  if (flags >= 0) fcntl(fd_, F_SETFL, blocking_ ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
  fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

Device::~Device() {
  if (fd_ >= 0) close(fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

ssize_t Device::receive(iovec* parts, int count) {
  return blocking_ ? receive_blocking(parts, count) : receive_polling(parts, count);
}

ssize_t Device::receive_blocking(iovec* parts, int count) {
  if (!reader_known_) reader_ = pthread_self();
  reader_known_ = true;
  inside_ = true;
  ssize_t n = 0;
  while (!stopped_) {
    n = readv(fd_, parts, count);
    if (n >= 0) break;
    n = errno == ENODEV ? 0 : -errno;
    if (n != -EINTR && n != -ENOENT && n != -EAGAIN) break;
    n = 0;
  }
  inside_ = false;
  return n;
}

ssize_t Device::receive_polling(iovec* parts, int count) {
  for (;;) {
    const ssize_t n = readv(fd_, parts, count);
    if (n >= 0) return n;
    if (errno == ECONNRESET) return 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return -errno;
    pollfd fds[2] = {{fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return -errno;
    if (fds[1].revents != 0) return 0;
  }
}

int Device::send(const iovec* parts, int count) {
  for (;;) {
    if (writev(fd_, parts, count) >= 0) return 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return errno;
    // A socket whose buffer is full; the device never says so.
    pollfd fds[2] = {{fd_, POLLOUT, 0}, {wake_fd_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return errno;
    if (fds[1].revents != 0) return ENOTCONN;
  }
}

bool Device::waiting() const {
  pollfd fd{fd_, POLLIN, 0};
  return poll(&fd, 1, 0) > 0;
}

void Device::stop() {
  stopped_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wake_fd_, &one, sizeof one);
  // The signal may come just before the call it is to interrupt: repeat it until the call has
  // ended.
  while (inside_) {
    pthread_kill(reader_, stop_signal());
    usleep(500);
  }
}

}  // namespace lattice
