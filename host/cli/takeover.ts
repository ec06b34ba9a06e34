import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { native } from '../native.js';
import { askHost, connectToHost, HostRefusal } from '../serve/client.js';
import { defaultSocketPath } from '../serve/door.js';
import type { Reply, Switch } from '../serve/protocol.js';
import { NOT_TAKEN_STATUS } from './status.js';

const MS_PER_SECOND = 1000;

/** Which host is asked, and how long it may take. */
export interface HostChoice {
  socket?: string;
  /** Seconds; false: it is not asked. */
  wait: number | false;
}

/** What a host should have after a change of the store. */
export interface Wanted {
  class: string;
  /** Null: there is to be none. */
  module: { digest: string; sequence: number } | null;
  as: 'inForce' | 'candidate';
}

/** What the running host has made of a change. */
export type Takeover =
  | { state: 'not asked' }
  | { state: 'no host'; socket: string | null }
  | { state: 'other store'; socket: string; store: string | null }
  | { state: 'taken'; socket: string; guests: string[]; kept: Switch['kept'] }
  | { state: 'refused'; socket: string; reason: string }
  | { state: 'unknown'; socket: string; reason: string };

/**
 * Has the running host look at the store, and waits for what comes of it. Nothing here undoes what was done to the store, so nothing is
 * thrown either: what can't be told is a result too.
 */
export async function takeover(
  store: string,
  wanted: Wanted,
  { socket, wait }: HostChoice,
): Promise<Takeover> {
  if (wait === false) return { state: 'not asked' };
  const path = socket ?? usualSocket();
  if (path === undefined) return { state: 'no host', socket: null };
  try {
    if (!isThere(path)) return { state: 'no host', socket: path };
    return judged(
      await askHost(path, { request: 'refresh' }, 'refreshed', wait * MS_PER_SECOND),
      store,
      wanted,
      path,
    );
  } catch (error) {
    const state = error instanceof HostRefusal ? 'refused' : 'unknown';
    return { state, socket: path, reason: (error as Error).message };
  }
}

/** Where this user's host would be; undefined where there is no usual place, so that there is none either. */
function usualSocket(): string | undefined {
  try {
    return defaultSocketPath();
  } catch {
    return undefined;
  }
}

function isThere(path: string): boolean {
  const connection = connectToHost(path);
  if (connection !== undefined) native.closeDescriptor(connection);
  return connection !== undefined;
}

function judged(
  { store: used, latest, classes }: Extract<Reply, { reply: 'refreshed' }>,
  store: string,
  { class: deviceClass, module, as }: Wanted,
  socket: string,
): Takeover {
  if (used === null || !isSameFolder(used, store)) return { state: 'other store', socket, store: used };
  const now = classes.find((each) => each.class === deviceClass);
  const last = latest.find((each) => each.class === deviceClass);
  const has = now?.[as] ?? null;
  if (has?.digest === module?.digest && has?.sequence === module?.sequence) {
    const isLast = as === 'inForce' && last?.failure === null && last.module.digest === module?.digest;
    return { state: 'taken', socket, guests: isLast ? last.switched : [], kept: isLast ? last.kept : [] };
  }
  const why =
    as === 'candidate' ? (now?.candidateFailure ?? NOTHING_BESIDE) : (now?.failure ?? last?.failure);
  return { state: 'refused', socket, reason: why ?? 'it has another module in force, and does not say why.' };
}

const NOTHING_BESIDE = 'it has no module of that class in force, beside which this one could judge.';

function isSameFolder(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return resolve(one) === resolve(other);
  }
}

/** Says what the running host has made of it, and ends with the status for that. */
export function tellTakeover(result: Takeover): string {
  if (result.state === 'refused' || result.state === 'unknown') process.exitCode = NOT_TAKEN_STATUS;
  switch (result.state) {
    case 'not asked':
      return 'A running host was not asked (--no-wait).\n';
    case 'no host':
      return `No host is running${result.socket === null ? '' : ` at ${result.socket}`}: the next one begins with it, and so does every \`postern run\`.\n`;
    case 'other store':
      return `The host at ${result.socket} uses ${result.store === null ? 'no store' : `the store ${result.store}`}: this does not concern it.\n`;
    case 'taken':
      return taken(result);
    case 'refused':
      return `The store has it, but the host at ${result.socket} goes on with what it had: ${result.reason}\n`;
    case 'unknown':
      return `The store has it; whether the host at ${result.socket} does is not known: ${result.reason} \`postern policy status\` tells.\n`;
  }
}

function taken({ socket, guests, kept }: Extract<Takeover, { state: 'taken' }>): string {
  const judges = guests.length === 0 ? '' : ` It judges ${guests.join(', ')} from now on.`;
  const others = kept.map(({ guest, reason }) => `  ${guest} keeps what it had: ${reason}\n`);
  return `The host at ${socket} has taken it over.${judges}\n${others.join('')}`;
}
