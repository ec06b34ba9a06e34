import { setTimeout as sleep } from 'node:timers/promises';
import { descendantsOf } from '../cli/postern.js';
import { type GuestNumbers, SoakGuest, type Work } from './guests.js';
import { Hosts } from './hosts.js';
import type { Holdings } from './measure.js';

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

/** Names of everything whose latency is told. */
export const GUEST_NAMES: readonly string[] = [...VM_GUESTS, ...LOCAL_GUESTS].map(({ name }) => name);

/** Two hosts, in a process of their own, with guests, which are children of this one. */
export class Stand {
  /** What went wrong, each told once. */
  readonly failures = new Set<string>();
  /** What the hosts logged as an error, and how often. */
  errors = new Map<string, number>();
  reloads = 0;
  crashes = 0;
  visitors = 0;
  #refusedVisitors = 0;
  #hosts: Hosts | undefined;
  #guests: SoakGuest[] = [];

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

  /** Visitors that a crash kept from beginning. */
  get refusedVisitors(): number {
    return this.#refusedVisitors;
  }

  /** Puts another version of the cameras' and the terminals' module in force, under guests at work. */
  async reload(): Promise<void> {
    this.reloads += await this.#hostsThere.ask('reload');
  }

  /** Ends the driver VM as a crash would; returns when a new one is there. */
  async crash(): Promise<void> {
    if (await this.#hostsThere.ask('crash')) this.crashes += 1;
  }

  /** What the hosts hold, and how many processes there are with them and the guests'. */
  async look(): Promise<Holdings & { processes: number }> {
    const { holdings, failures, errors } = await this.#hostsThere.ask('look');
    for (const failure of failures) this.failures.add(failure);
    this.errors = errors;
    return { ...holdings, processes: descendantsOf(process.pid).length };
  }

  /** Guests that come and go; of each host one ends by itself, and one is killed in the middle. */
  async visit(): Promise<void> {
    const { vm, local } = this.#hostsThere.there;
    const ending = [
      new SoakGuest(vm, VM_VISITOR, VISITOR_ROUNDS),
      new SoakGuest(local, LOCAL_VISITOR, VISITOR_ROUNDS),
    ];
    const killed = [new SoakGuest(vm, VM_VISITOR), new SoakGuest(local, LOCAL_VISITOR)];
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
    await Promise.all(this.#guests.map((guest) => guest.end()));
    for (const guest of this.#guests) {
      const end = await guest.ended;
      if (end !== undefined) this.failures.add(`${guest.work.name}: ${end}`);
      this.#takeComplaints(guest);
    }
    await this.#hosts?.close();
  }

  get #hostsThere(): Hosts {
    if (this.#hosts === undefined) throw new Error('The hosts are not there.');
    return this.#hosts;
  }

  async #begin(): Promise<void> {
    this.#hosts = await Hosts.start();
    const { vm, local, versions } = this.#hosts.there;
    this.#guests = [
      ...VM_GUESTS.map((work) => new SoakGuest(vm, work)),
      ...LOCAL_GUESTS.map((work) => new SoakGuest(local, work)),
    ];
    // Once through all of them: what is kept of each is there from then on.
    for (let reload = 0; reload < versions; reload++) await this.reload();
    await this.reports();
  }

  #takeComplaints(guest: SoakGuest): void {
    for (const complaint of guest.complaints.splice(0)) this.failures.add(`${guest.work.name}: ${complaint}`);
  }
}
