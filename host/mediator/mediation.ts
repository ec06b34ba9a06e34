import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type pino from 'pino';
import type { DecisionLog } from '../audit/log.js';
import type { Device } from '../driver-vm/devices.js';
import type { DriverDomain } from '../driver-vm/domain.js';
import { type MediatorCounters, type NativeNode, type NativeVmGuest, native } from '../native.js';
import { ROOT } from '../root.js';
import type { Assignment } from './assignment.js';
import type { DecisionTimes } from './decision-times.js';
import type {
  ModuleInput,
  NumberedCommand,
  SwitchAnswer,
  WorkerAnswer,
  WorkerCommand,
  WorkerInput,
  WorkerMessage,
} from './messages.js';
import { worldPlan } from './world.js';

/** Workers run compiled code, also when this module runs from its source. */
const WORKER = join(ROOT, 'dist', 'host', 'mediator', 'worker.js');
/**
 * How long a mediator looks for an answer before it sleeps: a backend that is awake answers within a few microseconds, while sleeping and
 * being woken costs 30, or more than 100 through a VM's serial port. With one processor the backend needs it to answer at all.
 */
const SPIN_US = availableParallelism() > 1 ? 50 : 0;
/**
 * How long an operation that does not say that it may sleep (a plan's `blocking`) may take before its backend process is given up. Drivers
 * answer such operations within milliseconds; setting up hardware, emulated on a busy machine, takes seconds.
 */
export const OPERATION_DEADLINE_MS = 30_000;
/** Mediations whose workers wait in native code, where the end of this process does not reach them by itself. */
const serving = new Set<() => void>();
process.on('exit', () => {
  for (const leave of serving) leave();
});

/**
 * What an operation leaves behind is dead when it has ended, so room for more of it makes no collection shorter: V8 would let it grow to
 * 48 MB a guest.
 */
const YOUNG_MB_MAX = 6;
/** What is written to an event counter to wake who waits for it (eventfd(2)). */
const ONE = new BigUint64Array([1n]);

let nextGuest = 1;
const domainNumbers = new WeakMap<DriverDomain, number>();

/** A guest that is a VM, and the host's end of the socket by which its QEMU is given another driver domain's memory. */
export interface VmSource {
  vm: NativeVmGuest;
  gifts: number;
}

/** What a mediator is made for. */
export interface MediationOptions {
  /** The launcher's control socket, which the mediation closes; or the VM, where the guest is one. */
  source: { socket: number } | VmSource;
  domain: DriverDomain;
  assignment: Assignment;
  /** The assignment's packages, compiled. */
  modules: ModuleInput[];
  networkAdministration: boolean;
  /** For tests; `OPERATION_DEADLINE_MS` by default. */
  operationDeadlineMs?: number;
  /** Whether the guest begins as the one in front; true by default, as of a guest that is alone. */
  front?: boolean;
  log: pino.Logger;
  /** Where decisions are logged, and as whose. */
  audit?: { log: DecisionLog; guest: string } | undefined;
  /** Told the number of the guest's first process when the program is about to run. */
  onStart?: (process: number) => void;
  /** Told of a module that misbehaves: when it is the first time, when the one before it has taken its place, and when it is not run any more. */
  onMisbehaved?: (deviceClass: string, digest: string, reason: string) => void;
}

/** What a mediation is started with that tells by itself when it serves. */
export interface StartOptions extends Omit<MediationOptions, 'onStart'> {
  /** Told of it at once: its driver domain may end before it serves. */
  onMade?: ((made: Mediation) => void) | undefined;
}

/** What a mediator counted, at its guest's end. */
export interface MediationEnd {
  counters: MediatorCounters;
  decisions: DecisionTimes;
}

