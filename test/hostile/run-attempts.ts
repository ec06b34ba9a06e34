import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';
import { until } from '../cli/postern.js';

/** What a guest says of one attempt, and what was seen from outside. */
export interface Attempted {
  name: string;
  tried: string;
  /** By the guest's own word. */
  word: 'stopped' | 'succeeded' | 'impossible' | 'died' | 'silent';
  by: string;
  /** What the host saw in the guest's hands, or missing in its own. */
  loot: string[];
}

/** A program of attempts that runs, as a guest or not. */
export interface Attempting {
  process: { stdin: Writable | null };
  /** What it has printed up to now. */
  out(): string;
  ended: Promise<unknown>;
}

/** What the harness does while a program waits. */
export interface Harness {
  /** What is wrong, seen from outside, while the attempt has what it could get. */
  look(): string[] | Promise<string[]>;
  /** Fills another guest's device memory with these 16 bytes, until the returned function is called. */
  hide(secret: string): Promise<() => Promise<void>>;
}

const SECRET_BYTES = 8; // In hexadecimal, 16 characters.

/** Follows a program through its attempts, to its end. */
export async function followAttempts(program: Attempting, harness: Harness): Promise<Attempted[]> {
  const attempts: Attempted[] = [];
  let taken = 0;
  let hasEnded = false;
  void program.ended
    .catch(() => {})
    .then(() => {
      hasEnded = true;
    });
  let uncover = async (): Promise<void> => undefined;
  for (;;) {
    const last = attempts.at(-1)?.name ?? 'none';
    await until(
      () => program.out().length > taken || hasEnded,
      `the guest to go on after the attempt '${last}'`,
    );
    const end = program.out().lastIndexOf('\n') + 1;
    const lines = program.out().slice(taken, end).split('\n').slice(0, -1);
    taken = Math.max(taken, end);
    for (const line of lines) {
      takeLine(line, attempts);
      if (line === 'kept') {
        const secret = randomBytes(SECRET_BYTES).toString('hex');
        uncover = await harness.hide(secret);
        program.process.stdin?.write(secret);
      } else if (line === 'look') {
        attempts.at(-1)?.loot.push(...(await harness.look()));
        await uncover();
        uncover = async () => undefined;
        program.process.stdin?.write('\n');
      }
    }
    if (hasEnded && program.out().length === taken) break;
  }
  await uncover();
  return attempts;
}

function takeLine(line: string, attempts: Attempted[]): void {
  const space = line.indexOf(' ');
  const [word, rest] = space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
  const current = attempts.at(-1);
  if (word === 'attempt') attempts.push({ name: rest, tried: '', word: 'silent', by: '', loot: [] });
  else if (current === undefined) return;
  else if (word === 'tried') current.tried = rest;
  else if (word === 'stopped' || word === 'succeeded' || word === 'impossible' || word === 'died')
    Object.assign(current, { word, by: rest });
}
