/** The thread that waits at a host's socket: what Node's own servers read of a connection loses the descriptor that comes with it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { native } from '../native.js';

/** Without a free descriptor no connection can be taken: time for some guest to end. */
const EXHAUSTED_PAUSE_MS = 100;

const { listener } = workerData as { listener: number };

for (;;) {
  try {
    const visitor = native.acceptConnection(listener);
    if (visitor === null) break;
    parentPort?.postMessage(visitor);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (!['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'].includes(code)) throw error;
    await sleep(EXHAUSTED_PAUSE_MS);
  }
}
