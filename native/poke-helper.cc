// The poker: a process of its own that makes small calls inside a mount, so that the kernel tells
// watchers (inotify) of changes that came past it. A program of its own, since a process that
// serves a mount must never wait for that mount.
//
//   lattice-poke DIRECTORY      orders on stdin, results on stdout, one after the other; it ends
//                               with stdin
//
// An order: u32 length of the rest, u32 operation, u32 mode, then four strings that end with NUL:
// path of the parent ("" = the root), name, path of the new parent, new name. A result: i32 errno.
// The first order (look at the mount) pins which mount it is; every later one opens the root anew,
// since a descriptor that is kept would make the mount busy, and goes on only in the same mount,
// below its root, through no symlink and into no other mount. It never reads or writes content.

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace {

constexpr uint32_t kOrderMax = 16384;
constexpr uint64_t kInside = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

enum Operation : uint32_t { kEdit = 1, kCreate, kRemove, kMove, kAttrib, kLook, kPin, kForbidden };

struct Order {
  uint32_t operation, mode;
  const char* texts[4];  // parent, name, new parent, new name
};

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

struct Mount {
  uint64_t device = 0, id = 0;
};
Mount pinned;

bool read_all(void* into, size_t size) {
  auto* at = static_cast<char*>(into);
  while (size > 0) {
    const ssize_t n = read(0, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

int open_inside(int directory, const char* path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = kInside;
  return static_cast<int>(syscall(SYS_openat2, directory, path, &how, sizeof how));
}

int open_parent(int root, const char* path) {
  return open_inside(root, path[0] == '\0' ? "." : path, O_PATH | O_DIRECTORY);
}

int mount_of(int root, Mount* mount) {
  struct statx s;
  constexpr unsigned kMountId = 0x1000;  // STATX_MNT_ID
  if (statx(root, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, kMountId, &s) != 0) return errno;
  mount->device = makedev(s.stx_dev_major, s.stx_dev_minor);
  mount->id = (s.stx_mask & kMountId) != 0 ? s.stx_mnt_id : 0;
  return 0;
}

int touch(int fd, bool both) {
  const timespec times[2] = {{0, both ? UTIME_NOW : UTIME_OMIT}, {0, UTIME_NOW}};
  return utimensat(fd, "", times, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

int edit(int parent, const char* name) {
  {
    const Fd file(open_inside(parent, name, O_WRONLY | O_NONBLOCK | O_NOCTTY));
    if (file) {
      const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
      return futimens(file.get(), times) == 0 ? 0 : errno;
    }
  }
  // It may not be written, or is being executed: the first half at least.
  const Fd path(open_inside(parent, name, O_PATH));
  return path ? touch(path.get(), false) : errno;
}

int create(int parent, const char* name, uint32_t mode) {
  const auto result = [](int value) { return value == 0 ? 0 : errno; };
  switch (mode & S_IFMT) {
    case S_IFREG: {
      open_how how{};
      how.flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
      how.mode = 0600;
      how.resolve = kInside;
      const Fd file(static_cast<int>(syscall(SYS_openat2, parent, name, &how, sizeof how)));
      if (!file) return errno;
      const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
      futimens(file.get(), times);
      return 0;
    }
    case S_IFDIR: return result(mkdirat(parent, name, 0700));
    case S_IFLNK: return result(symlinkat("-", parent, name));
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK: return result(mknodat(parent, name, (mode & S_IFMT) | 0600, 0));
    default: return EINVAL;
  }
}

int act(int root, const Order& order) {
  const auto& [path, name, new_path, new_name] = order.texts;
  const Fd parent(open_parent(root, path));
  if (!parent) return errno;
  switch (order.operation) {
    case kEdit: return edit(parent.get(), name);
    case kCreate: return create(parent.get(), name, order.mode);
    case kRemove: {
      const int flags = S_ISDIR(order.mode) ? AT_REMOVEDIR : 0;
      return unlinkat(parent.get(), name, flags) == 0 ? 0 : errno;
    }
    case kMove: {
      const Fd target(open_parent(root, new_path));
      if (!target) return errno;
      const int moved = renameat(parent.get(), name, target.get(), new_name);
      return moved == 0 ? 0 : errno;
    }
    case kAttrib: {
      const Fd file(open_inside(parent.get(), name[0] == '\0' ? "." : name, O_PATH));
      return file ? touch(file.get(), true) : errno;
    }
    case kLook: {
      const Fd file(open_inside(parent.get(), name, O_PATH));
      return file ? 0 : errno;
    }
    case kForbidden: return mkdirat(parent.get(), name, 0700) == 0 ? 0 : errno;
    default: return EINVAL;
  }
}

int obey(const char* directory, const Order& order) {
  const Fd root(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!root) return errno;
  Mount mount;
  const int error = mount_of(root.get(), &mount);
  if (error != 0) return error;
  if (order.operation == kPin) {
    pinned = mount;
    return 0;
  }
  if (pinned.device == 0 || mount.device != pinned.device || mount.id != pinned.id) return ENODEV;
  return act(root.get(), order);
}

// False: it makes no sense.
bool parse(char* bytes, uint32_t size, Order* order) {
  if (size < 8) return false;
  memcpy(&order->operation, bytes, 4);
  memcpy(&order->mode, bytes + 4, 4);
  const char* at = bytes + 8;
  const char* const end = bytes + size;
  for (const char*& text : order->texts) {
    const void* const nul = memchr(at, 0, static_cast<size_t>(end - at));
    if (nul == nullptr) return false;
    text = at;
    at = static_cast<const char*>(nul) + 1;
  }
  for (const int i : {1, 3}) {
    const char* const name = order->texts[i];
    if (strchr(name, '/') != nullptr || strcmp(name, "..") == 0) return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 64;
  // What others left open at the start of this process (databases, pipes) is not to be kept open.
  syscall(436 /* close_range */, 3u, ~0u, 0u);
  umask(0);
  if (chdir("/") != 0) return 71;
  static char bytes[kOrderMax];
  for (uint32_t size; read_all(&size, sizeof size);) {
    if (size > kOrderMax || !read_all(bytes, size)) return 65;
    Order order{};
    if (!parse(bytes, size, &order)) return 65;
    const int32_t error = obey(words[1], order);
    if (write(1, &error, sizeof error) != sizeof error) return 74;
  }
  return 0;
}
