// Local connections that carry a descriptor: how a command hands a guest's launcher to a host that is already running.
#include <fcntl.h>
#include <napi.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "bindings.h"
#include "connections.h"
#include "descriptors.h"

namespace postern {

bool sendWithDescriptor(int socket, const void* bytes, size_t length, int descriptor) {
  return sendWithDescriptors(socket, bytes, length, &descriptor, descriptor >= 0 ? 1 : 0);
}

bool sendWithDescriptors(int socket, const void* bytes, size_t length, const int* descriptors, size_t count) {
  if (count > kDescriptorsSentMax) {
    errno = EINVAL;
    return false;
  }
  iovec vector{const_cast<void*>(bytes), length};
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsSentMax * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(part), descriptors, count * sizeof(int));
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(length);
}

namespace {

// Connections that wait to be accepted: guests that start at the same moment.
constexpr int kBacklog = 64;
// A peer's first byte follows its connection at once: who sends none must not keep the others waiting.
constexpr time_t kFirstByteSeconds = 1;
// The byte that every connection begins with; the descriptor, if there is one, travels with it.
constexpr char kGreeting = 'P';

// An error whose `code` is the errno's name, as Node's own have it.
Napi::Error codedError(Napi::Env env, const std::string& what, int errnum) {
  Napi::Error error = Napi::Error::New(env, what + ": " + std::strerror(errnum));
  error.Value().Set("code", Napi::String::New(env, strerrorname_np(errnum)));
  return error;
}

sockaddr_un addressOf(Napi::Env env, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) throw codedError(env, "the socket's path " + path, ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

ucred peerOf(int connection) {
  ucred peer{};
  peer.uid = static_cast<uid_t>(-1);
  socklen_t bytes = sizeof peer;
  (void)getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
  return peer;
}

// listenAt(path) -> descriptor: a socket that only this user can connect to, from its first moment.
Napi::Value listenAt(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  const sockaddr_un address = addressOf(info.Env(), path);
  Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // The file gets the socket's own mode at bind (unix(7)): there is no moment in which others could connect.
  if (!listener.valid() || fchmod(listener.get(), S_IRUSR | S_IWUSR) != 0 ||
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(listener.get(), kBacklog) != 0)
    throw codedError(info.Env(), "listening at " + path, errno);
  return Napi::Number::New(info.Env(), listener.release());
}

// connectTo(path) -> descriptor: connects to a socket whose listener is this user's or root's.
Napi::Value connectTo(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  const sockaddr_un address = addressOf(info.Env(), path);
  Descriptor connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!connection.valid() || connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw codedError(info.Env(), "connecting to " + path, errno);
  // Whoever listens gets power over the guest.
  const uid_t owner = peerOf(connection.get()).uid;
  if (owner != geteuid() && owner != 0) throw codedError(info.Env(), "another user listens at " + path, EPERM);
  return Napi::Number::New(info.Env(), connection.release());
}

// greet(connection, descriptor): the first byte, with a descriptor unless it is -1.
void greet(const Napi::CallbackInfo& info) {
  const int connection = info[0].As<Napi::Number>().Int32Value(), descriptor = info[1].As<Napi::Number>().Int32Value();
  if (!sendWithDescriptor(connection, &kGreeting, sizeof kGreeting, descriptor)) throw codedError(info.Env(), "greeting the host", errno);
}

// handOver(connection, bytes, descriptors): one message.
void handOver(const Napi::CallbackInfo& info) {
  const int connection = info[0].As<Napi::Number>().Int32Value();
  const std::string bytes = info[1].As<Napi::String>();
  const Napi::Array from = info[2].As<Napi::Array>();
  std::vector<int> descriptors;
  for (uint32_t i = 0; i < from.Length(); i++) descriptors.push_back(from.Get(i).As<Napi::Number>().Int32Value());
  if (!sendWithDescriptors(connection, bytes.data(), bytes.size(), descriptors.data(), descriptors.size()))
    throw codedError(info.Env(), "handing over descriptors", errno);
}

// The greeting's descriptor goes to `descriptor`. False when there is no greeting, or more descriptors than one.
bool receiveGreeting(int connection, Descriptor& descriptor) {
  const timeval patience{kFirstByteSeconds, 0}, forever{};
  (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  char byte = 0;
  iovec vector{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got == 1) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS || part->cmsg_len != CMSG_LEN(sizeof(int))) continue;
      int received;
      std::memcpy(&received, CMSG_DATA(part), sizeof received);
      descriptor.reset(received);
    }
  }
  (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
  return got == 1 && byte == kGreeting && (message.msg_flags & MSG_CTRUNC) == 0;
}

// acceptConnection(listener) -> {connection, pid, descriptor}, blocking: of this user's next process that greets. Null: stopAccepting was called.
Napi::Value acceptConnection(const Napi::CallbackInfo& info) {
  const int listener = info[0].As<Napi::Number>().Int32Value();
  for (;;) {
    Descriptor connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EINVAL) return info.Env().Null();
      throw codedError(info.Env(), "accepting a connection", errno);
    }
    const ucred peer = peerOf(connection.get());
    Descriptor descriptor;
    if (peer.uid != geteuid() || !receiveGreeting(connection.get(), descriptor)) continue;
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("connection", connection.release());
    result.Set("pid", static_cast<double>(peer.pid));
    result.Set("descriptor", descriptor.release());
    return result;
  }
}

// stopAccepting(listener): ends acceptConnection, in whatever thread it waits.
void stopAccepting(const Napi::CallbackInfo& info) { (void)shutdown(info[0].As<Napi::Number>().Int32Value(), SHUT_RDWR); }

// lockFile(path) -> descriptor: held until it is closed, or its process ends however it may. Throws EAGAIN while another holds it.
Napi::Value lockFile(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  Descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!file.valid() || flock(file.get(), LOCK_EX | LOCK_NB) != 0) throw codedError(info.Env(), "locking " + path, errno);
  return Napi::Number::New(info.Env(), file.release());
}

}  // namespace

void bindConnections(Napi::Env env, Napi::Object exports) {
  exports.Set("listenAt", Napi::Function::New(env, listenAt));
  exports.Set("connectTo", Napi::Function::New(env, connectTo));
  exports.Set("greet", Napi::Function::New(env, greet));
  exports.Set("handOver", Napi::Function::New(env, handOver));
  exports.Set("acceptConnection", Napi::Function::New(env, acceptConnection));
  exports.Set("stopAccepting", Napi::Function::New(env, stopAccepting));
  exports.Set("lockFile", Napi::Function::New(env, lockFile));
}

}  // namespace postern