/** One guest's mediator: a worker from the launcher's start until the guest has ended and everything of it has been released. */
export class Mediation {
  /** The guest's number, unique in this process. */
  readonly guest = nextGuest++;
  /** Rejects when the mediator fails: nothing runs unjudged, so whoever has started the guest then ends it. */
  readonly ended: Promise<MediationEnd>;
  readonly #control = native.eventFd();
  readonly #commands: MessagePort;
  readonly #nodes: readonly NativeNode[];
  readonly #gifts: number | undefined;
  readonly #asked = new Map<number, (answer: WorkerAnswer | undefined) => void>();
  #nextCommand = 0;
  #hasEnded = false;

  constructor({
    source,
    domain,
    assignment,
    modules,
    networkAdministration,
    operationDeadlineMs = OPERATION_DEADLINE_MS,
    front = true,
    log,
    audit,
    onStart,
    onMisbehaved,
  }: MediationOptions) {
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    this.#nodes = assignment.nodes;
    this.#gifts = 'vm' in source ? source.gifts : undefined;
    const tap = audit?.log.tapFor(audit.guest, this.guest, 'socket' in source);
    const input: WorkerInput = {
      source:
        'vm' in source ? { vm: source.vm } : { ...source, plan: planOf(assignment, networkAdministration) },
      control: this.#control,
      commands: port2,
      domain: domainNumber(domain),
      guest: this.guest,
      spinUs: SPIN_US,
      operationDeadlineMs,
      front,
      nodes: assignment.nodes,
      descriptors: assignment.descriptors,
      classes: modules,
      tap,
      tellsDenied: log.isLevelEnabled('info'),
      tellsAllowed: log.isLevelEnabled('trace'),
    };
    const worker = new Worker(WORKER, {
      workerData: input,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB_MAX },
      transferList: tap === undefined ? [port2] : [port2, tap.port],
    });
    const leave = (): void => this.#tell({ kind: 'leave' });
    serving.add(leave);
    this.ended = endOf(worker, (message) => {
      if (message.kind === 'log') log[message.level](message.fields, message.text);
      else if (message.kind === 'started') onStart?.(message.process);
      else if (message.kind === 'misbehaved') onMisbehaved?.(message.class, message.digest, message.reason);
      else if (message.kind === 'answer') this.#take(message.id, message.answer);
    }).finally(() => {
      this.#hasEnded = true;
      serving.delete(leave);
      for (const answered of this.#asked.values()) answered(undefined);
      this.#commands.close();
      if ('socket' in source) native.closeDescriptor(source.socket);
      native.closeDescriptor(this.#control);
    });
  }

  /**
   * A mediation that serves already, of a guest that needs no word of it.
   * @throws Error when it can't begin
   */
  static async start({ onMade, ...options }: StartOptions): Promise<Mediation> {
    return await new Promise((resolve, reject) => {
      const mediation: Mediation = new Mediation({ ...options, onStart: () => resolve(mediation) });
      onMade?.(mediation);
      mediation.ended.catch(reject);
    });
  }

  /** What the guest's operations came to so far; undefined when it has ended. */
  async count(): Promise<MediatorCounters | undefined> {
    return (await this.#ask({ kind: 'count' })) as MediatorCounters | undefined;
  }

  /**
   * Another module for its class, between two operations.
   * @param onTrial whether the module before is put back when this one misbehaves
   */
  async switchTo(module: ModuleInput, onTrial: boolean): Promise<SwitchAnswer | undefined> {
    return (await this.#ask({ kind: 'switch', module, onTrial })) as SwitchAnswer | undefined;
  }

  /** The driver domain has ended. When this returns, nothing of it is used any more: it can be closed. */
  async loseDomain(): Promise<void> {
    await this.#ask({ kind: 'lose' });
  }

  /**
   * Another driver domain in place of the one that has ended. What the guest has open stays dead; what it opens next is of the new one.
   * @throws Error when the new one lacks a device of the guest's, or has it under another number: the guest then stays without
   */
  async replaceDomain(next: DriverDomain): Promise<void> {
    const devices = await devicesOf(next);
    const missing = this.#nodes.find(
      ({ name, major, minor }) =>
        !isMadeLater(name) &&
        !devices.some((one) => one.name === name && one.major === major && one.minor === minor),
    );
    if (missing !== undefined)
      throw new Error(
        `The new driver domain has no device '${missing.name}' of number ${missing.major}:${missing.minor}.`,
      );
    if (this.#gifts !== undefined) giveMemory(this.#gifts, next);
    const answer = await this.#ask({ kind: 'domain', domain: domainNumber(next) });
    if (answer === 'refused')
      throw new Error("The new driver domain's memory could not be given to the guest's QEMU.");
  }

  /** Brings the guest to the front, or takes it away from there; resolves when everything has been handed over, or the guest has ended. */
  async setFront(isFront: boolean): Promise<void> {
    await this.#ask({ kind: 'front', isFront });
  }

  /** Records what a class's decisions depend on, on a tape; undefined: no more. */
  async record(deviceClass: string, tape: SharedArrayBuffer | undefined): Promise<void> {
    await this.#ask({ kind: 'record', class: deviceClass, tape });
  }

  /** Gives the worker a command, which it takes between two operations. Undefined: the guest has ended. */
  #ask(command: WorkerCommand): Promise<WorkerAnswer | undefined> {
    if (this.#hasEnded) return Promise.resolve(undefined);
    const id = this.#nextCommand;
    const answered = new Promise<WorkerAnswer | undefined>((resolve) => this.#asked.set(id, resolve));
    this.#tell(command);
    return answered;
  }

  #tell(command: WorkerCommand): void {
    this.#commands.postMessage({ id: this.#nextCommand++, command } satisfies NumberedCommand);
    writeSync(this.#control, ONE);
  }

  #take(id: number, answer: WorkerAnswer): void {
    this.#asked.get(id)?.(answer);
    this.#asked.delete(id);
  }
}

/** QEMU takes it when its mediator says so. */
function giveMemory(gifts: number, { memory: { descriptor } }: DriverDomain): void {
  const readOnly = openSync(`/proc/self/fd/${descriptor}`, constants.O_RDONLY);
  try {
    native.handOver(gifts, '+', [descriptor, readOnly]);
  } finally {
    closeSync(readOnly);
  }
}

function planOf({ guarded, packages }: Assignment, networkAdministration: boolean): string {
  const pollSynchronizes = packages.some(({ manifest }) => manifest.envelope.pollSynchronizes);
  return worldPlan(guarded, networkAdministration, pollSynchronizes);
}

const devicesByDomain = new WeakMap<DriverDomain, Promise<Device[]>>();

/** Asked once a domain, not once a guest. */
function devicesOf(domain: DriverDomain): Promise<Device[]> {
  const known = devicesByDomain.get(domain) ?? domain.devices();
  devicesByDomain.set(domain, known);
  return known;
}

/** Terminals are there when a guest makes them. */
function isMadeLater(name: string): boolean {
  return name.startsWith('pts/');
}

/** Forgets a domain that is about to be closed. */
export function forgetDomain(domain: DriverDomain): void {
  const id = domainNumbers.get(domain);
  if (id === undefined) return;
  native.removeDomain(id);
  domainNumbers.delete(domain);
}

function domainNumber(domain: DriverDomain): number {
  const known = domainNumbers.get(domain);
  if (known !== undefined) return known;
  const { memory, channels, channelsAddress, pages, doorbell, channelEvents } = domain;
  const made = native.addDomain({
    memory: memory.descriptor,
    memoryBytes: memory.bytes,
    channels,
    channelsAddress,
    pages,
    doorbell,
    channelEvents,
  });
  domainNumbers.set(domain, made);
  return made;
}

/** What the worker says at its end, when it has released everything. */
function endOf(worker: Worker, onMessage: (message: WorkerMessage) => void): Promise<MediationEnd> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: WorkerMessage) => {
      if (message.kind === 'failed') reject(new Error(message.message));
      else if (message.kind === 'ended') resolve(message);
      else onMessage(message);
    });
    worker.once('error', reject);
    worker.once('exit', () =>
      reject(new Error("The guest's mediator ended unexpectedly; the guest has been stopped.")),
    );
  });
}
