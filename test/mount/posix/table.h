// The frame of the POSIX table: a case is a function that runs in an empty directory of its own and
// states what system calls must do. Its first false statement is its failure; the others still run.
// Cases register themselves; main.cc runs them and prints a line for each.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

struct Skip {
  std::string reason;
};

struct Case {
  const char* name;
  void (*run)();
};

std::vector<Case>& cases();
bool onLattice();  // some promises are lattice's own: what it refuses, its limits
void say(const char* file, int line, const std::string& message);
void sayTo(int fd);  // a child tells its parent what it found
[[noreturn]] void skip(const std::string& reason);

struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define CASE(name)                                                \
  static void JOIN(case_, __LINE__)();                            \
  static Register JOIN(register_, __LINE__)(name, JOIN(case_, __LINE__)); \
  static void JOIN(case_, __LINE__)()

/** The call succeeds; its value. */
#define OK(call)                                                                      \
  ([&]() -> long long {                                                               \
    errno = 0;                                                                        \
    const long long value_ = (long long)(call);                                       \
    if (value_ < 0) say(__FILE__, __LINE__, std::string(#call ": ") + strerrorname_np(errno)); \
    return value_;                                                                    \
  }())

/** The call fails, with this errno. */
#define FAILS(code, call)                                                                  \
  do {                                                                                     \
    errno = 0;                                                                             \
    const long long value_ = (long long)(call);                                            \
    const int errno_ = errno;                                                              \
    if (value_ >= 0) say(__FILE__, __LINE__, #call ": works, " #code " expected");         \
    else if (errno_ != (code))                                                             \
      say(__FILE__, __LINE__, std::string(#call ": ") + strerrorname_np(errno_) + ", " #code \
          " expected");                                                                    \
  } while (0)

#define EXPECT(condition)                                       \
  do {                                                          \
    if (!(condition)) say(__FILE__, __LINE__, #condition);      \
  } while (0)

#define EQUAL(actual, expected)                                                             \
  do {                                                                                      \
    const long long actual_ = (long long)(actual);                                          \
    const long long expected_ = (long long)(expected);                                      \
    if (actual_ != expected_)                                                               \
      say(__FILE__, __LINE__, std::string(#actual " is ") + std::to_string(actual_) + ", not " + \
          std::to_string(expected_));                                                       \
  } while (0)

// ---- short hands, in support.cc ----

using Names = std::set<std::string>;

void put(const char* path, const std::string& content, mode_t mode = 0644);
std::string get(const char* path);
std::string getFd(int fd);
struct stat statOf(const char* path);   // lstat
struct stat statOfFd(int fd);
bool exists(const char* path);
Names names(const char* directory);     // without . and ..
int renameat2_(const char* from, const char* to, unsigned flags);
/** Runs `work` in a child with this uid and gid and no other groups; its failures count here. */
void asUser(uid_t uid, gid_t gid, const std::function<void()>& work,
            const std::vector<gid_t>& groups = {});
/** Runs `work` in a child; its exit code is 0 unless `work` calls _exit. */
pid_t child(const std::function<void()>& work);
void wait(pid_t pid);
std::string pattern(size_t size, unsigned seed);
long long nanoseconds(const struct timespec& time);
