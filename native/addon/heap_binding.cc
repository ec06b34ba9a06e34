// What the C library's allocator has handed out: of the host's memory the part that neither V8 nor a shared file accounts for.
#include <malloc.h>
#include <napi.h>

#include "bindings.h"

namespace postern {
namespace {

// nativeHeap(): {inUse, held} in bytes, over all arenas: what is allocated, and what the allocator has of the kernel for it.
Napi::Value nativeHeap(const Napi::CallbackInfo& info) {
  const struct mallinfo2 all = mallinfo2();
  Napi::Object heap = Napi::Object::New(info.Env());
  heap.Set("inUse", static_cast<double>(all.uordblks + all.hblkhd));
  heap.Set("held", static_cast<double>(all.arena + all.hblkhd));
  return heap;
}

}  // namespace

void bindHeap(Napi::Env env, Napi::Object exports) { exports.Set("nativeHeap", Napi::Function::New(env, nativeHeap)); }

}  // namespace postern
