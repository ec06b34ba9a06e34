import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type pino from 'pino';
import type { Device } from '../driver-vm/devices.js';
import type { DriverDomain } from '../driver-vm/domain.js';
import { type MediatorCounters, type NativeNode, native } from '../native.js';
import { meteredModule } from '../policy/meter.js';
import { loadPolicies, type PolicyPackage, policyForDevice, refusalOf } from '../policy/store.js';
import { ROOT } from '../root.js';
import type { DecisionTimes } from './decision-times.js';
import type { WorkerInput, WorkerMessage } from './messages.js';
import { type GuardedDevice, worldPlan } from './world.js';

const LAUNCHER = join(ROOT, 'native', 'build', 'launcher');
/** Workers run compiled code, also when this module runs from its source. */
const WORKER = join(ROOT, 'dist', 'host', 'mediator', 'worker.js');
/**
 * How long a mediator looks for an answer before it sleeps: a backend that is awake answers within a few microseconds, while sleeping and
 * being woken costs 30, or more than 100 through a VM's serial port. With one processor the backend needs it to answer at all.
 */
const SPIN_US = availableParallelism() > 1 ? 50 : 0;
/** Terminals that a guest may have of a domain whose terminals come and go. */
const TERMINALS_MAX = 64;
/** UNIX98 terminals, from Documentation/admin-guide/devices.txt. */
const TERMINAL_MAJOR = 136;

/** A program to run as a guest. */
export interface GuestOptions {
  program: string;
  args: string[];
  /** Devices of the domain by name, and where the guest sees each. */
  devices: { name: string; path: string }[];
  domain: DriverDomain;
  log: pino.Logger;
  /** For the log. */
  name: string;
  /** The guest's environment; this process's own by default. */
  environment?: NodeJS.ProcessEnv;
  /** The guest's working directory; this process's own by default. */
  directory?: string;
  /** Whether the guest keeps CAP_NET_ADMIN, over this machine's network: programs that set up a TUN interface need it. */
  networkAdministration?: boolean;
  /** Standard input, output and error; inherited by default. */
  stdio?: ('inherit' | 'ignore' | 'pipe' | number)[];
  /** Told of the launcher's process once it runs: for its pipes, and for sending the guest signals. */
  onStart?: (launcher: ChildProcess) => void;
  /** The policy modules; those that are built by default. */
  policies?: PolicyPackage[];
}

/** How a guest ended, and what it did. */
export interface GuestReport {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  counters: MediatorCounters & { decisionNs: DecisionTimes };
}

interface Assignment {
  packages: PolicyPackage[];
  nodes: NativeNode[];
  guarded: GuardedDevice[];
}

let nextGuest = 1;
const domainNumbers = new WeakMap<DriverDomain, number>();

/**
 * Runs a program as a guest, and returns when it has ended and everything of it has been released.
 * @throws Error when a device is not there or has no policy, or when the guest could not be started
 */
export async function runGuest(options: GuestOptions): Promise<GuestReport> {
  const assignment = await assign(options);
  const modules = await Promise.all(assignment.packages.map(({ core }) => meteredModule(core)));
  const [hostEnd, guestEnd] = native.socketPair();
  const control = native.eventFd();
  try {
    const launcher = startLauncher(options, guestEnd);
    native.closeDescriptor(guestEnd);
    options.onStart?.(launcher);
    const input: WorkerInput = {
      socket: hostEnd,
      control,
      plan: worldPlan(assignment.guarded, options.networkAdministration ?? false),
      domain: domainNumber(options.domain),
      guest: nextGuest++,
      spinUs: SPIN_US,
      nodes: assignment.nodes,
      classes: assignment.packages.map(({ manifest }, i) => ({
        manifest,
        module: modules[i] as WebAssembly.Module,
      })),
      tellsAllowed: options.log.isLevelEnabled('trace'),
    };
    const [end, work] = await Promise.all([endOf(launcher), mediate(input, launcher, options)]);
    return { ...end, counters: { ...work.counters, decisionNs: work.decisions } };
  } finally {
    native.closeDescriptor(hostEnd);
    native.closeDescriptor(control);
  }
}

