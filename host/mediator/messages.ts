import type { MediatorCounters, NativeNode } from '../native.js';
import type { Manifest } from '../policy/manifest.js';
import type { DecisionTimes } from './decision-times.js';

/** What the main thread gives a mediator worker. */
export interface WorkerInput {
  /** The launcher's control socket. */
  socket: number;
  /** An event counter that wakes the worker for the main thread's messages. */
  control: number;
  plan: string;
  domain: number;
  guest: number;
  spinUs: number;
  nodes: NativeNode[];
  classes: { manifest: Manifest; module: WebAssembly.Module }[];
  /** Whether allowed operations are told too. */
  tellsAllowed: boolean;
}

/** What a mediator worker tells the main thread. */
export type WorkerMessage =
  | { kind: 'log'; level: 'trace' | 'info' | 'warn' | 'error'; fields: Record<string, unknown>; text: string }
  | { kind: 'failed'; message: string }
  | { kind: 'ended'; counters: MediatorCounters; decisions: DecisionTimes };
