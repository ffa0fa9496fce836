// Session: the reader thread. Takes one message after the other, checks it, answers it or hands it
// over. It never blocks on anything but the device.

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "session-notify.h"
#include "session.h"

namespace lattice {

namespace {

constexpr uint32_t kLandingMinBytes = 64 << 10;
constexpr uint32_t kLandingMissesMax = 16;
constexpr uint32_t kReadBytesMax = 4u << 20;

constexpr uint64_t kWanted =
    FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_DO_READDIRPLUS |
    FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_ATOMIC_O_TRUNC |
    FUSE_HANDLE_KILLPRIV_V2 | FUSE_EXPLICIT_INVAL_DATA | FUSE_CACHE_SYMLINKS | FUSE_ASYNC_DIO |
    FUSE_INIT_EXT;

// Seconds that JavaScript can count exactly, and real nanoseconds.
bool time_ok(uint64_t seconds, uint32_t nanoseconds) {
  const auto s = static_cast<int64_t>(seconds);
  return s > -static_cast<int64_t>(kSizeMax) && s < static_cast<int64_t>(kSizeMax) &&
         nanoseconds < 1000000000;
}

}  // namespace

void Session::run_reader() {
  const std::shared_ptr<Device> open = device();
  ssize_t received;
  for (;;) {
    ArenaRef landing;
    uint64_t ino = 0;
    if (predicted_ != 0 && ready_) {
      ino = predicted_;
      landing = config_.table->landing_reserve(ino, config_.max_write);
    }
    if (landing) {
      iovec parts[2] = {{scratch_.get(), kHeaderBytes},
                        {landing->data + landing->fill, config_.max_write}};
      received = open->receive(parts, 2);
      if (received <= 0) {
        config_.table->landing_release(ino, landing);
        break;
      }
      if (land(landing, ino, static_cast<size_t>(received))) continue;
    } else {
      iovec whole{scratch_.get(), scratch_bytes_};
      received = open->receive(&whole, 1);
      if (received <= 0) break;
    }
    notifications_->begin_turn();
    dispatch(static_cast<size_t>(received));
    notifications_->end_turn();
  }
  if (closed_) return;
  config_.table->cancel_all(this, ENOTCONN);
  const double reason = received == 0 ? 1 : 2;
  raise({EventKind::ended, 0, reason, double(-received)});
}

// The message lies in two parts: 80 bytes in scratch, the rest where the predicted file's next
// bytes belong. True: it was that WRITE and it is done. False: it lies whole in scratch.
bool Session::land(const ArenaRef& arena, uint64_t ino, size_t received) {
  const auto* header = reinterpret_cast<const fuse_in_header*>(scratch_.get());
  const auto* in = reinterpret_cast<const fuse_write_in*>(scratch_.get() + sizeof *header);
  if (received > kHeaderBytes && header->len == received && header->opcode == FUSE_WRITE &&
      header->nodeid == ino && in->size == received - kHeaderBytes &&
      in->offset <= kSizeMax - in->size && !read_only()) {
    const Outcome outcome = config_.table->landing_write(
        ino, arena, in->offset, in->size, (in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0);
    if (outcome == Outcome::ok) {
      stats_.read++, stats_.native++, stats_.landed++;
      misses_ = 0;
      send_written(header->unique, in->size);
      return true;
    }
  }
  stats_.landing_missed++;
  if (++misses_ > kLandingMissesMax) predicted_ = 0;
  if (received > kHeaderBytes) {
    std::memcpy(scratch_.get() + kHeaderBytes, arena->data + arena->fill, received - kHeaderBytes);
  }
  config_.table->landing_release(ino, arena);
  return false;
}

void Session::dispatch(size_t received) {
  stats_.read++;
  const auto* header = reinterpret_cast<const fuse_in_header*>(scratch_.get());
  if (received < sizeof *header) {
    stats_.malformed++;
    return;
  }
  const Request request{header, scratch_.get() + sizeof *header, received - sizeof *header};
  const bool silent = header->opcode == FUSE_FORGET || header->opcode == FUSE_BATCH_FORGET ||
                      header->opcode == FUSE_INTERRUPT;
  if (header->len != received || (!ready_ && header->opcode != FUSE_INIT)) {
    stats_.malformed++;
    if (!silent) send(header->unique, EIO, nullptr, 0);
    return;
  }
  dispatch_native(request);
}

void Session::dispatch_native(const Request& r) {
  if (gate_.is_used() && poked(r)) return;
  switch (r.header->opcode) {
    case FUSE_INIT: return init(r);
    case FUSE_LOOKUP: return lookup(r);
    case FUSE_READ: return read(r);
    case FUSE_WRITE: return write(r);
    case FUSE_FLUSH: return flush(r);
    case FUSE_RELEASE: return release_file(r);
    case FUSE_GETATTR: return getattr(r);
    case FUSE_SETATTR: return setattr(r);
    case FUSE_FALLOCATE: return fallocate(r);
    case FUSE_OPENDIR: return opendir(r);
    case FUSE_READDIR:
    case FUSE_READDIRPLUS: return readdir(r);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET: return forget(r);
    case FUSE_INTERRUPT: return interrupt(r);
    case FUSE_GETXATTR: return getxattr(r);
    case FUSE_RELEASEDIR:
    case FUSE_DESTROY:
      stats_.native++;
      send(r.header->unique, 0, nullptr, 0);
      return;
    case FUSE_IOCTL:
      stats_.native++;
      send(r.header->unique, ENOTTY, nullptr, 0);
      return;
    // The kernel remembers these, as it should: it checks permissions itself, keeps locks itself.
    case FUSE_ACCESS:
    case FUSE_POLL:
    case FUSE_BMAP:
    case FUSE_GETLK:
    case FUSE_SETLK:
    case FUSE_SETLKW:
      stats_.native++;
      send(r.header->unique, ENOSYS, nullptr, 0);
      return;
    default: return hand_over(r);
  }
}

// A request whose body cannot be what it says.
void Session::refuse(const Request& r, int error) {
  stats_.malformed++;
  send(r.header->unique, error, nullptr, 0);
}

void Session::hand_over(const Request& r) {
  stats_.handed++;
  {
    std::lock_guard lock(held_mutex_);
    held_[r.header->unique] = {r.header->opcode, r.header->nodeid, ++sequence_,
                               other_directory(r), PokeReply::none};
  }
  note_names(r);
  ring_.push(scratch_.get(), r.header->len);
  wake();
}

void Session::init(const Request& r) {
  stats_.native++;
  // Older kernels send 16 bytes; flags2 came with 7.36.
  if (r.body_size < 16) return refuse(r, EINVAL);
  fuse_init_in in{};
  std::memcpy(&in, r.body, std::min(r.body_size, sizeof in));
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = kFuseMinorOurs;
  if (in.major < FUSE_KERNEL_VERSION ||
      (in.major == FUSE_KERNEL_VERSION && in.minor < kFuseMinorMin)) {
    return refuse(r, EPROTO);
  }
  if (in.major > FUSE_KERNEL_VERSION) {  // it asks again with ours
    send(r.header->unique, 0, &out, sizeof out);
    return;
  }
  if (in.minor < out.minor) out.minor = in.minor;
  const uint64_t offered = in.flags | (in.flags & FUSE_INIT_EXT ? uint64_t{in.flags2} << 32 : 0);
  const uint64_t flags = offered & kWanted;
  out.flags = static_cast<uint32_t>(flags);
  out.flags2 = static_cast<uint32_t>(flags >> 32);
  out.max_readahead = in.max_readahead;
  out.max_background = 64;
  out.congestion_threshold = 48;
  out.max_write = config_.max_write;
  out.time_gran = 1;
  out.max_pages = static_cast<uint16_t>((config_.max_write + 4095) / 4096);
  ready_ = true;
  send(r.header->unique, 0, &out, sizeof out);
}

void Session::track_parked(const Request& r) {
  std::lock_guard lock(held_mutex_);
  // One that another thread answered before it got here stays behind; an INTERRUPT that finds it
  // finds nothing parked.
  if (parked_.size() > 65536) parked_.clear();
  parked_[r.header->unique] = {r.header->nodeid, r.header->pid};
}

void Session::read(const Request& r) {
  const auto* in = r.as<fuse_read_in>();
  if (in == nullptr || in->size > kReadBytesMax) return refuse(r, EINVAL);
  const uint64_t unique = r.header->unique;
  ReadSlice slice;
  if (in->offset > kSizeMax) return send_slice(unique, slice);  // beyond the end of any file
  switch (config_.table->read_for(shared_from_this(), unique, r.header->nodeid, in->offset,
                                  in->size, &slice)) {
    case Outcome::ok:
      stats_.native++;
      return send_slice(unique, slice);
    case Outcome::parked:
      stats_.native++;
      return track_parked(r);
    default: return hand_over(r);
  }
}

void Session::write(const Request& r) {
  const auto* in = r.as<fuse_write_in>();
  if (in == nullptr || in->size != r.body_size - sizeof *in) return refuse(r, EIO);
  if (read_only()) return refuse(r, EROFS);
  if (in->offset > kSizeMax - in->size) return refuse(r, EFBIG);
  const uint64_t unique = r.header->unique;
  const uint32_t size = in->size;
  switch (config_.table->write_for(shared_from_this(), unique, r.header->nodeid, in->offset,
                                   r.body + sizeof *in, size,
                                   (in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0)) {
    case Outcome::ok:
      stats_.native++;
      if (size >= kLandingMinBytes && in->offset > 0) predicted_ = r.header->nodeid;
      return send_written(unique, size);
    case Outcome::parked:
      stats_.native++;
      return track_parked(r);
    case Outcome::full:
      stats_.native++;
      send(unique, ENOSPC, nullptr, 0);
      return;
    case Outcome::no_memory:
      stats_.native++;
      send(unique, ENOMEM, nullptr, 0);
      return;
    default: return hand_over(r);
  }
}

void Session::flush(const Request& r) {
  stats_.native++;
  send(r.header->unique, config_.table->flushed(r.header->nodeid), nullptr, 0);
}

void Session::release_file(const Request& r) {
  stats_.native++;
  if (r.header->nodeid == predicted_) predicted_ = 0;
  config_.table->released(r.header->nodeid);
  send(r.header->unique, 0, nullptr, 0);
}

void Session::getattr(const Request& r) {
  fuse_attr_out out{};
  Attr attr;
  uint64_t blocks = 0;
  if (!config_.table->attrs_and_blocks(r.header->nodeid, &attr, &blocks)) return hand_over(r);
  stats_.native++;
  out.attr_valid = config_.lifetime_sec;
  out.attr = to_fuse_attr(r.header->nodeid, attr, blocks);
  send(r.header->unique, 0, &out, sizeof out);
}

void Session::setattr(const Request& r) {
  const auto* in = r.as<fuse_setattr_in>();
  if (in == nullptr) return refuse(r, EINVAL);
  if (read_only()) return refuse(r, EROFS);
  const uint32_t valid = in->valid;
  if ((valid & FATTR_SIZE) && in->size > kSizeMax) return refuse(r, EFBIG);
  if (!time_ok(in->atime, in->atimensec) || !time_ok(in->mtime, in->mtimensec) ||
      !time_ok(in->ctime, in->ctimensec)) {
    return refuse(r, EINVAL);
  }
  uint32_t mask = 0;
  Attr a;
  if (valid & FATTR_MODE) mask |= kAttrMode, a.mode = in->mode;
  if (valid & FATTR_UID) mask |= kAttrUid, a.uid = in->uid;
  if (valid & FATTR_GID) mask |= kAttrGid, a.gid = in->gid;
  if (valid & (FATTR_ATIME | FATTR_ATIME_NOW)) {
    mask |= kAttrAtime;
    a.atime_sec = static_cast<int64_t>(in->atime), a.atime_nsec = in->atimensec;
    if (valid & FATTR_ATIME_NOW) now(&a.atime_sec, &a.atime_nsec);
  }
  // With a new size, "now" is what the truncation itself says.
  const bool own_mtime = (valid & FATTR_SIZE) && (valid & FATTR_MTIME_NOW);
  if ((valid & (FATTR_MTIME | FATTR_MTIME_NOW)) && !own_mtime) {
    mask |= kAttrMtime;
    a.mtime_sec = static_cast<int64_t>(in->mtime), a.mtime_nsec = in->mtimensec;
    if (valid & FATTR_MTIME_NOW) now(&a.mtime_sec, &a.mtime_nsec);
  }
  if (valid & FATTR_CTIME) {
    mask |= kAttrCtime;
    a.ctime_sec = static_cast<int64_t>(in->ctime), a.ctime_nsec = in->ctimensec;
  }
  fuse_attr_out out{};
  Attr after;
  uint64_t blocks = 0;
  const Outcome outcome = config_.table->setattr(
      r.header->nodeid, mask, a, (valid & FATTR_SIZE) != 0, in->size,
      (valid & kFattrKillSuidgid) != 0, &after, &blocks);
  if (outcome != Outcome::ok) return hand_over(r);
  stats_.native++;
  out.attr_valid = config_.lifetime_sec;
  out.attr = to_fuse_attr(r.header->nodeid, after, blocks);
  send(r.header->unique, 0, &out, sizeof out);
}

void Session::fallocate(const Request& r) {
  constexpr uint32_t kKeepSize = 1, kPunchHole = 2, kZeroRange = 16;
  const auto* in = r.as<fuse_fallocate_in>();
  if (in == nullptr || in->length == 0) return refuse(r, EINVAL);
  if (read_only()) return refuse(r, EROFS);
  if (in->offset > kSizeMax || in->length > kSizeMax - in->offset) return refuse(r, EFBIG);
  const uint64_t unique = r.header->unique, ino = r.header->nodeid;
  Outcome outcome;
  if (in->mode == (kPunchHole | kKeepSize)) {
    outcome = config_.table->zero(ino, in->offset, in->length, false);
  } else if (in->mode == kZeroRange || in->mode == (kZeroRange | kKeepSize)) {
    outcome = config_.table->zero(ino, in->offset, in->length, in->mode == kZeroRange);
  } else if (in->mode == 0) {
    outcome = config_.table->allocate(ino, in->offset, in->length);
  } else if (in->mode == kKeepSize) {
    outcome = Outcome::ok;
  } else {
    stats_.native++;
    send(unique, EOPNOTSUPP, nullptr, 0);
    return;
  }
  if (outcome != Outcome::ok) return hand_over(r);
  stats_.native++;
  send(unique, 0, nullptr, 0);
}

void Session::forget(const Request& r) {
  stats_.native++;
  if (r.header->opcode == FUSE_FORGET) {
    const auto* in = r.as<fuse_forget_in>();
    if (in == nullptr) stats_.malformed++;
    else forget_node(r.header->nodeid, in->nlookup);
    return;
  }
  const auto* in = r.as<fuse_batch_forget_in>();
  if (in == nullptr ||
      in->count > (r.body_size - sizeof *in) / sizeof(fuse_forget_one)) {
    stats_.malformed++;
    return;
  }
  const uint8_t* at = r.body + sizeof *in;
  for (uint32_t i = 0; i < in->count; i++, at += sizeof(fuse_forget_one)) {
    fuse_forget_one one;
    std::memcpy(&one, at, sizeof one);
    forget_node(one.nodeid, one.nlookup);
  }
}

// The record first: whoever tells of a directory looks for its record when it has told.
void Session::forget_node(uint64_t ino, uint64_t lookups) {
  config_.table->forget(ino, lookups);
  names_.forget(ino);
  told_.forget(ino);
}

// Only user.* is stored. The kernel asks for security.capability at the first write to every inode,
// and ls for ACLs: they are told here, without a way to JavaScript, that there are none.
void Session::getxattr(const Request& r) {
  const auto* in = r.as<fuse_getxattr_in>();
  if (in == nullptr) return refuse(r, EINVAL);
  constexpr std::string_view kPrefixes[] = {"security.", "system."};
  const std::string_view name(reinterpret_cast<const char*>(r.body) + sizeof *in,
                              r.body_size - sizeof *in);
  for (const std::string_view prefix : kPrefixes) {
    if (!name.starts_with(prefix)) continue;
    stats_.native++;
    send(r.header->unique, EOPNOTSUPP, nullptr, 0);
    return;
  }
  hand_over(r);
}

void Session::interrupt(const Request& r) {
  const auto* in = r.as<fuse_interrupt_in>();
  if (in == nullptr) {
    stats_.malformed++;
    return;
  }
  Parked interrupted{};
  bool held = false;
  {
    std::lock_guard lock(held_mutex_);
    const auto parked = parked_.find(in->unique);
    if (parked != parked_.end()) {
      interrupted = parked->second;
      parked_.erase(parked);
    } else {
      held = held_.count(in->unique) > 0;
    }
  }
  stats_.native++;
  if (interrupted.ino != 0) {
    config_.table->interrupt(weak_from_this(), interrupted.ino, in->unique, interrupted.pid);
  } else if (held) {
    raise({EventKind::interrupt, 0, double(in->unique)});
  }
}

}  // namespace lattice
