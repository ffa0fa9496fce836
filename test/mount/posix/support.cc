// Short hands of the POSIX table: whole files in and out, listings, children, other users.
#include <grp.h>

#include "table.h"

void put(const char* path, const std::string& content, mode_t mode) {
  const int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = write(fd, content.data() + done, content.size() - done);
    if (n <= 0) {
      say(__FILE__, __LINE__, std::string("write: ") + strerrorname_np(errno));
      break;
    }
    done += (size_t)n;
  }
  OK(close(fd));
}

std::string getFd(int fd) {
  std::string out;
  static thread_local char buffer[1 << 16];
  off_t at = 0;
  for (;;) {
    const ssize_t n = pread(fd, buffer, sizeof buffer, at);
    if (n < 0) say(__FILE__, __LINE__, std::string("pread: ") + strerrorname_np(errno));
    if (n <= 0) return out;
    out.append(buffer, (size_t)n);
    at += n;
  }
}

std::string get(const char* path) {
  const int fd = open(path, O_RDONLY);
  if (fd < 0) {
    say(__FILE__, __LINE__, std::string("open ") + path + ": " + strerrorname_np(errno));
    return "";
  }
  std::string out = getFd(fd);
  close(fd);
  return out;
}

struct stat statOf(const char* path) {
  struct stat found = {};
  if (lstat(path, &found) != 0) {
    say(__FILE__, __LINE__, std::string("lstat ") + path + ": " + strerrorname_np(errno));
  }
  return found;
}

struct stat statOfFd(int fd) {
  struct stat found = {};
  OK(fstat(fd, &found));
  return found;
}

bool exists(const char* path) {
  struct stat found;
  return lstat(path, &found) == 0;
}

Names names(const char* directory) {
  Names out;
  DIR* d = opendir(directory);
  if (d == nullptr) {
    say(__FILE__, __LINE__, std::string("opendir: ") + strerrorname_np(errno));
    return out;
  }
  while (const dirent* entry = readdir(d)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (!out.insert(name).second) say(__FILE__, __LINE__, "listed twice: " + name);
  }
  closedir(d);
  return out;
}

int renameat2_(const char* from, const char* to, unsigned flags) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

pid_t child(const std::function<void()>& work) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  work();
  _exit(0);
}

void wait(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    say(__FILE__, __LINE__, "a child process ended with " + std::to_string(status));
  }
}

// What `work` states in the child comes back through a pipe: `say` reaches only the own memory.

void asUser(uid_t uid, gid_t gid, const std::function<void()>& work,
            const std::vector<gid_t>& groups) {
  if (geteuid() != 0) skip("not root: cannot become another user");
  int ends[2];
  OK(pipe(ends));
  const pid_t pid = child([&] {
    close(ends[0]);
    sayTo(ends[1]);
    if (setgroups(groups.size(), groups.data()) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
      say(__FILE__, __LINE__, "setuid fails");
    }
    work();
  });
  close(ends[1]);
  std::string told;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) told.append(buffer, (size_t)n);
  close(ends[0]);
  wait(pid);
  if (!told.empty()) say(__FILE__, __LINE__, "as uid " + std::to_string(uid) + ": " + told);
}

std::string pattern(size_t size, unsigned seed) {
  std::string out(size, 0);
  unsigned state = seed * 2654435761u + 1;
  for (size_t i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    out[i] = (char)state;
  }
  return out;
}

long long nanoseconds(const struct timespec& time) {
  return (long long)time.tv_sec * 1000000000LL + time.tv_nsec;
}
