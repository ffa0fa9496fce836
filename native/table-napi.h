// The JavaScript face of FileTable (native/session.d.ts), and what the session's face shares with
// it.

#pragma once

#include <node_api.h>

#include <memory>

#include "napi-util.h"
#include "table.h"

namespace lattice {

// Registers createFileTable and openFileTable.
void register_table(napi_env env, napi_value exports);
// The table inside a JavaScript FileTable; throws and returns nullptr for anything else.
std::shared_ptr<Table> table_of(napi_env env, napi_value object);

struct Doubles {
  double* data = nullptr;
  size_t size = 0;
};
bool get_doubles(napi_env env, napi_value value, size_t min_size, Doubles* out, const char* what);
napi_value make_number(napi_env env, double value);
napi_value make_boolean(napi_env env, bool value);
// A fresh Float64Array or Uint8Array with `count` elements.
napi_value make_doubles(napi_env env, const double* values, size_t count);
napi_value make_bytes(napi_env env, const uint8_t* bytes, size_t size);

}  // namespace lattice
