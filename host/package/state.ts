import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { schemaFaults } from '../policy/checked-json.js';
import { systemWords } from '../system-error.js';
import { writeDurably } from './durable.js';
import { PackageError } from './errors.js';
import { canonicalJson } from './json.js';

/** A package in the store. */
export interface StoreEntry {
  /** SHA-256 of the whole file, of what is signed, and of the component. */
  file: string;
  content: string;
  digest: string;
  name: string;
  version: string;
  sequence: number;
  /** The trust policy's names of the keys; empty: it was installed unsigned, on request. */
  signers: string[];
  installedAt: string;
}

/** What a store knows of a class. */
export interface ClassRecord {
  sequenceHighest: number;
  /** The content digest of the package with that number. */
  seen: string;
  /** Null: what came with Postern is in force. */
  inForce: StoreEntry | null;
  /** What was in force before, the last one first. */
  previous: StoreEntry[];
  candidate: StoreEntry | null;
  quarantined: { digest: string; version: string; reason: string; at: string }[];
}

/** What was done to a store. */
export type StoreAct =
  | 'install'
  | 'downgrade'
  | 'candidate'
  | 'promote'
  | 'withdraw'
  | 'rollback'
  | 'quarantine'
  | 'remove';

export interface HistoryEntry {
  at: string;
  by: string;
  act: StoreAct;
  class: string;
  version: string;
  sequence: number;
  digest: string;
  signers?: string[];
  why?: string;
}

/** A file that was dropped in the inbox and not taken. It may be unreadable, so that nothing is known of it but its name. */
export interface RefusedFile {
  at: string;
  by: string;
  /** Its name in the inbox, as it was dropped. */
  file: string;
  /** Why, to programs and to people. */
  code: string;
  why: string;
}

/** schemas/policy-store.schema.json. */
export interface StoreState {
  format: 1;
  classes: Record<string, ClassRecord>;
  history: HistoryEntry[];
  /** What was refused, the oldest first; apart from the history, so that whoever drops without an end does not push that out. */
  refused?: RefusedFile[];
}

/** How many versions of a class can be gone back to. */
export const PREVIOUS_MAX = 8;
/** The history's oldest entries go when there are more: some hundred kilobytes, which are written with every change. */
const HISTORY_MAX = 1000;
/** So many refusals are told of: as many files as somebody would look at. */
const REFUSED_MAX = 100;
const STATE_FILE = 'state.json';

export const EMPTY_STATE: StoreState = { format: 1, classes: {}, history: [] };

/**
 * The state of the store in a folder.
 * @returns undefined when there is no store
 * @throws PackageError POSTERN_STORE_STATE when it is not readable: a damaged state is never taken for an empty one
 */
export function readState(folder: string): StoreState | undefined {
  const path = join(folder, STATE_FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw damaged(path, [systemWords(error) ?? (error as Error).message]);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged(path, [(error as Error).message]);
  }
  const faults = schemaFaults(value, 'policy-store.schema.json');
  if (faults.length > 0) throw damaged(path, faults);
  return value as StoreState;
}

/** Replaces the state as a whole, durably. */
export function writeState(folder: string, state: StoreState): void {
  const { history, refused } = state;
  const bounded = {
    ...state,
    history: history.slice(-HISTORY_MAX),
    ...(refused === undefined ? {} : { refused: refused.slice(-REFUSED_MAX) }),
  };
  writeDurably(join(folder, STATE_FILE), canonicalJson(bounded));
}

/** Every package that a state refers to, by the digest of its file. */
export function filesOf(state: StoreState): Set<string> {
  const entries = Object.values(state.classes).flatMap(({ inForce, previous, candidate }) => [
    inForce,
    candidate,
    ...previous,
  ]);
  return new Set(entries.flatMap((entry) => entry?.file ?? []));
}

function damaged(path: string, faults: readonly string[]): PackageError {
  return new PackageError(
    'POSTERN_STORE_STATE',
    [`${path} is not the state of a policy store:`, ...faults].join('\n  '),
  );
}
