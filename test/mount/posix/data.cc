// POSIX table: reading, writing, sizes, holes, mappings, copies.
#include <linux/falloc.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "table.h"

static const off_t MiB = 1 << 20;

static int make(const char* path = "f") {
  return (int)OK(open(path, O_RDWR | O_CREAT | O_TRUNC, 0644));
}
static void writeAt(int fd, const std::string& content, off_t at) {
  EQUAL(OK(pwrite(fd, content.data(), content.size(), at)), content.size());
}
static std::string readAt(int fd, size_t size, off_t at) {
  std::string out(size, '?');
  const long long n = OK(pread(fd, out.data(), size, at));
  out.resize(n < 0 ? 0 : (size_t)n);
  return out;
}

CASE("read: at and beyond the end") {
  const int fd = make();
  writeAt(fd, "abc", 0);
  EXPECT(readAt(fd, 10, 0) == "abc" && readAt(fd, 10, 2) == "c");
  EXPECT(readAt(fd, 10, 3).empty() && readAt(fd, 10, 1 << 30).empty());
  EXPECT(readAt(fd, 0, 0).empty());
  char byte;
  FAILS(EINVAL, pread(fd, &byte, 1, -1));
  OK(close(fd));
}
CASE("read, write: on a handle of the wrong kind") {
  put("f", "x");
  char byte = 'y';
  const int reader = (int)OK(open("f", O_RDONLY));
  FAILS(EBADF, write(reader, &byte, 1));
  FAILS(EINVAL, ftruncate(reader, 0));
  const int writer = (int)OK(open("f", O_WRONLY));
  FAILS(EBADF, read(writer, &byte, 1));
  const int directory = (int)OK(open(".", O_RDONLY));
  FAILS(EISDIR, read(directory, &byte, 1));
  OK(close(directory));
  OK(close(writer));
  OK(close(reader));
}
CASE("write: beyond the end leaves zeros") {
  const int fd = make();
  writeAt(fd, "end", 100000);
  EQUAL(statOfFd(fd).st_size, 100003);
  EXPECT(readAt(fd, 100003, 0) == std::string(100000, 0) + "end");
  OK(close(fd));
  EXPECT(get("f") == std::string(100000, 0) + "end");
}
CASE("write: overlapping pieces, read back whole, after a close too") {
  const int fd = make();
  std::string model(3 * MiB, 0);
  unsigned state = 12345;
  for (int i = 0; i < 400; i++) {
    state = state * 1103515245 + 12345;
    const size_t size = 1 + (state >> 8) % 20000;
    state = state * 1103515245 + 12345;
    const size_t at = (state >> 4) % (model.size() - size);
    const std::string piece = pattern(size, state);
    writeAt(fd, piece, (off_t)at);
    model.replace(at, size, piece);
    if (i % 50 == 0) EXPECT(readAt(fd, size, (off_t)at) == piece);
  }
  model.resize((size_t)statOfFd(fd).st_size);
  EXPECT(getFd(fd) == model);
  OK(close(fd));
  EXPECT(get("f") == model);
}
CASE("write: sizes around the limits of pages, inline files, chunks and requests") {
  const size_t sizes[] = {1, 511, 512, 1023, 1024, 1025, 4095, 4096, 4097, 16383, 16384, 16385,
                          65535, 65536, 131071, 131072, 131073, 262144, 524288, 1048575, 1048576,
                          1048577, 3000000};
  for (const size_t size : sizes) {
    const std::string name = "f" + std::to_string(size);
    put(name.c_str(), pattern(size, (unsigned)size));
  }
  for (const size_t size : sizes) {
    const std::string name = "f" + std::to_string(size);
    EQUAL(statOf(name.c_str()).st_size, size);
    EXPECT(get(name.c_str()) == pattern(size, (unsigned)size));
  }
}
CASE("write: byte by byte") {
  const int fd = make();
  const std::string content = pattern(3000, 8);
  for (const char c : content) OK(write(fd, &c, 1));
  EXPECT(getFd(fd) == content);
  OK(close(fd));
}
CASE("O_APPEND: every write goes to the end, pwrite too") {
  const int fd = (int)OK(open("f", O_RDWR | O_CREAT | O_APPEND, 0644));
  OK(write(fd, "abc", 3));
  OK(lseek(fd, 0, SEEK_SET));
  OK(write(fd, "def", 3));
  EQUAL(OK(lseek(fd, 0, SEEK_CUR)), 6);
  OK(pwrite(fd, "ghi", 3, 0));
  EXPECT(getFd(fd) == "abcdefghi");
  OK(close(fd));
}
CASE("O_APPEND: two processes lose nothing") {
  put("f", "");
  std::vector<pid_t> pids;
  for (char c = 'a'; c < 'c'; c++) {
    pids.push_back(child([c] {
      const int fd = open("f", O_WRONLY | O_APPEND);
      const std::string line = std::string(99, c) + "\n";
      for (int i = 0; i < 500; i++) {
        if (write(fd, line.data(), line.size()) != 100) _exit(1);
      }
    }));
  }
  for (const pid_t pid : pids) wait(pid);
  const std::string all = get("f");
  EQUAL(all.size(), 100000);
  int counts[2] = {0, 0};
  for (size_t i = 0; i + 100 <= all.size(); i += 100) {
    const char c = all[i];
    EXPECT(all.substr(i, 100) == std::string(99, c) + "\n");
    counts[c == 'b']++;
  }
  EQUAL(counts[0], 500);
}
CASE("ftruncate: shorter, longer, seen by another handle") {
  const int fd = make();
  writeAt(fd, pattern(200000, 1), 0);
  const int other = (int)OK(open("f", O_RDONLY));
  OK(ftruncate(fd, 1000));
  EQUAL(statOfFd(other).st_size, 1000);
  EXPECT(readAt(other, 5000, 0) == pattern(200000, 1).substr(0, 1000));
  OK(ftruncate(fd, 5000));
  EXPECT(readAt(other, 9000, 0) ==
         pattern(200000, 1).substr(0, 1000) + std::string(4000, 0));
  OK(close(other));
  OK(close(fd));
}
CASE("ftruncate: what was cut off never comes back") {
  put("f", pattern(100000, 5));
  OK(truncate("f", 10));
  OK(truncate("f", 100000));
  EXPECT(get("f") == pattern(100000, 5).substr(0, 10) + std::string(99990, 0));
  const int fd = (int)OK(open("f", O_RDWR));
  OK(ftruncate(fd, 0));
  writeAt(fd, "z", 50);
  EXPECT(getFd(fd) == std::string(50, 0) + "z");
  OK(close(fd));
}
CASE("truncate: what it refuses") {
  put("f", "x");
  OK(mkdir("d", 0755));
  FAILS(EINVAL, truncate("f", -1));
  FAILS(EISDIR, truncate("d", 0));
  FAILS(ENOENT, truncate("none", 0));
  FAILS(ENOTDIR, truncate("f/x", 0));
}
CASE("lseek: SEEK_END, and before the beginning") {
  put("f", "abcdef");
  const int fd = (int)OK(open("f", O_RDONLY));
  EQUAL(OK(lseek(fd, -2, SEEK_END)), 4);
  EQUAL(OK(lseek(fd, 100, SEEK_END)), 106);
  FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
  FAILS(EINVAL, lseek(fd, 0, 99));
  OK(close(fd));
}
CASE("SEEK_DATA, SEEK_HOLE: never call data a hole") {
  const int fd = make();
  writeAt(fd, pattern(MiB, 1), 4 * MiB);
  OK(ftruncate(fd, 16 * MiB));
  for (int pass = 0; pass < 2; pass++) {
    const long long data = OK(lseek(fd, 0, SEEK_DATA));
    EXPECT(data <= 4 * MiB);
    const long long hole = OK(lseek(fd, 4 * MiB, SEEK_HOLE));
    EXPECT(hole >= 5 * MiB && hole <= 16 * MiB);
    FAILS(ENXIO, lseek(fd, 16 * MiB, SEEK_DATA));
    FAILS(ENXIO, lseek(fd, 16 * MiB, SEEK_HOLE));
    FAILS(ENXIO, lseek(fd, 20 * MiB, SEEK_DATA));
    OK(fsync(fd));
  }
  OK(close(fd));
}
CASE("SEEK_DATA: finds the hole at the front") {
  const int fd = make();
  writeAt(fd, pattern(MiB, 1), 8 * MiB);
  OK(fsync(fd));
  EQUAL(OK(lseek(fd, 0, SEEK_HOLE)), 0);
  EXPECT(OK(lseek(fd, 0, SEEK_DATA)) > 0);
  OK(close(fd));
}
CASE("punch hole: zeros, size stays") {
  const int fd = make();
  std::string model = pattern(MiB, 7);
  writeAt(fd, model, 0);
  OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100000, 300001));
  model.replace(100000, 300001, std::string(300001, 0));
  EXPECT(getFd(fd) == model);
  OK(fsync(fd));
  OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MiB - 10, 100));
  model.replace(model.size() - 10, 10, std::string(10, 0));
  EXPECT(getFd(fd) == model);
  OK(close(fd));
  EXPECT(get("f") == model);
}
CASE("zero range: with and without keeping the size") {
  const int fd = make();
  std::string model = pattern(100000, 7);
  writeAt(fd, model, 0);
  OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 50000, 100000));
  model.replace(50000, 50000, std::string(100000, 0));
  EXPECT(getFd(fd) == model);
  OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 140000, 100000));
  model.replace(140000, 10000, std::string(10000, 0));
  EXPECT(getFd(fd) == model);
  OK(close(fd));
}
CASE("fallocate: extends with zeros, keeps what is there") {
  const int fd = make();
  writeAt(fd, "abc", 0);
  OK(fallocate(fd, 0, 0, 10000));
  EXPECT(getFd(fd) == "abc" + std::string(9997, 0));
  OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
  EQUAL(statOfFd(fd).st_size, 10000);
  OK(fallocate(fd, 0, 0, 5));
  EQUAL(statOfFd(fd).st_size, 10000);
  EQUAL(posix_fallocate(fd, 20000, 10), 0);
  EQUAL(statOfFd(fd).st_size, 20010);
  OK(close(fd));
}
CASE("fallocate: what it refuses") {
  put("f", "x");
  const int fd = (int)OK(open("f", O_RDWR));
  FAILS(EINVAL, fallocate(fd, 0, 0, 0));
  FAILS(EINVAL, fallocate(fd, 0, -1, 10));
  FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
  OK(close(fd));
  const int reader = (int)OK(open("f", O_RDONLY));
  FAILS(EBADF, fallocate(reader, 0, 0, 10));
  OK(close(reader));
}
CASE("sparse: 100 GiB with one MiB written") {
  const int fd = make();
  const off_t size = 100LL << 30;
  OK(ftruncate(fd, size));
  const std::string piece = pattern(MiB, 3);
  writeAt(fd, piece, size / 2);
  EQUAL(statOfFd(fd).st_size, size);
  EXPECT(statOfFd(fd).st_blocks <= 4 * MiB / 512);
  EXPECT(readAt(fd, 4096, 0) == std::string(4096, 0));
  EXPECT(readAt(fd, MiB, size / 2) == piece);
  EXPECT(readAt(fd, 4096, size - 4096) == std::string(4096, 0));
  OK(fsync(fd));
  OK(close(fd));
  const int again = (int)OK(open("f", O_RDWR));
  EXPECT(readAt(again, MiB, size / 2) == piece);
  OK(ftruncate(again, size / 2 + 5));
  EXPECT(readAt(again, 100, size / 2) == piece.substr(0, 5));
  OK(close(again));
}
CASE("sizes beyond what a file may have") {
  const int fd = make();
  errno = 0;
  EXPECT(pwrite(fd, "x", 1, INT64_MAX - 1) < 0 && (errno == EFBIG || errno == EINVAL));
  errno = 0;
  EXPECT(ftruncate(fd, INT64_MAX) < 0 && (errno == EFBIG || errno == EINVAL));
  EQUAL(statOfFd(fd).st_size, 0);
  OK(close(fd));
}
CASE("vectors: writev, readv, pwritev, preadv") {
  const int fd = make();
  char a[] = "abc", b[] = "defgh";
  const iovec out[2] = {{a, 3}, {b, 5}};
  EQUAL(OK(writev(fd, out, 2)), 8);
  EQUAL(OK(pwritev(fd, out, 2, 4)), 8);
  char c[4], d[20];
  const iovec in[2] = {{c, 4}, {d, 20}};
  EQUAL(OK(preadv(fd, in, 2, 0)), 12);
  EXPECT(memcmp(c, "abcd", 4) == 0 && memcmp(d, "abcdefgh", 8) == 0);
  OK(close(fd));
}
CASE("mmap: shared stores reach the file, and it reaches the map") {
  const int fd = make();
  std::string model = pattern(300000, 2);
  writeAt(fd, model, 0);
  char* map = (char*)mmap(nullptr, model.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT(map != MAP_FAILED);
  if (map == MAP_FAILED) return;
  EXPECT(memcmp(map, model.data(), model.size()) == 0);
  for (size_t i = 5; i < model.size(); i += 7001) map[i] = model[i] = 'M';
  EXPECT(readAt(fd, model.size(), 0) == model);
  writeAt(fd, "through write", 123456);
  model.replace(123456, 13, "through write");
  EXPECT(memcmp(map, model.data(), model.size()) == 0);
  OK(msync(map, model.size(), MS_SYNC));
  map[77] = model[77] = 'L';
  OK(munmap(map, model.size()));
  OK(close(fd));
  EXPECT(get("f") == model);
}
CASE("mmap: stores after the close of the handle") {
  const int fd = make();
  OK(ftruncate(fd, 100000));
  char* map = (char*)mmap(nullptr, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  OK(close(fd));
  if (map == MAP_FAILED) return say(__FILE__, __LINE__, "mmap");
  memset(map + 5000, 'x', 50000);
  OK(munmap(map, 100000));
  EXPECT(get("f") == std::string(5000, 0) + std::string(50000, 'x') + std::string(45000, 0));
}
CASE("mmap: private stores stay private") {
  put("f", "abc");
  const int fd = (int)OK(open("f", O_RDWR));
  char* map = (char*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED) return say(__FILE__, __LINE__, "mmap");
  map[0] = 'X';
  EXPECT(get("f") == "abc");
  OK(munmap(map, 4096));
  OK(close(fd));
}
CASE("mmap: two processes share a counter") {
  const int fd = make();
  OK(ftruncate(fd, 4096));
  int* map = (int*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return say(__FILE__, __LINE__, "mmap");
  std::vector<pid_t> pids;
  for (int i = 0; i < 2; i++) {
    pids.push_back(child([map] {
      for (int n = 0; n < 10000; n++) __atomic_add_fetch(map, 1, __ATOMIC_SEQ_CST);
    }));
  }
  for (const pid_t pid : pids) wait(pid);
  EQUAL(*map, 20000);
  OK(munmap(map, 4096));
  int stored = 0;
  EQUAL(OK(pread(fd, &stored, 4, 0)), 4);
  EQUAL(stored, 20000);
  OK(close(fd));
}
CASE("mmap: a read beyond the end of the last page is a SIGBUS, not a hang") {
  put("f", "abc");
  const int fd = (int)OK(open("f", O_RDONLY));
  const char* map = (const char*)mmap(nullptr, 8192, PROT_READ, MAP_SHARED, fd, 0);
  const pid_t pid = child([map] { _exit(map[5000]); });
  int status;
  waitpid(pid, &status, 0);
  EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  OK(close(fd));
}
CASE("copy_file_range: within a file and between two") {
  put("a", pattern(500000, 6));
  const int from = (int)OK(open("a", O_RDONLY));
  const int to = make("b");
  off_t fromAt = 1000, toAt = 77;
  long long copied = 0;
  while (copied < 400000) {
    const long long n =
        OK(copy_file_range(from, &fromAt, to, &toAt, (size_t)(400000 - copied), 0));
    if (n <= 0) break;
    copied += n;
  }
  EXPECT(get("b") == std::string(77, 0) + pattern(500000, 6).substr(1000, 400000));
  off_t end = 500000, start = 0;
  EQUAL(OK(copy_file_range(from, &end, to, &start, 1000, 0)), 0);
  FAILS(EBADF, copy_file_range(to, nullptr, from, nullptr, 10, 0));
  OK(close(from));
  off_t low = 0, high = 450000;
  EQUAL(OK(copy_file_range(to, &low, to, &high, 100, 0)), 100);
  EXPECT(readAt(to, 100, 450000) == readAt(to, 100, 0));
  off_t overlap = 50;
  low = 0;
  FAILS(EINVAL, copy_file_range(to, &low, to, &overlap, 100, 0));
  OK(close(to));
}
CASE("copy_file_range: of data that is not sealed yet") {
  const int from = make("a");
  writeAt(from, pattern(300000, 1), 0);
  const int to = make("b");
  off_t fromAt = 0;
  long long copied = 0;
  while (copied < 300000) {
    const long long n = OK(copy_file_range(from, &fromAt, to, nullptr, 300000, 0));
    if (n <= 0) break;
    copied += n;
  }
  writeAt(from, "changed later", 0);
  OK(close(from));
  EXPECT(getFd(to) == pattern(300000, 1));
  OK(close(to));
}
CASE("sendfile and splice") {
  put("a", pattern(100000, 6));
  const int from = (int)OK(open("a", O_RDONLY));
  const int to = make("b");
  long long sent = 0;
  while (sent < 100000) {
    const long long n = OK(sendfile(to, from, nullptr, (size_t)(100000 - sent)));
    if (n <= 0) break;
    sent += n;
  }
  int ends[2];
  OK(pipe(ends));
  off_t at = 0;
  const long long n = OK(splice(from, &at, ends[1], nullptr, 4096, 0));
  EQUAL(OK(splice(ends[0], nullptr, to, nullptr, (size_t)n, 0)), n);
  EXPECT(get("b") == pattern(100000, 6) + pattern(100000, 6).substr(0, (size_t)n));
  for (const int fd : {from, to, ends[0], ends[1]}) OK(close(fd));
}
CASE("O_DIRECT: aligned reads and writes, or a refusal at open") {
  const int fd = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644);
  if (fd < 0) {
    EQUAL(errno, EINVAL);
    return;
  }
  void* buffer = nullptr;
  EQUAL(posix_memalign(&buffer, 4096, 65536), 0);
  memset(buffer, 'd', 65536);
  EQUAL(OK(pwrite(fd, buffer, 65536, 4096)), 65536);
  memset(buffer, 0, 65536);
  EQUAL(OK(pread(fd, buffer, 4096, 4096)), 4096);
  EXPECT(((char*)buffer)[4095] == 'd');
  OK(close(fd));
  EXPECT(get("f") == std::string(4096, 0) + std::string(65536, 'd'));
  free(buffer);
}
CASE("fsync: of files, read-only handles and directories") {
  const int fd = make();
  writeAt(fd, "x", 0);
  OK(fsync(fd));
  OK(fdatasync(fd));
  OK(fsync(fd));
  OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
  OK(close(fd));
  const int reader = (int)OK(open("f", O_RDONLY));
  OK(fsync(reader));
  OK(close(reader));
  const int directory = (int)OK(open(".", O_RDONLY));
  OK(fsync(directory));
  OK(fdatasync(directory));
  OK(close(directory));
}
CASE("O_SYNC, O_DSYNC: writes work") {
  const int fd = (int)OK(open("f", O_RDWR | O_CREAT | O_SYNC, 0644));
  for (int i = 0; i < 20; i++) OK(write(fd, "0123456789", 10));
  OK(close(fd));
  EQUAL(statOf("f").st_size, 200);
}
CASE("handles: two of one file see each other's writes at once") {
  const int a = make();
  const int b = (int)OK(open("f", O_RDWR));
  for (int i = 0; i < 100; i++) {
    const std::string piece = std::to_string(i) + ",";
    writeAt(i % 2 ? a : b, piece, i * 10);
    EXPECT(readAt(i % 2 ? b : a, piece.size(), i * 10) == piece);
  }
  EQUAL(statOfFd(a).st_size, statOfFd(b).st_size);
  OK(close(a));
  writeAt(b, "after", 5000);
  EXPECT(readAt(b, 5, 5000) == "after");
  OK(close(b));
}
CASE("blocks: written data takes some, holes take none") {
  const int fd = make();
  OK(ftruncate(fd, 1 << 30));
  EXPECT(statOfFd(fd).st_blocks < 100);
  writeAt(fd, pattern(MiB, 1), 0);
  OK(fsync(fd));
  EXPECT(statOfFd(fd).st_blocks >= MiB / 512);
  EXPECT(statOfFd(fd).st_blocks < 8 * MiB / 512);
  OK(close(fd));
}
CASE("programs: one inside runs, and is busy for writers while it does") {
  put("script", "#!/bin/sh\nexit 7\n", 0755);
  int status = system("./script");
  EQUAL(WEXITSTATUS(status), 7);
  EQUAL(WEXITSTATUS(system("cp \"$(command -v sleep)\" ./sleep")), 0);
  int ends[2];
  OK(pipe2(ends, O_CLOEXEC));
  const pid_t pid = child([] {
    execl("./sleep", "sleep", "20", nullptr);
    _exit(9);
  });
  close(ends[1]);
  char byte;
  EQUAL(read(ends[0], &byte, 1), 0);  // closed by exec
  close(ends[0]);
  FAILS(ETXTBSY, open("sleep", O_WRONLY));
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
}
CASE("fuzz: one file, all calls that change it, against a model") {
  const int fd = make();
  std::string model;
  unsigned state = 4242;
  const auto next = [&](unsigned below) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % below;
  };
  for (int step = 0; step < 600; step++) {
    const size_t at = next(400000);
    const size_t size = 1 + next(60000);
    switch (next(7)) {
      case 0:
      case 1: {
        const std::string piece = pattern(size, state);
        writeAt(fd, piece, (off_t)at);
        if (model.size() < at + size) model.resize(at + size, 0);
        model.replace(at, size, piece);
        break;
      }
      case 2:
        OK(ftruncate(fd, (off_t)at));
        model.resize(at, 0);
        break;
      case 3:
        OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size));
        for (size_t i = at; i < at + size && i < model.size(); i++) model[i] = 0;
        break;
      case 4:
        if (next(10) == 0) OK(fsync(fd));
        break;
      case 5:
        EQUAL(statOfFd(fd).st_size, model.size());
        break;
      default:
        EXPECT(readAt(fd, size, (off_t)at) ==
               (at < model.size() ? model.substr(at, size) : std::string()));
    }
  }
  EXPECT(getFd(fd) == model);
  OK(close(fd));
  EXPECT(get("f") == model);
}
