import { setTimeout as sleep } from 'node:timers/promises';
import type pino from 'pino';
import type { DriverDomain } from '../driver-vm/domain.js';

/** The first restart is at once: most crashes come alone. Each further one waits twice as long, so that a driver that always crashes costs little. */
const DELAY_FIRST_MS = 250;
const DELAY_MAX_MS = 30_000;
/** A domain that has served for so long has not crashed at its start: the next restart is at once again. */
const STEADY_MS = 1000;

/** How domains are opened and closed, and who must know of a new one. */
export interface KeeperOptions {
  open(): Promise<DriverDomain>;
  close(domain: DriverDomain): Promise<void>;
  log: pino.Logger;
  /** Tells the guests that the domain has ended; when this returns, nobody uses it. */
  onLost(): Promise<void>;
  /** Moves the guests to a new one. */
  onReplaced(next: DriverDomain): Promise<void>;
}

/** Keeps a driver domain there: one that ends is replaced by a new one, again and again if need be, until close(). */
export class DomainKeeper {
  #current: Promise<DriverDomain>;
  #there: DriverDomain | undefined;
  #restarts = 0;
  #delayMs = 0;
  #isClosing = false;
  #recovery: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();

  constructor(private readonly options: KeeperOptions) {
    this.#current = options.open();
    this.#current.then(
      (domain) => this.#watch(domain),
      () => {}, // Whoever awaits the first one is told.
    );
  }

  /** The domain that is there, or will be in a moment. Rejects when it could not be started: the next attempt follows. */
  get current(): Promise<DriverDomain> {
    return this.#current;
  }

  /** Whether a domain is the one that is there: another one is about to be closed. */
  isThere(domain: DriverDomain): boolean {
    return this.#there === domain;
  }

  /** How often a domain has been replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Ends the domain that is there; nothing is started any more. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#closing.abort();
    await this.#recovery;
    const domain = await this.#current.catch(() => undefined);
    if (domain !== undefined) await this.options.close(domain);
  }

  #watch(domain: DriverDomain): void {
    this.#there = domain;
    const began = performance.now();
    domain.onExit((reason) => {
      if (this.#isClosing) return;
      this.#there = undefined;
      if (performance.now() - began >= STEADY_MS) this.#delayMs = 0;
      const lostMs = performance.now();
      this.options.log.error({ reason }, 'the driver domain has ended; a new one is started');
      // Guests wait for the next one from here on.
      const next = this.#recovery.then(() => this.#openNext(domain));
      this.#current = next;
      this.#recovery = next.then((there) => this.#welcome(there, lostMs)).catch(() => {}); // Only close() makes it fail.
    });
  }

  async #openNext(old: DriverDomain): Promise<DriverDomain> {
    await this.options.onLost();
    await this.options.close(old);
    return await this.#openAgain();
  }

  async #welcome(domain: DriverDomain, lostMs: number): Promise<void> {
    this.#watch(domain);
    await this.options.onReplaced(domain);
    this.#restarts += 1;
    const ms = Math.round(performance.now() - lostMs);
    this.options.log.warn({ ms, restarts: this.#restarts }, 'the driver domain is there again');
  }

  async #openAgain(): Promise<DriverDomain> {
    for (;;) {
      await sleep(this.#delayMs, undefined, { signal: this.#closing.signal });
      this.#delayMs = Math.min(this.#delayMs === 0 ? DELAY_FIRST_MS : 2 * this.#delayMs, DELAY_MAX_MS);
      try {
        return await this.options.open();
      } catch (error) {
        const { message } = error as Error;
        this.options.log.error({ message, nextMs: this.#delayMs }, 'the driver domain can not be started');
      }
    }
  }
}
