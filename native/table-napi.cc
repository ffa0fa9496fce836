// FileTable as a JavaScript object. Every argument is checked; nothing is kept of a buffer after
// the call. The object holds a reference to the table, which lives until the last holder has gone.

#include "table-napi.h"

#include <cmath>
#include <cstring>

#include "bundle.h"
#include "napi-waker.h"

namespace lattice {

namespace {

constexpr napi_type_tag kTableTag = {0x6c61747469636501, 0x7461626c65000001};
constexpr uint64_t kIntMax = (uint64_t{1} << 53) - 1;

struct TableHolder {
  std::shared_ptr<Table> table;
  std::shared_ptr<Waker> waker;

  ~TableHolder() {
    if (waker) waker->close();
  }
};

void finalize_table(napi_env, void* data, void*) { delete static_cast<TableHolder*>(data); }

TableHolder* holder_of(napi_env env, napi_value object) {
  bool tagged = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(env, object, &kTableTag, &tagged) != napi_ok || !tagged ||
      napi_unwrap(env, object, &data) != napi_ok) {
    throw_invalid(env, "not a FileTable");
    return nullptr;
  }
  return static_cast<TableHolder*>(data);
}

// The arguments of one method call: `table` and exactly N values.
template <size_t N>
struct Call {
  napi_env env;
  napi_value args[N + 1] = {};
  TableHolder* holder = nullptr;
  Table* table = nullptr;

  bool load(napi_env e, napi_callback_info info) {
    env = e;
    size_t count = N + 1;
    napi_value self;
    if (napi_get_cb_info(env, info, &count, args, &self, nullptr) != napi_ok || count != N) {
      throw_invalid(env, "FileTable: wrong number of arguments");
      return false;
    }
    holder = holder_of(env, self);
    if (holder != nullptr) table = holder->table.get();
    return holder != nullptr;
  }
  bool uint(size_t i, uint64_t* out, uint64_t max = kIntMax) {
    return get_uint(env, args[i], 0, max, out, "FileTable: a number is out of range");
  }
  // offset and length whose end is still a safe integer.
  bool range(size_t i, uint64_t* offset, uint64_t* length) {
    if (!uint(i, offset) || !uint(i + 1, length)) return false;
    if (*offset > kIntMax - *length) throw_invalid(env, "FileTable: a range is too long");
    return *offset <= kIntMax - *length;
  }
  bool flag(size_t i, bool* out) {
    if (napi_get_value_bool(env, args[i], out) == napi_ok) return true;
    throw_invalid(env, "FileTable: a flag is not a boolean");
    return false;
  }
  bool bytes(size_t i, Bytes* out) {
    return get_bytes(env, args[i], out, "FileTable: bytes must be a Uint8Array");
  }
  bool attr(size_t i, Attr* out);
};

bool whole(double v, double min, double max) { return v >= min && v <= max && v == std::floor(v); }

bool unpack_attr(const double* v, Attr* a) {
  for (int i = 0; i < 5; i++) {
    if (!whole(v[i], 0, 4294967295.0)) return false;
  }
  if (!whole(v[5], 0, double(kIntMax))) return false;
  for (int i = 6; i < 12; i += 2) {
    if (!whole(v[i], -9007199254740991.0, 9007199254740991.0) || !whole(v[i + 1], 0, 999999999)) {
      return false;
    }
  }
  a->mode = static_cast<uint32_t>(v[0]), a->nlink = static_cast<uint32_t>(v[1]);
  a->uid = static_cast<uint32_t>(v[2]), a->gid = static_cast<uint32_t>(v[3]);
  a->rdev = static_cast<uint32_t>(v[4]), a->size = static_cast<uint64_t>(v[5]);
  a->atime_sec = static_cast<int64_t>(v[6]), a->atime_nsec = static_cast<uint32_t>(v[7]);
  a->mtime_sec = static_cast<int64_t>(v[8]), a->mtime_nsec = static_cast<uint32_t>(v[9]);
  a->ctime_sec = static_cast<int64_t>(v[10]), a->ctime_nsec = static_cast<uint32_t>(v[11]);
  return true;
}

template <size_t N>
bool Call<N>::attr(size_t i, Attr* out) {
  Doubles values;
  if (!get_doubles(env, args[i], 12, &values, "FileTable: attributes must be 12 numbers")) {
    return false;
  }
  if (unpack_attr(values.data, out)) return true;
  throw_invalid(env, "FileTable: an attribute is out of range");
  return false;
}

// Throws for every outcome but `ok`.
napi_value finish(napi_env env, Outcome outcome) {
  const char* message = nullptr;
  switch (outcome) {
    case Outcome::absent_record: message = "FileTable: no record of this ino"; break;
    case Outcome::no_overlay: message = "FileTable: openData was not called for this ino"; break;
    case Outcome::no_memory: message = "FileTable: out of memory"; break;
    case Outcome::refused: message = "FileTable: not in this state"; break;
    default: return nullptr;
  }
  napi_throw_error(env, "invalid", message);
  return nullptr;
}

// ---- methods --------------------------------------------------------------------------------

napi_value close_table(napi_env env, napi_callback_info info) {
  Call<0> c;
  if (!c.load(env, info)) return nullptr;
  c.table->close();
  if (c.holder->waker) c.holder->waker->close();
  return nullptr;
}

napi_value on_wake(napi_env env, napi_callback_info info) {
  Call<1> c;
  if (!c.load(env, info)) return nullptr;
  napi_valuetype type;
  if (napi_typeof(env, c.args[0], &type) != napi_ok || type != napi_function) {
    return throw_invalid(env, "FileTable: onWake takes a function");
  }
  auto waker = Waker::create(env, c.args[0], false);
  if (!waker) return throw_invalid(env, "FileTable: no waker");
  if (c.holder->waker) {
    c.table->remove_listener(c.holder->waker.get());
    c.holder->waker->close();
  }
  c.holder->waker = waker;
  c.table->add_listener(waker);
  return nullptr;
}

napi_value take_events(napi_env env, napi_callback_info info) {
  Call<1> c;
  Doubles into;
  if (!c.load(env, info) || !get_doubles(env, c.args[0], 5, &into, "FileTable: rows of 5")) {
    return nullptr;
  }
  return make_number(env, double(c.table->take_events(into.data, into.size / 5)));
}

napi_value set_limits(napi_env env, napi_callback_info info) {
  Call<2> c;
  uint64_t dirty, clean;
  if (!c.load(env, info) || !c.uint(0, &dirty) || !c.uint(1, &clean)) return nullptr;
  if (dirty == 0) return throw_invalid(env, "FileTable: the dirty limit must not be 0");
  c.table->set_limits(dirty, clean);
  return nullptr;
}

napi_value attach(napi_env env, napi_callback_info info) {
  Call<2> c;
  uint64_t ino;
  Attr attr;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.attr(1, &attr)) return nullptr;
  c.table->attach(ino, attr);
  return nullptr;
}

