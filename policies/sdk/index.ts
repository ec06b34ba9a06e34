/** What a device class is made of. */
export { cabi_realloc } from './arena';
export { array, fills, takes } from './arrays';
export { bytesOf, call, HEAD, Operation, u16At, u32At, u64At, u8At } from './call';
export { forget, learn, mask } from './settlement';
export {
  ALL_ACCESS,
  ALWAYS_COPY,
  BLOCKING,
  BOTH_WAYS,
  device,
  FROM_DRIVER,
  FROM_DRIVER_ON_ERROR,
  masked,
  NESTED,
  NO_ACCESS,
  plain,
  reason,
  refuse,
  row,
  sized,
  table,
  TO_DRIVER,
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
export { admit, admitted, after, complete, describe, hooks } from './world';
