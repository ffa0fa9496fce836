// The Linux transport; see session-device.h.

#include "session-device.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace lattice {

Device::Device(int fd) : fd_(fd), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  const int flags = fcntl(fd_, F_GETFL);
  if (flags >= 0) fcntl(fd_, F_SETFL, flags | O_NONBLOCK);
  fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

Device::~Device() {
  if (fd_ >= 0) close(fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

ssize_t Device::receive(iovec* parts, int count) {
  for (;;) {
    const ssize_t n = readv(fd_, parts, count);
    if (n >= 0) return n;
    if (errno == ENODEV || errno == ECONNRESET) return 0;
    if (errno == EINTR || errno == ENOENT) continue;
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

void Device::stop() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wake_fd_, &one, sizeof one);
}

}  // namespace lattice
