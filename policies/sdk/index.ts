/** What a device class is made of. */
export { cabi_realloc } from './arena';
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
  table,
  TO_DRIVER,
} from './table';
export {
  ARGUMENT,
  deny,
  grant,
  grantsUpTo,
  headIs,
  mayBlock,
  nested,
  nestedRead,
  OFFSET,
  requireHandle,
} from './verdict';
export { admit, admitted, after, complete, describe, hooks } from './world';
