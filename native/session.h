// Session: one mounted directory. A reader thread takes requests from the device; what touches only
// records and their bytes is answered there, everything else waits in a ring for JavaScript, whose
// replies are completed (attributes, lookup and open counts) and written here. A notify thread
// alone writes invalidations: from any other thread they can deadlock beyond kill. But one: that
// attributes of a file are others, before the reply to an OPEN of it (NotifyQueue::opening).
//
// Locks: `held_mutex_` guards requests that JavaScript has; `device_mutex_` the pointer only. None
// is held while the device is written to, but for `answering_mutex_`, which is locked first.

#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "fuse_abi.h"
#include "poke-gate.h"
#include "session-device.h"
#include "session-names.h"
#include "session-ring.h"
#include "session-told.h"
#include "table.h"

namespace lattice {

// The kernel's view of attributes.
fuse_attr to_fuse_attr(uint64_t ino, const Attr& attr, uint64_t blocks);
Attr from_fuse_attr(const fuse_attr& attr);

class NotifyQueue;

// Calls visit(name, entry) for each fuse_direntplus but "." and ".."; false where they do not end
// well (what came before was visited).
template <typename Visit>
bool each_direntplus(uint8_t* payload, size_t size, Visit visit) {
  size_t at = 0;
  while (at < size) {
    if (size - at < sizeof(fuse_direntplus)) return false;
    auto* entry = reinterpret_cast<fuse_direntplus*>(payload + at);
    const size_t length =
        (sizeof(fuse_direntplus) + size_t{entry->dirent.namelen} + 7) & ~size_t{7};
    if (length > size - at || entry->dirent.namelen == 0) return false;
    const std::string_view name(entry->dirent.name, entry->dirent.namelen);
    if (name != "." && name != "..") visit(name, entry->entry_out);
    at += length;
  }
  return true;
}

struct SessionConfig {
  std::shared_ptr<Table> table;
  bool read_only = false;
  uint32_t max_write = 1u << 20;
  uint32_t lifetime_sec = 3600;
};

class Session final : public Waiter, public std::enable_shared_from_this<Session> {
 public:
  // Takes the device over and starts the threads. nullptr when a descriptor is missing.
  static std::shared_ptr<Session> start(int fd, const SessionConfig& config,
                                        std::shared_ptr<Wakeable> waker);
  ~Session() override;
  Session(const Session&) = delete;

  void close();

  RequestRing& ring() { return ring_; }
  void release(size_t count);
  // Completes and writes one reply of JavaScript's. `payload` is changed in place.
  void reply(uint64_t unique, int32_t error, uint8_t* payload, size_t size);
  size_t take_events(double* rows, size_t max_rows);
  // False when the queue is full: nothing was queued.
  bool notify(int kind, uint64_t ino, uint64_t a, uint64_t b, std::string name);
  // WRITE, SETATTR and FALLOCATE are refused from now on, as on a read-only mount, or not any more.
  void refuse_changes(bool refused) { changes_refused_ = refused; }
  PokeGate& gate() { return gate_; }
  // Entries of a directory ahead of their LOOKUP, as of this turn of JavaScript's: fuse_direntplus
  // one after the other. `is_whole`: it has no others. False when they are not well formed.
  bool tell(uint64_t directory, uint8_t* entries, size_t size, bool is_whole);
  // Behind this cookie the directory lists nothing.
  void tell_end(uint64_t directory, uint64_t cookie);
  // Nothing that was told is answered any more when it returns; what was answered has its record.
  void untell();

  struct Stats {
    std::atomic<uint64_t> read{0}, native{0}, handed{0}, replies{0}, wakes{0}, landed{0},
        landing_missed{0}, malformed{0}, told{0};
  };
  const Stats& stats() const { return stats_; }

  void answer_read(uint64_t unique, const ReadSlice& slice) override;
  void answer_write(uint64_t unique, uint32_t size) override;
  void answer_error(uint64_t unique, int error) override;
  bool idle() override;