napi_value open_data(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  return finish(env, c.table->open_data(ino));
}

napi_value attrs(napi_env env, napi_callback_info info) {
  Call<2> c;
  uint64_t ino;
  Doubles into;
  if (!c.load(env, info) || !c.uint(0, &ino) ||
      !get_doubles(env, c.args[1], 12, &into, "FileTable: attributes must be 12 numbers")) {
    return nullptr;
  }
  Attr attr;
  const bool found = c.table->attrs(ino, &attr);
  if (found) pack_attr(attr, into.data);
  return make_boolean(env, found);
}

napi_value set_or_change(napi_env env, napi_callback_info info, bool by_caller) {
  Call<3> c;
  uint64_t ino, mask;
  Attr attr;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &mask, kAttrAll) || !c.attr(2, &attr)) {
    return nullptr;
  }
  const auto bits = static_cast<uint32_t>(mask);
  return finish(env, by_caller ? c.table->change_attrs(ino, bits, attr)
                               : c.table->set_attrs(ino, bits, attr));
}

napi_value set_attrs(napi_env env, napi_callback_info info) {
  return set_or_change(env, info, false);
}
napi_value change_attrs(napi_env env, napi_callback_info info) {
  return set_or_change(env, info, true);
}

napi_value take_dirty_attrs(napi_env env, napi_callback_info info) {
  Call<1> c;
  Doubles into;
  if (!c.load(env, info) || !get_doubles(env, c.args[0], 14, &into, "FileTable: rows of 14")) {
    return nullptr;
  }
  return make_number(env, double(c.table->take_dirty_attrs(into.data, into.size / 14)));
}

napi_value set_base_holes(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, bytes, base_size;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &bytes) || !c.uint(2, &base_size)) {
    return nullptr;
  }
  return make_boolean(env, c.table->set_base_holes(ino, bytes, base_size));
}

