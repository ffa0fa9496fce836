// Small helpers for the N-API boundary: byte views, numbers, and errors with a code. No exceptions
// cross it: every function returns false (or nullptr) after it has thrown a JavaScript error.

#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace lattice {

struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;
};

inline napi_value throw_invalid(napi_env env, const char* message) {
  napi_throw_type_error(env, "invalid", message);
  return nullptr;
}

// Any Uint8Array (Buffers too). The view stays valid until the call returns to JavaScript.
inline bool get_bytes(napi_env env, napi_value value, Bytes* out, const char* what) {
  bool is_typed_array = false;
  napi_typedarray_type type;
  void* data = nullptr;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, value, &type, &out->size, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    throw_invalid(env, what);
    return false;
  }
  out->data = static_cast<uint8_t*>(data);
  return true;
}

// An integer in [min, max]; doubles with a fraction, NaN and other types are refused.
inline bool get_uint(napi_env env, napi_value value, uint64_t min, uint64_t max, uint64_t* out,
                     const char* what) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0) ||
      number > 9007199254740991.0 || number != static_cast<double>(static_cast<uint64_t>(number)) ||
      static_cast<uint64_t>(number) < min || static_cast<uint64_t>(number) > max) {
    throw_invalid(env, what);
    return false;
  }
  *out = static_cast<uint64_t>(number);
  return true;
}

inline bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value* args) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, args, nullptr, nullptr) != napi_ok || given != count) {
    throw_invalid(env, "wrong number of arguments");
    return false;
  }
  return true;
}

inline void export_function(napi_env env, napi_value exports, const char* name, napi_callback fn) {
  napi_value value;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, fn, nullptr, &value) == napi_ok) {
    napi_set_named_property(env, exports, name, value);
  }
}

}  // namespace lattice
