import type { Log } from './domain.js';

/** A driver domain that goes wild must not fill the host's disk with its log. */
const LINES_PER_SECOND_MAX = 100;
/** Longer lines are cut: the agent's own have at most 512 bytes. */
const LINE_CHARACTERS_MAX = 512;
const MS_PER_SECOND = 1000;

/** Passes on lines that an untrusted writer wrote, without control characters and not too many. */
export class UntrustedLog {
  readonly #log: Log;
  readonly #prefix: string;
  #rest = '';
  #secondStartedMs = Number.NEGATIVE_INFINITY;
  #linesThisSecond = 0;

  /** @param prefix who wrote the lines */
  constructor(log: Log, prefix: string) {
    this.#log = log;
    this.#prefix = prefix;
  }

  /** Takes the next bytes, cut anywhere; a line is passed on when it is complete. */
  push(chunk: Buffer): void {
    const lines = (this.#rest + chunk.toString('latin1')).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, LINE_CHARACTERS_MAX);
    for (const line of lines) this.#pass(line);
  }

  #pass(line: string): void {
    const nowMs = performance.now();
    if (nowMs - this.#secondStartedMs >= MS_PER_SECOND) {
      this.#secondStartedMs = nowMs;
      this.#linesThisSecond = 0;
    }
    this.#linesThisSecond++;
    const text = line.replace(/[^\x20-\x7e]/g, '').slice(0, LINE_CHARACTERS_MAX);
    if (text === '' || this.#linesThisSecond > LINES_PER_SECOND_MAX) return;
    const isLast = this.#linesThisSecond === LINES_PER_SECOND_MAX;
    this.#log(
      `${this.#prefix}: ${text}${isLast ? ' (too many lines: the rest of this second is left out)' : ''}`,
    );
  }
}