napi_value watch_forget(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  c.table->watch_forget(ino);
  return nullptr;
}

napi_value write(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, offset;
  Bytes bytes;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &offset) || !c.bytes(2, &bytes)) {
    return nullptr;
  }
  if (offset > kIntMax - bytes.size) return throw_invalid(env, "FileTable: a range is too long");
  const Outcome outcome = c.table->write(ino, offset, bytes.data, bytes.size);
  if (outcome == Outcome::full) return make_boolean(env, false);
  return outcome == Outcome::ok ? make_boolean(env, true) : finish(env, outcome);
}

napi_value read(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, offset, length;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.range(1, &offset, &length)) return nullptr;
  if (length > (uint64_t{1} << 30)) return throw_invalid(env, "FileTable: read at most 1 GiB");
  std::vector<uint8_t> into;
  const Outcome outcome = c.table->read(ino, offset, length, &into);
  if (outcome == Outcome::parked) return nullptr;
  return outcome == Outcome::ok ? make_bytes(env, into.data(), into.size()) : finish(env, outcome);
}

napi_value truncate(napi_env env, napi_callback_info info) {
  Call<2> c;
  uint64_t ino, size;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &size)) return nullptr;
  return finish(env, c.table->truncate(ino, size));
}

napi_value zero(napi_env env, napi_callback_info info) {
  Call<4> c;
  uint64_t ino, offset, length;
  bool may_grow;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.range(1, &offset, &length) ||
      !c.flag(3, &may_grow)) {
    return nullptr;
  }
  return finish(env, c.table->zero(ino, offset, length, may_grow));
}

napi_value overlay(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, begin, end;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &begin) || !c.uint(2, &end)) {
    return nullptr;
  }
  const std::vector<double> rows = c.table->overlay_rows(ino, begin, end);
  return make_doubles(env, rows.data(), rows.size());
}

napi_value freeze(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  Outcome outcome;
  const auto job = c.table->freeze(ino, &outcome);
  if (outcome != Outcome::ok) return finish(env, outcome);
  if (!job) return nullptr;
  std::vector<double> row(14);
  row[0] = double(job->id);
  row[1] = double(job->data_bytes);
  pack_attr(job->attr, row.data() + 2);
  for (const Job::Part& part : job->parts) {
    const size_t n = row.size();
    const double offset = double(part.offset), length = double(part.length), hole = part.hole;
    if (n > 14 && row[n - 3] + row[n - 2] == offset && row[n - 1] == hole) row[n - 2] += length;
    else row.insert(row.end(), {offset, length, hole});
  }
  return make_doubles(env, row.data(), row.size());
}

napi_value read_frozen_of(napi_env env, Table* table, napi_value* args) {
  uint64_t id, offset;
  Bytes into;
  if (!get_uint(env, args[0], 1, kIntMax, &id, "readFrozen: no such job") ||
      !get_uint(env, args[1], 0, kIntMax, &offset, "readFrozen: offset out of range") ||
      !get_bytes(env, args[2], &into, "readFrozen: into must be a Uint8Array")) {
    return nullptr;
  }
  const auto job = table->job(id);
  if (!job) return throw_invalid(env, "readFrozen: no such job");
  if (!Table::read_frozen(*job, offset, into.data, into.size)) {
    return throw_invalid(env, "readFrozen: outside the job's extents");
  }
  return make_number(env, double(into.size));
}

napi_value read_frozen(napi_env env, napi_callback_info info) {
  Call<3> c;
  return c.load(env, info) ? read_frozen_of(env, c.table, c.args) : nullptr;
}

napi_value settle(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t job;
  bool ok;
  double thaw = 0;
  if (!c.load(env, info) || !c.uint(0, &job) || !c.flag(1, &ok)) return nullptr;
  if (napi_get_value_double(env, c.args[2], &thaw) != napi_ok || !(thaw >= 0)) {
    return throw_invalid(env, "settle: thawBegin out of range");
  }
  const uint64_t begin = thaw >= double(kSizeMax) ? UINT64_MAX : static_cast<uint64_t>(thaw);
  return finish(env, c.table->settle(job, ok, begin));
}

napi_value base_epoch(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  return make_number(env, double(c.table->base_epoch(ino)));
}

napi_value replace_base(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, offset, length;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.range(1, &offset, &length)) return nullptr;
  return finish(env, c.table->replace_base(ino, offset, length));
}

napi_value filled(napi_env env, Outcome outcome) {
  if (outcome == Outcome::no_memory) return finish(env, outcome);
  return make_number(env, outcome == Outcome::ok ? 0 : 1);
}

