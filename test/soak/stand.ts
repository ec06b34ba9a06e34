import { setTimeout as sleep } from 'node:timers/promises';
import { openDomain } from '../../host/cli/driver-domain.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { type DriverVm, isDriverVm } from '../../host/driver-vm/driver-vm.js';
import type { LocalDomain } from '../../host/driver-vm/local-domain.js';
import { loadPolicies, type PolicyPackage } from '../../host/policy/store.js';
import { TestHost } from '../serve/in-process.js';
import { variant } from '../serve/variants.js';
import { type GuestNumbers, SoakGuest, type Work } from './guests.js';
import type { DomainProcesses } from './measure.js';

/**
 * A keyboard, first, because vivid makes input devices too; two cameras, so that one guest streams while others open, map and end; a sound
 * card without hardware.
 */
const DRIVERS = ['virtio-input', 'vivid n_devs=2', 'snd-aloop'];
const STREAMED = [{ name: 'video0', path: '/dev/video0' }];
/** The second camera, by the order in which vivid registers its devices. */
const SHARED = [{ name: 'video4', path: '/dev/video0' }];
const SOUND = [{ name: 'snd/pcmC0D0p', path: '/dev/snd/pcmC0D0p' }];
const KEYBOARD = [{ name: 'input/event1', path: '/dev/input/event1' }];
const TERMINAL = [{ name: 'ptmx', path: '/dev/ptmx' }];

/** Guests of the driver VM, from the soak's start to its end. */
const VM_GUESTS: readonly Work[] = [
  { name: 'camera', kind: 'camera', devices: STREAMED },
  { name: 'mapper', kind: 'mapper', devices: SHARED },
  { name: 'opener', kind: 'opener', devices: SHARED },
  { name: 'forker', kind: 'forker', devices: SHARED },
  { name: 'sound', kind: 'sound', devices: SOUND },
  { name: 'input', kind: 'input', devices: KEYBOARD },
];
/** And of the local domain. */
const LOCAL_GUESTS: readonly Work[] = [
  { name: 'terminal', kind: 'terminal', devices: TERMINAL },
  { name: 'terminal, fast', kind: 'terminal', devices: TERMINAL, fast: true },
  { name: 'pairs', kind: 'pairs', devices: TERMINAL },
  { name: 'poller', kind: 'poller', devices: TERMINAL },
];
/** Guests that come and go: one ends by itself, the other is killed. */
const VM_VISITOR: Work = { name: 'visitor', kind: 'opener', devices: SHARED };
const LOCAL_VISITOR: Work = { name: 'visitor', kind: 'terminal', devices: TERMINAL };
const VISITOR_ROUNDS = 20;
const VISITOR_KILLED_MS = 300;
/** A guest that begins just when its domain ends is refused in so many words, or begins and finds its device gone. */
const REFUSED_BY_A_CRASH = /driver (domain|VM)|backend agent|ENODEV/;

/** Versions of each module that are put in force in turn. */
const VERSIONS = 16;
const KEY_PERIOD_MS = 100;

/** Names of everything whose latency is told. */
export const GUEST_NAMES: readonly string[] = [...VM_GUESTS, ...LOCAL_GUESTS].map(({ name }) => name);

/** A host of a driver VM and one of the local domain, both in this process, with their guests. */
export class Stand {
  /** What went wrong, each told once. */
  readonly failures = new Set<string>();
  /** What the hosts logged as an error, and how often. */
  readonly errors = new Map<string, number>();
  reloads = 0;
  crashes = 0;
  visitors = 0;
  #refusedVisitors = 0;
  #hosts: { vm: TestHost; local: TestHost } | undefined;
  #vm: DriverVm | undefined;
  #local: LocalDomain | undefined;
  #guests: SoakGuest[] = [];
  #versions: { vm: PolicyPackage[]; local: PolicyPackage[] } = { vm: [], local: [] };
  #keys: NodeJS.Timeout | undefined;
  #opened = (): void => {};

  private constructor() {}

  /** Starts both hosts and every guest. */
  static async open(): Promise<Stand> {
    const stand = new Stand();
    try {
      await stand.#begin();
      return stand;
    } catch (error) {
      await stand.close();
      throw error;
    }
  }

