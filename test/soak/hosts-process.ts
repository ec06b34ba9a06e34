/** The process of hosts.ts: a host of a driver VM and one of the local domain, which it changes, ends the domains of, and looks at when it is asked. */
import { openDomain } from '../../host/cli/driver-domain.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { type DriverVm, isDriverVm } from '../../host/driver-vm/driver-vm.js';
import type { LocalDomain } from '../../host/driver-vm/local-domain.js';
import { loadPolicies, type PolicyPackage } from '../../host/policy/store.js';
import { collector } from '../../host/serve/garbage.js';
import { TestHost } from '../serve/in-process.js';
import { variant } from '../serve/variants.js';
import { type Holdings, measure } from './measure.js';

/**
 * A keyboard, first, because vivid makes input devices too; two cameras, so that one guest streams while others open, map and end; a sound
 * card without hardware.
 */
const DRIVERS = ['virtio-input', 'vivid n_devs=2', 'snd-aloop'];
/** Versions of each module that are put in force in turn. */
const VERSIONS = 16;
const KEY_PERIOD_MS = 100;
/** pino's number for `error`. */
const PINO_ERROR = 50;

/** What the process can be asked for, and what it answers. */
export interface HostsAnswers {
  /** How many modules were put in force. */
  reload: number;
  /** Whether it was this that ended the VM. */
  crash: boolean;
  look: Look;
}

/** What the process says of itself. */
export interface Look {
  holdings: Holdings;
  /** What went wrong since the last look. */
  failures: string[];
  /** What the hosts logged as an error so far, and how often. */
  errors: Map<string, number>;
}

export type HostsQuestion = { id: number; ask: keyof HostsAnswers };
export type HostsAnswer = { id: number; answer?: HostsAnswers[keyof HostsAnswers]; error?: string };
/** The first that it says: its hosts' sockets, and how many versions there are of a module. */
export type HostsThere = { vm: string; local: string; versions: number };

const policies = loadPolicies();
const versions = { vm: versionsOf('v4l2'), local: versionsOf('pty') };
const errors = new Map<string, number>();
let failures: string[] = [];
let reloads = 0;
let vmDomain: DriverVm | undefined;
let localAgent: LocalDomain | undefined;
let tellOpened = (): void => {};
const collect = collector();

const local = await TestHost.start(policies, openLocal, takeRecord);
const vm = await TestHost.start(policies, openVm, takeRecord);
const keys = setInterval(pressKey, KEY_PERIOD_MS);
process.on('message', (question: HostsQuestion) => void answer(question));
process.once('disconnect', () => void close());
process.send?.({ vm: vm.socket, local: local.socket, versions: VERSIONS } satisfies HostsThere);

async function answer({ id, ask }: HostsQuestion): Promise<void> {
  const reply = (rest: Omit<HostsAnswer, 'id'>): void => void process.send?.({ id, ...rest });
  try {
    reply({ answer: await { reload, crash, look }[ask]() });
  } catch (error) {
    reply({ error: (error as Error).message });
  }
}

async function close(): Promise<void> {
  clearInterval(keys);
  await Promise.all([vm.close(), local.close()]);
  process.exit();
}

/** Puts another version of the cameras' and the terminals' module in force, under guests at work. */
async function reload(): Promise<number> {
  const at = reloads++ % VERSIONS;
  const installed = await Promise.all([
    vm.install(versions.vm[at] as PolicyPackage),
    local.install(versions.local[at] as PolicyPackage),
  ]);
  for (const { failure, kept } of installed.flat())
    if (failure !== null || kept.length > 0)
      failures.push(`A module was not put in force: ${failure ?? `kept by ${JSON.stringify(kept)}`}`);
  return installed.length;
}

/** Ends the driver VM as a crash would; returns when there is a new one. One that has ended by itself meanwhile is waited for as well. */
async function crash(): Promise<boolean> {
  const pid = vmDomain?.pid;
  if (pid === undefined) throw new Error('There is no driver VM to crash.');
  const opened = new Promise<void>((resolve) => {
    tellOpened = resolve;
  });
  const wasThere = kill(pid);
  await opened;
  return wasThere;
}

/** Whether there was such a process. */
function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

async function look(): Promise<Look> {
  // What the heap has only until the next collection is no growth.
  collect();
  const holdings = measure({ qemu: vmDomain?.pid, agent: localAgent?.pid });
  const taken = { holdings, failures, errors };
  failures = [];
  return taken;
}

async function openVm(): Promise<DriverDomain> {
  const domain = await openDomain({ mode: 'snapshot', drivers: DRIVERS }, openLog({}));
  if (isDriverVm(domain)) vmDomain = domain;
  tellOpened();
  return domain;
}

async function openLocal(): Promise<DriverDomain> {
  const domain = await openDomain({ mode: 'local', drivers: [] }, openLog({}));
  localAgent = domain as LocalDomain;
  return domain;
}

function pressKey(): void {
  const key = (down: boolean): { type: 'key'; data: Record<string, unknown> } => ({
    type: 'key',
    data: { down, key: { type: 'qcode', data: 'a' } },
  });
  // A VM that is about to end does not take it.
  vmDomain?.sendInput([key(true), key(false)]).catch(() => {});
}

function takeRecord({ level, msg, message, fault }: Record<string, unknown>): void {
  if (typeof level !== 'number' || level < PINO_ERROR) return;
  const text = [msg, fault, message].filter((part) => part !== undefined).join(': ');
  errors.set(text, (errors.get(text) ?? 0) + 1);
}

function versionsOf(name: string): PolicyPackage[] {
  const policy = policies.find(({ manifest }) => manifest.name === name);
  if (policy === undefined) throw new Error(`The policy module '${name}' is not built.`);
  return Array.from({ length: VERSIONS }, (_, number) => variant(policy, number));
}
