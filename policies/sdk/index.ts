/** What a device class is made of: the kernel's errnos and flags, and the words of its table. */
export * from '../__generated__/kernel';
export { cabi_realloc } from './arena';
export { bytesOf, call, HEAD, Operation, u16At, u32At, u64At, u8At } from './call';
export { READING, WRITING } from './events';
export {
  ALL_BITS,
  among,
  atMost,
  comesBack,
  fills,
  fillsOne,
  gives,
  givesOne,
  hides,
  learns,
  marks,
  never,
  onlyFor,
  payloads,
  requires,
  tail,
  takes,
  without,
} from './rules';
export { forget, learn, mask } from './settlement';
export {
  ALL_ACCESS,
  ALWAYS_COPY,
  BLOCKING,
  BOTH_WAYS,
  commands,
  commandsWith,
  device,
  FROM_DRIVER,
  FROM_DRIVER_ON_ERROR,
  header,
  NESTED,
  NO_ACCESS,
  plain,
  reason,
  refuse,
  settles,
  sized,
  table,
  TO_DRIVER,
  words,
} from './table';
export {
  ARGUMENT,
  atLeast,
  deny,
  DMA_BUF,
  grant,
  headIs,
  makesDescriptor,
  mayBlock,
  nested,
  nestedBytes,
  nestedRead,
  nestedText,
  OFFSET,
  repeatsDescriptor,
  requireHandle,
  SYNC_FILE,
  SYNCOBJ,
  takesDescriptor,
} from './verdict';
export { admit, admitted, after, complete, describe, hooks, watches } from './world';
