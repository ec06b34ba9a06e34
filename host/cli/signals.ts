import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What others send on purpose. */
const SENT: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGUSR1', 'SIGUSR2', 'SIGALRM'];
/** What a terminal sends to its whole foreground group, the guest included. */
const SENT_BY_TERMINALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGWINCH'];

/**
 * Passes the signals that this process gets on to the guest's launcher, until the returned function is called. In a terminal's
 * foreground the guest has the terminal's signals already, and would get them twice.
 */
export function forwardSignals(launcher: ChildProcess): () => void {
  const forward = (signal: NodeJS.Signals): void => {
    launcher.kill(signal);
  };
  const swallow = (): void => undefined;
  const onTerminalSignal = isForeground() ? swallow : forward;
  for (const signal of SENT) process.on(signal, forward);
  for (const signal of SENT_BY_TERMINALS) process.on(signal, onTerminalSignal);
  return () => {
    for (const signal of SENT) process.off(signal, forward);
    for (const signal of SENT_BY_TERMINALS) process.off(signal, onTerminalSignal);
  };
}

/** Whether this process is in the foreground group of a terminal: proc_pid_stat(5), fields 5 (pgrp) and 8 (tpgid). */
function isForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const [, , , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 1).split(' ');
  return group === foreground;
}
