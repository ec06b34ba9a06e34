/**
 * The memory of one call: the head, the nested reads and the lists of an answer. It is cleared before the next call, so
 * that no call can see the bytes of another one.
 */

/** The largest head (16 KiB, _IOC_SIZEBITS), the largest nested reads (64 KiB) and a class's description fit together. */
const ARENA_BYTES: usize = 128 * 1024;
const ARENA: usize = memory.data(128 * 1024, 16);

let top: usize = ARENA;
let finished: bool = false;

/** Marks the call's answer as given: the host lifts it before it calls again. */
export function endCall(): void {
  finished = true;
}

/** Clears what the last call left, once: the host's first allocation for a call may come before the call itself. */
export function beginCall(): void {
  if (!finished) return;
  // V8 fills nothing a hundred nanoseconds slower than a few bytes.
  if (top != ARENA) memory.fill(ARENA, 0, top - ARENA);
  top = ARENA;
  finished = false;
}

/** Zeroed memory of this call. Traps when the arena is full. */
export function allocate(bytes: usize, align: usize): usize {
  const address = (top + align - 1) & ~(align - 1);
  if (bytes > ARENA_BYTES || address + bytes > ARENA + ARENA_BYTES) unreachable();
  top = address + bytes;
  return address;
}

/** The canonical ABI's allocator: the host places the head and the bytes of nested reads by it. */
export function cabi_realloc(old: usize, oldBytes: usize, align: usize, bytes: usize): usize {
  beginCall();
  const address = allocate(bytes, align);
  if (oldBytes != 0) memory.copy(address, old, min(oldBytes, bytes));
  return address;
}
