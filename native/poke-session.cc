// Session: requests of the poker's; see poke-gate.h. They are answered from records, or by
// JavaScript as questions (LOOKUP, GETATTR), never as changes. All lifetimes are 0: what the kernel
// now believes is asked for again by whoever comes next.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "session.h"

namespace lattice {

namespace {

constexpr uint32_t kTimesOnly = FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW |
                                FATTR_FH | FATTR_LOCKOWNER | FATTR_CTIME;

std::string_view name_in(const uint8_t* body, size_t size, size_t skip) {
  if (skip >= size) return {};
  const auto* text = reinterpret_cast<const char*>(body) + skip;
  return {text, strnlen(text, size - skip)};
}

}  // namespace

bool Session::poked(const Request& r) {
  switch (r.header->opcode) {
    case FUSE_INIT:
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
    case FUSE_DESTROY: return false;
    case FUSE_RELEASE: {  // it may come without its process
      const auto* in = r.as<fuse_release_in>();
      if (in == nullptr || in->fh != PokeGate::kHandle) return false;
      stats_.native++;
      send(r.header->unique, 0, nullptr, 0);
      return true;
    }
    default: break;
  }
  if (!gate_.is_poker(r.header->pid)) return false;
  switch (r.header->opcode) {
    case FUSE_LOOKUP: return poked_lookup(r);
    case FUSE_GETATTR:
    case FUSE_GETXATTR:
    case FUSE_ACCESS:
    case FUSE_STATFS: return false;
    case FUSE_FLUSH:
      stats_.native++;
      send(r.header->unique, 0, nullptr, 0);
      return true;
    default: break;
  }
  if (poked_change(r)) return true;
  gate_.refused++;
  stats_.native++;
  send(r.header->unique, EPERM, nullptr, 0);
  return true;
}

bool Session::poked_lookup(const Request& r) {
  uint32_t taken;
  const Poke poke = gate_.current(&taken);
  const uint64_t parent = r.header->nodeid;
  const std::string_view name = name_in(r.body, r.body_size, 0);
  if (poke.op == PokeOp::none || (taken & PokeGate::kMain) != 0) return false;
  const bool is_hidden = (poke.op == PokeOp::create && poke.is_at(parent, name)) ||
                         (poke.op == PokeOp::move && poke.goes_to(parent, name));
  if (is_hidden) {
    stats_.native++;
    const fuse_entry_out none{};
    send(r.header->unique, 0, &none, sizeof none);
    return true;
  }
  if (!poke.is_at(parent, name)) return false;
  if (poke.op == PokeOp::move) {
    hand_over_as(r, FUSE_LOOKUP, poke.new_parent, poke.new_name, PokeReply::entry);
    return true;
  }
  if (poke.op != PokeOp::remove) return false;
  gate_.take(PokeGate::kGhost);
  show_ghost(r, poke);
  return true;
}

// What had the name, if the kernel knows it, else something of its kind.
void Session::show_ghost(const Request& r, const Poke& poke) {
  stats_.native++;
  uint64_t ino = poke.ino, blocks = 0;
  Attr attr;
  fuse_entry_out out{};
  out.generation = poke.generation;
  if (ino == 0 || !config_.table->attrs_and_blocks(ino, &attr, &blocks)) {
    ino = gate_.next_ghost();
    out.generation = 0;
    attr = {};
    attr.mode = (poke.mode & S_IFMT) | 0600;
    attr.nlink = 1;
    attr.uid = geteuid();
    attr.gid = getegid();
  }
  attr = config_.table->register_entry(ino, attr, r.header->nodeid, false, &blocks);
  out.nodeid = ino;
  out.attr = to_fuse_attr(ino, attr, blocks);
  if (send(r.header->unique, 0, &out, sizeof out) != 0) config_.table->forget(ino, 1);
}

// True: it was the poke that is announced, and is answered.
bool Session::poked_change(const Request& r) {
  uint32_t taken;
  const Poke poke = gate_.current(&taken);
  const uint64_t unique = r.header->unique, node = r.header->nodeid;
  const auto at = [&](size_t skip) { return name_in(r.body, r.body_size, skip); };
  const auto done = [&] {
    stats_.native++;
    send(unique, 0, nullptr, 0);
    return true;
  };
  const auto made = [&](size_t skip, PokeReply reply) {
    if (poke.op != PokeOp::create || !poke.is_at(node, at(skip))) return false;
    if (!gate_.take(PokeGate::kMain)) return false;
    hand_over_as(r, FUSE_LOOKUP, node, poke.name, reply);
    return true;
  };
  const auto moved = [&](const uint64_t* to, size_t skip) {
    if (to == nullptr || poke.op != PokeOp::move || !poke.is_at(node, at(skip))) return false;
    if (!poke.goes_to(*to, at(skip + poke.name.size() + 1))) return false;
    return gate_.take(PokeGate::kMain) && done();
  };
  switch (r.header->opcode) {
    case FUSE_CREATE: return made(sizeof(fuse_create_in), PokeReply::opened_entry);
    case FUSE_MKDIR: return made(sizeof(fuse_mkdir_in), PokeReply::entry);
    case FUSE_MKNOD: return made(sizeof(fuse_mknod_in), PokeReply::entry);
    case FUSE_SYMLINK: return made(0, PokeReply::entry);
    case FUSE_UNLINK:
    case FUSE_RMDIR:
      if (poke.op != PokeOp::remove || !poke.is_at(node, at(0))) return false;
      // The kernel may still think that the name is what lives on, and would take that for dead.
      if (poke.ino == 0 && (taken & PokeGate::kGhost) == 0) return false;
      return gate_.take(PokeGate::kMain) && done();
    case FUSE_RENAME: return moved(r.as<uint64_t>(), sizeof(fuse_rename_in));
    case FUSE_RENAME2: return moved(r.as<uint64_t>(), sizeof(fuse_rename2_in));
    case FUSE_OPEN: {
      const auto* in = r.as<fuse_open_in>();
      if (in == nullptr || poke.op != PokeOp::edit || node != poke.ino) return false;
      if ((in->flags & O_TRUNC) != 0 || !gate_.take(PokeGate::kMain)) return false;
      stats_.native++;
      fuse_open_out out{};
      out.fh = PokeGate::kHandle;
      out.open_flags = FOPEN_KEEP_CACHE;
      send(unique, 0, &out, sizeof out);
      return true;
    }
    case FUSE_SETATTR: {
      const auto* in = r.as<fuse_setattr_in>();
      const bool may = poke.op == PokeOp::edit || poke.op == PokeOp::create ||
                       poke.op == PokeOp::attrib;
      if (in == nullptr || !may || node != poke.ino || (in->valid & ~kTimesOnly) != 0) return false;
      if (!gate_.take(PokeGate::kTimes)) return false;
      const char body[sizeof(fuse_getattr_in)] = {};
      hand_over_as(r, FUSE_GETATTR, node, {body, sizeof body}, PokeReply::attributes);
      return true;
    }
    default: return false;
  }
}

// JavaScript is asked something else in the place of the request. Names end with NUL.
void Session::hand_over_as(const Request& r, uint32_t opcode, uint64_t nodeid,
                           std::string_view body, PokeReply poke) {
  stats_.handed++;
  fuse_in_header header = *r.header;
  const size_t size = body.size() + (opcode == FUSE_LOOKUP ? 1 : 0);
  header.opcode = opcode;
  header.nodeid = nodeid;
  header.len = static_cast<uint32_t>(sizeof header + size);
  std::vector<uint8_t> message(header.len);
  std::memcpy(message.data(), &header, sizeof header);
  std::memcpy(message.data() + sizeof header, body.data(), body.size());
  {
    std::lock_guard lock(held_mutex_);
    held_[header.unique] = {opcode, nodeid, ++sequence_, nodeid, poke};
  }
  ring_.push(message.data(), header.len);
  wake();
}

void Session::reply_poke(const Held& held, uint64_t unique, uint8_t* payload, size_t size) {
  if (!complete(held, payload, size)) {
    stats_.malformed++;
    send(unique, EIO, nullptr, 0);
    return;
  }
  if (held.poke == PokeReply::attributes) {
    reinterpret_cast<fuse_attr_out*>(payload)->attr_valid = 0;
    send(unique, 0, payload, sizeof(fuse_attr_out));
    return;
  }
  struct {
    fuse_entry_out entry;
    fuse_open_out open;
  } out{};
  std::memcpy(&out.entry, payload, sizeof out.entry);
  if (out.entry.nodeid == 0) {  // it has gone since
    send(unique, ENOENT, nullptr, 0);
    return;
  }
  out.entry.entry_valid = out.entry.attr_valid = 0;
  out.open.fh = PokeGate::kHandle;
  out.open.open_flags = FOPEN_KEEP_CACHE;
  const bool opened = held.poke == PokeReply::opened_entry;
  const size_t told = opened ? sizeof out : sizeof out.entry;
  if (send(unique, 0, &out, told) != 0) undo(held, payload, size);
}

}  // namespace lattice
