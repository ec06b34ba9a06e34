// What a guest VM's device needs of the host: the part of QEMU's ivshmem server.
#include <napi.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "bindings.h"

namespace postern {
namespace {

// QEMU, docs/specs/ivshmem-spec.rst, "The interface to the ivshmem server": 64-bit little-endian numbers, some with a descriptor.
constexpr int64_t kProtocolVersion = 0, kMemoryFollows = -1;
constexpr int64_t kHostPeer = 0, kGuestPeer = 1;

bool sendNumber(int socket, int64_t number, int descriptor) {
  iovec bytes{&number, sizeof number};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == sizeof number;
}

// offerAperture(socket, memory, hostEvent, guestEvent): the guest writes to hostEvent, and is interrupted by guestEvent.
void offerAperture(const Napi::CallbackInfo& info) {
  const int socket = info[0].As<Napi::Number>().Int32Value(), memory = info[1].As<Napi::Number>().Int32Value();
  const int hostEvent = info[2].As<Napi::Number>().Int32Value(), guestEvent = info[3].As<Napi::Number>().Int32Value();
  const bool isSent = sendNumber(socket, kProtocolVersion, -1) && sendNumber(socket, kGuestPeer, -1) && sendNumber(socket, kMemoryFollows, memory) &&
                      sendNumber(socket, kHostPeer, hostEvent) && sendNumber(socket, kGuestPeer, guestEvent);
  if (!isSent) throw Napi::Error::New(info.Env(), std::string("the guest VM's aperture can't be offered: ") + std::strerror(errno));
}

}  // namespace

void bindAperture(Napi::Env env, Napi::Object exports) { exports.Set("offerAperture", Napi::Function::New(env, offerAperture)); }

}  // namespace postern