napi_value fill(napi_env env, napi_callback_info info) {
  Call<4> c;
  uint64_t ino, epoch, offset;
  Bytes bytes;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &epoch) || !c.uint(2, &offset) ||
      !c.bytes(3, &bytes)) {
    return nullptr;
  }
  if (offset > kIntMax - bytes.size) return throw_invalid(env, "FileTable: a range is too long");
  return filled(env, c.table->fill(ino, epoch, offset, bytes.data, bytes.size));
}

napi_value fill_hole(napi_env env, napi_callback_info info) {
  Call<4> c;
  uint64_t ino, epoch, offset, length;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &epoch) ||
      !c.range(2, &offset, &length)) {
    return nullptr;
  }
  return filled(env, c.table->fill_hole(ino, epoch, offset, length));
}

napi_value fetch(napi_env env, napi_callback_info info) {
  Call<3> c;
  uint64_t ino, epoch;
  Doubles rows;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &epoch) ||
      !get_doubles(env, c.args[2], 0, &rows, "fetch: rows of 6 numbers")) {
    return nullptr;
  }
  if (rows.size % 6 != 0) return throw_invalid(env, "fetch: rows of 6 numbers");
  std::vector<BundlePiece> pieces(rows.size / 6);
  const double* v = rows.data;
  for (BundlePiece& p : pieces) {
    for (int i = 0; i < 6; i++) {
      if (!whole(v[i], 0, double(kIntMax) / 4)) return throw_invalid(env, "fetch: out of range");
    }
    // Lengths beyond a bundle, and none at all, cannot be right.
    if (v[1] < 1 || v[1] > double(kBundleMaxBytes) || v[2] > 0x7fffffff) {
      return throw_invalid(env, "fetch: out of range");
    }
    p = {uint64_t(v[0]), uint64_t(v[1]), int(v[2]), uint64_t(v[3]), uint64_t(v[4]), uint64_t(v[5])};
    v += 6;
  }
  const int done = c.table->fetch_at_once(ino, epoch, pieces);
  if (done >= 0) return make_number(env, double(-1 - done));
  return make_number(env, double(c.table->fetch(ino, epoch, std::move(pieces))));
}

napi_value set_bundle_key(napi_env env, napi_callback_info info) {
  Call<2> c;
  Bytes epoch, key;
  if (!c.load(env, info) || !c.bytes(0, &epoch) || !c.bytes(1, &key)) return nullptr;
  if (epoch.size != kBundleEpochBytes || key.size != 32) {
    return throw_invalid(env, "setBundleKey: epoch id of 8 bytes, key of 32");
  }
  c.table->set_bundle_key(std::string(reinterpret_cast<char*>(epoch.data), epoch.size), key.data);
  return nullptr;
}

napi_value fail(napi_env env, napi_callback_info info) {
  Call<4> c;
  uint64_t ino, offset, length, error;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.range(1, &offset, &length) ||
      !c.uint(3, &error, 511)) {
    return nullptr;
  }
  if (error == 0) return throw_invalid(env, "fail: errno must be positive");
  c.table->fail(ino, offset, length, static_cast<int>(error));
  return nullptr;
}

napi_value report_error(napi_env env, napi_callback_info info) {
  Call<2> c;
  uint64_t ino, error;
  if (!c.load(env, info) || !c.uint(0, &ino) || !c.uint(1, &error, 511)) return nullptr;
  c.table->report_error(ino, static_cast<int>(error));
  return nullptr;
}

napi_value refuse_writes(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t error;
  if (!c.load(env, info) || !c.uint(0, &error, 511)) return nullptr;
  c.table->refuse_writes(static_cast<int>(error));
  return nullptr;
}

template <auto Method>
napi_value number_of(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  return make_number(env, double((c.table->*Method)(ino)));
}

napi_value is_dirty(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  return make_boolean(env, c.table->is_dirty(ino));
}

napi_value totals(napi_env env, napi_callback_info info) {
  Call<0> c;
  if (!c.load(env, info)) return nullptr;
  double values[6];
  c.table->totals(values);
  return make_doubles(env, values, 6);
}

napi_value drop(napi_env env, napi_callback_info info) {
  Call<1> c;
  uint64_t ino;
  if (!c.load(env, info) || !c.uint(0, &ino)) return nullptr;
  return finish(env, c.table->drop(ino));
}

