// The addon's entry: it gathers what the mechanisms offer, one file each.
#include "bindings.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  postern::bindConnections(env, exports);
  postern::bindDescriptors(env, exports);
  postern::bindMediator(env, exports);
  postern::bindAperture(env, exports);
  postern::bindHeap(env, exports);
  postern::bindPrivileges(env, exports);
  return exports;
}

NODE_API_MODULE(postern, init)
