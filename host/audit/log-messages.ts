import type { MessagePort } from 'node:worker_threads';
import type { ChainHead } from './chain.js';

/** What the writer of a decision log is started with. */
export interface LogWorkerInput {
  path: string;
  segmentBytesMax: number;
  /** What each segment says of who writes it. */
  about: object;
  bell: SharedArrayBuffer;
  commands: MessagePort;
  /** Commands, by name, and file operations whose argument bytes are not written. */
  redact: string[];
}

/** What the main thread asks of the writer. */
export type LogCommand =
  | {
      kind: 'guest';
      name: string;
      number: number;
      isProcess: boolean;
      ring: SharedArrayBuffer;
      port: MessagePort;
    }
  | { kind: 'close' };

/** What the writer tells the main thread. */
export type LogMessage =
  | { kind: 'open' }
  | { kind: 'stuck'; message: string }
  | { kind: 'recovered' }
  /** At the end: so many lines could not be written, of which these are denials. */
  | { kind: 'lost'; lines: string[]; total: number }
  | { kind: 'closed'; head: ChainHead }
  | { kind: 'failed'; message: string };
