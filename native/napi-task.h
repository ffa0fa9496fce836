// Task: a promise for work on a thread of its own (it may hang, as touching a dead mount does; the
// pool that the runtime shares must not). `work` runs on the thread, `finish` resolves or rejects
// on the JavaScript thread. A process that ends meanwhile leaves the thread behind.

#pragma once

#include <node_api.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace lattice {

// What a task came to: a number, or an error with errno, a code and a message.
struct TaskResult {
  bool failed = false;
  double value = 0;
  int error = 0;
  std::string code, message;
};

inline napi_value make_error(napi_env env, const TaskResult& r) {
  napi_value code, message, error = nullptr, number;
  napi_create_string_utf8(env, r.code.c_str(), r.code.size(), &code);
  napi_create_string_utf8(env, r.message.c_str(), r.message.size(), &message);
  napi_create_error(env, code, message, &error);
  napi_create_double(env, r.error, &number);
  napi_set_named_property(env, error, "errno", number);
  return error;
}

inline napi_value start_task(napi_env env, const char* name, std::function<TaskResult()> work) {
  struct Task {
    napi_deferred deferred = nullptr;
    napi_threadsafe_function done = nullptr;
    std::function<TaskResult()> work;
    TaskResult result;
  };
  auto* task = new Task;
  task->work = std::move(work);
  napi_value promise, label;
  const auto finish = [](napi_env e, napi_value, void*, void* data) {
    std::unique_ptr<Task> ended(static_cast<Task*>(data));
    if (e == nullptr) return;
    if (ended->result.failed) {
      napi_reject_deferred(e, ended->deferred, make_error(e, ended->result));
    } else {
      napi_value value;
      napi_create_double(e, ended->result.value, &value);
      napi_resolve_deferred(e, ended->deferred, value);
    }
  };
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &label) != napi_ok ||
      napi_create_promise(env, &task->deferred, &promise) != napi_ok ||
      napi_create_threadsafe_function(env, nullptr, nullptr, label, 0, 1, nullptr, nullptr, nullptr,
                                      finish, &task->done) != napi_ok) {
    delete task;
    napi_throw_error(env, "internal", "no task");
    return nullptr;
  }
  std::thread([task] {
    const napi_threadsafe_function done = task->done;
    task->result = task->work();
    if (napi_call_threadsafe_function(done, task, napi_tsfn_blocking) != napi_ok) delete task;
    napi_release_threadsafe_function(done, napi_tsfn_release);
  }).detach();
  return promise;
}

}  // namespace lattice
