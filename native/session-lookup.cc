// Session: what it knows of names. Names that a directory cannot have, entries that JavaScript has
// told ahead, ends of listings: answered on the reader thread. Beside it what takes such knowledge
// away: requests that may change names, and tell() itself where one is on its way.

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "session.h"

namespace lattice {

// The name that begins `skip` bytes into the body; what follows its end is ignored.
static std::string_view name_at(const uint8_t* body, size_t size, size_t skip) {
  if (skip >= size) return {};
  const auto* text = reinterpret_cast<const char*>(body) + skip;
  return {text, strnlen(text, size - skip)};
}

static bool changes_names(uint32_t opcode) {
  switch (opcode) {
    case FUSE_CREATE:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_LINK:
    case FUSE_SYMLINK:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2: return true;
    default: return false;
  }
}

void Session::lookup(const Request& r) {
  const std::string_view name = name_at(r.body, r.body_size, 0);
  constexpr size_t kNameMax = 255;  // longer ones are JavaScript's to refuse
  // What the poker sees must not be older than what it is to show.
  if (gate_.is_poker(r.header->pid) || name.empty() || name.size() > kNameMax || name == "." ||
      name == ".." || !lookup_known(r.header->unique, r.header->nodeid, name)) {
    hand_over(r);
  }
}

bool Session::lookup_known(uint64_t unique, uint64_t directory, std::string_view name) {
  std::lock_guard answering(answering_mutex_);
  fuse_entry_out entry{};
  if (names_.lacks(directory, name)) {
    stats_.native++;
    entry.entry_valid = config_.lifetime_sec;
    send(unique, 0, &entry, sizeof entry);
    return true;
  }
  if (!told_.take(directory, name, &entry)) return false;
  stats_.native++, stats_.told++;
  uint64_t blocks = 0;
  const Attr attr = config_.table->register_entry(entry.nodeid, from_fuse_attr(entry.attr),
                                                  directory, false, &blocks);
  told_.forget_node(entry.nodeid);  // told once more before there was a record
  entry.attr = to_fuse_attr(entry.nodeid, attr, blocks);
  if (send(unique, 0, &entry, sizeof entry) != 0) config_.table->forget(entry.nodeid, 1);
  return true;
}

// The kernel asks once more behind the last entry of every listing.
void Session::readdir(const Request& r) {
  const auto* in = r.as<fuse_read_in>();
  if (in == nullptr) return hand_over(r);
  {
    std::lock_guard answering(answering_mutex_);
    if (told_.ends_at(r.header->nodeid, in->offset)) {
      stats_.native++;
      send(r.header->unique, 0, nullptr, 0);
      return;
    }
  }
  hand_over(r);
}

// Directories have no state of being open; that it is one the kernel knows.
void Session::opendir(const Request& r) {
  stats_.native++;
  const fuse_open_out out{};
  send(r.header->unique, 0, &out, sizeof out);
}

// The other directory of a request that has two, else its own.
uint64_t Session::other_directory(const Request& r) {
  const uint32_t opcode = r.header->opcode;
  const uint64_t* directory = nullptr;
  if (opcode == FUSE_RENAME || opcode == FUSE_RENAME2) directory = r.as<uint64_t>();
  return directory == nullptr ? r.header->nodeid : *directory;
}

// The request is held by now, so that whoever tells of its directories sees it. What it may give to
// a directory is there from now on; what was told of one may not hold when it is done.
void Session::note_names(const Request& r) {
  if (!changes_names(r.header->opcode)) return;
  const uint64_t other = other_directory(r);
  told_.forget(r.header->nodeid);
  if (other != r.header->nodeid) told_.forget(other);
  const auto add = [&](uint64_t directory, size_t skip) {
    names_.add(directory, name_at(r.body, r.body_size, skip));
  };
  const auto rename = [&](size_t skip) {
    add(r.header->nodeid, skip);
    add(other, skip + name_at(r.body, r.body_size, skip).size() + 1);
  };
  switch (r.header->opcode) {
    case FUSE_CREATE: return add(r.header->nodeid, sizeof(fuse_create_in));
    case FUSE_MKNOD: return add(r.header->nodeid, sizeof(fuse_mknod_in));
    case FUSE_MKDIR: return add(r.header->nodeid, sizeof(fuse_mkdir_in));
    case FUSE_LINK: return add(r.header->nodeid, sizeof(fuse_link_in));
    case FUSE_SYMLINK: return add(r.header->nodeid, 0);
    case FUSE_RENAME: return rename(sizeof(fuse_rename_in));
    case FUSE_RENAME2: return rename(sizeof(fuse_rename2_in));
    default: return;
  }
}

// A request that changes names of the directory has no answer yet.
bool Session::names_change(uint64_t directory) {
  std::lock_guard lock(held_mutex_);
  for (const auto& [unique, held] : held_) {
    if (!changes_names(held.opcode)) continue;
    if (held.nodeid == directory || held.other == directory) return true;
  }
  return false;
}

// First put, then looked whether it may stay: a directory that the kernel has forgotten is not
// notified, so nothing of it is kept; a request is held before it takes away (note_names), an inode
// has its record before what was told of it is taken away (lookup_known, complete_entry).
bool Session::tell(uint64_t directory, uint8_t* entries, size_t size, bool is_whole) {
  std::vector<std::string_view> names;
  if (!each_direntplus(entries, size, [&](std::string_view name, const fuse_entry_out&) {
        names.push_back(name);
      })) {
    return false;
  }
  if (config_.lifetime_sec == 0) return true;  // names may match otherwise than by their bytes
  if (is_whole) names_.made(directory, names);
  each_direntplus(entries, size, [&](std::string_view name, const fuse_entry_out& entry) {
    // nodeid 0: the name alone
    if (entry.nodeid == 0 || (entry.attr.nlink > 1 && !S_ISDIR(entry.attr.mode))) return;
    told_.put(directory, name, entry);
    if (config_.table->find(entry.nodeid)) told_.forget_node(entry.nodeid);
  });
  if (names_change(directory) || !config_.table->find(directory)) {
    told_.forget(directory);
    if (is_whole) names_.forget(directory);
  }
  return true;
}

void Session::tell_end(uint64_t directory, uint64_t cookie) {
  if (config_.lifetime_sec == 0) return;
  told_.put_end(directory, cookie);
  if (names_change(directory) || !config_.table->find(directory)) told_.forget(directory);
}

void Session::untell() {
  told_.forget_all();
  await_answers();
}

}  // namespace lattice