// ---- objects --------------------------------------------------------------------------------

struct Method {
  const char* name;
  napi_callback callback;
};

constexpr Method kReadFrozen = {"readFrozen", read_frozen};
constexpr Method kMethods[] = {
    {"close", close_table},       {"onWake", on_wake},
    {"takeEvents", take_events},  {"setLimits", set_limits},
    {"attach", attach},           {"openData", open_data},
    {"attrs", attrs},             {"setAttrs", set_attrs},
    {"changeAttrs", change_attrs}, {"takeDirtyAttrs", take_dirty_attrs},
    {"setBaseHoles", set_base_holes}, {"watchForget", watch_forget},
    {"write", write},             {"read", read},
    {"truncate", truncate},       {"zero", zero},
    {"overlay", overlay},         {"freeze", freeze},
    {"settle", settle},           {"baseEpoch", base_epoch},
    {"replaceBase", replace_base}, {"fill", fill},
    {"fillHole", fill_hole},      {"fetch", fetch},
    {"setBundleKey", set_bundle_key}, {"fail", fail},
    {"reportError", report_error}, {"takeError", number_of<&Table::take_error>},
    {"openCount", number_of<&Table::open_count>}, {"dirtyBytes", number_of<&Table::dirty_bytes>},
    {"isDirty", is_dirty},        {"totals", totals},
    {"drop", drop},               {"refuseWrites", refuse_writes},
};

napi_value wrap_table(napi_env env, std::shared_ptr<Table> table, bool whole_face) {
  napi_value object, handle;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  const uint64_t number = table->handle();
  auto* holder = new TableHolder{std::move(table), nullptr};
  if (napi_wrap(env, object, holder, finalize_table, nullptr, nullptr) != napi_ok) {
    delete holder;
    return nullptr;
  }
  if (napi_type_tag_object(env, object, &kTableTag) != napi_ok ||
      napi_create_double(env, double(number), &handle) != napi_ok ||
      napi_set_named_property(env, object, "handle", handle) != napi_ok) {
    return nullptr;
  }
  export_function(env, object, kReadFrozen.name, kReadFrozen.callback);
  if (whole_face) {
    for (const Method& m : kMethods) export_function(env, object, m.name, m.callback);
  }
  return object;
}

napi_value create_file_table(napi_env env, napi_callback_info) {
  return wrap_table(env, Table::create(), true);
}

napi_value open_file_table(napi_env env, napi_callback_info info) {
  napi_value args[1];
  uint64_t handle;
  if (!get_args(env, info, 1, args) ||
      !get_uint(env, args[0], 1, kIntMax, &handle, "openFileTable: no such table")) {
    return nullptr;
  }
  auto table = Table::by_handle(handle);
  if (!table) return throw_invalid(env, "openFileTable: no such table");
  return wrap_table(env, std::move(table), false);
}

}  // namespace

std::shared_ptr<Table> table_of(napi_env env, napi_value object) {
  TableHolder* holder = holder_of(env, object);
  return holder == nullptr ? nullptr : holder->table;
}

bool get_doubles(napi_env env, napi_value value, size_t min_size, Doubles* out, const char* what) {
  bool is_typed_array = false;
  napi_typedarray_type type;
  void* data = nullptr;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, value, &type, &out->size, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float64_array || out->size < min_size) {
    throw_invalid(env, what);
    return false;
  }
  out->data = static_cast<double*>(data);
  return true;
}

napi_value make_number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

napi_value make_boolean(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

static napi_value make_typed(napi_env env, napi_typedarray_type type, const void* from,
                             size_t count, size_t width) {
  void* data = nullptr;
  napi_value buffer, result = nullptr;
  if (napi_create_arraybuffer(env, count * width, &data, &buffer) != napi_ok ||
      napi_create_typedarray(env, type, count, buffer, 0, &result) != napi_ok) {
    return nullptr;
  }
  if (count > 0) std::memcpy(data, from, count * width);
  return result;
}

napi_value make_doubles(napi_env env, const double* values, size_t count) {
  return make_typed(env, napi_float64_array, values, count, sizeof(double));
}

napi_value make_bytes(napi_env env, const uint8_t* bytes, size_t size) {
  return make_typed(env, napi_uint8_array, bytes, size, 1);
}

void register_table(napi_env env, napi_value exports) {
  export_function(env, exports, "createFileTable", create_file_table);
  export_function(env, exports, "openFileTable", open_file_table);
}

}  // namespace lattice
