import { constants } from 'node:os';

/** What shells add to a signal's number to make an exit status of it. */
const SIGNAL_STATUS_BASE = 128;
/** Signals that may write a core file, which would be Postern's and not the guest's. */
const CORE_SIGNALS: ReadonlySet<NodeJS.Signals> = new Set([
  'SIGQUIT',
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGSEGV',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGSYS',
]);

/** How a guest ended: one of the two is null. */
export interface Ending {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
}

/**
 * Ends this process as the guest ended: with its status, or by its signal. Where this process would leave a core file or
 * survives the signal (as PID 1 of a container does), the status is what a shell would report.
 */
export function exitLike({ exitCode, signal }: Ending): void {
  if (signal === null) {
    process.exitCode = exitCode ?? 1;
    return;
  }
  process.exitCode = SIGNAL_STATUS_BASE + constants.signals[signal];
  if (CORE_SIGNALS.has(signal)) return;
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
