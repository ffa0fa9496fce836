// KnownNames: directories whose names are all known, and a superset of the names that each may
// have. What is not among them does not exist, so LOOKUP is answered without JavaScript.
//
// A directory becomes known with the reply to its MKDIR, empty, or when JavaScript tells all of its
// names. From then on every request that could give it a name adds that name before anybody acts
// on it; removed names stay. Whoever changes a directory past the kernel must tell the kernel
// (notify), which remembers missing names as well: that forgets the directory here, too. Only
// hashes are kept: two names of one hash make a needless question, never a wrong answer. Usable
// from any thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace lattice {

class KnownNames {
 public:
  // The directory has these names and no others; none: it was made.
  void made(uint64_t directory, const std::vector<std::string_view>& names = {});
  // The directory may have the name from now on.
  void add(uint64_t directory, std::string_view name);
  void forget(uint64_t directory);
  void forget_all();
  // The directory is known and has no such name.
  bool lacks(uint64_t directory, std::string_view name);

 private:
  using Names = std::unordered_set<uint64_t>;
  void drop(std::unordered_map<uint64_t, Names>::iterator directory);

  std::mutex mutex_;
  std::unordered_map<uint64_t, Names> directories_;
  size_t held_ = 0;  // directories and names
};

}  // namespace lattice
