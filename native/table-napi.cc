// FileTable as a JavaScript object. Every argument is checked; nothing is kept of a buffer after
// the call. The object holds a reference to the table, which lives until the last holder has gone.

#include "table-napi.h"

#include <cstring>

#include "table-napi-call.h"

namespace lattice {

namespace {

constexpr napi_type_tag kTableTag = {0x6c61747469636501, 0x7461626c65000001};

void finalize_table(napi_env, void* data, void*) { delete static_cast<TableHolder*>(data); }

}  // namespace

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

namespace {

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

constexpr Method kMethods[] = {
    {"close", close_table},
    {"onWake", on_wake},
    {"takeEvents", take_events},
    {"setLimits", set_limits},
    {"attach", attach},
    {"openData", open_data},
    {"attrs", attrs},
    {"setAttrs", set_attrs},
    {"changeAttrs", change_attrs},
    {"takeDirtyAttrs", take_dirty_attrs},
    {"setBaseHoles", set_base_holes},
    {"watchForget", watch_forget},
    {"write", write},
    {"read", read},
    {"truncate", truncate},
    {"zero", zero},
    {"overlay", overlay},
    {"reportError", report_error},
    {"takeError", number_of<&Table::take_error>},
    {"openCount", number_of<&Table::open_count>},
    {"dirtyBytes", number_of<&Table::dirty_bytes>},
    {"isDirty", is_dirty},
    {"totals", totals},
    {"drop", drop},
    {"refuseWrites", refuse_writes},
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
    for (const Method& m : kBaseMethods) export_function(env, object, m.name, m.callback);
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
