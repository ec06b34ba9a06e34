// Messages that carry a descriptor.
#pragma once

#include <cstddef>

namespace postern {

// Sends the bytes in one message, with a descriptor unless it is -1. False: errno says why, or less was sent.
bool sendWithDescriptor(int socket, const void* bytes, size_t length, int descriptor);

// The same with several, kDescriptorsSentMax at most.
constexpr size_t kDescriptorsSentMax = 8;
bool sendWithDescriptors(int socket, const void* bytes, size_t length, const int* descriptors, size_t count);

}  // namespace postern
