// The addon's entry: each concept registers its own functions. Nothing else belongs here.
// Loaded once per thread (main and workers); what is shared between threads is each part's matter.

#include <node_api.h>

#include "aead.h"
#include "cut.h"
#ifdef LATTICE_SESSION
#include "session.h"
#endif

NAPI_MODULE_INIT() {
  register_cut(env, exports);
  register_aead(env, exports);
#ifdef LATTICE_SESSION
  register_session(env, exports);
#endif
  return exports;
}
