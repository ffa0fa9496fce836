// Session: replies of JavaScript's on their way to the device. Whatever they tell of an inode is
// first registered with its record, counted, and corrected by what the record knows better.

#include <cerrno>
#include <cstring>

#include "session-notify.h"
#include "session.h"

namespace lattice {

// True when the ino was invalidated after the request had been handed over.
bool Session::outdated(uint64_t ino, uint64_t sequence) {
  std::lock_guard lock(held_mutex_);
  if (sequence <= all_invalidated_) return true;
  const auto it = invalidated_.find(ino);
  return it != invalidated_.end() && it->second >= sequence;
}

// What is read is to have the size that goes with it: the kernel's may be older than the content.
// It may be thrown away between the lines: before the file counts as open with its pages, behind
// that without them.
void Session::open_one(uint64_t ino, fuse_open_out* reply) {
  keep_cache(ino, reply);
  config_.table->opened(ino);
  const std::shared_ptr<Device> open = device();
  if (open) notifications_->opening(*open, ino);
}

// Not while the kernel's pages of the file are older than its content.
void Session::keep_cache(uint64_t ino, fuse_open_out* open) {
  if ((open->open_flags & FOPEN_KEEP_CACHE) == 0) return;
  if (notifications_->content_pending(ino)) open->open_flags &= ~uint32_t{FOPEN_KEEP_CACHE};
}

void Session::reply(uint64_t unique, int32_t error, uint8_t* payload, size_t size) {
  stats_.replies++;
  Held held;
  {
    std::lock_guard lock(held_mutex_);
    const auto it = held_.find(unique);
    if (it == held_.end()) {
      stats_.malformed++;
      return;
    }
    held = it->second;
    held_.erase(it);
  }
  if (error != 0) {
    const bool valid = error < 0 && error > -512;
    send(unique, valid ? -error : EIO, nullptr, 0);
    return;
  }
  if (held.poke != PokeReply::none) return reply_poke(held, unique, payload, size);
  if (!complete(held, payload, size)) {
    stats_.malformed++;
    send(unique, EIO, nullptr, 0);
    return;
  }
  // without lifetimes names may match otherwise than by their bytes
  if (held.opcode == FUSE_MKDIR && config_.lifetime_sec > 0) {
    names_.made(reinterpret_cast<const fuse_entry_out*>(payload)->nodeid);
  }
  if (send(unique, 0, payload, size) != 0) undo(held, payload, size);
}

// False when the payload is too short for its request.
bool Session::complete(const Held& held, uint8_t* payload, size_t size) {
  switch (held.opcode) {
    case FUSE_LOOKUP:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_LINK:
      return size >= sizeof(fuse_entry_out) &&
             complete_entry(held, reinterpret_cast<fuse_entry_out*>(payload), false);
    case FUSE_CREATE:
    case kOpTmpfile: {
      if (size < sizeof(fuse_entry_out) + sizeof(fuse_open_out)) return false;
      auto* entry = reinterpret_cast<fuse_entry_out*>(payload);
      if (!complete_entry(held, entry, true)) return false;
      keep_cache(entry->nodeid, reinterpret_cast<fuse_open_out*>(entry + 1));
      return true;
    }
    case FUSE_OPEN:
      if (size < sizeof(fuse_open_out)) return false;
      open_one(held.nodeid, reinterpret_cast<fuse_open_out*>(payload));
      return true;
    case FUSE_GETATTR:
    case FUSE_SETATTR: {
      if (size < sizeof(fuse_attr_out)) return false;
      auto* out = reinterpret_cast<fuse_attr_out*>(payload);
      uint64_t blocks = 0;
      const Attr attr = config_.table->register_entry(held.nodeid, from_fuse_attr(out->attr), 0,
                                                      false, &blocks);
      out->attr = to_fuse_attr(held.nodeid, attr, blocks);
      if (outdated(held.nodeid, held.sequence)) out->attr_valid = 0;
      return true;
    }
    case FUSE_READDIRPLUS: return complete_entries(held, payload, size);
    default: return true;
  }
}

bool Session::complete_entry(const Held& held, fuse_entry_out* entry, bool opened) {
  if (outdated(held.nodeid, held.sequence)) entry->entry_valid = 0;
  if (entry->nodeid == 0) return !opened;  // a negative entry
  uint64_t blocks = 0;
  const Attr attr = config_.table->register_entry(entry->nodeid, from_fuse_attr(entry->attr),
                                                  held.nodeid, opened, &blocks);
  told_.forget_node(entry->nodeid);
  entry->attr = to_fuse_attr(entry->nodeid, attr, blocks);
  if (outdated(entry->nodeid, held.sequence)) entry->attr_valid = 0;
  return true;
}

bool Session::complete_entries(const Held& held, uint8_t* payload, size_t size) {
  // Checked whole before anything is counted.
  if (!each_direntplus(payload, size, [](std::string_view, fuse_entry_out&) {})) return false;
  return each_direntplus(payload, size, [&](std::string_view, fuse_entry_out& entry) {
    if (entry.nodeid != 0) complete_entry(held, &entry, false);
  });
}

// The kernel did not take the reply: what was counted did not happen.
void Session::undo(const Held& held, const uint8_t* payload, size_t size) {
  switch (held.opcode) {
    case FUSE_LOOKUP:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_LINK:
    case FUSE_CREATE:
    case kOpTmpfile: {
      const auto* entry = reinterpret_cast<const fuse_entry_out*>(payload);
      if (entry->nodeid == 0) return;
      if (held.opcode == FUSE_CREATE || held.opcode == kOpTmpfile) {
        config_.table->released(entry->nodeid);
      }
      names_.forget(entry->nodeid);
      config_.table->forget(entry->nodeid, 1);
      return;
    }
    case FUSE_OPEN: config_.table->released(held.nodeid); return;
    case FUSE_READDIRPLUS:
      each_direntplus(const_cast<uint8_t*>(payload), size,
                      [this](std::string_view, const fuse_entry_out& entry) {
                        if (entry.nodeid != 0) config_.table->forget(entry.nodeid, 1);
                      });
      return;
    default: return;
  }
}

}  // namespace lattice
