// Mounting: mount(2) for root, the fusermount3 helper for everybody else, and the probe of a mount
// that may be dead. Every descriptor is close-on-exec: one that leaks into a child would keep a
// dead mount hanging.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "napi-task.h"
#include "napi-util.h"

extern char** environ;

void register_mount(napi_env env, napi_value exports);

namespace lattice {

namespace {

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(const Fd&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

napi_value throw_errno(napi_env env, const char* what, int error) {
  TaskResult r;
  r.error = error;
  r.code = "system";
  r.message = std::string(what) + ": " + std::strerror(error);
  napi_throw(env, make_error(env, r));
  return nullptr;
}

// A path or option string without NUL.
bool get_string(napi_env env, napi_value value, std::string* out, const char* what) {
  size_t size = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &size) != napi_ok || size > 65536) {
    throw_invalid(env, what);
    return false;
  }
  out->resize(size);
  napi_get_value_string_utf8(env, value, out->data(), size + 1, &size);
  if (out->find('\0') == std::string::npos) return true;
  throw_invalid(env, what);
  return false;
}

napi_value mount_direct(napi_env env, napi_callback_info info) {
  napi_value args[5];
  std::string source, directory, subtype, options;
  uint64_t flags;
  if (!get_args(env, info, 5, args) || !get_string(env, args[0], &source, "mountDirect: source") ||
      !get_string(env, args[1], &directory, "mountDirect: directory") ||
      !get_string(env, args[2], &subtype, "mountDirect: fsname") ||
      !get_uint(env, args[3], 0, UINT32_MAX, &flags, "mountDirect: flags") ||
      !get_string(env, args[4], &options, "mountDirect: options")) {
    return nullptr;
  }
  Fd fd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (fd.get() < 0) return throw_errno(env, "open /dev/fuse", errno);
  std::string data = "fd=" + std::to_string(fd.get()) + ",rootmode=40000,user_id=" +
                     std::to_string(getuid()) + ",group_id=" + std::to_string(getgid());
  if (!options.empty()) data += "," + options;
  const std::string type = subtype.empty()                 ? "fuse"
                           : subtype.rfind("fuse.", 0) == 0 ? subtype
                                                            : "fuse." + subtype;
  if (mount(source.c_str(), directory.c_str(), type.c_str(), static_cast<unsigned long>(flags),
            data.c_str()) != 0) {
    return throw_errno(env, "mount", errno);
  }
  napi_value result;
  napi_create_int32(env, fd.release(), &result);
  return result;
}

napi_value unmount_direct(napi_env env, napi_callback_info info) {
  napi_value args[2];
  std::string directory;
  uint64_t flags;
  if (!get_args(env, info, 2, args) ||
      !get_string(env, args[0], &directory, "unmountDirect: directory") ||
      !get_uint(env, args[1], 0, INT32_MAX, &flags, "unmountDirect: flags")) {
    return nullptr;
  }
  if (umount2(directory.c_str(), static_cast<int>(flags)) != 0) {
    return throw_errno(env, "umount", errno);
  }
  return nullptr;
}

// The descriptor that the helper sends, or -1 when it hangs up without one.
int receive_descriptor(int socket) {
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n <= 0) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return -1;
  }
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

std::string read_all(int fd) {
  std::string text;
  char buffer[1024];
  ssize_t n;
  while (text.size() < 16384) {
    n = read(fd, buffer, sizeof buffer);
    if (n == 0 || (n < 0 && errno != EINTR)) break;
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

TaskResult failed(int error, const char* code, std::string message) {
  TaskResult r;
  r.failed = true;
  r.error = error;
  r.code = code;
  r.message = std::move(message);
  return r;
}

// Everything happens before the promise settles: the helper has ended, its words are in the error.
TaskResult run_helper(const std::string& directory, const std::string& options) {
  int sockets[2], pipes[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return failed(errno, "system", std::string("socketpair: ") + std::strerror(errno));
  }
  Fd ours(sockets[0]), theirs(sockets[1]);
  if (pipe2(pipes, O_CLOEXEC) != 0) {
    return failed(errno, "system", std::string("pipe: ") + std::strerror(errno));
  }
  Fd words(pipes[0]), words_end(pipes[1]);

  std::string comm = "_FUSE_COMMFD=" + std::to_string(theirs.get());
  std::vector<char*> environment;
  for (char** e = environ; *e != nullptr; e++) {
    if (std::strncmp(*e, "_FUSE_COMMFD=", 13) != 0) environment.push_back(*e);
  }
  environment.push_back(comm.data());
  environment.push_back(nullptr);
  std::string name = "fusermount3", dash_o = "-o", dashes = "--", opts = options, dir = directory;
  char* argv[] = {name.data(), dash_o.data(), opts.data(), dashes.data(), dir.data(), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, words_end.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, words_end.get(), 2);
  // Onto itself: that clears close-on-exec in the child.
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), theirs.get());
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, name.c_str(), &actions, nullptr, argv, environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return failed(error, "no-helper", std::string("fusermount3: ") + std::strerror(error));
  }
  theirs.reset();
  words_end.reset();

  Fd device(receive_descriptor(ours.get()));
  const std::string said = read_all(words.get());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (device.get() < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return failed(EIO, "helper-failed",
                  "fusermount3 exited with " +
                      std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1) +
                      (said.empty() ? "" : ": " + said));
  }
  TaskResult r;
  r.value = device.release();
  return r;
}

napi_value mount_with_helper(napi_env env, napi_callback_info info) {
  napi_value args[2];
  std::string directory, options;
  if (!get_args(env, info, 2, args) ||
      !get_string(env, args[0], &directory, "mountWithHelper: directory") ||
      !get_string(env, args[1], &options, "mountWithHelper: options")) {
    return nullptr;
  }
  return start_task(env, "lattice.mount",
                    [directory, options] { return run_helper(directory, options); });
}

napi_value probe_mount(napi_env env, napi_callback_info info) {
  napi_value args[1];
  std::string directory;
  if (!get_args(env, info, 1, args) ||
      !get_string(env, args[0], &directory, "probeMount: directory")) {
    return nullptr;
  }
  return start_task(env, "lattice.probe", [directory] {
    struct statx attributes;
    TaskResult r;
    if (statx(AT_FDCWD, directory.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
              &attributes) != 0) {
      r.value = errno;
    }
    return r;
  });
}

}  // namespace

}  // namespace lattice

void register_mount(napi_env env, napi_value exports) {
  using namespace lattice;
  export_function(env, exports, "mountDirect", mount_direct);
  export_function(env, exports, "unmountDirect", unmount_direct);
  export_function(env, exports, "mountWithHelper", mount_with_helper);
  export_function(env, exports, "probeMount", probe_mount);
}