 private:
  struct Held {
    uint32_t opcode;
    uint64_t nodeid;
    uint64_t sequence;
    uint64_t other = nodeid;  // directory of a rename, else nodeid
    PokeReply poke = PokeReply::none;
  };
  struct Parked {
    uint64_t ino;
    uint32_t pid;
  };
  struct Request {
    const fuse_in_header* header;
    const uint8_t* body;
    size_t body_size;
    template <typename Body>
    const Body* as() const {
      return body_size >= sizeof(Body) ? reinterpret_cast<const Body*>(body) : nullptr;
    }
  };

  Session(const SessionConfig& config, std::shared_ptr<Wakeable> waker)
      : config_(config), waker_(std::move(waker)) {}

  std::shared_ptr<NotifyQueue> start_notifications(std::shared_ptr<Device> device);
  std::shared_ptr<Device> device();
  bool read_only() const { return config_.read_only || changes_refused_; }
  int send(uint64_t unique, int error, const void* payload, size_t size);
  void send_slice(uint64_t unique, const ReadSlice& slice);
  void send_written(uint64_t unique, uint32_t size);
  void unpark(uint64_t unique);
  void raise(Event event);
  void wake();
  void await_answers();

  // Reader thread; session-reader.cc.
  void run_reader();
  bool land(const ArenaRef& arena, uint64_t ino, size_t received);
  void dispatch(size_t received);
  void dispatch_native(const Request& request);
  void hand_over(const Request& request);
  void note_names(const Request& request);
  static uint64_t other_directory(const Request& request);
  bool names_change(uint64_t directory);
  void lookup(const Request& request);
  bool lookup_known(uint64_t unique, uint64_t directory, std::string_view name);
  void readdir(const Request& request);
  void opendir(const Request& request);
  void init(const Request& request);
  void read(const Request& request);
  void write(const Request& request);
  void flush(const Request& request);
  void release_file(const Request& request);
  void getattr(const Request& request);
  void setattr(const Request& request);
  void fallocate(const Request& request);
  void forget(const Request& request);
  void forget_node(uint64_t ino, uint64_t lookups);
  void interrupt(const Request& request);
  void getxattr(const Request& request);
  void refuse(const Request& request, int error);
  void track_parked(const Request& request);

  // What the poker asks; poke-session.cc. False: as anybody's.
  bool poked(const Request& request);
  bool poked_lookup(const Request& request);
  bool poked_change(const Request& request);
  void show_ghost(const Request& request, const Poke& poke);
  void hand_over_as(const Request& request, uint32_t opcode, uint64_t nodeid, std::string_view body,
                    PokeReply poke);
  void reply_poke(const Held& held, uint64_t unique, uint8_t* payload, size_t size);

  // Completing replies; session-reply.cc.
  bool complete(const Held& held, uint8_t* payload, size_t size);
  bool complete_entry(const Held& held, fuse_entry_out* entry, bool opened);
  bool complete_entries(const Held& held, uint8_t* payload, size_t size);
  void undo(const Held& held, const uint8_t* payload, size_t size);
  bool outdated(uint64_t ino, uint64_t sequence);
  void open_one(uint64_t ino, fuse_open_out* reply);
  void keep_cache(uint64_t ino, fuse_open_out* open);

  const SessionConfig config_;
  const std::shared_ptr<Wakeable> waker_;
  RequestRing ring_;
  Stats stats_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> changes_refused_{false};
  PokeGate gate_;

  std::mutex device_mutex_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<NotifyQueue> notifications_;
  std::thread reader_;

  std::mutex held_mutex_;
  std::unordered_map<uint64_t, Held> held_;
  std::unordered_map<uint64_t, uint64_t> invalidated_;  // ino -> sequence at that time
  uint64_t all_invalidated_ = 0;                        // sequence at that time
  std::unordered_map<uint64_t, Parked> parked_;         // by unique
  uint64_t sequence_ = 0;
  KnownNames names_;
  ToldEntries told_;
  // Held while the reader thread answers from what it knows of names: an invalidation that takes
  // such knowledge away is written after the answers that were given by it.
  std::mutex answering_mutex_;

  std::mutex events_mutex_;
  std::deque<Event> events_;

  // Reader thread only.
  std::unique_ptr<uint8_t[]> scratch_;
  size_t scratch_bytes_ = 0;
  bool ready_ = false;
  uint64_t predicted_ = 0;
  uint32_t misses_ = 0;
};

}  // namespace lattice
