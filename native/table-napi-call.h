// What every method of the JavaScript FileTable begins with: its arguments, checked. Only the
// table's own faces include this.

#pragma once

#include <node_api.h>

#include <cmath>
#include <memory>

#include "napi-waker.h"
#include "table-napi.h"

namespace lattice {

inline constexpr uint64_t kIntMax = (uint64_t{1} << 53) - 1;

struct TableHolder {
  std::shared_ptr<Table> table;
  std::shared_ptr<Waker> waker;

  ~TableHolder() {
    if (waker) waker->close();
  }
};

// Throws and returns nullptr for anything but a FileTable.
TableHolder* holder_of(napi_env env, napi_value object);
// Throws for every outcome but `ok`.
napi_value finish(napi_env env, Outcome outcome);
bool unpack_attr(const double* values, Attr* into);

inline bool whole(double v, double min, double max) {
  return v >= min && v <= max && v == std::floor(v);
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
  bool attr(size_t i, Attr* out) {
    Doubles values;
    if (!get_doubles(env, args[i], 12, &values, "FileTable: attributes must be 12 numbers")) {
      return false;
    }
    if (unpack_attr(values.data, out)) return true;
    throw_invalid(env, "FileTable: an attribute is out of range");
    return false;
  }
};

// Methods of table-napi-base.cc: jobs and base content.
struct Method {
  const char* name;
  napi_callback callback;
};
extern const Method kReadFrozen;
extern const Method kBaseMethods[10];

}  // namespace lattice
