// FileTable: the records of all inos of one vault, and everything that may happen to their bytes.
// The semantics are those of the port in src/vault/buffers.ts. Called from the JavaScript thread,
// from the session's reader thread and from the table's own threads.
//
// Locks, in this order, each held briefly and never across I/O on the device: record.mutex (one
// record) > table mutex (the map) > small leaf mutexes (events, jobs, parked writes, clean list).
// Two records are never locked together. A record that has been removed says `gone`.

#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "bundle.h"
#include "table-overlay.h"
#include "table-places.h"

struct iovec;

namespace lattice {

inline constexpr uint32_t kAttrMode = 1, kAttrUid = 2, kAttrGid = 4, kAttrSize = 8, kAttrAtime = 16,
                          kAttrMtime = 32, kAttrCtime = 64, kAttrAll = 127;
// Sums of two stay exact in JavaScript; the engine's FILE_MAX_BYTES.
inline constexpr uint64_t kSizeMax = uint64_t{1} << 52;

struct Attr {
  uint32_t mode = 0, nlink = 0, uid = 0, gid = 0, rdev = 0;
  uint64_t size = 0;
  int64_t atime_sec = 0, mtime_sec = 0, ctime_sec = 0;
  uint32_t atime_nsec = 0, mtime_nsec = 0, ctime_nsec = 0;
};

// mode nlink uid gid rdev size, then seconds and nanoseconds of atime, mtime, ctime.
void pack_attr(const Attr& attr, double into[12]);
void now(int64_t* seconds, uint32_t* nanoseconds);

enum class EventKind : int {
  need = 1,
  dirty,
  full,
  flush,
  released,
  pressure,
  forgotten,
  fetch_done,
  ended,
  interrupt,
  notified,
};

struct Event {
  EventKind kind = EventKind::need;
  double ino = 0, a = 0, b = 0, c = 0;
};

// Bytes of a READ reply that stay valid after the record's lock is gone.
struct ReadSlice {
  struct Part {
    const uint8_t* data;
    size_t size;
  };
  std::vector<Part> parts;
  std::vector<ArenaRef> refs;
  std::vector<uint8_t> copied;
  size_t total = 0;
};

// Who waits for a parked READ or WRITE: a session. Called without any lock of the table.
class Waiter {
 public:
  virtual ~Waiter() = default;
  virtual void answer_read(uint64_t unique, const ReadSlice& slice) = 0;
  virtual void answer_write(uint64_t unique, uint32_t size) = 0;
  virtual void answer_error(uint64_t unique, int error) = 0;
  // Nothing else waits for the thread that asks.
  virtual bool idle() { return false; }
};
using WaiterRef = std::shared_ptr<Waiter>;

// Somebody who drains events; wake() may be called from any thread.
class Wakeable {
 public:
  virtual ~Wakeable() = default;
  virtual void wake() = 0;
};

struct ParkedRead {
  WaiterRef waiter;
  uint64_t unique, offset;
  uint32_t size;
};

struct Job {
  struct Part {
    uint64_t offset, length;
    bool hole;
    ArenaRef arena;
    const uint8_t* data;
  };
  uint64_t id = 0, ino = 0;
  Attr attr;
  uint64_t data_bytes = 0;
  std::vector<Part> parts;
};

struct Record {
  explicit Record(uint64_t number) : ino(number) {}

  const uint64_t ino;
  std::mutex mutex;
  bool gone = false;
  bool looked_up = false;  // the kernel knew it at some time
  bool watched = false;
  bool was_open = false;
  bool size_dirty = false;
  bool dirty_told = false;
  bool full_told = false;
  bool attr_queued = false;
  uint32_t explicit_mask = 0;
  int error = 0;
  uint64_t nlookup = 0, open_count = 0;
  uint64_t named_in = 0;  // see Table::on_its_way
  Attr attr;
  // Bytes of holes in the base as it was told, less what was written over it since; the base goes
  // on with zeros behind base_size. At most those that there are: see blocks_of.
  int64_t base_hole_bytes = 0;
  uint64_t base_size = 0;
  uint64_t epoch = 0;
  uint64_t job = 0;  // in flight, or 0
  uint64_t job_data = 0;
  bool job_size_dirty = false;
  std::unique_ptr<Overlay> overlay;
  std::unique_ptr<Places> places;  // of an open file; may be absent

