/** The native addon, typed. Everything that needs a system call that Node does not offer goes through here. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ROOT } from './root.js';

/** A driver domain, as the addon takes it: see host/driver-vm/domain.ts for the meanings. */
export interface NativeDomain {
  memory: number;
  memoryBytes: number;
  channels: number;
  channelsAddress: bigint;
  pages: BigUint64Array | null;
  doorbell: number;
  channelEvents: number[] | null;
}

/** The envelope's limits as the addon enforces them; `operations` has a bit an operation, in the contract's order. */
export interface NativeEnvelope {
  argumentBytesMax: number;
  transferBytesMax: number;
  grantBytesMax: number;
  grantsMax: number;
  relocationsMax: number;
  requirementsMax: number;
  descriptorsMax?: number;
  sessionsMax: number;
  operationsInFlightMax: number;
  mappedPagesMax: number;
  handlesMax: number;
  operations: number;
  /** Character codes. */
  ioctlTypes: number[];
}

export interface NativeCommand {
  number: number;
  mask: number;
  headBytes: number;
  access: number;
  nested: boolean;
  /** Nothing is settled when it has ended. */
  unsettled: boolean;
  /** It does not change what the file is ready for. */
  steady: boolean;
  /** The table refuses it on purpose: whatever the module says then, it does not reach the driver. */
  refused: boolean;
}

export interface NativeNode {
  path: string;
  name: string;
  classIndex: number;
  kind: number;
  major: number;
  minor: number;
}

/** Which class judges the descriptors of a kind, by the contract's numbers of kinds. */
export interface NativeDescriptor {
  kind: number;
  classIndex: number;
  /** Index into the manifest's nodes. */
  node: number;
}

/** What only the guest in front may do, of a class that is shared so. */
export interface NativeForeground {
  reads: boolean;
  /** Rows of commands that wait for the front. */
  rows: number[];
  handovers: { take: number; takeArgument: number; give: number; giveArgument: number; always: boolean }[];
  /** Rows of commands that are done again, and where in the head they say what they are about. */
  replays: { row: number; offset: number }[];
}

/** A class as a mediator enforces it. */
export interface NativeClass {
  envelope: NativeEnvelope;
  exclusive: boolean;
  /** Another module was in force before, to which JavaScript goes back when this one misbehaves. */
  onTrial: boolean;
  foreground: NativeForeground | null;
  commands: NativeCommand[];
  /** Nothing is settled when a read or write has ended. */
  unsettledTransfers: boolean;
}

/** A guest that is a VM, as the addon takes it: native/addon/vm_guest.h has the meanings. */
export interface NativeVmGuest {
  ram: number;
  ramBytes: number;
  aperture: number;
  apertureBytes: number;
  doorbell: number;
  interrupt: number;
  process: number;
  memory: number;
  memoryReadOnly: number;
  /** QEMU's descriptor of the socket that another driver domain's memory is handed over by. */
  gifts: number;
}

/** Where a guest's operations come from: a seccomp listener with a process in the guest's namespaces, or a VM. */
export type NativeSource = { listener: number; process: number } | { vm: NativeVmGuest };

export type MediatorOptions = NativeSource & {
  control: number;
  guest: number;
  front: boolean;
  /** How long an operation that does not say that it may sleep may take, in ms. */
  operationDeadlineMs: number;
  spinUs: number;
  domain: number;
  classes: NativeClass[];
  nodes: NativeNode[];
  descriptors: NativeDescriptor[];
};

/** What a mediator counts, as plain numbers. */
export interface MediatorCounters {
  notifications: number;
  opensNative: number;
  operationsAllowed: number;
  operationsDenied: number;
  operationsFailed: number;
  faults: number;
  bytesIn: number;
  bytesOut: number;
  pagesMapped: number;
  mappings: number;
  sessions: number;
  interrupted: number;
  /** Operations that the fast frontend posted; of those, what had to be made system calls after all. */
  posted: number;
  fallenBack: number;
}

