// Session as a JavaScript object (native/session.d.ts). Every argument is checked; a reply is
// changed in place and never kept.

#include <cmath>
#include <cstring>

#include "napi-waker.h"
#include "session-napi.h"
#include "session.h"
#include "table-napi.h"

void register_session(napi_env env, napi_value exports);
void register_mount(napi_env env, napi_value exports);
void register_misc(napi_env env, napi_value exports);

namespace lattice {

namespace {

constexpr napi_type_tag kSessionTag = {0x6c61747469636501, 0x73657373696f6e01};
constexpr uint64_t kIntMax = (uint64_t{1} << 53) - 1;
constexpr uint32_t kRecordHeaderBytes = 16;

struct SessionHolder {
  std::shared_ptr<Waker> waker;
  std::shared_ptr<Session> session;

  void close() {
    session->close();
    waker->close();
  }
};

void finalize_session(napi_env, void* data, void*) {
  auto* holder = static_cast<SessionHolder*>(data);
  holder->close();
  delete holder;
}

void finalize_ring(napi_env, void*, void* kept) {
  delete static_cast<std::shared_ptr<uint8_t>*>(kept);
}

SessionHolder* load(napi_env env, napi_callback_info info, size_t count, napi_value* args) {
  size_t given = count;
  napi_value self;
  bool tagged = false;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &given, args, &self, nullptr) != napi_ok ||
      napi_check_object_type_tag(env, self, &kSessionTag, &tagged) != napi_ok || !tagged ||
      napi_unwrap(env, self, &data) != napi_ok) {
    throw_invalid(env, "not a Session");
    return nullptr;
  }
  if (given < count) {
    throw_invalid(env, "Session: wrong number of arguments");
    return nullptr;
  }
  return static_cast<SessionHolder*>(data);
}

