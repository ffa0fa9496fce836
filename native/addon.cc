// The addon's entry: each concept registers its own functions. Nothing else belongs here.
// Loaded once per thread (main and workers); what is shared between threads is each part's matter.

#include <node_api.h>

#include "aead.h"
#include "cut.h"
#include "lz4.h"

#ifdef LATTICE_SESSION
void register_session(napi_env env, napi_value exports);  // session*.cc
#endif

NAPI_MODULE_INIT() {
  register_cut(env, exports);
  register_aead(env, exports);
  register_lz4(env, exports);
#ifdef LATTICE_SESSION
  register_session(env, exports);
#endif
  return exports;
}
