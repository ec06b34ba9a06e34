// What a guest VM's device needs of the host: the part of QEMU's ivshmem server.
#include <napi.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "bindings.h"
#include "connections.h"

namespace postern {
namespace {

// QEMU, docs/specs/ivshmem-spec.rst, "The interface to the ivshmem server": 64-bit little-endian numbers, some with a descriptor.
constexpr int64_t kProtocolVersion = 0, kMemoryFollows = -1;
constexpr int64_t kHostPeer = 0, kGuestPeer = 1;

bool sendNumber(int socket, int64_t number, int descriptor) { return sendWithDescriptor(socket, &number, sizeof number, descriptor); }

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
