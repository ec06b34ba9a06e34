import type { MessagePort } from 'node:worker_threads';
import type { TapInput } from '../audit/tap.js';
import type { MediatorCounters, NativeDescriptor, NativeNode, NativeVmGuest } from '../native.js';
import type { Manifest } from '../policy/manifest.js';
import type { DecisionTimes } from './decision-times.js';

/** A policy module as a mediator runs it. */
export interface ModuleInput {
  manifest: Manifest;
  /** Metered and compiled. */
  module: WebAssembly.Module;
  /** SHA-256 of the component, hexadecimal. */
  digest: string;
}

/** Where a guest's operations come from: the launcher's control socket, and what the launcher is told; or the VM, where the guest is one. */
export type WorkerSource = { socket: number; plan: string } | { vm: NativeVmGuest };

/** What the main thread gives a mediator worker. */
export interface WorkerInput {
  source: WorkerSource;
  /** An event counter that wakes the worker for the main thread's messages. */
  control: number;
  /** Where the main thread's commands come (WorkerCommand). */
  commands: MessagePort;
  domain: number;
  guest: number;
  operationDeadlineMs: number;
  spinUs: number;
  /** Whether the guest begins as the one in front. */
  front: boolean;
  nodes: NativeNode[];
  descriptors: NativeDescriptor[];
  classes: ModuleInput[];
  /** Where decisions are told, for the decision log. */
  tap: TapInput | undefined;
  /** Whether denials are told, and whether allowed operations are too: a message to the main thread costs more than a decision. */
  tellsDenied: boolean;
  tellsAllowed: boolean;
}

/** What a mediator worker tells the main thread. */
export type WorkerMessage =
  | { kind: 'log'; level: 'trace' | 'info' | 'warn' | 'error'; fields: Record<string, unknown>; text: string }
  | { kind: 'started'; process: number }
  /** A module misbehaves: for the first time, or the one before it is in force again. */
  | { kind: 'misbehaved'; class: string; digest: string; reason: string }
  | { kind: 'answer'; id: number; answer: WorkerAnswer }
  | { kind: 'failed'; message: string }
  | { kind: 'ended'; counters: MediatorCounters; decisions: DecisionTimes };

/** What the main thread asks of a worker, between two operations. */
export type WorkerCommand =
  | { kind: 'count' }
  /** Records the decisions of a class on a tape (tape.ts); undefined: does so no more. */
  | { kind: 'record'; class: string; tape: SharedArrayBuffer | undefined }
  /** The driver domain has ended; another one, as the addon numbers it, has taken its place. */
  | { kind: 'lose' }
  | { kind: 'domain'; domain: number }
  /** This process ends, whatever the guest does. */
  | { kind: 'leave' }
  /** The guest comes to the front, or leaves it. */
  | { kind: 'front'; isFront: boolean }
  /** Another module for its class; `onTrial`: the one before is put back when it misbehaves. */
  | { kind: 'switch'; module: ModuleInput; onTrial: boolean };

/** A command as it is posted: its answer has the same number. */
export interface NumberedCommand {
  id: number;
  command: WorkerCommand;
}

/** What a worker answers to a command. */
export type WorkerAnswer = MediatorCounters | SwitchAnswer | 'done' | 'refused';

/** Why the guest keeps the module that it has; undefined when it has the new one. */
export interface SwitchAnswer {
  refusal: string | undefined;
}
