// What a program inside a mount sees that Node cannot show: inotify's own words, and a mapping.
//
//   inside watch DIRECTORY...   one line per event: MASK directory/name; "ready" first
//   inside map FILE             maps the file; for each line on stdin prints its first 64 bytes
//   inside cwd DIRECTORY        works in it; for each line on stdin: getcwd, names, mkdir's errno

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <string>

namespace {

struct Word {
  uint32_t bit;
  const char* text;
};
constexpr Word kWords[] = {
    {IN_CREATE, "CREATE"},         {IN_MODIFY, "MODIFY"},         {IN_CLOSE_WRITE, "CLOSE_WRITE"},
    {IN_MOVED_FROM, "MOVED_FROM"}, {IN_MOVED_TO, "MOVED_TO"},     {IN_DELETE, "DELETE"},
    {IN_ATTRIB, "ATTRIB"},         {IN_DELETE_SELF, "DELETE_SELF"}, {IN_MOVE_SELF, "MOVE_SELF"},
    {IN_Q_OVERFLOW, "OVERFLOW"},   {IN_ISDIR, "ISDIR"},
};

int watch(int count, char** paths) {
  const int fd = inotify_init1(IN_CLOEXEC);
  std::map<int, std::string> names;
  uint32_t mask = 0;
  for (const Word& word : kWords) mask |= word.bit;
  for (int i = 0; i < count; i++) {
    const int wd = inotify_add_watch(fd, paths[i], mask & ~(IN_ISDIR | IN_Q_OVERFLOW));
    if (wd < 0) return perror(paths[i]), 1;
    const char* slash = strrchr(paths[i], '/');
    names[wd] = slash == nullptr ? paths[i] : slash + 1;
  }
  puts("ready");
  fflush(stdout);
  alignas(inotify_event) static char bytes[65536];
  for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;) {
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(bytes + at);
      std::string line;
      for (const Word& word : kWords) {
        if ((event->mask & word.bit) == 0) continue;
        line += (line.empty() ? "" : ",") + std::string(word.text);
      }
      if (!line.empty()) {
        const char* const name = event->len > 0 ? event->name : "";
        printf("%s %s/%s\n", line.c_str(), names[event->wd].c_str(), name);
      }
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
    fflush(stdout);
  }
  return 0;
}

int map_file(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat s;
  if (fd < 0 || fstat(fd, &s) != 0) return perror(path), 1;
  const auto size = static_cast<size_t>(s.st_size);
  const void* mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return perror("mmap"), 1;
  close(fd);
  puts("ready");
  fflush(stdout);
  for (int c; (c = getchar()) != EOF;) {
    if (c != '\n') continue;
    printf("%.*s\n", static_cast<int>(size < 64 ? size : 64), static_cast<const char*>(mapped));
    fflush(stdout);
  }
  return 0;
}

int work_in(const char* path) {
  if (chdir(path) != 0) return perror(path), 1;
  puts("ready");
  fflush(stdout);
  for (int c; (c = getchar()) != EOF;) {
    if (c != '\n') continue;
    char here[4096];
    const bool known = getcwd(here, sizeof here) != nullptr;
    int count = -1;
    if (DIR* directory = opendir(".")) {
      count = 0;
      while (const dirent* one = readdir(directory)) count += one->d_name[0] != '.';
      closedir(directory);
    }
    const int made = mkdir("made-inside", 0755) == 0 ? 0 : errno;
    printf("%s %d %d\n", known ? here : "nowhere", count, made);
    fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) return 64;
  if (strcmp(words[1], "watch") == 0) return watch(count - 2, words + 2);
  if (strcmp(words[1], "map") == 0) return map_file(words[2]);
  return work_in(words[2]);
}
