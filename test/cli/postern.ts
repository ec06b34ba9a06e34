import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from '../../host/root.js';

/** The compiled command line: `npm test` compiles before it tests. */
export const MAIN = join(ROOT, 'dist', 'host', 'cli', 'main.js');
/** Something that never comes must fail the test, not hang it. */
const POLL_MS = 20;
const POLLS_MAX = 3000;

/** How a command ended, and what it printed. */
export interface Outcome {
  status: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

/** Runs `postern` with `parameters` to its end, in this folder or another. */
export function postern(parameters: readonly string[], input = '', folder?: string): Outcome {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...parameters], {
    encoding: 'utf8',
    input,
    cwd: folder,
  });
  return { status, signal, out: stdout, err: stderr };
}

/** A `postern` that runs until the test ends it, in a process group of its own. */
export class RunningPostern {
  readonly child: ChildProcess;
  out = '';
  private readonly ended: Promise<unknown[]>;

  constructor(parameters: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, ...parameters], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    this.ended = once(this.child, 'close');
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
  }

  /** Waits until the guest has printed `text`. */
  async printed(text: string): Promise<void> {
    await until(() => this.out.includes(text), `the guest to print '${text}'`);
  }

  /** Waits for the end, and tells how it was. */
  async end(): Promise<{ status: number | null; signal: NodeJS.Signals | null }> {
    const [status, signal] = await this.ended;
    return { status: status as number | null, signal: signal as NodeJS.Signals | null };
  }
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let poll = 0; poll < POLLS_MAX; poll += 1) {
    if (await condition()) return;
    await sleep(POLL_MS);
  }
  throw new Error(`Waited in vain for ${what}.`);
}

/** The processes of which `ancestor` is an ancestor, from proc_pid_stat(5); the dead that nobody has waited for are left out. */
export function descendantsOf(ancestor: number): number[] {
  const processes = liveProcesses();
  const isBelow = (pid: number): boolean => {
    const parent = processes.get(pid);
    return parent !== undefined && (parent === ancestor || isBelow(parent));
  };
  return [...processes.keys()].filter(isBelow);
}

/** Whether the process is there and not dead. */
export function isAlive(pid: number): boolean {
  return liveProcesses().has(pid);
}

/** Every process that is not dead, with its parent. */
function liveProcesses(): Map<number, number> {
  const processes = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const stat = readStat(name);
    const [, state, parent] = stat.slice(stat.lastIndexOf(')') + 1).split(' ');
    if (parent !== undefined && state !== 'Z') processes.set(Number(name), Number(parent));
  }
  return processes;
}

function readStat(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return ''; // It has ended meanwhile.
  }
}
