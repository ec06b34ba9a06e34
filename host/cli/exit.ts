import { constants } from 'node:os';

/** What shells add to a signal's number to make an exit status of it. */
const SIGNAL_STATUS_BASE = 128;

/** How a guest ended: one of the two is null. */
export interface Ending {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
}

/**
 * Ends this process as the guest ended: with its status, or by its signal. Where this process survives the signal, as PID 1 of a
 * container does, the status is what a shell would report.
 */
export function exitLike({ exitCode, signal }: Ending): void {
  if (signal === null) {
    process.exitCode = exitCode ?? 1;
    return;
  }
  process.exitCode = SIGNAL_STATUS_BASE + constants.signals[signal];
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
