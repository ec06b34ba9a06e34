import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient } from './control-client.js';

/** How often a domain is asked whether it is alive: often enough for people, and of no weight. */
const PING_INTERVAL_MS = 2000;
/** An agent answers within milliseconds, emulated on a busy machine within a second: one that takes so long has hung. */
const ANSWER_TIMEOUT_MS = 10_000;
/** This process may have been stopped meanwhile, and the answer wait to be read: it is given the time. */
const GRACE_MS = 1000;

/** Asks an agent again and again whether it is alive, and tells once when it is not, or when it can't be asked any more. */
export class Watchdog {
  readonly #stopping = new AbortController();

  /** @param onHang told why the domain is to be given up */
  constructor(control: ControlClient, onHang: (reason: string) => void) {
    this.#watch(control, onHang).catch(async ({ message }: Error) => {
      // A stream that is broken stays so, and nobody could begin in such a domain. Of one that has just ended the owner is about to know.
      await sleep(GRACE_MS, undefined, { ref: false });
      if (!this.#stopping.signal.aborted) onHang(`it can't be asked any more: ${message}`);
    });
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #watch(control: ControlClient, onHang: (reason: string) => void): Promise<void> {
    for (;;) {
      await this.#pause(PING_INTERVAL_MS);
      if (!control.isIdle) continue;
      const answered = control.ping().then(() => true);
      const isAlive =
        (await Promise.race([answered, this.#pause(ANSWER_TIMEOUT_MS)])) ??
        (await Promise.race([answered, this.#pause(GRACE_MS)]));
      if (isAlive) continue;
      onHang(`it hung: the backend agent did not answer for ${ANSWER_TIMEOUT_MS + GRACE_MS} ms`);
      return;
    }
  }

  /** A watchdog keeps no process alive. */
  #pause(ms: number): Promise<undefined> {
    return sleep(ms, undefined, { ref: false, signal: this.#stopping.signal });
  }
}
