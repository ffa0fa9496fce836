// Device: the transport to the kernel on Linux: /dev/fuse, or one end of a SOCK_SEQPACKET pair that
// plays the kernel in tests. One message per receive() and per send(). This pair of files is the
// seam for other systems' transports.

#pragma once

#include <pthread.h>
#include <sys/uio.h>

#include <atomic>
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
  // Ends the current and every later receive(); returns when the thread in it, if any, has left.
  void stop();
  // From any thread. 0 or an errno; ENOENT: the request was interrupted and is gone.
  int send(const iovec* parts, int count);
  // The next message is there.
  bool waiting() const;

 private:
  ssize_t receive_blocking(iovec* parts, int count);
  ssize_t receive_polling(iovec* parts, int count);

  const int fd_;
  const int wake_fd_;
  // The device is read in blocking mode, one system call a request, and left by a signal; a socket
  // is polled together with wake_fd_.
  bool blocking_ = false;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> inside_{false};
  pthread_t reader_{};
  bool reader_known_ = false;  // the reader's own
};

}  // namespace lattice
