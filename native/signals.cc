// Signals of other processes, from proc(5); see signals.h.

#include "signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace lattice {

namespace {

constexpr uint64_t bit(int number) { return uint64_t{1} << (number - 1); }

// What does not end a process by default, signal(7).
constexpr uint64_t kHarmless = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH) |
                               bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

// The set of signals in the line that `name` begins, or 0.
uint64_t set_of(const char* status, const char* name) {
  const char* line = std::strstr(status, name);
  return line == nullptr ? 0 : std::strtoull(line + std::strlen(name), nullptr, 16);
}

}  // namespace

// A group's fatal signal is pending as SIGKILL for each of its threads as soon as it was sent;
// those that dump core become so when a first thread takes them.
bool dying(uint32_t pid) {
#ifdef __linux__
  if (pid == 0) return true;
  char path[40];
  std::snprintf(path, sizeof path, "/proc/%u/status", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  char status[8192];
  const ssize_t size = read(fd, status, sizeof status - 1);
  close(fd);
  if (size <= 0) return true;
  status[size] = 0;
  if (std::strstr(status, "\nSigCgt:") == nullptr) return true;
  const uint64_t pending = set_of(status, "\nSigPnd:") | set_of(status, "\nShdPnd:");
  const uint64_t spared = set_of(status, "\nSigBlk:") | set_of(status, "\nSigIgn:") |
                          set_of(status, "\nSigCgt:") | kHarmless;
  return (pending & (~spared | bit(SIGKILL))) != 0;
#else
  (void)pid;
  return true;
#endif
}

}  // namespace lattice