  // Readers.
  std::vector<ParkedRead> parked;
  std::map<uint64_t, uint64_t> asked;  // begin -> end: `need` was raised and is not answered yet
  uint64_t read_end = 0;               // of the last READ
  uint64_t call_end = UINT64_MAX;      // of the engine's last read()
  uint64_t window_end = 0;             // of the last sequential request, 0 = none
  uint64_t window_bytes = 0;
  uint64_t trigger = UINT64_MAX;
  uint64_t dropped_to = 0;

  // Guarded by the table's clean-list mutex.
  bool in_clean_list = false;
  std::list<std::shared_ptr<Record>>::iterator clean_list_at;
  std::atomic<uint64_t> used_tick{0};

  // What a freeze would take.
  bool dirty() const {
    return size_dirty || (overlay && overlay->counts().dirty_extents != 0);
  }
  // Bytes that only this record has: dirty, or frozen and not settled.
  bool busy() const { return dirty() || job != 0; }
};
using RecordRef = std::shared_ptr<Record>;

// Work to be done once the record's lock is gone: answers to readers, wakes.
struct Settled {
  struct Answer {
    WaiterRef waiter;
    uint64_t unique;
    int error;
    ReadSlice slice;
  };
  std::vector<Answer> answers;
  void send();
};

enum class Outcome { ok, absent_record, no_overlay, full, no_memory, parked, refused };

// What joins its own threads is not deleted on one of them: `own` leaves it to another thread.
template <typename T>
void delete_elsewhere(T* object, bool own) {
  if (own) std::thread([object] { delete object; }).detach();
  else delete object;
}

class Table : public std::enable_shared_from_this<Table> {
 public:
  static std::shared_ptr<Table> create();
  static std::shared_ptr<Table> by_handle(uint64_t handle);
  ~Table();
  Table(const Table&) = delete;

  uint64_t handle() const { return handle_; }
  // Stops the table's threads; parked readers and writers get ENOTCONN. Idempotent.
  void close();
  void set_limits(uint64_t dirty_max, uint64_t clean_max);
  // Events wake the newest listener alone: a session takes the table's events with its own.
  void add_listener(const std::shared_ptr<Wakeable>& listener);
  void remove_listener(const Wakeable* listener);
  void raise(Event event);
  size_t take_events(double* rows, size_t max_rows);

  // Records and attributes.
  RecordRef find(uint64_t ino);
  void attach(uint64_t ino, const Attr& attr);
  Outcome open_data(uint64_t ino);
  bool attrs(uint64_t ino, Attr* into);
  Outcome set_attrs(uint64_t ino, uint32_t mask, const Attr& attr);
  Outcome change_attrs(uint64_t ino, uint32_t mask, const Attr& attr);
  size_t take_dirty_attrs(double* rows, size_t max_rows);
  // True when the blocks that the kernel may have been told are others now.
  bool set_base_holes(uint64_t ino, uint64_t bytes, uint64_t base_size);
  void watch_forget(uint64_t ino);
  Outcome drop(uint64_t ino);

  // The session's view of records. An entry reply registers or finds the record, counts one lookup
  // (and one open) of `directory` and returns the attributes that are to be told; 0: no entry.
  Attr register_entry(uint64_t ino, const Attr& told, uint64_t directory, bool opened,
                      uint64_t* blocks);
  // The directory of the last entry reply that told of the inode, 0 once the kernel has shown that
  // it came: until then the kernel may not know the inode yet.
  uint64_t on_its_way(uint64_t ino);
  void opened(uint64_t ino);
  void forget(uint64_t ino, uint64_t count);
  void released(uint64_t ino);
  int flushed(uint64_t ino);
  // The mount is gone, and with it every lookup and open that the kernel had.
  void kernel_gone();
  // SETATTR: `mask` and `attr` as in change_attrs, then the size when `has_size` (needs an
  // overlay). absent_record or no_overlay: ask the engine.
  Outcome setattr(uint64_t ino, uint32_t mask, const Attr& attr, bool has_size, uint64_t size,
                  bool kill_suid, Attr* after, uint64_t* blocks);
  bool attrs_and_blocks(uint64_t ino, Attr* into, uint64_t* blocks);

