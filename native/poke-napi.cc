// The session's poke methods (native/session.d.ts).

#include <cstring>
#include <string>

#include "napi-util.h"
#include "session-napi.h"
#include "table-napi.h"

namespace lattice {

namespace {

constexpr uint64_t kIntMax = (uint64_t{1} << 53) - 1;

bool get_name(napi_env env, napi_value value, std::string* out) {
  Bytes bytes;
  if (!get_bytes(env, value, &bytes, "expectPoke: names are Uint8Arrays")) return false;
  if (bytes.size == 0) return out->clear(), true;  // its data may be null
  if (bytes.size > 255 || std::memchr(bytes.data, 0, bytes.size) != nullptr) {
    throw_invalid(env, "expectPoke: a name has at most 255 bytes");
    return false;
  }
  out->assign(reinterpret_cast<char*>(bytes.data), bytes.size);
  return true;
}

}  // namespace

napi_value set_poker(napi_env env, napi_callback_info info) {
  napi_value args[1];
  const std::shared_ptr<Session> session = session_of_call(env, info, 1, args);
  uint64_t pid;
  if (!session || !get_uint(env, args[0], 0, INT32_MAX, &pid, "setPoker: a pid")) return nullptr;
  session->gate().set_poker(static_cast<uint32_t>(pid));
  return nullptr;
}

napi_value expect_poke(napi_env env, napi_callback_info info) {
  napi_value args[8];
  const std::shared_ptr<Session> session = session_of_call(env, info, 8, args);
  Poke poke;
  uint64_t op, mode;
  if (!session || !get_uint(env, args[0], 1, 5, &op, "expectPoke: op is 1 to 5") ||
      !get_uint(env, args[1], 0, kIntMax, &poke.ino, "expectPoke: ino") ||
      !get_uint(env, args[2], 0, kIntMax, &poke.generation, "expectPoke: generation") ||
      !get_uint(env, args[3], 0, UINT32_MAX, &mode, "expectPoke: mode") ||
      !get_uint(env, args[4], 0, kIntMax, &poke.parent, "expectPoke: parent") ||
      !get_name(env, args[5], &poke.name) ||
      !get_uint(env, args[6], 0, kIntMax, &poke.new_parent, "expectPoke: newParent") ||
      !get_name(env, args[7], &poke.new_name)) {
    return nullptr;
  }
  poke.op = static_cast<PokeOp>(op);
  poke.mode = static_cast<uint32_t>(mode);
  session->gate().expect(std::move(poke));
  return nullptr;
}

napi_value finish_poke(napi_env env, napi_callback_info info) {
  const std::shared_ptr<Session> session = session_of_call(env, info, 0, nullptr);
  if (!session) return nullptr;
  const double values[2] = {double(session->gate().finish()), double(session->gate().refused)};
  return make_doubles(env, values, 2);
}

}  // namespace lattice
