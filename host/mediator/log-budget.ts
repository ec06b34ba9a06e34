/** As many lines of one guest at once as a whole test suite of its device causes. */
export const LINES_AT_ONCE = 1000;
/** A guest can cause each line, at a hundred thousand a second; whoever reads them can't read more than this. */
export const LINES_PER_SECOND = 100;
const MS_PER_SECOND = 1000;

/**
 * Bounds what one guest has its host log: lines wait in the main thread's memory until they are written, so what a guest can cause without
 * an end must be left out, and counted.
 */
export class LogBudget {
  #lines = LINES_AT_ONCE;
  #countedMs: number;
  #leftOut = 0;

  /** @param nowMs the time, of a clock that only goes forward */
  constructor(nowMs: number) {
    this.#countedMs = nowMs;
  }

  /** Whether another line may be logged now; one that may not is counted. */
  take(nowMs: number): boolean {
    const earned = ((nowMs - this.#countedMs) * LINES_PER_SECOND) / MS_PER_SECOND;
    this.#lines = Math.min(LINES_AT_ONCE, this.#lines + earned);
    this.#countedMs = nowMs;
    if (this.#lines < 1) {
      this.#leftOut += 1;
      return false;
    }
    this.#lines -= 1;
    return true;
  }

  /** How many lines have been left out since this was asked last. */
  takeLeftOut(): number {
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}
