// Small calls that Node does not offer: a socket pair for tests, the service manager's datagram, no
// core dumps, a durable write in one hop to the thread pool, and giving space inside a file back.

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "napi-task.h"
#include "napi-util.h"

void register_misc(napi_env env, napi_value exports);

namespace lattice {

namespace {

napi_value socket_pair(napi_env env, napi_callback_info) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    napi_throw_error(env, "system", std::strerror(errno));
    return nullptr;
  }
  // A whole WRITE must fit. Only root may go beyond the system's limit.
  const int size = 4 << 20;
  for (const int fd : fds) {
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
  }
  napi_value result, value;
  napi_create_array_with_length(env, 2, &result);
  for (uint32_t i = 0; i < 2; i++) {
    napi_create_int32(env, fds[i], &value);
    napi_set_element(env, result, i, value);
  }
  return result;
}

int send_datagram(const std::string& path, const std::string& message) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return EINVAL;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  else if (path[0] != '/') return EINVAL;
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const ssize_t sent = sendto(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                              reinterpret_cast<sockaddr*>(&address), size);
  const int error = sent < 0 ? errno : 0;
  close(fd);
  return error;
}

napi_value sd_notify(napi_env env, napi_callback_info info) {
  napi_value args[2];
  std::string texts[2];
  if (!get_args(env, info, 2, args)) return nullptr;
  for (int i = 0; i < 2; i++) {
    size_t size = 0;
    if (napi_get_value_string_utf8(env, args[i], nullptr, 0, &size) != napi_ok || size > 65536) {
      return throw_invalid(env, "sdNotify: socket path and message");
    }
    texts[i].resize(size);
    napi_get_value_string_utf8(env, args[i], texts[i].data(), size + 1, &size);
  }
  napi_value result;
  napi_create_int32(env, send_datagram(texts[0], texts[1]), &result);
  return result;
}

napi_value disable_core_dumps(napi_env, napi_callback_info) {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  return nullptr;
}

// ---- writeAndSync ---------------------------------------------------------------------------

struct DurableWrite {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  napi_ref bytes = nullptr;  // keeps the caller's buffer where it is
  int fd = -1;
  uint64_t offset = 0;
  const uint8_t* data = nullptr;
  size_t size = 0;
  int error = 0;
};

void write_durably(napi_env, void* data) {
  auto* w = static_cast<DurableWrite*>(data);
  while (w->size > 0) {
    const ssize_t n = pwrite(w->fd, w->data, w->size, static_cast<off_t>(w->offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      w->error = n < 0 ? errno : EIO;
      return;
    }
    w->data += n;
    w->size -= static_cast<size_t>(n);
    w->offset += static_cast<uint64_t>(n);
  }
#ifdef __APPLE__
  if (fsync(w->fd) != 0) w->error = errno;
#else
  if (fdatasync(w->fd) != 0) w->error = errno;
#endif
}

void written_durably(napi_env env, napi_status status, void* data) {
  std::unique_ptr<DurableWrite> w(static_cast<DurableWrite*>(data));
  napi_delete_reference(env, w->bytes);
  napi_delete_async_work(env, w->work);
  if (status == napi_ok && w->error == 0) {
    napi_value undefined;
    napi_get_undefined(env, &undefined);
    napi_resolve_deferred(env, w->deferred, undefined);
    return;
  }
  TaskResult r;
  r.error = w->error == 0 ? ECANCELED : w->error;
  r.code = "system";
  r.message = std::string("writeAndSync: ") + std::strerror(r.error);
  napi_reject_deferred(env, w->deferred, make_error(env, r));
}

napi_value write_and_sync(napi_env env, napi_callback_info info) {
  napi_value args[3];
  uint64_t fd, offset;
  Bytes bytes;
  if (!get_args(env, info, 3, args) ||
      !get_uint(env, args[0], 0, 0x7fffffff, &fd, "writeAndSync: fd") ||
      !get_uint(env, args[1], 0, uint64_t{1} << 52, &offset, "writeAndSync: offset") ||
      !get_bytes(env, args[2], &bytes, "writeAndSync: bytes must be a Uint8Array")) {
    return nullptr;
  }
  auto w = std::make_unique<DurableWrite>();
  w->fd = static_cast<int>(fd);
  w->offset = offset;
  w->data = bytes.data;
  w->size = bytes.size;
  napi_value promise, name;
  if (napi_create_reference(env, args[2], 1, &w->bytes) != napi_ok ||
      napi_create_promise(env, &w->deferred, &promise) != napi_ok ||
      napi_create_string_utf8(env, "lattice.writeAndSync", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, nullptr, name, write_durably, written_durably, w.get(),
                             &w->work) != napi_ok ||
      napi_queue_async_work(env, w->work) != napi_ok) {
    napi_throw_error(env, "internal", "writeAndSync: no task");
    return nullptr;
  }
  w.release();
  return promise;
}

// ---- punchHoles -----------------------------------------------------------------------------

struct Hole {
  uint64_t offset, size;
};

int punch(int fd, const Hole& hole) {
#ifdef __APPLE__
  fpunchhole_t range{};
  range.fp_offset = static_cast<off_t>(hole.offset);
  range.fp_length = static_cast<off_t>(hole.size);
  while (fcntl(fd, F_PUNCHHOLE, &range) != 0) {
#else
  while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   static_cast<off_t>(hole.offset), static_cast<off_t>(hole.size)) != 0) {
#endif
    if (errno != EINTR) return errno;
  }
  return 0;
}

napi_value punch_holes(napi_env env, napi_callback_info info) {
  napi_value args[2];
  uint64_t fd;
  uint32_t count = 0;
  bool is_array = false;
  if (!get_args(env, info, 2, args) ||
      !get_uint(env, args[0], 0, 0x7fffffff, &fd, "punchHoles: fd")) {
    return nullptr;
  }
  if (napi_is_array(env, args[1], &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, args[1], &count) != napi_ok || count % 2 != 0) {
    return throw_invalid(env, "punchHoles: offsets and sizes in turns");
  }
  std::vector<uint64_t> numbers(count);
  for (uint32_t i = 0; i < count; i++) {
    napi_value value;
    napi_get_element(env, args[1], i, &value);
    const uint64_t least = i % 2;  // a size is at least 1
    if (!get_uint(env, value, least, uint64_t{1} << 52, &numbers[i], "punchHoles: range")) {
      return nullptr;
    }
  }
  return start_task(env, "lattice.punchHoles", [fd, numbers = std::move(numbers)] {
    TaskResult r;
    for (size_t i = 0; i < numbers.size() && !r.failed; i += 2) {
      r.error = punch(static_cast<int>(fd), {numbers[i], numbers[i + 1]});
      if (r.error == 0) continue;
      r.failed = true;
      r.code = "system";
      r.message = std::string("punchHoles: ") + std::strerror(r.error);
    }
    return r;
  });
}

}  // namespace

}  // namespace lattice

void register_misc(napi_env env, napi_value exports) {
  using namespace lattice;
  export_function(env, exports, "socketPair", socket_pair);
  export_function(env, exports, "sdNotify", sd_notify);
  export_function(env, exports, "disableCoreDumps", disable_core_dumps);
  export_function(env, exports, "writeAndSync", write_and_sync);
  export_function(env, exports, "punchHoles", punch_holes);
}