napi_value take(napi_env env, napi_callback_info info) {
  napi_value args[1];
  SessionHolder* holder = load(env, info, 1, args);
  if (holder == nullptr) return nullptr;
  bool is_typed_array = false;
  napi_typedarray_type type;
  void* data = nullptr;
  size_t size = 0;
  if (napi_is_typedarray(env, args[0], &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, args[0], &type, &size, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint32_array) {
    return throw_invalid(env, "take: into must be a Uint32Array");
  }
  auto* rows = static_cast<uint32_t*>(data);
  return make_number(env, double(holder->session->ring().take(rows, size / 2)));
}

napi_value release(napi_env env, napi_callback_info info) {
  napi_value args[1];
  SessionHolder* holder = load(env, info, 1, args);
  uint64_t count;
  if (holder == nullptr || !get_uint(env, args[0], 0, kIntMax, &count, "release: a count")) {
    return nullptr;
  }
  holder->session->release(static_cast<size_t>(count));
  return nullptr;
}

napi_value reply(napi_env env, napi_callback_info info) {
  napi_value args[2];
  Bytes packed;
  uint64_t count;
  SessionHolder* holder = load(env, info, 2, args);
  if (holder == nullptr ||
      !get_bytes(env, args[0], &packed, "reply: packed must be a Uint8Array") ||
      !get_uint(env, args[1], 0, UINT32_MAX, &count, "reply: a count")) {
    return nullptr;
  }
  // The structures inside are read in place: they must lie on multiples of 8.
  std::vector<uint64_t> aligned;
  if (reinterpret_cast<uintptr_t>(packed.data) % 8 != 0) {
    aligned.resize((packed.size + 7) / 8);
    std::memcpy(aligned.data(), packed.data, packed.size);
    packed.data = reinterpret_cast<uint8_t*>(aligned.data());
  }
  // Keeps the session while it writes, whatever a callback may do.
  const std::shared_ptr<Session> session = holder->session;
  size_t at = 0;
  for (uint64_t i = 0; i < count; i++) {
    uint32_t length;
    int32_t error;
    uint64_t unique;
    if (at > packed.size || packed.size - at < kRecordHeaderBytes) {
      return throw_invalid(env, "reply: a record is cut off");
    }
    std::memcpy(&length, packed.data + at, 4);
    std::memcpy(&error, packed.data + at + 4, 4);
    std::memcpy(&unique, packed.data + at + 8, 8);
    if (length < kRecordHeaderBytes || length > packed.size - at) {
      return throw_invalid(env, "reply: a record has a wrong length");
    }
    session->reply(unique, error, packed.data + at + kRecordHeaderBytes,
                   length - kRecordHeaderBytes);
    at += (size_t{length} + 7) & ~size_t{7};
  }
  return nullptr;
}

napi_value take_events(napi_env env, napi_callback_info info) {
  napi_value args[1];
  Doubles into;
  SessionHolder* holder = load(env, info, 1, args);
  if (holder == nullptr || !get_doubles(env, args[0], 5, &into, "takeEvents: rows of 5")) {
    return nullptr;
  }
  return make_number(env, double(holder->session->take_events(into.data, into.size / 5)));
}

napi_value notify(napi_env env, napi_callback_info info) {
  napi_value args[5] = {};
  SessionHolder* holder = load(env, info, 4, args);
  uint64_t kind, ino;
  double a, b;
  if (holder == nullptr) return nullptr;
  size_t given = 5;
  napi_get_cb_info(env, info, &given, args, nullptr, nullptr);
  if (!get_uint(env, args[0], 1, 5, &kind, "notify: kind is 1 to 5") ||
      !get_uint(env, args[1], 1, kIntMax, &ino, "notify: ino out of range")) {
    return nullptr;
  }
  if (napi_get_value_double(env, args[2], &a) != napi_ok ||
      napi_get_value_double(env, args[3], &b) != napi_ok || !(std::fabs(a) <= double(kIntMax)) ||
      !(std::fabs(b) <= double(kIntMax))) {
    return throw_invalid(env, "notify: a number is out of range");
  }
  std::string name;
  if (kind == 2 || kind == 3) {
    Bytes bytes;
    if (given < 5 || !get_bytes(env, args[4], &bytes, "notify: name must be a Uint8Array")) {
      return given < 5 ? throw_invalid(env, "notify: a name is missing") : nullptr;
    }
    if (bytes.size == 0 || bytes.size > 255 || std::memchr(bytes.data, 0, bytes.size) != nullptr) {
      return throw_invalid(env, "notify: a name has 1 to 255 bytes");
    }
    name.assign(reinterpret_cast<char*>(bytes.data), bytes.size);
  }
  return make_boolean(env, holder->session->notify(static_cast<int>(kind), ino,
                                                   static_cast<uint64_t>(static_cast<int64_t>(a)),
                                                   static_cast<uint64_t>(static_cast<int64_t>(b)),
                                                   std::move(name)));
}

napi_value tell(napi_env env, napi_callback_info info) {
  napi_value args[3];
  uint64_t directory;
  Bytes entries;
  bool is_whole;
  SessionHolder* holder = load(env, info, 3, args);
  if (holder == nullptr ||
      !get_uint(env, args[0], 1, kIntMax, &directory, "tell: ino out of range") ||
      !get_bytes(env, args[1], &entries, "tell: entries must be a Uint8Array")) {
    return nullptr;
  }
  if (napi_get_value_bool(env, args[2], &is_whole) != napi_ok) {
    return throw_invalid(env, "tell: isWhole must be a boolean");
  }
  if (reinterpret_cast<uintptr_t>(entries.data) % 8 != 0 ||
      !holder->session->tell(directory, entries.data, entries.size, is_whole)) {
    return throw_invalid(env, "tell: entries must be whole and lie on a multiple of 8");
  }
  return nullptr;
}

napi_value tell_end(napi_env env, napi_callback_info info) {
  napi_value args[2];
  uint64_t directory, cookie;
  SessionHolder* holder = load(env, info, 2, args);
  if (holder == nullptr ||
      !get_uint(env, args[0], 1, kIntMax, &directory, "tellEnd: ino out of range") ||
      !get_uint(env, args[1], 1, kIntMax, &cookie, "tellEnd: cookie out of range")) {
    return nullptr;
  }
  holder->session->tell_end(directory, cookie);
  return nullptr;
}

napi_value untell(napi_env env, napi_callback_info info) {
  SessionHolder* holder = load(env, info, 0, nullptr);
  if (holder != nullptr) holder->session->untell();
  return nullptr;
}

napi_value stats(napi_env env, napi_callback_info info) {
  SessionHolder* holder = load(env, info, 0, nullptr);
  if (holder == nullptr) return nullptr;
  const Session::Stats& s = holder->session->stats();
  const double values[9] = {double(s.read),  double(s.native), double(s.handed),
                            double(s.replies), double(s.wakes), double(s.landed),
                            double(s.landing_missed), double(s.malformed),
                            double(s.told)};
  return make_doubles(env, values, 9);
}

napi_value close_session(napi_env env, napi_callback_info info) {
  SessionHolder* holder = load(env, info, 0, nullptr);
  if (holder != nullptr) holder->close();
  return nullptr;
}

napi_value refuse_changes(napi_env env, napi_callback_info info) {
  napi_value args[1];
  SessionHolder* holder = load(env, info, 1, args);
  bool refused = false;
  if (holder == nullptr) return nullptr;
  if (napi_get_value_bool(env, args[0], &refused) != napi_ok) {
    return throw_invalid(env, "refuseChanges: a boolean");
  }
  holder->session->refuse_changes(refused);
  return nullptr;
}

constexpr struct {
  const char* name;
  napi_callback callback;
} kMethods[] = {
    {"take", take},           {"release", release},      {"reply", reply},
    {"takeEvents", take_events}, {"notify", notify},    {"tell", tell},
    {"tellEnd", tell_end},    {"untell", untell},
    {"stats", stats},         {"close", close_session},
    {"refuseChanges", refuse_changes},
    {"setPoker", set_poker},  {"expectPoke", expect_poke}, {"finishPoke", finish_poke},
};

bool get_property(napi_env env, napi_value object, const char* name, napi_value* out) {
  return napi_get_named_property(env, object, name, out) == napi_ok;
}

napi_value create_session(napi_env env, napi_callback_info info) {
  napi_value options, fd_value, table_value, read_only_value, wake, max_write_value, lifetime_value;
  if (!get_args(env, info, 1, &options)) return nullptr;
  if (!get_property(env, options, "fd", &fd_value) ||
      !get_property(env, options, "table", &table_value) ||
      !get_property(env, options, "readOnly", &read_only_value) ||
      !get_property(env, options, "onWake", &wake) ||
      !get_property(env, options, "maxWriteBytes", &max_write_value) ||
      !get_property(env, options, "lifetimeSec", &lifetime_value)) {
    return throw_invalid(env, "createSession: options must be an object");
  }
  SessionConfig config;
  uint64_t fd, max_write, lifetime;
  napi_valuetype wake_type;
  if (!get_uint(env, fd_value, 0, 0x7fffffff, &fd, "createSession: fd") ||
      !get_uint(env, max_write_value, 4096, 1u << 20, &max_write, "createSession: maxWriteBytes") ||
      !get_uint(env, lifetime_value, 0, UINT32_MAX, &lifetime, "createSession: lifetimeSec")) {
    return nullptr;
  }
  if (napi_get_value_bool(env, read_only_value, &config.read_only) != napi_ok ||
      napi_typeof(env, wake, &wake_type) != napi_ok || wake_type != napi_function) {
    return throw_invalid(env, "createSession: readOnly, onWake");
  }
  config.table = table_of(env, table_value);
  if (!config.table) return nullptr;
  config.max_write = static_cast<uint32_t>(max_write < 8192 ? 8192 : max_write);
  config.lifetime_sec = static_cast<uint32_t>(lifetime);

  auto waker = Waker::create(env, wake, true);
  if (!waker) return throw_invalid(env, "createSession: no waker");
  auto session = Session::start(static_cast<int>(fd), config, waker);
  if (!session) {
    waker->close();
    return throw_invalid(env, "createSession: bad descriptor");
  }
  auto* holder = new SessionHolder{waker, session};
  napi_value object, requests;
  if (napi_create_object(env, &object) != napi_ok ||
      napi_wrap(env, object, holder, finalize_session, nullptr, nullptr) != napi_ok) {
    finalize_session(env, holder, nullptr);
    return nullptr;
  }
  auto* kept = new std::shared_ptr<uint8_t>(session->ring().bytes());
  if (napi_create_external_arraybuffer(env, kept->get(), RequestRing::kBytes, finalize_ring, kept,
                                       &requests) != napi_ok) {
    delete kept;
    return throw_invalid(env, "createSession: no shared arena");
  }
  if (napi_type_tag_object(env, object, &kSessionTag) != napi_ok ||
      napi_set_named_property(env, object, "requests", requests) != napi_ok) {
    return nullptr;
  }
  for (const auto& m : kMethods) export_function(env, object, m.name, m.callback);
  return object;
}

}  // namespace

std::shared_ptr<Session> session_of_call(napi_env env, napi_callback_info info, size_t count,
                                         napi_value* args) {
  SessionHolder* holder = load(env, info, count, args);
  return holder == nullptr ? nullptr : holder->session;
}

}  // namespace lattice

void register_session(napi_env env, napi_value exports) {
  lattice::register_table(env, exports);
  lattice::export_function(env, exports, "createSession", lattice::create_session);
  register_mount(env, exports);
  register_misc(env, exports);
}
