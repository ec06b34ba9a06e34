#include "descriptors.h"

#include <napi.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "bindings.h"

namespace postern {
namespace {

Napi::Error systemError(Napi::Env env, const char* what) {
  return Napi::Error::New(env, std::string(what) + ": " + std::strerror(errno));
}

// memfd(name, bytes): an anonymous memory file of that size, close-on-exec.
Napi::Value memfd(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string name = info[0].As<Napi::String>();
  int64_t bytes = info[1].As<Napi::Number>().Int64Value();
  Descriptor fd(memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!fd.valid()) throw systemError(env, "memfd_create");
  if (ftruncate(fd.get(), bytes) != 0) throw systemError(env, "ftruncate of a memory file");
  return Napi::Number::New(env, fd.release());
}

Napi::Value socketPair(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw systemError(env, "socketpair");
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0u, Napi::Number::New(env, fds[0]));
  pair.Set(1u, Napi::Number::New(env, fds[1]));
  return pair;
}

Napi::Value eventFd(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw systemError(env, "eventfd");
  return Napi::Number::New(env, fd);
}

void closeDescriptor(const Napi::CallbackInfo& info) { close(info[0].As<Napi::Number>().Int32Value()); }

}  // namespace

void bindDescriptors(Napi::Env env, Napi::Object exports) {
  exports.Set("memfd", Napi::Function::New(env, memfd));
  exports.Set("socketPair", Napi::Function::New(env, socketPair));
  exports.Set("eventFd", Napi::Function::New(env, eventFd));
  exports.Set("closeDescriptor", Napi::Function::New(env, closeDescriptor));
}

}  // namespace postern
