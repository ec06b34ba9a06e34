import type { Guest } from './guests.js';

/** How long a guest that leaves the front may take to hand over what it has; the next one does not wait longer. */
const HAND_OVER_MS_MAX = 2000;

/** Which guest of a host is in front: the first at first, then who is asked for; who was there before takes over when it ends. */
export class Front {
  /** All guests, the one in front first, then those that were there before it, then the others as they came. */
  #order: Guest[] = [];
  /** Switches happen one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  /** Whether a guest that comes now is in front at once. */
  get isFree(): boolean {
    return this.#order.length === 0;
  }

  get name(): string | undefined {
    return this.#order[0]?.name;
  }

  join(guest: Guest): void {
    this.#order.push(guest);
  }

  async leave(guest: Guest): Promise<void> {
    await this.#inTurn(async () => {
      const others = this.#order.filter((other) => other !== guest);
      const next = others[0];
      if (this.#order[0] === guest && next !== undefined) await soon(next.mediation.setFront(true));
      this.#order = this.#order.filter((other) => other !== guest);
    });
  }

  /** Brings a guest to the front; resolves when it is there. */
  async bring(guest: Guest): Promise<void> {
    await this.#inTurn(async () => {
      const before = this.#order[0];
      if (before === guest || !this.#order.includes(guest)) return;
      if (before !== undefined) await soon(before.mediation.setFront(false));
      await soon(guest.mediation.setFront(true));
      this.#order = [guest, ...this.#order.filter((other) => other !== guest)];
    });
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    await result;
  }
}

/** A guest whose launcher has not begun yet answers when it has: nobody waits for it. */
async function soon(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, HAND_OVER_MS_MAX);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