  // Bytes.
  Outcome write(uint64_t ino, uint64_t offset, const uint8_t* bytes, size_t size);
  Outcome read(uint64_t ino, uint64_t offset, uint64_t length, std::vector<uint8_t>* into);
  Outcome truncate(uint64_t ino, uint64_t size);
  Outcome zero(uint64_t ino, uint64_t offset, uint64_t length, bool may_grow);
  Outcome allocate(uint64_t ino, uint64_t offset, uint64_t length);
  // Rows of 4 and counts for overlay().
  std::vector<double> overlay_rows(uint64_t ino, uint64_t begin, uint64_t end);

  // From the session's reader thread. `parked`: the waiter is answered later.
  Outcome read_for(const WaiterRef& waiter, uint64_t unique, uint64_t ino, uint64_t offset,
                   uint32_t size, ReadSlice* slice);
  Outcome write_for(const WaiterRef& waiter, uint64_t unique, uint64_t ino, uint64_t offset,
                    const uint8_t* bytes, uint32_t size, bool kill_suid);
  // While set (a positive errno), writers get it instead of waiting; those that wait get it now.
  void refuse_writes(int error);
  int write_refusal() const { return refusal_.load(); }
  // Landing prediction: an arena with `room` bytes reserved for the reader, for the ino that
  // streams.
  ArenaRef landing_reserve(uint64_t ino, size_t room);
  // `size` bytes of a WRITE of this ino lie at the arena's end. `ok` ends the reservation; refused,
  // they stay the caller's to copy away before landing_release().
  Outcome landing_write(uint64_t ino, const ArenaRef& arena, uint64_t offset, uint32_t size,
                        bool kill_suid);
  void landing_release(uint64_t ino, const ArenaRef& arena);
  // Takes a parked request away, answering it with `error`; false when it is not parked.
  bool cancel(const Waiter* waiter, uint64_t ino, uint64_t unique, int error);
  void cancel_all(const Waiter* waiter, int error);
  // A parked request was interrupted: it gets EINTR once its thread `pid` is to die of a signal,
  // now or later, as long as it is parked. The kernel tells of the first signal only.
  void interrupt(std::weak_ptr<Waiter> waiter, uint64_t ino, uint64_t unique, uint32_t pid);

  // Jobs.
  std::shared_ptr<const Job> freeze(uint64_t ino, Outcome* outcome);
  std::shared_ptr<const Job> job(uint64_t id);
  // False when [offset, offset + size) is not inside the job's extents.
  static bool read_frozen(const Job& job, uint64_t offset, uint8_t* into, size_t size);
  Outcome settle(uint64_t job, bool ok, uint64_t thaw_begin);
  uint64_t base_epoch(uint64_t ino);
  Outcome replace_base(uint64_t ino, uint64_t offset, uint64_t length);

  // Base content. refused = stale. Bytes are copied; the overload takes them where they lie.
  Outcome fill(uint64_t ino, uint64_t epoch, uint64_t offset, const uint8_t* bytes, uint64_t size);
  Outcome fill_hole(uint64_t ino, uint64_t epoch, uint64_t offset, uint64_t length);
  Outcome fill_arena(uint64_t ino, uint64_t epoch, uint64_t offset, uint64_t length,
                     const ArenaRef& arena, uint32_t pos);
  uint64_t fetch(uint64_t ino, uint64_t epoch, std::vector<BundlePiece> pieces);
  // The result (0 filled, 1 stale, 2 damaged, 3 I/O error) of a small fetch whose bytes are at
  // hand; -1: it must be begun with fetch().
  int fetch_at_once(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces);
  // Where base content lies, so that READs of it need nobody else. refused = stale, full = no room.
  Outcome set_places(uint64_t ino, uint64_t epoch, std::vector<BundlePiece> pieces);
  void set_bundle_key(const std::string& epoch_id, const uint8_t key[32]);
  void fail(uint64_t ino, uint64_t offset, uint64_t length, int error);
  void report_error(uint64_t ino, int error);
  int take_error(uint64_t ino);

