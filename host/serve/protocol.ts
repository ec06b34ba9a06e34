/** What commands and a running host say to each other: schemas/serve.schema.json, typed and checked. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { DecisionTimes } from '../mediator/decision-times.js';
import type { MediatorCounters } from '../native.js';
import type { LyingRefused } from '../package/inbox.js';
import { ROOT } from '../root.js';
import type { Difference } from './comparison.js';

/** A device of the driver domain, and where the guest sees it. */
export interface RequestedDevice {
  name: string;
  path: string;
}

/** Becomes a guest: its launcher's control socket came with the connection. */
export interface RunRequest {
  request: 'run';
  name: string;
  /** Null: every device that a policy serves. */
  devices: RequestedDevice[] | null;
  networkAdministration: boolean;
  /** Whether the host sends its log of the guest. */
  tells: boolean;
}

/** What a command asks of a running host. */
export type Request =
  | RunRequest
  | { request: 'guests' }
  | { request: 'policies' }
  | { request: 'refresh' }
  | { request: 'shadow' }
  | { request: 'foreground'; guest: string };

/** A policy module, by what its manifest says of it. */
export interface ModuleName {
  class: string;
  name: string;
  version: string;
  sequence: number;
  digest: string;
}

/** A guest of a running host. */
export interface GuestState {
  name: string;
  /** Of the program; 0 until it runs. */
  pid: number;
  /** Since it was started. */
  seconds: number;
  foreground: boolean;
  modules: ModuleName[];
  counters: Partial<MediatorCounters>;
}

/** What a running host has for a class. */
export interface ClassState {
  class: string;
  /** Null: the store's module can't be loaded, so nobody gets devices of the class. */
  inForce: ModuleName | null;
  /** Takes its place when the module in force misbehaves. */
  previous: ModuleName | null;
  /** Judges beside it. */
  candidate: ModuleName | null;
  /** They misbehaved, and don't come back. */
  quarantined: ModuleName[];
  /** Why the last new module is not in force, or what is wrong with the one that is. */
  failure: string | null;
  /** Why the candidate that the store has does not judge. */
  candidateFailure: string | null;
}

/** What a candidate found. */
export interface ShadowReport {
  class: string;
  candidate: ModuleName;
  /** Decisions that both have made. */
  judged: number;
  /** Decisions that came faster than they could be recorded. */
  lost: number;
  differences: Difference[];
}

/** What became of a new module. */
export interface Switch {
  class: string;
  module: ModuleName;
  /** Why it is not in force: what was before it still is. */
  failure: string | null;
  /** Guests that it judges now. */
  switched: string[];
  /** Guests that keep the module that they have, each with its reason. */
  kept: { guest: string; reason: string }[];
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** What a running host answers. */
export type Reply =
  | { reply: 'accepted'; name: string }
  | { reply: 'log'; level: LogLevel; fields: Record<string, unknown>; text: string }
  | { reply: 'ended'; counters: MediatorCounters; decisions: DecisionTimes }
  | { reply: 'stopping'; message: string }
  | { reply: 'failed'; message: string }
  | { reply: 'guests'; guests: GuestState[] }
  | { reply: 'shadow'; classes: ShadowReport[] }
  | { reply: 'foreground'; guest: string }
  | { reply: 'policies'; classes: ClassState[]; refused: LyingRefused[] }
  | { reply: 'refreshed'; store: string | null; switches: Switch[]; latest: Switch[]; classes: ClassState[] };

/** More errors of one kind say nothing new. */
const ERRORS_SHOWN = 10;

const ajv = new Ajv2020({
  allErrors: true,
  discriminator: true,
  allowUnionTypes: true,
  strictRequired: false,
  // test/setup/schemas.test.ts does: compiling the schema of schemas takes as long as everything else together.
  validateSchema: false,
});
ajv.addSchema(JSON.parse(readFileSync(join(ROOT, 'schemas', 'serve.schema.json'), 'utf8')));

/**
 * Reads one line of a command's.
 * @throws Error with everything that is wrong with it
 */
export const parseRequest = parserOf<Request>('request');

/**
 * Reads one line of a host's.
 * @throws Error with everything that is wrong with it
 */
export const parseReply = parserOf<Reply>('reply');

function parserOf<T>(what: 'request' | 'reply'): (line: string) => T {
  let compiled: ValidateFunction<T> | undefined;
  return (line) => {
    // Compiled when the first line comes: a command without a running host needs none.
    compiled ??= ajv.getSchema<T>(`serve.schema.json#/$defs/${what}`) as ValidateFunction<T>;
    const check = compiled;
    let parsed: unknown;
    try {
      parsed = JSON.parse(line);
    } catch (error) {
      throw new Error(`This is no ${what}: ${(error as Error).message}.`);
    }
    if (check(parsed)) return parsed;
    const faults = (check.errors ?? [])
      .slice(0, ERRORS_SHOWN)
      .map(({ instancePath, message }) => `${instancePath || '/'} ${message}`);
    throw new Error(`This is no ${what} as schemas/serve.schema.json describes it: ${faults.join('; ')}.`);
  };
}
