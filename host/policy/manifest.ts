import { parseChecked } from './checked-json.js';

export type OperationName = 'open' | 'ioctl' | 'read' | 'write' | 'mmap' | 'seek';

/** The contract's kinds of descriptors. */
export type DescriptorName = 'dma-buf' | 'sync-file' | 'syncobj';

/** What a module judges: device nodes, or the descriptors of a kind that drivers make. */
export interface ManifestNode {
  pattern?: string;
  onRequest?: boolean;
  descriptor?: DescriptorName;
}

/** What may happen to a command's head: the contract's `access`, by its names. */
export type AccessName = 'to-driver' | 'from-driver' | 'from-driver-on-error';

/** A command that may reach the driver, as the build writes it into the envelope. Numbers are hexadecimal: 0x and eight digits. */
export interface EnvelopeCommand {
  name: string;
  number: string;
  mask: string;
  headBytes: number;
  access: AccessName[];
  nested: boolean;
}

/** The limits of a policy module; units and meanings are in schemas/manifest.schema.json. */
export interface Envelope {
  operations: OperationName[];
  ioctlTypes: string[];
  /** Absent in the sources: the build derives it. Every module that has been built has it. */
  commands?: EnvelopeCommand[];
  argumentBytesMax: number;
  transferBytesMax: number;
  writesJudged?: boolean;
  pollSynchronizes?: boolean;
  grantsMax: number;
  grantBytesMax: number;
  relocationsMax: number;
  requirementsMax: number;
  descriptorsMax?: number;
  sessionsMax: number;
  operationsInFlightMax: number;
  mappedPagesMax: number;
  handlesMax: number;
  decisionFuelMax: number;
  memoryPagesMax: number;
  faultsMax: number;
}

/** How guests share a device of a class. */
export const SHARING_MODES = ['concurrent', 'exclusive', 'foreground'] as const;
export type Sharing = (typeof SHARING_MODES)[number];

/** A command of the class's table whose argument is a plain word. */
export interface WordCommand {
  command: string;
  argument: number;
}

/** What only the guest in front may do. */
export interface ForegroundRules {
  /** Reading, and what poll tells of it. */
  reads: boolean;
  /** Names of commands that wait for the front. */
  commands: string[];
  /** By which a file takes a device from all others: given back when its guest leaves the front, taken again when it returns. */
  handovers: { take: WordCommand; give: WordCommand; always: boolean }[];
  /** Commands that show something, and where in the argument they say on what: the last of each is done again. */
  replays: { command: string; offset: number }[];
}

/** A policy module's manifest, as schemas/manifest.schema.json describes it. */
export interface Manifest {
  name: string;
  class: string;
  version: string;
  sequence: number;
  contract: '0.2.0';
  uapi: string;
  nodes: ManifestNode[];
  refuses?: { pattern: string; reason: string }[];
  /** The kind of state that sessions and handle tables hold; a module of another kind can't carry them on. 0 by default. */
  state?: number;
  /** What judges when this version misbehaves after a switch: the version before it (the default), or nothing. */
  fallback?: 'previous' | 'none';
  sharing: Sharing;
  /** What `foreground` sharing means for the class; without it the class can't be shared so. */
  foreground?: ForegroundRules;
  envelope: Envelope;
}

/**
 * Checks a manifest.
 * @param text the manifest's JSON
 * @param source where it came from, for the error
 * @throws Error with everything that is wrong, one line a fault, each with its path in the manifest
 */
export function parseManifest(text: string, source: string): Manifest {
  return parseChecked<Manifest>(text, source, 'manifest.schema.json', 'a policy manifest');
}

/** Whether a device name below /dev is one of a node's. */
export function matchesNode(node: ManifestNode, deviceName: string): boolean {
  return node.pattern !== undefined && new RegExp(`^(?:${node.pattern})$`, 'u').test(deviceName);
}
