// Waker: calls one JavaScript function on its own thread whenever somebody wakes it; wakes that
// come before the call are one. Usable from any thread, also after the environment has gone.

#pragma once

#include <node_api.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "table.h"

namespace lattice {

class Waker final : public Wakeable {
 public:
  // nullptr when `function` cannot be called back. `keep_alive`: the process waits for it.
  static std::shared_ptr<Waker> create(napi_env env, napi_value function, bool keep_alive) {
    auto waker = std::make_shared<Waker>();
    napi_value name;
    auto* kept = new std::shared_ptr<Waker>(waker);
    if (napi_create_string_utf8(env, "lattice.wake", NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_create_threadsafe_function(env, function, nullptr, name, 0, 1, kept, finalized,
                                        waker.get(), called, &waker->function_) != napi_ok) {
      delete kept;
      return nullptr;
    }
    if (!keep_alive) napi_unref_threadsafe_function(env, waker->function_);
    return waker;
  }

  void wake() override {
    if (pending_.exchange(true)) return;
    std::lock_guard lock(mutex_);
    if (function_ == nullptr) return;
    napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
  }

  void close() {
    std::lock_guard lock(mutex_);
    if (function_ == nullptr) return;
    napi_release_threadsafe_function(function_, napi_tsfn_abort);
    function_ = nullptr;
  }

 private:
  static void called(napi_env env, napi_value function, void* context, void*) {
    if (env == nullptr) return;
    static_cast<Waker*>(context)->pending_ = false;
    napi_value undefined;
    if (napi_get_undefined(env, &undefined) == napi_ok) {
      if (napi_call_function(env, undefined, function, 0, nullptr, nullptr) ==
          napi_pending_exception) {
        // An exception of the callback's is nobody else's to catch: let the process hear of it.
        napi_value error;
        if (napi_get_and_clear_last_exception(env, &error) == napi_ok) {
          napi_fatal_exception(env, error);
        }
      }
    }
  }
  static void finalized(napi_env, void* kept, void*) {
    auto* waker = static_cast<std::shared_ptr<Waker>*>(kept);
    {
      std::lock_guard lock((*waker)->mutex_);
      (*waker)->function_ = nullptr;
    }
    delete waker;
  }

  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;
  std::atomic<bool> pending_{false};
};

}  // namespace lattice
