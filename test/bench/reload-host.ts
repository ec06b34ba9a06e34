import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../host/root.js';
import type { TestedPolicy } from '../../host/serve/prepare.js';
import type { Switch } from '../../host/serve/protocol.js';
import { ServedGuest } from '../serve/in-process.js';

const PROCESS = join(ROOT, 'dist', 'test', 'bench', 'reload-process.js');
const BYTES_A_KB = 1024;

/** A host of terminals in a process of its own: neither its memory nor its threads are those of the benchmark. */
export class ReloadedHost {
  private constructor(
    private readonly child: ChildProcess,
    private readonly socket: string,
  ) {}

  static async start(): Promise<ReloadedHost> {
    const child = fork(PROCESS, { serialization: 'advanced' });
    return new ReloadedHost(child, (await answerOf(child)) as string);
  }

  guest(...command: string[]): ServedGuest {
    return new ServedGuest(this.socket, command, null);
  }

  /** Installs a version, and tells what became of it. */
  async install(version: TestedPolicy): Promise<Switch | undefined> {
    const answer = answerOf(this.child);
    this.child.send(version);
    return ((await answer) as Switch[])[0];
  }

  /** What the process holds of the machine's memory. */
  rssBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * BYTES_A_KB;
  }

  async close(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.disconnect();
    await ended;
  }
}

/** Its next message; rejects when it ends instead. */
async function answerOf(child: ChildProcess): Promise<unknown> {
  const waiting = new AbortController();
  const { signal } = waiting;
  try {
    return await Promise.race([
      once(child, 'message', { signal }).then(([message]) => message as unknown),
      once(child, 'exit', { signal }).then(() => Promise.reject(new Error('The host has ended.'))),
    ]);
  } finally {
    waiting.abort();
  }
}