/** One guest's mediator: native/addon/mediator.h. */
export interface NativeMediator {
  /** Acts on the last event's answer in the exchange, and returns the next event. Blocks. */
  step(): number;
  /** Bytes of the guest for the policy, from the operation's snapshot. 0 or an errno. */
  read(address: bigint, bytes: number, into: Uint8Array, at: number): number;
  counters(): MediatorCounters;
  /** Another module for a class, from the next operation on. `kinds`: by node of the options. Returns the module's generation. */
  configure(classIndex: number, nativeClass: NativeClass, kinds: readonly number[]): number;
  /** The driver domain has ended: afterwards nothing of it is used any more. */
  loseDomain(): void;
  /** Another driver domain in place of one that has ended; false for a guest VM, which can't change it. */
  replaceDomain(domain: number): boolean;
  /** Whether the guest is in front. The event `front` tells when everything has been handed over. */
  setFront(isFront: boolean): void;
  /** Whether an operation that the generation's module has judged is not finished. */
  isInFlight(classIndex: number, generation: number): boolean;
  /** The guest's open files of a class. */
  openFiles(classIndex: number): number;
  /** Releases everything of the guest. */
  close(): void;
}

export interface NativeAddon {
  /** An anonymous memory file of `bytes` bytes; the descriptor is close-on-exec. Throws with the system's words. */
  memfd(name: string, bytes: number): number;
  /** A connected pair of AF_UNIX stream sockets, close-on-exec. */
  socketPair(): [number, number];
  /** An event counter (eventfd), non-blocking, close-on-exec. */
  eventFd(): number;
  closeDescriptor(descriptor: number): void;
  /** No thread of this process has other capabilities than these from here on (linux/capability.h), nor gets any. Throws when one keeps some. */
  keepCapabilities(numbers: readonly number[]): void;
  /** What this process's C library has allocated, and what it has of the kernel for that, in bytes. */
  nativeHeap(): { inUse: number; held: number };
  /** Listens at a path that only this user can connect to. Its errors, as those of the functions below, have a `code` (EADDRINUSE, …). */
  listenAt(path: string): number;
  /** Connects to a socket of this user's or root's. */
  connectTo(path: string): number;
  /** Sends the byte that every connection begins with, and a descriptor with it unless it is -1. */
  greet(connection: number, descriptor: number): void;
  /** Sends a text in one message, with descriptors, eight at most. */
  handOver(connection: number, text: string, descriptors: readonly number[]): void;
  /** The next connection of this user's; its descriptor is -1 where it brought none. Blocks. Null once stopAccepting has been called. */
  acceptConnection(listener: number): { connection: number; pid: number; descriptor: number } | null;
  stopAccepting(listener: number): void;
  /** Locks a file, which is made where it is missing, until the descriptor is closed or this process ends. Throws EAGAIN while another holds it. */
  lockFile(path: string): number;
  /** Makes a driver domain known to this process's mediators, under the number it returns. */
  addDomain(domain: NativeDomain): number;
  removeDomain(id: number): void;
  /** Gives a guest VM's ivshmem device its memory and its event counters: the guest adds to `host`, and is interrupted by `guest`. */
  offerAperture(socket: number, memory: number, host: number, guest: number): void;
  /** Sends the launcher its plan. */
  sendPlan(socket: number, plan: string): void;
  /** Waits for the launcher's seccomp listener and the pid of a process in the guest's namespaces. Throws its complaint. */
  receiveListener(socket: number): { listener: number; process: number };
  /** Lets the program begin. */
  sendGo(socket: number): void;
  Mediator: new (options: MediatorOptions, exchange: ArrayBuffer) => NativeMediator;
  /** Offsets in the exchange (native/addon/exchange.h), its size in bytes, and the capacities of its lists. */
  exchangeLayout: Record<string, number>;
}

const ADDON = join(ROOT, 'native', 'build', 'Release', 'postern.node');

function load(): NativeAddon {
  try {
    return createRequire(import.meta.url)(ADDON) as NativeAddon;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(`The native addon is not built: ${ADDON} is missing. Run \`npm run setup\`.`);
  }
}

export const native: NativeAddon = load();
