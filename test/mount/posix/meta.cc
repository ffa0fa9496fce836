// POSIX table: times, modes, owners, other users' rights, extended attributes.
#include <sys/xattr.h>

#include "table.h"

static const uid_t someone = 12345;
static const gid_t someGroup = 23456;

static void settle() { usleep(15000); }  // longer than a tick of the kernel's coarse clock

static long long mtime(const char* path) { return nanoseconds(statOf(path).st_mtim); }
static long long ctime_(const char* path) { return nanoseconds(statOf(path).st_ctim); }
static long long atime(const char* path) { return nanoseconds(statOf(path).st_atim); }

static int setTimes(const char* path, timespec a, timespec m, int flags = 0) {
  const timespec times[2] = {a, m};
  return utimensat(AT_FDCWD, path, times, flags);
}

CASE("times: set to the nanosecond, past and future") {
  put("f", "x");
  OK(setTimes("f", {1, 1}, {1700000000, 123456789}));
  EQUAL(atime("f"), 1000000001);
  EQUAL(mtime("f"), 1700000000123456789);
  OK(setTimes("f", {4102444800, 0}, {4102444801, 999999999}));
  EQUAL(mtime("f"), 4102444801999999999);
  OK(setTimes("f", {-1000, 5}, {-2000, 6}));
  EQUAL(statOf("f").st_mtim.tv_sec, -2000);
}
CASE("times: UTIME_NOW and UTIME_OMIT") {
  put("f", "x");
  OK(setTimes("f", {1000, 0}, {2000, 0}));
  OK(setTimes("f", {0, UTIME_OMIT}, {0, UTIME_NOW}));
  EQUAL(atime("f"), 1000000000000);
  EXPECT(statOf("f").st_mtim.tv_sec > 1000000000);
  const long long before = ctime_("f");
  settle();
  OK(setTimes("f", {0, UTIME_OMIT}, {0, UTIME_OMIT}));
  EQUAL(ctime_("f"), before);
  FAILS(EINVAL, setTimes("f", {0, 2000000000}, {0, 0}));
  FAILS(ENOENT, setTimes("none", {0, 0}, {0, 0}));
}
CASE("times: of a symlink itself") {
  put("f", "x");
  OK(symlink("f", "l"));
  OK(setTimes("l", {1000, 1}, {2000, 2}, AT_SYMLINK_NOFOLLOW));
  EQUAL(mtime("l"), 2000000000002);
  EXPECT(mtime("f") > 1000000000000000000);
}
CASE("times: set while data is dirty, they stay through close and fsync") {
  for (int way = 0; way < 3; way++) {
    const std::string name = "f" + std::to_string(way);
    const int fd = (int)OK(open(name.c_str(), O_RDWR | O_CREAT, 0644));
    OK(write(fd, pattern(200000, 1).data(), 200000));
    const timespec times[2] = {{1000, 1}, {2000, 2}};
    OK(futimens(fd, times));
    if (way == 1) OK(fsync(fd));
    if (way == 2) usleep(100000);
    OK(close(fd));
    EQUAL(mtime(name.c_str()), 2000000000002);
    usleep(100000);
    EQUAL(mtime(name.c_str()), 2000000000002);
  }
}
CASE("times: a write after they were set moves them again") {
  const int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0644));
  OK(write(fd, "x", 1));
  const timespec times[2] = {{1000, 1}, {2000, 2}};
  OK(futimens(fd, times));
  OK(write(fd, "y", 1));
  EXPECT(statOfFd(fd).st_mtim.tv_sec > 1000000000);
  OK(close(fd));
  EXPECT(statOf("f").st_mtim.tv_sec > 1000000000);
}
CASE("times: a write moves mtime and ctime, a read moves neither") {
  put("f", "x");
  const long long m = mtime("f"), c = ctime_("f");
  settle();
  EXPECT(get("f") == "x");
  EQUAL(mtime("f"), m);
  EQUAL(ctime_("f"), c);
  const int fd = (int)OK(open("f", O_RDWR));
  OK(write(fd, "y", 1));
  OK(close(fd));
  EXPECT(mtime("f") > m);
  EXPECT(ctime_("f") > c);
}
CASE("times: mode, owner, link and rename move ctime only") {
  put("f", "x");
  const long long m = mtime("f");
  const auto moves = [&](int result) {
    EQUAL(result, 0);
    EQUAL(mtime("f"), m);
  };
  long long c = ctime_("f");
  settle();
  moves(chmod("f", 0600));
  EXPECT(ctime_("f") > c);
  c = ctime_("f");
  settle();
  moves(link("f", "g"));
  EXPECT(ctime_("f") > c);
  c = ctime_("f");
  settle();
  moves(unlink("g"));
  EXPECT(ctime_("f") > c);
  c = ctime_("f");
  settle();
  moves(setxattr("f", "user.a", "1", 1, 0));
  EXPECT(ctime_("f") > c);
}
CASE("times: entries move their directory's mtime and ctime") {
  OK(mkdir("d", 0755));
  OK(mkdir("e", 0755));
  long long m = mtime("d");
  const auto moved = [&](long long result) {
    EXPECT(result >= 0);
    EXPECT(mtime("d") > m);
    EXPECT(ctime_("d") >= mtime("d"));
    m = mtime("d");
    settle();
  };
  settle();
  const int fd = open("d/f", O_RDWR | O_CREAT, 0644);
  moved(fd);
  moved(mkdir("d/s", 0755));
  moved(symlink("x", "d/l"));
  moved(link("d/f", "d/g"));
  moved(mkfifo("d/p", 0644));
  moved(unlink("d/g"));
  moved(rmdir("d/s"));
  moved(rename("d/l", "d/k"));
  const long long other = mtime("e");
  moved(rename("d/k", "e/k"));
  EXPECT(mtime("e") > other);
  OK(write(fd, "x", 1));
  OK(close(fd));
  EQUAL(mtime("d"), m);
}
CASE("times: truncate moves them, O_TRUNC too") {
  put("f", "x");
  long long m = mtime("f");
  settle();
  OK(truncate("f", 100));
  EXPECT(mtime("f") > m);
  m = mtime("f");
  settle();
  OK(close((int)OK(open("f", O_WRONLY | O_TRUNC))));
  EXPECT(mtime("f") > m);
}
CASE("times: of a new file, between before and after") {
  timespec before, after;
  clock_gettime(CLOCK_REALTIME_COARSE, &before);
  put("f", "x");
  clock_gettime(CLOCK_REALTIME, &after);
  for (const long long time : {mtime("f"), ctime_("f"), atime("f")}) {
    EXPECT(time >= nanoseconds(before) - 20000000 && time <= nanoseconds(after));
  }
}
CASE("times: of a directory, set explicitly, stay") {
  OK(mkdir("d", 0755));
  put("d/f", "x");
  OK(setTimes("d", {1000, 0}, {2000, 1}));
  EQUAL(mtime("d"), 2000000000001);
  EXPECT(get("d/f") == "x");
  EQUAL(mtime("d"), 2000000000001);
}
CASE("times: a mapped store moves mtime") {
  put("f", pattern(4096, 1));
  OK(setTimes("f", {1000, 0}, {2000, 0}));
  const int fd = (int)OK(open("f", O_RDWR));
  char* map = (char*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  map[1] = 'x';
  OK(msync(map, 4096, MS_SYNC));
  OK(munmap(map, 4096));
  OK(close(fd));
  EXPECT(statOf("f").st_mtim.tv_sec > 1000000000);
}
CASE("modes: all bits, files and directories") {
  put("f", "x");
  OK(mkdir("d", 0755));
  for (int mode = 0; mode < 01000; mode += 011) {
    OK(chmod("f", (mode_t)mode));
    EQUAL(statOf("f").st_mode, S_IFREG | mode);
  }
  OK(chmod("d", 01777));
  EQUAL(statOf("d").st_mode, S_IFDIR | 01777);
  OK(chmod("d", 02755));
  EQUAL(statOf("d").st_mode, S_IFDIR | 02755);
  OK(chmod("f", 04755));
  EQUAL(statOf("f").st_mode, S_IFREG | 04755);
  FAILS(ENOENT, chmod("none", 0644));
}
CASE("modes: the umask holds for everything new") {
  umask(077);
  OK(close((int)OK(open("f", O_RDWR | O_CREAT, 0666))));
  OK(mkdir("d", 0777));
  OK(mkfifo("p", 0666));
  EQUAL(statOf("f").st_mode & 07777, 0600);
  EQUAL(statOf("d").st_mode & 07777, 0700);
  EQUAL(statOf("p").st_mode & 07777, 0600);
}
CASE("modes: setgid directories pass on their group") {
  if (geteuid() != 0) skip("not root");
  OK(mkdir("d", 0755));
  OK(chown("d", 0, someGroup));
  OK(chmod("d", 02775));
  OK(mkdir("d/sub", 0755));
  put("d/f", "x");
  EQUAL(statOf("d/sub").st_gid, someGroup);
  EXPECT(statOf("d/sub").st_mode & S_ISGID);
  EQUAL(statOf("d/f").st_gid, someGroup);
  EXPECT(!(statOf("d/f").st_mode & S_ISGID));
}
CASE("modes: a write by another user clears setuid and setgid") {
  if (geteuid() != 0) skip("not root");
  put("f", "x", 0777);
  OK(chmod("f", 06777));
  asUser(someone, someGroup, [] {
    const int fd = (int)OK(open("f", O_WRONLY));
    OK(write(fd, "y", 1));
    OK(close(fd));
  });
  EQUAL(statOf("f").st_mode & 07777, 0777);
  OK(chmod("f", 06777));
  asUser(someone, someGroup, [] { OK(truncate("f", 0)); });
  EQUAL(statOf("f").st_mode & 07777, 0777);
}
CASE("owners: chown clears setuid; -1 changes nothing") {
  if (geteuid() != 0) skip("not root");
  put("f", "x");
  OK(chmod("f", 06755));
  OK(chown("f", someone, someGroup));
  EQUAL(statOf("f").st_uid, someone);
  EQUAL(statOf("f").st_gid, someGroup);
  EQUAL(statOf("f").st_mode & 07777, 0755);
  OK(chown("f", (uid_t)-1, (gid_t)-1));
  EQUAL(statOf("f").st_uid, someone);
  OK(chown("f", 0, (gid_t)-1));
  EQUAL(statOf("f").st_uid, 0);
  EQUAL(statOf("f").st_gid, someGroup);
  OK(symlink("f", "l"));
  OK(lchown("l", someone, someGroup));
  EQUAL(statOf("l").st_uid, someone);
  EQUAL(statOf("f").st_uid, 0);
  OK(chown("f", 4000000000u, 4000000001u));
  EQUAL(statOf("f").st_uid, 4000000000u);
}
CASE("owners: a new file belongs to its creator") {
  if (geteuid() != 0) skip("not root");
  asUser(someone, someGroup, [] {
    put("f", "x");
    OK(mkdir("d", 0755));
    OK(symlink("f", "l"));
  });
  for (const char* name : {"f", "d", "l"}) {
    EQUAL(statOf(name).st_uid, someone);
    EQUAL(statOf(name).st_gid, someGroup);
  }
}
CASE("another user: may not read, write, enter, create") {
  if (geteuid() != 0) skip("not root");
  put("secret", "x", 0600);
  put("public", "x", 0644);
  OK(mkdir("closed", 0700));
  put("closed/f", "x", 0666);
  OK(mkdir("listed", 0744));
  put("listed/f", "x");
  OK(mkdir("entered", 0711));
  put("entered/f", "x");
  OK(mkdir("shown", 0755));
  asUser(someone, someGroup, [] {
    FAILS(EACCES, open("secret", O_RDONLY));
    FAILS(EACCES, open("public", O_WRONLY));
    OK(close((int)OK(open("public", O_RDONLY))));
    FAILS(EACCES, open("closed/f", O_RDONLY));
    FAILS(EACCES, chdir("closed"));
    FAILS(EACCES, open("closed", O_RDONLY | O_DIRECTORY));
    EXPECT(names("listed") == Names{"f"});
    FAILS(EACCES, open("listed/f", O_RDONLY));
    FAILS(EACCES, open("entered", O_RDONLY | O_DIRECTORY));
    EXPECT(get("entered/f") == "x");
    FAILS(EACCES, open("shown/f", O_WRONLY | O_CREAT, 0644));
    FAILS(EACCES, mkdir("shown/d", 0755));
    FAILS(EACCES, unlink("entered/f"));
    FAILS(EACCES, rename("public", "shown/public"));
    FAILS(EACCES, access("secret", R_OK));
    OK(access("public", R_OK));
    FAILS(EACCES, access("public", X_OK));
    FAILS(EACCES, truncate("public", 0));
  });
}
CASE("another user: may not change what is not theirs") {
  if (geteuid() != 0) skip("not root");
  put("f", "x");
  OK(chmod("f", 0666));
  asUser(someone, someGroup, [] {
    EQUAL(statOf("f").st_mode & 07777, 0666);
    FAILS(EPERM, chmod("f", 0777));
    FAILS(EPERM, chown("f", someone, (gid_t)-1));
    FAILS(EPERM, setTimes("f", {1, 0}, {1, 0}));
    OK(setTimes("f", {0, UTIME_NOW}, {0, UTIME_NOW}));
    put("own", "x");
    FAILS(EPERM, chown("own", 0, (gid_t)-1));
    FAILS(EPERM, chown("own", (uid_t)-1, 0));
    OK(chmod("own", 0640));
  });
}
CASE("another user: groups count") {
  if (geteuid() != 0) skip("not root");
  put("f", "x", 0640);
  OK(chown("f", 0, someGroup));
  asUser(someone, 30000, [] { FAILS(EACCES, open("f", O_RDONLY)); });
  asUser(someone, someGroup, [] { EXPECT(get("f") == "x"); });
  const std::vector<gid_t> further = {40000, someGroup};
  asUser(someone, 30000, [] { EXPECT(get("f") == "x"); }, further);
}
CASE("another user: sticky directories keep others' entries") {
  if (geteuid() != 0) skip("not root");
  OK(mkdir("tmp", 0777));
  OK(chmod("tmp", 01777));
  put("tmp/root", "x", 0666);
  asUser(someone, someGroup, [] { put("tmp/own", "x"); });
  asUser(someone + 1, someGroup, [] {
    FAILS(EPERM, unlink("tmp/own"));
    FAILS(EPERM, unlink("tmp/root"));
    FAILS(EPERM, rename("tmp/own", "tmp/mine"));
    put("tmp/mine", "x");
    FAILS(EPERM, rename("tmp/mine", "tmp/own"));
    OK(unlink("tmp/mine"));
  });
  asUser(someone, someGroup, [] { OK(unlink("tmp/own")); });
}
CASE("xattr: set, get, list, replace, remove") {
  put("f", "x");
  OK(mkdir("d", 0755));
  for (const char* path : {"f", "d"}) {
    char value[100];
    OK(setxattr(path, "user.one", "first", 5, 0));
    OK(setxattr(path, "user.two", "\0\xff\0", 3, 0));
    OK(setxattr(path, "user.empty", "", 0, 0));
    EQUAL(OK(getxattr(path, "user.one", value, 100)), 5);
    EXPECT(memcmp(value, "first", 5) == 0);
    EQUAL(OK(getxattr(path, "user.two", value, 100)), 3);
    EXPECT(memcmp(value, "\0\xff\0", 3) == 0);
    EQUAL(OK(getxattr(path, "user.empty", value, 100)), 0);
    char list[200];
    const size_t size = (size_t)OK(listxattr(path, list, sizeof list));
    Names found;
    for (size_t at = 0; at < size; at += strlen(list + at) + 1) {
      if (strncmp(list + at, "user.", 5) == 0) found.insert(list + at);
    }
    EXPECT((found == Names{"user.one", "user.two", "user.empty"}));
    OK(removexattr(path, "user.two"));
    FAILS(ENODATA, getxattr(path, "user.two", value, 100));
    OK(setxattr(path, "user.one", "second value", 12, 0));
    EQUAL(OK(getxattr(path, "user.one", value, 100)), 12);
  }
}
CASE("xattr: sizes asked for, buffers too small") {
  put("f", "x");
  OK(setxattr("f", "user.a", "0123456789", 10, 0));
  char value[10];
  EQUAL(OK(getxattr("f", "user.a", nullptr, 0)), 10);
  FAILS(ERANGE, getxattr("f", "user.a", value, 9));
  EXPECT(OK(listxattr("f", nullptr, 0)) >= 7);
  FAILS(ERANGE, listxattr("f", value, 3));
}
CASE("xattr: XATTR_CREATE and XATTR_REPLACE, and what is not there") {
  put("f", "x");
  char value[10];
  FAILS(ENODATA, getxattr("f", "user.none", value, 10));
  FAILS(ENODATA, removexattr("f", "user.none"));
  FAILS(ENODATA, setxattr("f", "user.a", "1", 1, XATTR_REPLACE));
  OK(setxattr("f", "user.a", "1", 1, XATTR_CREATE));
  FAILS(EEXIST, setxattr("f", "user.a", "2", 1, XATTR_CREATE));
  OK(setxattr("f", "user.a", "3", 1, XATTR_REPLACE));
  FAILS(ENOENT, setxattr("none", "user.a", "1", 1, 0));
}
CASE("xattr: bounds") {
  put("f", "x");
  const std::string big = pattern(2000, 1);
  OK(setxattr("f", "user.big", big.data(), big.size(), 0));
  std::string value(3000, 0);
  EQUAL(OK(getxattr("f", "user.big", value.data(), value.size())), 2000);
  EXPECT(value.substr(0, 2000) == big);
  const std::string huge(65537, 'x');
  FAILS(E2BIG, setxattr("f", "user.huge", huge.data(), huge.size(), 0));
  FAILS(ERANGE, setxattr("f", ("user." + std::string(260, 'n')).c_str(), "1", 1, 0));
  OK(setxattr("f", ("user." + std::string(200, 'n')).c_str(), "1", 1, 0));
}
CASE("xattr: symlinks have none; other namespaces and ACLs are refused") {
  put("f", "x");
  OK(symlink("f", "l"));
  FAILS(EPERM, lsetxattr("l", "user.a", "1", 1, 0));
  FAILS(EOPNOTSUPP, setxattr("f", "unknown.a", "1", 1, 0));
  if (!onLattice()) return;
  FAILS(EOPNOTSUPP, setxattr("f", "security.x", "1", 1, 0));
  FAILS(EOPNOTSUPP, setxattr("f", "system.posix_acl_access", "1234", 4, 0));
}
CASE("xattr: they follow renames and hard links") {
  put("f", "x");
  OK(setxattr("f", "user.a", "1", 1, 0));
  OK(link("f", "g"));
  OK(rename("f", "h"));
  char value[4];
  EQUAL(OK(getxattr("g", "user.a", value, 4)), 1);
  put("old", "y");
  OK(setxattr("old", "user.b", "2", 1, 0));
  put("new", "z");
  OK(setxattr("new", "user.c", "3", 1, 0));
  OK(rename("new", "old"));
  FAILS(ENODATA, getxattr("old", "user.b", value, 4));
  EQUAL(OK(getxattr("old", "user.c", value, 4)), 1);
}
CASE("xattr: another user without the right to write sets none") {
  if (geteuid() != 0) skip("not root");
  put("f", "x", 0644);
  OK(setxattr("f", "user.a", "1", 1, 0));
  asUser(someone, someGroup, [] {
    char value[4];
    EQUAL(OK(getxattr("f", "user.a", value, 4)), 1);
    FAILS(EACCES, setxattr("f", "user.a", "2", 1, 0));
    FAILS(EACCES, removexattr("f", "user.a"));
  });
}
