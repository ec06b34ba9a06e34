import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { ROOT } from '../../host/root.js';
import type { HostsAnswer, HostsAnswers, HostsQuestion, HostsThere } from './hosts-process.js';

const PROCESS = join(ROOT, 'dist', 'test', 'soak', 'hosts-process.js');

/** A host of a driver VM and one of the local domain, in a process of their own: what it holds is theirs alone. */
export class Hosts {
  readonly #waiting = new Map<number, (answer: HostsAnswer) => void>();
  #questions = 0;

  private constructor(
    private readonly child: ChildProcess,
    readonly there: HostsThere,
  ) {
    child.on('message', (answer: HostsAnswer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    child.once('exit', () => {
      for (const tell of this.#waiting.values()) tell({ id: 0, error: 'The hosts’ process has ended.' });
    });
  }

  /** @throws Error when they do not start; why, they have said on standard error */
  static async start(): Promise<Hosts> {
    const child = fork(PROCESS, { serialization: 'advanced' });
    const ended = once(child, 'exit').then(() => {
      throw new Error('The hosts have not started.');
    });
    ended.catch(() => {}); // It ends some day.
    const [there] = await Promise.race([once(child, 'message'), ended]);
    return new Hosts(child, there as HostsThere);
  }

  /** @throws Error when what was asked for failed, or the process has ended */
  async ask<Ask extends keyof HostsAnswers>(ask: Ask): Promise<HostsAnswers[Ask]> {
    if (!this.child.connected) throw new Error('The hosts’ process has ended.');
    const id = this.#questions++;
    const answered = new Promise<HostsAnswer>((resolve) => this.#waiting.set(id, resolve));
    this.child.send({ id, ask } satisfies HostsQuestion);
    const { answer, error } = await answered;
    if (error !== undefined) throw new Error(error);
    return answer as HostsAnswers[Ask];
  }

  async close(): Promise<void> {
    if (!this.child.connected) return;
    const ended = once(this.child, 'exit');
    this.child.disconnect();
    await ended;
  }
}
