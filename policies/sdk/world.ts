/** The world's exports, as the canonical ABI lowers them; a class re-exports them and fills in the table and the hooks. */
import { EINVAL, ENOTTY, POLLERR } from '../__generated__/kernel';
import { beginCall, endCall } from './arena';
import { bytesOf, call, HEAD, Operation, short, takeHead } from './call';
import { admitByRules, settleByRules } from './rules';
import { beginSettlement, settlement } from './settlement';
import {
  ALONE,
  BLOCKING,
  description,
  FROM_DRIVER,
  Handler,
  headBytes,
  NO_ACCESS,
  rowOf,
  SHORT,
  TO_DRIVER,
  UNKNOWN,
  UNSUPPORTED,
} from './table';
import { beginVerdict, deny, verdict } from './verdict';

/** What the class does about the operations that are not commands; null denies them, except for open. */
export namespace hooks {
  export let open: Handler | null = null;
  export let read: Handler | null = null;
  export let write: Handler | null = null;
  export let mmap: Handler | null = null;
  export let seek: Handler | null = null;
  /**
   * After every operation that is settled, and after what the command's row says: changes `after`, and may learn, forget and mask. A command
   * of which no line of the table says what its success means is not settled: for it, this must follow from the state and the node alone.
   */
  export let settle: Handler | null = null;
}

/** What the settle hook leaves: the session's word of state and its poll events. */
export namespace after {
  export let state: u64 = 0;
  export let watch: u32 = 0;
  export let idle: u32 = 0;
}

/** When the driver may be polled, as polling may start it: which bits of the state it needs, and for which events. */
namespace readiness {
  export let needed: u64 = 0;
  export let events: u32 = 0;
}

/**
 * Mirrors these poll events from the driver once the session's state has all the `needed` bits. Until then POLLERR is pretended, as
 * of a file that can't be waited for.
 */
export function watches(events: u32, needed: u64 = 0): void {
  readiness.events = events;
  readiness.needed = needed;
}

/** A hook for reads and writes that need no more than the driver's yes. */
export function admitted(): void {}

export function describe(): usize {
  beginCall();
  const info = description(hooks.settle != null);
  endCall();
  return info;
}

export function admit(
  session: u32,
  node: u32,
  operation: u32,
  command: u32,
  fileFlags: u32,
  argument: u64,
  length: u64,
  offset: u64,
  state: u64,
  head: usize,
  headBytes: u32,
): usize {
  take(session, node, operation, command, fileFlags, argument, length, offset, state, head, headBytes);
  switch (operation) {
    case Operation.Ioctl:
      admitCommand();
      break;
    case Operation.Open:
      admitBy(hooks.open || admitted, NO_ACCESS, false);
      break;
    case Operation.Read:
      admitBy(hooks.read, FROM_DRIVER, true);
      break;
    case Operation.Write:
      admitBy(hooks.write, TO_DRIVER, true);
      break;
    case Operation.Mmap:
      admitBy(hooks.mmap, NO_ACCESS, false);
      break;
    default:
      admitBy(hooks.seek, NO_ACCESS, false);
  }
  const answer = verdict();
  endCall();
  return answer;
}

export function complete(
  session: u32,
  node: u32,
  operation: u32,
  command: u32,
  fileFlags: u32,
  argument: u64,
  length: u64,
  offset: u64,
  state: u64,
  head: usize,
  headBytes: u32,
  outcome: i64,
): usize {
  take(session, node, operation, command, fileFlags, argument, length, offset, state, head, headBytes);
  call.outcome = outcome;
  beginSettlement();
  after.state = state;
  if (operation == Operation.Ioctl && outcome >= 0) settleCommand();
  const isReady = (after.state & readiness.needed) == readiness.needed;
  after.watch = isReady ? readiness.events : 0;
  after.idle = isReady ? 0 : POLLERR;
  const hook = hooks.settle;
  if (hook) hook();
  // Nothing is learnt from an answer that is shorter than its command's struct.
  if (short) beginSettlement();
  const answer = settlement(after.state, after.watch, after.idle);
  endCall();
  return answer;
}

function take(
  session: u32,
  node: u32,
  operation: u32,
  command: u32,
  fileFlags: u32,
  argument: u64,
  length: u64,
  offset: u64,
  state: u64,
  head: usize,
  headBytes: u32,
): void {
  beginCall();
  takeHead(head, headBytes);
  call.session = session;
  call.node = node;
  call.operation = operation;
  call.command = command;
  call.fileFlags = fileFlags;
  call.argument = argument;
  call.length = length;
  call.offset = offset;
  call.state = state;
  call.outcome = 0;
}

function admitBy(hook: Handler | null, access: u8, blocking: bool): void {
  beginVerdict(access, blocking);
  if (hook) hook();
  else deny(EINVAL, UNSUPPORTED);
}

function admitCommand(): void {
  const row = rowOf(call.command);
  if (row == null) {
    beginVerdict(NO_ACCESS, false);
    return deny(ENOTTY, UNKNOWN);
  }
  beginVerdict(row.access, (row.options & BLOCKING) != 0, (row.options & ALONE) != 0);
  if (row.errno != 0) return deny(row.errno, row.refused);
  if (row.access & TO_DRIVER && bytesOf(HEAD) != headBytes(row, call.command)) return deny(EINVAL, SHORT);
  admitByRules(row);
  if (row.handler != 0) changetype<Handler>(row.handler)();
}

function settleCommand(): void {
  const row = rowOf(call.command);
  if (row == null) return;
  after.state = settleByRules(row, after.state);
  if (row.settler != 0) changetype<Handler>(row.settler)();
}
