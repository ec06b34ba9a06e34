// Messages that carry a descriptor.
#pragma once

#include <cstddef>

namespace postern {

// Sends the bytes in one message, with a descriptor unless it is -1. False: errno says why, or less was sent.
bool sendWithDescriptor(int socket, const void* bytes, size_t length, int descriptor);

}  // namespace postern
