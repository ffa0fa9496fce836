// POSIX table: listing directories, locks, inode numbers, statfs, watching.
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include <map>

#include "table.h"

static void touch(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT, 0644);
  if (fd < 0) return say(__FILE__, __LINE__, path + ": " + strerrorname_np(errno));
  close(fd);
}

CASE("readdir: dots, types and inode numbers agree with stat") {
  put("f", "x");
  OK(mkdir("d", 0755));
  OK(symlink("f", "l"));
  OK(mkfifo("p", 0644));
  DIR* directory = opendir(".");
  int dots = 0;
  int others = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") dots++;
    else others++;
    const struct stat found = statOf(entry->d_name);
    if (entry->d_type != DT_UNKNOWN) EQUAL(entry->d_type, IFTODT(found.st_mode));
    if (name != "..") EQUAL(entry->d_ino, found.st_ino);
  }
  closedir(directory);
  EQUAL(dots, 2);
  EQUAL(others, 4);
}
CASE("readdir: 20,000 entries, each once") {
  OK(mkdir("d", 0755));
  for (int i = 0; i < 20000; i++) touch("d/entry-" + std::to_string(i));
  EQUAL(names("d").size(), 20000);
  for (int i = 0; i < 20000; i += 2) OK(unlink(("d/entry-" + std::to_string(i)).c_str()));
  const Names left = names("d");
  EQUAL(left.size(), 10000);
  EXPECT(left.count("entry-1") == 1 && left.count("entry-0") == 0);
  FAILS(ENOTEMPTY, rmdir("d"));
}
CASE("readdir: deleting while listing removes everything") {
  OK(mkdir("d", 0755));
  for (int i = 0; i < 5000; i++) touch("d/" + std::to_string(i));
  DIR* directory = opendir("d");
  int removed = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    if (unlinkat(dirfd(directory), entry->d_name, 0) == 0) removed++;
  }
  closedir(directory);
  EQUAL(removed, 5000);
  OK(rmdir("d"));
}
CASE("readdir: while another process creates and deletes, what stays is seen once") {
  OK(mkdir("d", 0755));
  for (int i = 0; i < 1000; i++) touch("d/stays-" + std::to_string(i));
  const pid_t other = child([] {
    for (int i = 0; i < 5000; i++) {
      touch("d/goes-" + std::to_string(i));
      if (i >= 50) unlink(("d/goes-" + std::to_string(i - 50)).c_str());
    }
  });
  int status = 0;
  do {
    int stays = 0;
    for (const std::string& name : names("d")) {
      if (name.compare(0, 6, "stays-") == 0) stays++;
    }
    EQUAL(stays, 1000);
  } while (waitpid(other, &status, WNOHANG) == 0);
  EQUAL(status, 0);
}
CASE("telldir, seekdir: positions hold, also when entries before them go") {
  OK(mkdir("d", 0755));
  for (int i = 0; i < 2000; i++) touch("d/" + std::to_string(i));
  DIR* directory = opendir("d");
  std::vector<std::pair<long, std::string>> positions;  // position before the entry
  std::vector<std::string> order;
  for (;;) {
    const long position = telldir(directory);
    const dirent* entry = readdir(directory);
    if (entry == nullptr) break;
    positions.push_back({position, entry->d_name});
  }
  for (size_t i = 0; i < positions.size(); i += 131) {
    seekdir(directory, positions[i].first);
    const dirent* entry = readdir(directory);
    EXPECT(entry != nullptr && positions[i].second == entry->d_name);
  }
  for (size_t i = 0; i < 1000; i++) {
    if (positions[i].second[0] != '.') OK(unlink(("d/" + positions[i].second).c_str()));
  }
  seekdir(directory, positions[1500].first);
  for (size_t i = 1500; i < positions.size(); i++) {
    const dirent* entry = readdir(directory);
    EXPECT(entry != nullptr && positions[i].second == entry->d_name);
  }
  EXPECT(readdir(directory) == nullptr);
  closedir(directory);
}
CASE("rewinddir: sees what was made since") {
  put("a", "x");
  DIR* directory = opendir(".");
  while (readdir(directory) != nullptr) {}
  put("b", "x");
  rewinddir(directory);
  int count = 0;
  while (readdir(directory) != nullptr) count++;
  EQUAL(count, 4);
  closedir(directory);
}
CASE("readdir: one getdents call with a small buffer at a time") {
  for (int i = 0; i < 300; i++) touch("name-" + std::to_string(i));
  const int fd = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
  char buffer[300];
  Names found;
  for (;;) {
    const long n = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    if (n <= 0) {
      EQUAL(n, 0);
      break;
    }
    for (long at = 0; at < n;) {
      const dirent64* entry = (const dirent64*)(buffer + at);
      EXPECT(found.insert(entry->d_name).second);
      at += entry->d_reclen;
    }
  }
  EQUAL(found.size(), 302);
  OK(close(fd));
}
CASE("readdir: long names fill the buffers") {
  for (int i = 0; i < 200; i++) {
    const std::string number = std::to_string(i);
    touch(std::string(255 - number.size(), 'n') + number);
  }
  EQUAL(names(".").size(), 200);
}
CASE("inodes: numbers are steady and different") {
  put("a", "x");
  put("b", "x");
  const struct stat before = statOf("a");
  EXPECT(before.st_ino != statOf("b").st_ino);
  EQUAL(before.st_dev, statOf("b").st_dev);
  OK(rename("a", "c"));
  put("a", "another");
  EQUAL(statOf("c").st_ino, before.st_ino);
  EXPECT(statOf("a").st_ino != before.st_ino);
  EXPECT(before.st_blksize > 0);
}
CASE("inodes: a directory's links") {
  OK(mkdir("d", 0755));
  const long long empty = (long long)statOf("d").st_nlink;
  EXPECT(empty == 2 || empty == 1);
  OK(mkdir("d/a", 0755));
  OK(mkdir("d/b", 0755));
  if (empty == 2) EQUAL(statOf("d").st_nlink, 4);
  OK(rename("d/a", "a"));
  OK(rmdir("d/b"));
  EQUAL(statOf("d").st_nlink, empty);
}
CASE("openat: with handles of directories that move") {
  OK(mkdir("d", 0755));
  put("d/f", "x");
  const int fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
  OK(rename("d", "e"));
  const int file = (int)OK(openat(fd, "f", O_RDONLY));
  EXPECT(getFd(file) == "x");
  OK(close(file));
  OK(mkdirat(fd, "sub", 0755));
  EXPECT((names("e") == Names{"f", "sub"}));
  OK(fchdir(fd));
  EXPECT(get("f") == "x");
  OK(close(fd));
}
CASE("flock: exclusive between two processes, free after the holder's end") {
  put("f", "x");
  const int fd = (int)OK(open("f", O_RDWR));
  OK(flock(fd, LOCK_EX));
  wait(child([] {
    const int own = open("f", O_RDWR);
    _exit(flock(own, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK ? 0 : 1);
  }));
  OK(flock(fd, LOCK_SH));
  wait(child([] {
    const int own = open("f", O_RDWR);
    _exit(flock(own, LOCK_SH | LOCK_NB) == 0 ? 0 : 1);
  }));
  OK(close(fd));
  wait(child([] {
    const int own = open("f", O_RDWR);
    _exit(flock(own, LOCK_EX | LOCK_NB) == 0 ? 0 : 1);
  }));
}
CASE("flock: who waits is woken") {
  put("f", "x");
  const int fd = (int)OK(open("f", O_RDWR));
  OK(flock(fd, LOCK_EX));
  const pid_t waiter = child([] {
    const int own = open("f", O_RDWR);
    if (flock(own, LOCK_EX) != 0) _exit(1);
  });
  usleep(100000);
  EQUAL(waitpid(waiter, nullptr, WNOHANG), 0);
  OK(flock(fd, LOCK_UN));
  wait(waiter);
  OK(close(fd));
}
CASE("fcntl locks: ranges, F_GETLK, let go at close") {
  put("f", "0123456789");
  const int fd = (int)OK(open("f", O_RDWR));
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = 2;
  range.l_len = 3;
  OK(fcntl(fd, F_SETLK, &range));
  const pid_t self = getpid();
  wait(child([&] {
    const int own = open("f", O_RDWR);
    struct flock other = range;
    errno = 0;
    if (fcntl(own, F_SETLK, &other) == 0 || (errno != EAGAIN && errno != EACCES)) _exit(1);
    other = range;
    if (fcntl(own, F_GETLK, &other) != 0 || other.l_pid != self || other.l_start != 2) _exit(2);
    other = range;
    other.l_start = 5;
    if (fcntl(own, F_SETLK, &other) != 0) _exit(3);
  }));
  OK(close((int)OK(open("f", O_RDONLY))));  // closing any handle lets go of all
  wait(child([&] {
    const int own = open("f", O_RDWR);
    struct flock other = range;
    _exit(fcntl(own, F_SETLK, &other) == 0 ? 0 : 1);
  }));
  OK(close(fd));
}
CASE("fcntl locks: of an open file description") {
  put("f", "x");
  const int a = (int)OK(open("f", O_RDWR));
  const int b = (int)OK(open("f", O_RDWR));
  struct flock range = {};
  range.l_type = F_WRLCK;
  OK(fcntl(a, F_OFD_SETLK, &range));
  FAILS(EAGAIN, fcntl(b, F_OFD_SETLK, &range));
  OK(close(a));
  OK(fcntl(b, F_OFD_SETLK, &range));
  OK(close(b));
}
CASE("statfs: sizes make sense") {
  struct statfs found;
  OK(statfs(".", &found));
  EXPECT(found.f_bsize >= 512 && found.f_blocks > 0);
  EXPECT(found.f_bavail <= found.f_bfree && found.f_bfree <= found.f_blocks);
  EQUAL(found.f_namelen, 255);
  struct statvfs other;
  put("f", "x");
  OK(statvfs("f", &other));
  EQUAL(other.f_namemax, 255);
  EXPECT(other.f_files == 0 || other.f_ffree <= other.f_files);
  if (onLattice()) EXPECT(other.f_flag & ST_NOSUID);
}
CASE("inotify: local changes are seen") {
  const int watch = (int)OK(inotify_init1(IN_NONBLOCK));
  OK(inotify_add_watch(watch, ".", IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE));
  put("a", "x");
  OK(rename("a", "b"));
  OK(unlink("b"));
  alignas(inotify_event) char buffer[4096];
  const ssize_t size = read(watch, buffer, sizeof buffer);
  unsigned seen = 0;
  for (ssize_t at = 0; at < size;) {
    const inotify_event* event = (const inotify_event*)(buffer + at);
    seen |= event->mask;
    at += (ssize_t)(sizeof *event + event->len);
  }
  EQUAL(seen & (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE),
        IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE);
  OK(close(watch));
}
CASE("fuzz: a tree under random calls, against a model") {
  // Files and directories in two levels; the model maps each path to its content, "/" is a
  // directory.
  std::map<std::string, std::string> model;
  unsigned state = 777;
  const auto next = [&](unsigned below) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % below;
  };
  const auto name = [&] {
    const std::string top(1, (char)('a' + next(5)));
    return next(3) == 0 ? top : top + "/" + std::string(1, (char)('p' + next(5)));
  };
  const auto parentIs = [&](const std::string& path) {
    const size_t slash = path.find('/');
    return slash == std::string::npos || (model.count(path.substr(0, slash)) != 0 &&
                                          model[path.substr(0, slash)] == "/");
  };
  const auto hasChildren = [&](const std::string& path) {
    const auto found = model.lower_bound(path + "/");
    return found != model.end() && found->first.compare(0, path.size() + 1, path + "/") == 0;
  };
  for (int step = 0; step < 3000; step++) {
    const std::string a = name(), b = name();
    const bool isThere = parentIs(a) && model.count(a) != 0;
    switch (next(6)) {
      case 0:
      case 1: {
        const int fd = open(a.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
        const bool works = parentIs(a) && !(isThere && model[a] == "/");
        EQUAL(fd >= 0, works);
        if (fd < 0) break;
        const std::string content = "content " + std::to_string(step);
        OK(write(fd, content.data(), content.size()));
        close(fd);
        model[a] = content;
        break;
      }
      case 2:
        EQUAL(mkdir(a.c_str(), 0755) == 0, parentIs(a) && !isThere);
        if (parentIs(a) && !isThere) model[a] = "/";
        break;
      case 3: {
        const bool works = isThere && model[a] != "/";
        EQUAL(unlink(a.c_str()) == 0, works);
        if (works) model.erase(a);
        break;
      }
      case 4: {
        const bool works = isThere && model[a] == "/" && !hasChildren(a);
        EQUAL(rmdir(a.c_str()) == 0, works);
        if (works) model.erase(a);
        break;
      }
      default: {
        const bool fileA = isThere && model[a] != "/";
        const bool thereB = parentIs(b) && model.count(b) != 0;
        const bool works = fileA && parentIs(b) && !(thereB && model[b] == "/");
        if (isThere && !fileA) break;  // directories stay: their children would need renaming
        EQUAL(rename(a.c_str(), b.c_str()) == 0, works);
        if (works && a != b) {
          model[b] = model[a];
          model.erase(a);
        }
      }
    }
  }
  for (const auto& [path, content] : model) {
    if (content == "/") EXPECT(S_ISDIR(statOf(path.c_str()).st_mode));
    else EXPECT(get(path.c_str()) == content);
  }
  size_t found = names(".").size();
  for (const std::string& top : names(".")) {
    if (S_ISDIR(statOf(top.c_str()).st_mode)) found += names(top.c_str()).size();
  }
  EQUAL(found, model.size());
}