  get domainProcesses(): DomainProcesses {
    return { qemu: this.#vm?.pid, agent: this.#local?.pid };
  }

  /** Visitors that a crash kept from beginning. */
  get refusedVisitors(): number {
    return this.#refusedVisitors;
  }

  /** Puts another version of the cameras' and the terminals' module in force, under guests at work. */
  async reload(): Promise<void> {
    const { vm, local } = this.#hostsThere;
    const at = this.reloads % VERSIONS;
    const installed = await Promise.all([
      vm.install(this.#versions.vm[at] as PolicyPackage),
      local.install(this.#versions.local[at] as PolicyPackage),
    ]);
    for (const { failure, kept } of installed.flat())
      if (failure !== null || kept.length > 0)
        this.failures.add(`A module was not put in force: ${failure ?? `kept by ${kept.join(', ')}`}`);
    this.reloads += installed.length;
  }

  /** Ends the driver VM as a crash would, and the local domain's agent where that is asked for too; returns when new ones are there. */
  async crash(): Promise<void> {
    const pid = this.#vm?.pid;
    if (pid === undefined) throw new Error('There is no driver VM to crash.');
    const opened = new Promise<void>((resolve) => {
      this.#opened = resolve;
    });
    process.kill(pid, 'SIGKILL');
    await opened;
    this.crashes += 1;
  }

  /** Guests that come and go; of each host one ends by itself, and one is killed in the middle. */
  async visit(): Promise<void> {
    const { vm, local } = this.#hostsThere;
    const ending = [
      new SoakGuest(vm.socket, VM_VISITOR, VISITOR_ROUNDS),
      new SoakGuest(local.socket, LOCAL_VISITOR, VISITOR_ROUNDS),
    ];
    const killed = [new SoakGuest(vm.socket, VM_VISITOR), new SoakGuest(local.socket, LOCAL_VISITOR)];
    await sleep(VISITOR_KILLED_MS);
    await Promise.all(killed.map((guest) => guest.kill()));
    const visitors = [...ending, ...killed];
    const ends = await Promise.all(visitors.map((guest) => guest.ended));
    this.visitors += visitors.length;
    ends.forEach((end, index) => {
      this.#takeComplaints(visitors[index] as SoakGuest);
      if (end === undefined) return;
      if (REFUSED_BY_A_CRASH.test(end)) this.#refusedVisitors += 1;
      else this.failures.add(`A visitor: ${end}`);
    });
  }

  /** What every guest did since the last time, by its name. */
  async reports(): Promise<Map<string, GuestNumbers>> {
    const reports = new Map<string, GuestNumbers>();
    for (const guest of this.#guests) {
      const numbers = await guest.report();
      this.#takeComplaints(guest);
      if (numbers === undefined) this.failures.add(`${guest.work.name}: ${await guest.ended}`);
      else reports.set(guest.work.name, numbers);
    }
    return reports;
  }

  /** Ends the guests, then the hosts. */
  async close(): Promise<void> {
    clearInterval(this.#keys);
    await Promise.all(this.#guests.map((guest) => guest.end()));
    for (const guest of this.#guests) {
      const end = await guest.ended;
      if (end !== undefined) this.failures.add(`${guest.work.name}: ${end}`);
      this.#takeComplaints(guest);
    }
    await Promise.all([this.#hosts?.vm.close(), this.#hosts?.local.close()]);
  }

  get #hostsThere(): { vm: TestHost; local: TestHost } {
    if (this.#hosts === undefined) throw new Error('The hosts are not there.');
    return this.#hosts;
  }

  async #begin(): Promise<void> {
    const policies = loadPolicies();
    this.#versions = { vm: versionsOf(policies, 'v4l2'), local: versionsOf(policies, 'pty') };
    const take = (record: Record<string, unknown>): void => this.#takeRecord(record);
    const local = await TestHost.start(policies, () => this.#openLocal(), take);
    const vm = await TestHost.start(policies, () => this.#openVm(), take);
    this.#hosts = { vm, local };
    this.#guests = [
      ...VM_GUESTS.map((work) => new SoakGuest(vm.socket, work)),
      ...LOCAL_GUESTS.map((work) => new SoakGuest(local.socket, work)),
    ];
    this.#keys = setInterval(() => this.#pressKey(), KEY_PERIOD_MS);
    // Once through all versions: what is kept of each is there from now on.
    for (let version = 0; version < VERSIONS; version++) await this.reload();
    await this.reports();
  }

  async #openVm(): Promise<DriverDomain> {
    const domain = await openDomain({ mode: 'snapshot', drivers: DRIVERS }, openLog({}));
    if (isDriverVm(domain)) this.#vm = domain;
    this.#opened();
    return domain;
  }

  async #openLocal(): Promise<DriverDomain> {
    const domain = await openDomain({ mode: 'local', drivers: [] }, openLog({}));
    this.#local = domain as LocalDomain;
    return domain;
  }

  #pressKey(): void {
    const key = (down: boolean): { type: 'key'; data: Record<string, unknown> } => ({
      type: 'key',
      data: { down, key: { type: 'qcode', data: 'a' } },
    });
    // A VM that is about to end does not take it.
    this.#vm?.sendInput([key(true), key(false)]).catch(() => {});
  }

  #takeComplaints(guest: SoakGuest): void {
    for (const complaint of guest.complaints.splice(0)) this.failures.add(`${guest.work.name}: ${complaint}`);
  }

  #takeRecord({ level, msg, message, fault }: Record<string, unknown>): void {
    if (typeof level !== 'number' || level < PINO_ERROR) return;
    const text = [msg, fault, message].filter((part) => part !== undefined).join(': ');
    this.errors.set(text, (this.errors.get(text) ?? 0) + 1);
  }
}

/** pino's number for `error`. */
const PINO_ERROR = 50;

function versionsOf(policies: readonly PolicyPackage[], name: string): PolicyPackage[] {
  const policy = policies.find(({ manifest }) => manifest.name === name);
  if (policy === undefined) throw new Error(`The policy module '${name}' is not built.`);
  return Array.from({ length: VERSIONS }, (_, number) => variant(policy, number));
}
