// What other files of the session's JavaScript side need of its object.

#pragma once

#include <node_api.h>

#include <memory>

#include "session.h"

namespace lattice {

// The session of `this`, with at least `count` arguments in `args`; nullptr with an exception set.
std::shared_ptr<Session> session_of_call(napi_env env, napi_callback_info info, size_t count,
                                         napi_value* args);
// poke-napi.cc
napi_value set_poker(napi_env env, napi_callback_info info);
napi_value expect_poke(napi_env env, napi_callback_info info);
napi_value finish_poke(napi_env env, napi_callback_info info);

}  // namespace lattice
