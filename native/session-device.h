// Device: the transport to the kernel on Linux: /dev/fuse, or one end of a SOCK_SEQPACKET pair that
// plays the kernel in tests. One message per receive() and per send(). This pair of files is the
// seam for other systems' transports.

#pragma once

#include <sys/uio.h>

#include <cstddef>

namespace lattice {

class Device {
 public:
  // Takes the descriptor over; it is closed with the last reference to this object.
  explicit Device(int fd);
  ~Device();
  Device(const Device&) = delete;

  bool ok() const { return fd_ >= 0 && wake_fd_ >= 0; }
  // Blocks for the next message. Its size; 0 when the mount has ended or stop() was called; -errno.
  ssize_t receive(iovec* parts, int count);
  // From any thread. 0 or an errno; ENOENT: the request was interrupted and is gone.
  int send(const iovec* parts, int count);
  // Ends the current and every later receive().
  void stop();

 private:
  int fd_;
  int wake_fd_;
};

}  // namespace lattice