/** Forgets a domain that is about to be closed. */
export function forgetDomain(domain: DriverDomain): void {
  const id = domainNumbers.get(domain);
  if (id === undefined) return;
  native.removeDomain(id);
  domainNumbers.delete(domain);
}

/** Which module judges which device, and the nodes of the guest's view. */
async function assign({ devices, domain, policies }: GuestOptions): Promise<Assignment> {
  const offered = await domain.devices();
  const loaded = policies ?? loadPolicies();
  const assignment: Assignment = { packages: [], nodes: [], guarded: [] };
  for (const { name, path } of devices) {
    const device = offered.find((candidate) => candidate.name === name);
    if (device === undefined)
      throw new Error(
        `The driver domain has no device '${name}'. It has: ${offered.map((other) => other.name).join(', ') || 'none'}.`,
      );
    const match = policyForDevice(loaded, name);
    if (match === undefined)
      throw new Error(
        `No guest gets the device '${name}': ${refusalOf(loaded, name) ?? 'no policy module serves it'}.`,
      );
    addNode(assignment, match.package, match.node, device, path);
    addTerminals(assignment, match.package, loaded, offered);
  }
  return assignment;
}

function addNode(
  assignment: Assignment,
  judge: PolicyPackage,
  kind: number,
  device: Device,
  path: string,
): void {
  if (assignment.nodes.some((node) => node.path === path)) return;
  if (!assignment.packages.includes(judge)) assignment.packages.push(judge);
  const classIndex = assignment.packages.indexOf(judge);
  assignment.nodes.push({
    path,
    name: device.name,
    classIndex,
    kind,
    major: device.major,
    minor: device.minor,
  });
  assignment.guarded.push({ path, device });
}

/** A class that also serves terminals that come and go gets its guest a node for each that may come. */
function addTerminals(
  assignment: Assignment,
  judge: PolicyPackage,
  loaded: PolicyPackage[],
  offered: Device[],
): void {
  if (!offered.some(({ name }) => name === 'pts')) return;
  for (let minor = 0; minor < TERMINALS_MAX; minor++) {
    const name = `pts/${minor}`;
    const match = policyForDevice(loaded, name);
    if (match?.package !== judge) return;
    const device = { name, major: TERMINAL_MAJOR, minor, subsystem: '', sysfs: '', files: {}, links: {} };
    addNode(assignment, judge, match.node, device, `/dev/${name}`);
  }
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

function startLauncher(options: GuestOptions, control: number): ChildProcess {
  if (!existsSync(LAUNCHER)) throw new Error(`${LAUNCHER} is not built. Run \`npm run setup\`.`);
  return spawn(LAUNCHER, [options.program, ...options.args], {
    stdio: [...(options.stdio ?? ['inherit', 'inherit', 'inherit']), control],
    env: options.environment ?? process.env,
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  });
}

function endOf(launcher: ChildProcess): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    launcher.once('error', (error) =>
      reject(new Error(`The launcher could not be started: ${error.message}`)),
    );
    launcher.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

/** Runs the mediator worker until the guest has ended. Whatever goes wrong with it ends the guest: nothing runs unjudged. */
function mediate(
  input: WorkerInput,
  launcher: ChildProcess,
  { log, name }: GuestOptions,
): Promise<{ counters: MediatorCounters; decisions: DecisionTimes }> {
  const guestLog = log.child({ guest: name });
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      launcher.kill('SIGKILL');
      reject(error);
    };
    let hasEnded = false;
    const worker = new Worker(WORKER, { workerData: input });
    worker.on('message', (message: WorkerMessage) => {
      if (message.kind === 'log') guestLog[message.level](message.fields, message.text);
      else if (message.kind === 'ended') {
        // The launcher may still be on its way out with the guest's status: from here on nothing stops it.
        hasEnded = true;
        resolve(message);
      } else fail(new Error(message.message));
    });
    worker.once('error', fail);
    worker.once('exit', () => {
      if (!hasEnded) fail(new Error("The guest's mediator ended unexpectedly; the guest has been stopped."));
    });
  });
}
