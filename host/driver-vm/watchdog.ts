import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient } from './control-client.js';

/** How often a domain is asked whether it is alive: often enough for people, and of no weight. */
const PING_INTERVAL_MS = 2000;
/** An agent answers within milliseconds, emulated on a busy machine within a second: one that takes so long has hung. */
const ANSWER_TIMEOUT_MS = 10_000;
/** This process may have been stopped meanwhile, and the answer wait to be read: it is given the time. */
const GRACE_MS = 1000;

/** Asks an agent again and again whether it is alive, and tells once when it is not. */
export class Watchdog {
  readonly #stopping = new AbortController();

  /** @param onHang told when the agent has not answered for `ANSWER_TIMEOUT_MS` */
  constructor(control: ControlClient, onHang: (afterMs: number) => void) {
    void this.#watch(control, onHang).catch(() => {}); // Stopped, or the stream has ended: whoever owns it knows.
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #watch(control: ControlClient, onHang: (afterMs: number) => void): Promise<void> {
    for (;;) {
      await this.#pause(PING_INTERVAL_MS);
      if (!control.isIdle) continue;
      const answered = control.ping().then(() => true);
      const isAlive =
        (await Promise.race([answered, this.#pause(ANSWER_TIMEOUT_MS)])) ??
        (await Promise.race([answered, this.#pause(GRACE_MS)]));
      if (isAlive) continue;
      onHang(ANSWER_TIMEOUT_MS + GRACE_MS);
      return;
    }
  }

  /** A watchdog keeps no process alive. */
  #pause(ms: number): Promise<undefined> {
    return sleep(ms, undefined, { ref: false, signal: this.#stopping.signal });
  }
}
