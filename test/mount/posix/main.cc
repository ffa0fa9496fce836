// Runs the POSIX table in a directory: `posix DIR [--lattice] [WORD]`. Prints "ok NAME", or
// "not ok NAME: file:line: what was false", or "skip NAME: reason"; each case in a directory of its
// own below DIR, which stays for who wants to look at it after an unmount.
#include "table.h"

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

static bool lattice = false;
static std::string failure;
static int toldTo = -1;

bool onLattice() { return lattice; }

void sayTo(int fd) { toldTo = fd; }

void say(const char* file, int line, const std::string& message) {
  const char* slash = strrchr(file, '/');
  const std::string text =
      std::string(slash ? slash + 1 : file) + ":" + std::to_string(line) + ": " + message;
  if (toldTo >= 0) {
    const std::string told = text + "; ";
    if (write(toldTo, told.data(), told.size()) < 0) _exit(9);
    return;
  }
  if (failure.empty()) failure = text;
}

void skip(const std::string& reason) { throw Skip{reason}; }

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const char* word = nullptr;
  for (int i = 2; i < argc; i++) {
    if (std::string(argv[i]) == "--lattice") lattice = true;
    else word = argv[i];
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  int number = 0;
  bool failed = false;
  for (const Case& one : cases()) {
    number++;
    if (word != nullptr && strstr(one.name, word) == nullptr) continue;
    const std::string own = std::string(argv[1]) + "/case" + std::to_string(number);
    umask(022);
    failure.clear();
    if (mkdir(own.c_str(), 0777) != 0 || chmod(own.c_str(), 0777) != 0 || chdir(own.c_str()) != 0) {
      printf("not ok %s: cannot make its directory: %s\n", one.name, strerrorname_np(errno));
      return 1;
    }
    try {
      one.run();
    } catch (const Skip& skipped) {
      if (failure.empty()) {
        printf("skip %s: %s\n", one.name, skipped.reason.c_str());
        continue;
      }
    }
    if (chdir("/") != 0) return 1;
    if (failure.empty()) {
      printf("ok %s\n", one.name);
    } else {
      printf("not ok %s: %s\n", one.name, failure.c_str());
      failed = true;
    }
  }
  return failed ? 1 : 0;
}
