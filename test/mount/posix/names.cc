// POSIX table: names, opening, creating, removing, links, special files.
#include <limits.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "table.h"

static const std::string long255(255, 'n');
static const std::string long256(256, 'n');

CASE("open: what is not there") {
  FAILS(ENOENT, open("none", O_RDONLY));
  FAILS(ENOENT, open("none/x", O_RDONLY | O_CREAT, 0644));
  FAILS(ENOENT, open("", O_RDONLY));
  FAILS(ENOENT, open("none/", O_RDONLY));
}
CASE("open: a file as a directory") {
  put("f", "x");
  FAILS(ENOTDIR, open("f/x", O_RDONLY));
  FAILS(ENOTDIR, open("f/x", O_RDWR | O_CREAT, 0644));
  FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
  FAILS(ENOTDIR, open("f/", O_RDONLY));
}
CASE("open: a directory for writing") {
  OK(mkdir("d", 0755));
  FAILS(EISDIR, open("d", O_WRONLY));
  FAILS(EISDIR, open("d", O_RDWR));
  FAILS(EISDIR, open("d", O_RDONLY | O_CREAT, 0644));
}
CASE("open: O_CREAT with O_EXCL on what is there") {
  put("f", "x");
  OK(mkdir("d", 0755));
  OK(symlink("nowhere", "l"));
  FAILS(EEXIST, open("f", O_RDWR | O_CREAT | O_EXCL, 0644));
  FAILS(EEXIST, open("d", O_RDWR | O_CREAT | O_EXCL, 0644));
  FAILS(EEXIST, open("l", O_RDWR | O_CREAT | O_EXCL, 0644));
  EXPECT(get("f") == "x");
}
CASE("open: O_NOFOLLOW and a symlink") {
  put("f", "x");
  OK(symlink("f", "l"));
  FAILS(ELOOP, open("l", O_RDONLY | O_NOFOLLOW));
  OK(close((int)OK(open("l", O_PATH | O_NOFOLLOW))));
  EXPECT(get("l") == "x");
}
CASE("open: O_CREAT through a dangling symlink makes its target") {
  OK(symlink("made", "l"));
  put("l", "through");
  EXPECT(get("made") == "through");
  EXPECT(S_ISLNK(statOf("l").st_mode));
}
CASE("open: a loop of symlinks") {
  OK(symlink("b", "a"));
  OK(symlink("a", "b"));
  FAILS(ELOOP, open("a", O_RDONLY));
  FAILS(ELOOP, chdir("a"));
}
CASE("open: O_CREAT leaves the mode of what is there") {
  put("f", "x", 0640);
  OK(close((int)OK(open("f", O_RDWR | O_CREAT, 0777))));
  EQUAL(statOf("f").st_mode & 07777, 0640);
}
CASE("open: a new file of mode 0444 is writable by its creator's handle") {
  const int fd = (int)OK(open("f", O_RDWR | O_CREAT, 0444));
  EQUAL(OK(write(fd, "abc", 3)), 3);
  OK(close(fd));
  EXPECT(get("f") == "abc");
}
CASE("open: O_TRUNC empties") {
  put("f", pattern(300000, 1));
  OK(close((int)OK(open("f", O_WRONLY | O_TRUNC))));
  EQUAL(statOf("f").st_size, 0);
  EXPECT(get("f").empty());
}
CASE("names: of 255 bytes, not of 256") {
  put(long255.c_str(), "x");
  EXPECT(names(".").count(long255) == 1);
  FAILS(ENAMETOOLONG, open(long256.c_str(), O_RDWR | O_CREAT, 0644));
  FAILS(ENAMETOOLONG, mkdir(long256.c_str(), 0755));
  FAILS(ENAMETOOLONG, symlink("x", long256.c_str()));
  FAILS(ENAMETOOLONG, mkfifo(long256.c_str(), 0644));
  FAILS(ENAMETOOLONG, link(long255.c_str(), long256.c_str()));
  FAILS(ENAMETOOLONG, rename(long255.c_str(), long256.c_str()));
  FAILS(ENAMETOOLONG, unlink(long256.c_str()));
  FAILS(ENAMETOOLONG, access(long256.c_str(), F_OK));
}
CASE("names: every byte but / and NUL") {
  Names made;
  for (int byte = 1; byte < 256; byte++) {
    if (byte == '/' || byte == '.') continue;
    const std::string name(1, (char)byte);
    put(name.c_str(), name);
    made.insert(name);
  }
  EXPECT(names(".") == made);
  for (const std::string& name : made) EXPECT(get(name.c_str()) == name);
}
CASE("names: invalid UTF-8 is kept byte for byte") {
  const std::string name = "\xff\xfe\x80 \xc3 \xed\xa0\x80";
  OK(mkdir(name.c_str(), 0755));
  put((name + "/\xf5").c_str(), "x");
  EXPECT(names(".") == Names{name});
  EXPECT(names(name.c_str()) == Names{"\xf5"});
}
CASE("names: two spellings of a letter are two names, so are two cases") {
  put("\xc3\xa9", "composed");
  put("e\xcc\x81", "decomposed");
  put("E", "upper");
  put("e", "lower");
  EQUAL(names(".").size(), 4);
  EXPECT(get("\xc3\xa9") == "composed" && get("e\xcc\x81") == "decomposed");
  EXPECT(get("E") == "upper" && get("e") == "lower");
}
CASE("names: odd ones") {
  const Names odd = {"...", " ",    "-rf", "a\nb",    "\\",  "*",
                     "COM1", "a:b", "con.", ".hidden ", "%2F"};
  for (const std::string& name : odd) put(name.c_str(), name);
  EXPECT(names(".") == odd);
}
CASE("mkdir: on what is there, below what is not") {
  put("f", "x");
  OK(mkdir("d", 0755));
  OK(symlink("nowhere", "l"));
  FAILS(EEXIST, mkdir("f", 0755));
  FAILS(EEXIST, mkdir("d", 0755));
  FAILS(EEXIST, mkdir("l", 0755));
  FAILS(ENOENT, mkdir("none/d", 0755));
  FAILS(ENOTDIR, mkdir("f/d", 0755));
  FAILS(EEXIST, mkdir(".", 0755));
}
CASE("mkdir: the umask holds") {
  umask(027);
  OK(mkdir("d", 0777));
  EQUAL(statOf("d").st_mode & 07777, 0750);
}
CASE("mkdir: a path 300 levels deep, and back") {
  for (int i = 0; i < 300; i++) {
    OK(mkdir("level", 0755));
    OK(chdir("level"));
  }
  put("deep", "x");
  char path[PATH_MAX];
  EXPECT(getcwd(path, sizeof path) != nullptr);
  for (int i = 0; i < 300; i++) OK(chdir(".."));
  EXPECT(names(".") == Names{"level"});
}
CASE("rmdir: what it refuses") {
  put("f", "x");
  OK(mkdir("d", 0755));
  put("d/x", "x");
  OK(mkdir("e", 0755));
  OK(symlink("e", "l"));
  FAILS(ENOTEMPTY, rmdir("d"));
  FAILS(ENOTDIR, rmdir("f"));
  FAILS(ENOTDIR, rmdir("l"));
  FAILS(ENOENT, rmdir("none"));
  FAILS(EINVAL, rmdir("e/."));
  FAILS(ENOTEMPTY, rmdir("d/.."));
  OK(rmdir("e"));
  EXPECT(!exists("e"));
}
CASE("rmdir: a directory that is somebody's working directory") {
  OK(mkdir("d", 0755));
  OK(chdir("d"));
  OK(rmdir("../d"));
  FAILS(ENOENT, open("x", O_RDWR | O_CREAT, 0644));
  FAILS(ENOENT, mkdir("x", 0755));
  EXPECT(names(".").empty());
  struct stat found;
  OK(stat(".", &found));
}
CASE("rmdir: a removed directory that is open lists nothing") {
  OK(mkdir("d", 0755));
  const int fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
  OK(rmdir("d"));
  OK(mkdir("d", 0755));
  put("d/new", "x");
  FAILS(ENOENT, openat(fd, "new", O_RDONLY));
  FAILS(ENOENT, openat(fd, "other", O_RDWR | O_CREAT, 0644));
  OK(close(fd));
}
CASE("unlink: what it refuses") {
  put("f", "x");
  OK(mkdir("d", 0755));
  FAILS(EISDIR, unlink("d"));
  FAILS(ENOENT, unlink("none"));
  FAILS(ENOTDIR, unlink("f/"));
  FAILS(ENOTDIR, unlink("f/x"));
  FAILS(ENOENT, unlink(""));
  EXPECT(get("f") == "x");
}
CASE("unlink: a symlink goes, its target stays") {
  put("f", "x");
  OK(symlink("f", "l"));
  OK(unlink("l"));
  EXPECT(names(".") == Names{"f"});
}
CASE("unlink: an open file lives on until its last close") {
  put("f", "before");
  const int fd = (int)OK(open("f", O_RDWR));
  OK(unlink("f"));
  EQUAL(statOfFd(fd).st_nlink, 0);
  EXPECT(getFd(fd) == "before");
  const std::string more = pattern(200000, 3);
  EQUAL(OK(pwrite(fd, more.data(), more.size(), 0)), more.size());
  OK(fsync(fd));
  EXPECT(getFd(fd) == more);
  put("f", "another");
  EXPECT(getFd(fd) == more);
  EXPECT(get("f") == "another");
  OK(ftruncate(fd, 3));
  EQUAL(statOfFd(fd).st_size, 3);
  OK(fchmod(fd, 0600));
  OK(close(fd));
}
CASE("unlink: an open, unlinked file opens again through /proc") {
  put("f", "content");
  const int fd = (int)OK(open("f", O_RDWR));
  OK(unlink("f"));
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  EXPECT(get(path.c_str()) == "content");
  OK(close(fd));
}
CASE("O_TMPFILE: no name until it is linked") {
  const int fd = (int)OK(open(".", O_TMPFILE | O_RDWR, 0640));
  const std::string content = pattern(100000, 4);
  EQUAL(OK(write(fd, content.data(), content.size())), content.size());
  EXPECT(names(".").empty());
  EQUAL(statOfFd(fd).st_nlink, 0);
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  OK(linkat(AT_FDCWD, path.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  EQUAL(statOfFd(fd).st_nlink, 1);
  OK(close(fd));
  EXPECT(get("named") == content);
  EQUAL(statOf("named").st_mode & 07777, 0640);
}
CASE("O_TMPFILE: gone with its close") {
  const int fd = (int)OK(open(".", O_TMPFILE | O_RDWR, 0600));
  OK(write(fd, "x", 1));
  OK(close(fd));
  EXPECT(names(".").empty());
}
CASE("link: one file under several names") {
  put("a", "x");
  OK(link("a", "b"));
  OK(mkdir("d", 0755));
  OK(link("b", "d/c"));
  EQUAL(statOf("a").st_nlink, 3);
  EQUAL(statOf("d/c").st_ino, statOf("a").st_ino);
  put("b", "changed");
  EXPECT(get("d/c") == "changed");
  OK(chmod("a", 0600));
  EQUAL(statOf("d/c").st_mode & 07777, 0600);
  OK(unlink("a"));
  EQUAL(statOf("b").st_nlink, 2);
  OK(unlink("b"));
  EXPECT(get("d/c") == "changed");
  EQUAL(statOf("d/c").st_nlink, 1);
}
CASE("link: what it refuses") {
  put("a", "x");
  OK(mkdir("d", 0755));
  FAILS(EEXIST, link("a", "d"));
  FAILS(EEXIST, link("a", "a"));
  FAILS(ENOENT, link("none", "b"));
  FAILS(EPERM, link("d", "e"));
  FAILS(ENOENT, link("a", "none/b"));
  FAILS(ENOTDIR, link("a", "a/b"));
  EQUAL(statOf("a").st_nlink, 1);
}
CASE("link: to a symlink itself") {
  OK(symlink("target", "l"));
  OK(link("l", "m"));
  EXPECT(S_ISLNK(statOf("m").st_mode));
  EQUAL(statOf("l").st_nlink, 2);
}
CASE("link: a written, unsealed file keeps its data under the second name") {
  const int fd = (int)OK(open("a", O_RDWR | O_CREAT, 0644));
  OK(write(fd, "first", 5));
  OK(link("a", "b"));
  OK(write(fd, " second", 7));
  EXPECT(get("b") == "first second");
  OK(unlink("a"));
  OK(close(fd));
  EXPECT(get("b") == "first second");
}
CASE("symlink: targets of 1 and 4095 bytes, no byte changed") {
  const std::string far = pattern(4095, 9);
  std::string target;
  for (const char c : far) target += c == 0 ? 'x' : c;
  OK(symlink(target.c_str(), "l"));
  std::string read(5000, 0);
  EQUAL(OK(readlink("l", read.data(), read.size())), 4095);
  EXPECT(read.substr(0, 4095) == target);
  EQUAL(statOf("l").st_size, 4095);
  OK(symlink("x", "s"));
  EQUAL(OK(readlink("s", read.data(), read.size())), 1);
}
CASE("symlink: what it refuses") {
  put("f", "x");
  FAILS(EEXIST, symlink("x", "f"));
  FAILS(ENOENT, symlink("", "l"));
  FAILS(ENOENT, symlink("x", "none/l"));
  const std::string far(4096, 'x');
  FAILS(ENAMETOOLONG, symlink(far.c_str(), "l"));
  char buffer[8];
  FAILS(EINVAL, readlink("f", buffer, sizeof buffer));
  FAILS(ENOENT, readlink("none", buffer, sizeof buffer));
}
CASE("symlink: a short buffer gets the beginning") {
  OK(symlink("abcdefgh", "l"));
  char buffer[4];
  EQUAL(OK(readlink("l", buffer, 3)), 3);
  EXPECT(memcmp(buffer, "abc", 3) == 0);
}
CASE("symlink: through a directory") {
  OK(mkdir("d", 0755));
  put("d/f", "x");
  OK(symlink("d", "l"));
  EXPECT(get("l/f") == "x");
  put("l/g", "y");
  EXPECT(get("d/g") == "y");
  EXPECT(S_ISLNK(statOf("l").st_mode) && S_ISDIR(statOf("l/").st_mode));
}
CASE("mknod: a FIFO carries bytes between two processes") {
  OK(mkfifo("p", 0640));
  EXPECT(S_ISFIFO(statOf("p").st_mode));
  EQUAL(statOf("p").st_mode & 07777, 0640);
  const pid_t writer = child([] {
    const int fd = open("p", O_WRONLY);
    if (write(fd, "through", 7) != 7) _exit(1);
  });
  const int fd = (int)OK(open("p", O_RDONLY));
  char buffer[16];
  size_t got = 0;
  for (ssize_t n; (n = read(fd, buffer + got, sizeof buffer - got)) > 0;) got += (size_t)n;
  wait(writer);
  OK(close(fd));
  EXPECT(std::string(buffer, got) == "through");
}
CASE("mknod: what it refuses") {
  put("f", "x");
  FAILS(EEXIST, mkfifo("f", 0644));
  FAILS(ENOENT, mkfifo("none/p", 0644));
  FAILS(ENOTDIR, mkfifo("f/p", 0644));
}
CASE("mknod: a socket is bound and answers") {
  const int server = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, "s");
  OK(bind(server, (const sockaddr*)&address, sizeof address));
  EXPECT(S_ISSOCK(statOf("s").st_mode));
  OK(listen(server, 1));
  const int client = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
  OK(connect(client, (const sockaddr*)&address, sizeof address));
  OK(close(client));
  OK(close(server));
  FAILS(ENXIO, open("s", O_RDONLY));
}
CASE("mknod: a device node keeps its number, and opens nothing in a mount") {
  if (geteuid() != 0) skip("not root");
  OK(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
  EXPECT(S_ISCHR(statOf("null").st_mode));
  EQUAL(statOf("null").st_rdev, makedev(1, 3));
  OK(mknod("block", S_IFBLK | 0600, makedev(7, 70000)));
  EQUAL(statOf("block").st_rdev, makedev(7, 70000));
  if (onLattice()) FAILS(EACCES, open("null", O_RDWR));
}
CASE("mknod: a regular file") {
  OK(mknod("f", S_IFREG | 0600, 0));
  EXPECT(S_ISREG(statOf("f").st_mode));
  EQUAL(statOf("f").st_size, 0);
}
CASE("paths: longer than PATH_MAX, dots and slashes") {
  OK(mkdir("d", 0755));
  put("d/f", "x");
  EXPECT(get("d//f") == "x" && get("./d/./f") == "x" && get("d/../d/f") == "x");
  std::string far;
  while (far.size() < 4200) far += "d/../";
  FAILS(ENAMETOOLONG, open((far + "d/f").c_str(), O_RDONLY));
}
CASE("races: O_EXCL has one winner among four processes") {
  for (int round = 0; round < 20; round++) {
    const std::string name = "n" + std::to_string(round);
    std::vector<pid_t> pids;
    for (int i = 0; i < 4; i++) {
      pids.push_back(child([&] {
        const int fd = open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0) _exit(errno == EEXIST ? 0 : 2);
        _exit(1);
      }));
    }
    int winners = 0;
    for (const pid_t pid : pids) {
      int status;
      waitpid(pid, &status, 0);
      if (WEXITSTATUS(status) == 1) winners++;
      else EQUAL(WEXITSTATUS(status), 0);
    }
    EQUAL(winners, 1);
  }
}
CASE("races: readers of a file that is replaced always find it whole") {
  put("f", std::string(5000, 'a'));
  const pid_t writer = child([] {
    for (int i = 0; i < 300; i++) {
      const std::string content(5000, (char)('a' + i % 26));
      put("t", content);
      if (rename("t", "f") != 0) _exit(1);
    }
  });
  int status = 0;
  int reads = 0;
  while (waitpid(writer, &status, WNOHANG) == 0) {
    const int fd = open("f", O_RDONLY);
    if (fd < 0) {
      say(__FILE__, __LINE__, std::string("open: ") + strerrorname_np(errno));
      break;
    }
    const std::string content = getFd(fd);
    close(fd);
    EQUAL(content.size(), 5000);
    EXPECT(content == std::string(5000, content.empty() ? 0 : content[0]));
    reads++;
  }
  EQUAL(status, 0);
  EXPECT(reads > 0);
}
