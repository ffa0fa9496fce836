// POSIX table: rename in all its forms, with and without flags.
#include <linux/fs.h>

#include "table.h"

CASE("rename: a file to a new name keeps its inode") {
  put("a", "x");
  const ino_t ino = statOf("a").st_ino;
  OK(rename("a", "b"));
  EXPECT(names(".") == Names{"b"});
  EQUAL(statOf("b").st_ino, ino);
  EXPECT(get("b") == "x");
}
CASE("rename: over a file replaces it; its openers keep what they had") {
  put("a", "new");
  put("b", "old");
  const ino_t ino = statOf("a").st_ino;
  const int fd = (int)OK(open("b", O_RDWR));
  OK(rename("a", "b"));
  EQUAL(statOf("b").st_ino, ino);
  EXPECT(get("b") == "new");
  EXPECT(getFd(fd) == "old");
  EQUAL(statOfFd(fd).st_nlink, 0);
  EXPECT(statOfFd(fd).st_ino != ino);
  OK(pwrite(fd, "older", 5, 0));
  EXPECT(getFd(fd) == "older" && get("b") == "new");
  OK(close(fd));
  EXPECT(get("b") == "new");
}
CASE("rename: a file with unsealed data, while it is being written") {
  put("b", "old");
  const int fd = (int)OK(open("a", O_RDWR | O_CREAT, 0644));
  OK(write(fd, "one", 3));
  OK(rename("a", "b"));
  OK(write(fd, "two", 3));
  EXPECT(get("b") == "onetwo");
  OK(close(fd));
  EXPECT(get("b") == "onetwo");
}
CASE("rename: over a file takes the mode, times and attributes of the source") {
  put("a", "new", 0600);
  put("b", "old", 0644);
  const timespec times[2] = {{1000, 5}, {2000, 7}};
  OK(utimensat(AT_FDCWD, "a", times, 0));
  OK(rename("a", "b"));
  EQUAL(statOf("b").st_mode & 07777, 0600);
  EQUAL(nanoseconds(statOf("b").st_mtim), 2000000000007);
}
CASE("rename: a file over a directory, a directory over a file") {
  put("f", "x");
  OK(mkdir("d", 0755));
  FAILS(EISDIR, rename("f", "d"));
  FAILS(ENOTDIR, rename("d", "f"));
  FAILS(ENOTDIR, rename("f/", "g"));
  EXPECT((names(".") == Names{"d", "f"}));
}
CASE("rename: a directory over an empty one, not over a full one") {
  OK(mkdir("a", 0755));
  put("a/x", "x");
  OK(mkdir("empty", 0755));
  OK(mkdir("full", 0755));
  put("full/y", "y");
  FAILS(ENOTEMPTY, rename("a", "full"));
  const ino_t ino = statOf("a").st_ino;
  OK(rename("a", "empty"));
  EQUAL(statOf("empty").st_ino, ino);
  EXPECT(get("empty/x") == "x");
}
CASE("rename: a directory into itself or its own descendant") {
  OK(mkdir("a", 0755));
  OK(mkdir("a/b", 0755));
  FAILS(EINVAL, rename("a", "a/c"));
  FAILS(EINVAL, rename("a", "a/b/c"));
  FAILS(ENOTEMPTY, rename("a/b", "a"));
  OK(rename("a", "a"));
  EXPECT(names("a") == Names{"b"});
}
CASE("rename: a directory to another parent; .. and link counts follow") {
  OK(mkdir("p", 0755));
  OK(mkdir("q", 0755));
  OK(mkdir("p/d", 0755));
  put("p/d/f", "x");
  OK(rename("p/d", "q/e"));
  EQUAL(statOf("q/e/..").st_ino, statOf("q").st_ino);
  EXPECT(get("q/e/f") == "x");
  EXPECT(names("p").empty());
  OK(rmdir("p"));
  OK(chdir("q/e"));
  EXPECT(get("f") == "x");
  EXPECT(names("..") == Names{"e"});
}
CASE("rename: two hard links of one file: nothing happens") {
  put("a", "x");
  OK(link("a", "b"));
  OK(rename("a", "b"));
  EXPECT((names(".") == Names{"a", "b"}));
  EQUAL(statOf("a").st_nlink, 2);
}
CASE("rename: over one of two hard links leaves the other") {
  put("a", "shared");
  OK(link("a", "b"));
  put("c", "new");
  OK(rename("c", "b"));
  EXPECT(get("a") == "shared" && get("b") == "new");
  EQUAL(statOf("a").st_nlink, 1);
}
CASE("rename: one of two hard links over another file") {
  put("a", "shared");
  OK(link("a", "b"));
  put("c", "old");
  OK(rename("b", "c"));
  EQUAL(statOf("a").st_nlink, 2);
  EQUAL(statOf("a").st_ino, statOf("c").st_ino);
  put("a", "changed");
  EXPECT(get("c") == "changed");
}
CASE("rename: symlinks and special files, over and under") {
  OK(symlink("target", "l"));
  put("f", "x");
  OK(rename("l", "f"));
  EXPECT(S_ISLNK(statOf("f").st_mode));
  put("g", "y");
  OK(rename("g", "f"));
  EXPECT(get("f") == "y");
  OK(mkfifo("p", 0600));
  OK(rename("p", "f"));
  EXPECT(S_ISFIFO(statOf("f").st_mode));
}
CASE("rename: what is not there") {
  put("f", "x");
  FAILS(ENOENT, rename("none", "g"));
  FAILS(ENOENT, rename("none", "f"));
  FAILS(ENOENT, rename("f", "none/g"));
  FAILS(ENOTDIR, rename("f", "f/g"));
  FAILS(ENOENT, rename("", "g"));
  EXPECT(names(".") == Names{"f"});
}
CASE("rename: dots") {
  OK(mkdir("d", 0755));
  FAILS(EBUSY, rename("d/.", "e"));
  FAILS(EBUSY, rename("d", "d/.."));
}
CASE("RENAME_NOREPLACE") {
  put("a", "x");
  put("b", "y");
  OK(mkdir("d", 0755));
  FAILS(EEXIST, renameat2_("a", "b", RENAME_NOREPLACE));
  FAILS(EEXIST, renameat2_("a", "d", RENAME_NOREPLACE));
  FAILS(EEXIST, renameat2_("d", "a", RENAME_NOREPLACE));
  FAILS(EEXIST, renameat2_("a", "a", RENAME_NOREPLACE));
  FAILS(ENOENT, renameat2_("none", "c", RENAME_NOREPLACE));
  OK(renameat2_("a", "c", RENAME_NOREPLACE));
  EXPECT((names(".") == Names{"b", "c", "d"}));
}
CASE("RENAME_EXCHANGE: two files, with their inodes and unsealed data") {
  put("a", "x");
  put("b", pattern(50000, 2));
  const ino_t a = statOf("a").st_ino;
  const ino_t b = statOf("b").st_ino;
  OK(renameat2_("a", "b", RENAME_EXCHANGE));
  EQUAL(statOf("a").st_ino, b);
  EQUAL(statOf("b").st_ino, a);
  EXPECT(get("b") == "x" && get("a") == pattern(50000, 2));
}
CASE("RENAME_EXCHANGE: a file and a full directory") {
  put("f", "x");
  OK(mkdir("d", 0755));
  put("d/y", "y");
  OK(renameat2_("f", "d", RENAME_EXCHANGE));
  EXPECT(get("d") == "x" && get("f/y") == "y");
}
CASE("RENAME_EXCHANGE: across parents") {
  OK(mkdir("p", 0755));
  OK(mkdir("q", 0755));
  OK(mkdir("p/d", 0755));
  put("p/d/f", "x");
  put("q/f", "y");
  OK(renameat2_("p/d", "q/f", RENAME_EXCHANGE));
  EXPECT(get("p/d") == "y" && get("q/f/f") == "x");
  EQUAL(statOf("q/f/..").st_ino, statOf("q").st_ino);
}
CASE("RENAME_EXCHANGE: what it refuses") {
  put("f", "x");
  OK(mkdir("d", 0755));
  OK(mkdir("d/e", 0755));
  FAILS(ENOENT, renameat2_("f", "none", RENAME_EXCHANGE));
  FAILS(ENOENT, renameat2_("none", "f", RENAME_EXCHANGE));
  FAILS(EINVAL, renameat2_("d", "d/e", RENAME_EXCHANGE));
  FAILS(EINVAL, renameat2_("f", "d", RENAME_EXCHANGE | RENAME_NOREPLACE));
  OK(renameat2_("f", "f", RENAME_EXCHANGE));
}
CASE("rename: a chain of names and back, many times") {
  put("0", "x");
  for (int i = 0; i < 500; i++) {
    OK(rename(std::to_string(i).c_str(), std::to_string(i + 1).c_str()));
  }
  EXPECT(names(".") == Names{"500"});
  EXPECT(get("500") == "x");
}
CASE("rename: an open file follows its new name") {
  put("a", "x");
  const int fd = (int)OK(open("a", O_RDWR));
  OK(mkdir("d", 0755));
  OK(rename("a", "d/b"));
  OK(pwrite(fd, "through the old handle", 22, 0));
  EXPECT(get("d/b") == "through the old handle");
  OK(close(fd));
}
CASE("rename: into a directory that was removed") {
  OK(mkdir("d", 0755));
  const int fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
  OK(rmdir("d"));
  put("f", "x");
  FAILS(ENOENT, renameat(AT_FDCWD, "f", fd, "f"));
  OK(close(fd));
  EXPECT(get("f") == "x");
}
CASE("rename: saves as editors make them") {
  // write aside, flush, rename over, flush the directory
  put("doc", "version 0");
  for (int i = 1; i < 20; i++) {
    const std::string content = "version " + std::to_string(i);
    const int fd = (int)OK(open(".doc.swp", O_RDWR | O_CREAT | O_EXCL, 0600));
    OK(write(fd, content.data(), content.size()));
    OK(fchmod(fd, statOf("doc").st_mode & 07777));
    if (i % 5 == 0) OK(fsync(fd));
    OK(close(fd));
    OK(rename(".doc.swp", "doc"));
    EXPECT(get("doc") == content);
  }
  // keep the old one as a backup, write anew under the name
  OK(rename("doc", "doc~"));
  put("doc", "written anew");
  EXPECT(get("doc~") == "version 19" && get("doc") == "written anew");
  OK(unlink("doc~"));
  // a hard link as the backup, then rewrite in place
  OK(link("doc", "doc.bak"));
  OK(unlink("doc"));
  put("doc", "third way");
  EXPECT(get("doc.bak") == "written anew" && get("doc") == "third way");
}
