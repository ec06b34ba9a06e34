/** Judges what guests did once more: by the module in force, and by a candidate, and counts where they differ. */
import { setPriority } from 'node:os';
import type { MessagePort } from 'node:worker_threads';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import { Tape } from '../mediator/tape.js';
import { Comparison, type Difference } from './comparison.js';

/** What the worker is told. */
export type ShadowCommand =
  | { kind: 'begin'; guest: string; tape: SharedArrayBuffer; inForce: ModuleInput; candidate: ModuleInput }
  | { kind: 'end'; guest: string; class: string }
  | { kind: 'report'; id: number };

/** What it found for one class, over all its guests. */
export interface ShadowFinding {
  class: string;
  judged: number;
  /** Decisions for which the tape had no room. */
  lost: number;
  differences: Difference[];
}

/** What it answers. */
export interface ShadowAnswer {
  id: number;
  findings: ShadowFinding[];
}

/** How often tapes are looked at: they have room for what comes in between. */
const PAUSE_MS = 5;
/** Of one tape in one turn, so that the others and the commands get theirs. */
const DECISIONS_A_TURN = 1000;
/** What guests do goes before: setpriority(2) with 0 means the calling thread. */
const NICE = 15;

interface Shadowed {
  guest: string;
  class: string;
  tape: Tape;
  comparison: Comparison;
}

const { commands } = workerData as { commands: MessagePort };
const sleeper = new Int32Array(new SharedArrayBuffer(4));
/** By class and candidate, over all guests. */
const comparisons = new Map<string, Comparison>();
const lost = new Map<string, number>();
let shadowed: Shadowed[] = [];

function obey(command: ShadowCommand): void {
  if (command.kind === 'report') {
    parentPort?.postMessage({ id: command.id, findings: findings() } satisfies ShadowAnswer);
    return;
  }
  const deviceClass = command.kind === 'begin' ? command.candidate.manifest.class : command.class;
  for (const ended of shadowed.filter((one) => one.guest === command.guest && one.class === deviceClass)) {
    while (drain(ended) > 0);
    lost.set(deviceClass, (lost.get(deviceClass) ?? 0) + ended.tape.lost);
  }
  shadowed = shadowed.filter((one) => one.guest !== command.guest || one.class !== deviceClass);
  if (command.kind === 'begin') begin(command, deviceClass);
}

function begin(command: Extract<ShadowCommand, { kind: 'begin' }>, deviceClass: string): void {
  let comparison = comparisons.get(deviceClass);
  if (!comparison?.isOf(command.inForce, command.candidate)) {
    comparison = new Comparison(command.inForce, command.candidate);
    comparisons.set(deviceClass, comparison);
    lost.delete(deviceClass);
  }
  shadowed.push({ guest: command.guest, class: deviceClass, tape: new Tape(command.tape), comparison });
}

function findings(): ShadowFinding[] {
  for (const one of shadowed) drain(one);
  return [...comparisons].map(([deviceClass, { judged, differences }]) => ({
    class: deviceClass,
    judged,
    lost: shadowed
      .filter((one) => one.class === deviceClass)
      .reduce((sum, { tape }) => sum + tape.lost, lost.get(deviceClass) ?? 0),
    differences: [...differences.values()],
  }));
}

/** How many decisions were judged. */
function drain({ guest, tape, comparison }: Shadowed): number {
  for (let count = 0; count < DECISIONS_A_TURN; count++) {
    const decision = tape.read();
    if (decision === undefined) return count;
    comparison.judge(guest, decision);
  }
  return DECISIONS_A_TURN;
}

setPriority(0, NICE);
for (;;) {
  for (;;) {
    const received = receiveMessageOnPort(commands) as { message: ShadowCommand } | undefined;
    if (received === undefined) break;
    obey(received.message);
  }
  const isBusy = shadowed.map(drain).some((count) => count === DECISIONS_A_TURN);
  if (!isBusy) Atomics.wait(sleeper, 0, 0, PAUSE_MS);
}
