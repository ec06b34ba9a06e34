import type { Readable } from 'node:stream';
import type { Device } from './devices.js';

/** How a program that ran beside the driver has ended: by a status or by a signal. */
export interface ProgramEnd {
  code: number | null;
  signal: number | null;
}

/** Told what a program writes, and whether that is on its standard error. */
export type OnOutput = (chunk: Buffer, isError: boolean) => void;

/** Where a driver runs: a driver VM, or a locked-down process over this machine's own devices. */
export interface DriverDomain {
  kind: 'vm' | 'local';
  /** The memory file that holds the channels: a VM's whole RAM, or nothing but the channels. Closed by close(). */
  memory: { descriptor: number; bytes: number };
  channels: number;
  /** Address of channel 0 in the agent's address space. */
  channelsAddress: bigint;
  /** Guest-physical address of every page of the channels, channel after channel; null for a local domain. */
  pages: BigUint64Array | null;
  /** The host's end of the doorbell stream: every ring is a channel's number, a uint32. Closed by close(). */
  doorbell: number;
  /** Local domain: an event counter a channel, which the agent adds to. A VM rings the doorbell instead. Closed by close(). */
  channelEvents: number[] | null;
  /** Asks the agent for the character devices that are there now. */
  devices(): Promise<Device[]>;
  /**
   * Runs a program beside the driver, in a chroot of this machine's root: only in a VM that was started with `shareRoot`.
   * One at a time; others wait.
   * @param onOutput told what the program writes, and whether that is on its standard error
   * @param input its standard input; by default there is none
   */
  run(argv: readonly string[], onOutput: OnOutput, input?: Readable): Promise<ProgramEnd>;
  /** Tells `listener`, once, why the domain has ended. A domain that has ended already tells at once; close() tells nobody. */
  onExit(listener: (reason: string) => void): void;
  /** Ends the domain and closes its descriptors: whoever uses them must have stopped. */
  close(): Promise<void>;
}

/** Takes a line for the log. */
export type Log = (line: string) => void;
