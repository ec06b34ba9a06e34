// What each file of the addon offers to JavaScript.
#pragma once

#include <napi.h>

namespace postern {

void bindConnections(Napi::Env env, Napi::Object exports);
void bindDescriptors(Napi::Env env, Napi::Object exports);
void bindMediator(Napi::Env env, Napi::Object exports);
void bindAperture(Napi::Env env, Napi::Object exports);
void bindHeap(Napi::Env env, Napi::Object exports);
void bindPrivileges(Napi::Env env, Napi::Object exports);

}  // namespace postern