  uint64_t open_count(uint64_t ino);
  // Inos that the kernel knows.
  std::vector<uint64_t> known_inos();
  uint64_t dirty_bytes(uint64_t ino);
  bool is_dirty(uint64_t ino);
  void totals(double out[6]);

 private:
  class Locked;
  struct ParkedWrite {
    WaiterRef waiter;
    uint64_t unique, ino, offset;
    std::vector<uint8_t> payload;
    bool kill_suid;
  };
  struct Interrupted {
    std::weak_ptr<Waiter> waiter;
    uint64_t ino, unique;
    uint32_t pid;
  };
  struct Fetch;
  struct Opened;
  // Base content read for one READ: what of `bytes` is there.
  struct DirectRead {
    uint64_t begin;
    std::vector<uint8_t> bytes;
    std::vector<Range> parts;
  };

  Table() = default;
  bool own_thread() const;
  RecordRef find_or_make(uint64_t ino);
  bool known_again(uint64_t ino);
  template <typename Fill>
  Outcome fill_with(uint64_t ino, uint64_t epoch, uint64_t begin, uint64_t end, Fill fill);

  bool full() const { return memory_.load() >= dirty_max_.load(); }
  // All of these with the record's lock held.
  void touch(Record& record);
  void wrote(Record& record);
  void tell_full(Record& record);
  void mark_dirty(Record& record);
  void note_clean_state(Record& record);
  void grow(Record& record, uint64_t size);
  void shrink(Record& record, uint64_t size);
  void kill_suid(Record& record);
  void apply(Record& record, uint32_t mask, const Attr& attr);
  void apply_told(Record& record, const Attr& told);
  void change_locked(Record& record, uint32_t mask, const Attr& attr);
  void truncate_locked(Record& record, uint64_t size, Settled* settled);
  static uint64_t blocks_of(const Record& record);
  void queue_attr(Record& record, uint32_t mask);
  Outcome write_locked(Record& record, uint64_t offset, const uint8_t* bytes, size_t size);
  bool slice(Record& record, uint64_t begin, uint64_t end, ReadSlice* into);
  void raise_need(const Record& record, uint64_t begin, uint64_t end, bool sequential);
  void need(Record& record, uint64_t begin, uint64_t end, bool sequential);
  void ask_for(Record& record, uint64_t begin, uint64_t end, std::vector<BundlePiece>* known);
  bool known_places(Record& record, uint64_t begin, uint64_t end, std::vector<BundlePiece>* known);
  void park(Record& record, const ParkedRead& read);
  void cut_places(Record& record, uint64_t begin, uint64_t end);
  void drop_places(Record& record);
  void read_ahead(Record& record, uint64_t begin, uint64_t end);
  void answered(Record& record, uint64_t begin, uint64_t end);
  void examine_parked(Record& record, Settled* settled);
  void drop_behind(Record& record, uint64_t begin);
  bool removable(const Record& record) const;
  void remove_if_unused(const RecordRef& record, std::unique_lock<std::mutex>& lock);
  // Moves the table's sums by what the record's overlay gained or lost.
  struct Sums {
    uint64_t memory = 0, dirty = 0, clean = 0;
  };
  static Sums sums(const Record& record);
  void adjust(const Sums& before, const Record& record);
  // Without locks: memory fell, or clean bytes grew.
  void relieve();
  void touch_clean(const RecordRef& record);
  void leave_clean_list(Record& record);
  void evict_clean();

  void run(bool ticking);
  void tick();
  void press();
  void hurry_tick();
  void tell_attrs();
  void resume_writes();
  bool parked(const Waiter* waiter, uint64_t ino, uint64_t unique);
  void examine_interrupted();
  void run_fetch_task(const std::shared_ptr<Fetch>& fetch, size_t first, size_t last);
  int open_group(uint64_t ino, uint64_t epoch, const BundlePiece* pieces, size_t count,
                 bool waits);
  int open_bundle(const BundlePiece* pieces, size_t count, bool waits, bool keeps, Opened* out);
  int fill_pieces(uint64_t ino, uint64_t epoch, const BundlePiece* pieces, size_t count,
                  const Opened& opened);
  int read_sealed(int fd, uint8_t* into, size_t size, uint64_t offset, bool waits);
  int open_all(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces, bool waits);
  // Known places: at once on the reader thread, or on one of the table's own.
  bool read_at_once(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces,
                    Waiter& waiter, DirectRead* direct);
  int open_direct(uint64_t ino, uint64_t epoch, const std::vector<BundlePiece>& pieces, bool waits,
                  DirectRead* direct);
  bool slice_with(Record& record, uint64_t begin, uint64_t end, const DirectRead& direct,
                  ReadSlice* into);
  void read_elsewhere(uint64_t ino, uint64_t epoch, std::vector<BundlePiece> pieces);
  void not_read(uint64_t ino, const std::vector<BundlePiece>& pieces, bool forget);
  void read_headers_ahead(const std::vector<BundlePiece>& pieces);
  PackRef pack_of(int fd);
  bool known_header(const BundlePiece& piece, uint8_t header[kBundleHeaderBytes]);
  void keep_header(const BundlePiece& piece, const uint8_t header[kBundleHeaderBytes]);
  bool bundle_key(const uint8_t* epoch_id, uint8_t key[32]);
  void wipe_keys();
  void post(std::function<void()> work);

  uint64_t handle_ = 0;
  std::atomic<uint64_t> dirty_max_{uint64_t{256} << 20}, clean_max_{uint64_t{64} << 20};
  std::atomic<uint64_t> memory_{0};  // dirty in overlays, and what jobs in flight hold
  std::atomic<uint64_t> dirty_{0}, clean_{0}, ticks_{0}, epochs_{0}, parked_reads_{0},
      parked_write_count_{0};
  std::atomic<int> refusal_{0};
  std::atomic<bool> pressing_{false}, closed_{false};

  std::mutex mutex_;
  std::unordered_map<uint64_t, RecordRef> records_;

  std::mutex events_mutex_;
  std::deque<Event> events_;
  std::vector<std::weak_ptr<Wakeable>> listeners_;
  std::shared_ptr<Wakeable> newest_listener();

  std::mutex attrs_mutex_;
  std::deque<uint64_t> dirty_attrs_;
  std::atomic<bool> attrs_told_{false};  // the ticking thread looks after them

  std::mutex jobs_mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<const Job>> jobs_;
  uint64_t next_job_ = 1;

  std::mutex clean_mutex_;
  std::list<RecordRef> clean_list_;

  std::mutex parked_mutex_;
  std::deque<ParkedWrite> parked_writes_;
  bool resuming_ = false;
  std::vector<Interrupted> interrupted_;
  std::atomic<bool> any_interrupted_{false};  // the ticking thread looks after them

  std::mutex keys_mutex_;
  std::map<std::string, std::vector<uint8_t>> keys_;
  // Clear headers of bundles that were read, by descriptor, place and size.
  std::map<std::tuple<int, uint64_t, uint64_t>, std::array<uint8_t, kBundleHeaderBytes>> headers_;

  std::atomic<uint64_t> pace_us_{600};  // what small reads of packs take, of late

  std::mutex packs_mutex_;
  std::map<std::pair<dev_t, ino_t>, std::weak_ptr<const PackFd>> packs_;
  std::atomic<size_t> places_{0};  // of all records

  std::mutex work_mutex_;
  std::condition_variable work_ready_;
  std::deque<std::function<void()>> work_;
  std::vector<std::thread> threads_;
  uint64_t next_fetch_ = 1;
  bool stopping_ = false;
};

}  // namespace lattice
