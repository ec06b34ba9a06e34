import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { isDriverVm, startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { DomainKeeper } from '../../host/mediator/domain-keeper.js';
import { type GuestReport, runGuest } from '../../host/mediator/guest.js';
import { forgetDomain, type Mediation } from '../../host/mediator/mediation.js';
import { descendantsOf, until } from '../cli/postern.js';
import { RunningGuest } from '../mediator/support.js';

/** Two cameras: one under load, one whose guest tells times. Numbers are in the order in which vivid registers its devices. */
const DRIVERS = ['vivid n_devs=2'];
const STREAMED = [{ name: 'video0', path: '/dev/video0' }];
const ASKED = [{ name: 'video4', path: '/dev/video0' }];
const US_PER_MS = 1000;
/** A little longer than host/mediator/domain-keeper.ts has it. */
const STEADY_MS = 1100;

/** How one crash went, by the guest's clock, which is this process's too. */
export interface Crash {
  how: string;
  /** From the crash to the guest's ENODEV. */
  lostMs: number;
  /** From the crash to the guest's next open file. */
  backMs: number;
  errno: string;
}

export interface CrashReport {
  crashes: Crash[];
  /** What is there that was not before. */
  leaks: string[];
  /** Guests that ended otherwise than they were told to. */
  failures: string[];
  /** Streams that the guest under load began, one after each crash. */
  streams: number;
}

/** Crashes a driver VM again and again while guests use it, and looks how they fare. */
export async function runCrashes(count: number, tell: (line: string) => void): Promise<CrashReport> {
  // What is made once for all is there from now on.
  await (await CrashStand.open()).close();
  const before = traces();
  const stand = await CrashStand.open();
  const crashes: Crash[] = [];
  try {
    for (let i = 0; i < count; i++) {
      // A domain that has just begun is restarted later and later: that is not what is measured.
      await sleep(STEADY_MS);
      crashes.push(await stand.crash());
      tell(`crash ${i + 1} of ${count}: back after ${Math.round(crashes.at(-1)?.backMs ?? 0)} ms`);
    }
  } finally {
    await stand.close();
  }
  const { failures, streams } = stand;
  await until(() => leaksSince(before).length === 0, 'what was there to be gone').catch(() => {});
  return { crashes, leaks: leaksSince(before), failures, streams };
}

/** A kept driver VM with its guests. */
class CrashStand {
  readonly failures: string[] = [];
  streams = 0;
  readonly #mediations: Mediation[] = [];
  readonly #keeper: DomainKeeper;
  #asking: RunningGuest | undefined;
  #streaming: RunningGuest | undefined;

  private constructor() {
    this.#keeper = new DomainKeeper({
      open: () => startDriverVm({ drivers: DRIVERS, log: () => {} }),
      close: async (domain) => {
        forgetDomain(domain);
        await domain.close();
      },
      log: pino({ enabled: false }),
      onLost: async () => {
        await Promise.all(this.#mediations.map((each) => each.loseDomain()));
      },
      onReplaced: async (next) => {
        await Promise.all(this.#mediations.map((each) => each.replaceDomain(next)));
      },
    });
  }

  static async open(): Promise<CrashStand> {
    const stand = new CrashStand();
    const domain = await stand.#keeper.current;
    stand.#asking = await stand.#start(domain, 'reopener', ASKED);
    stand.#streaming = await stand.#start(domain, 'streamer', STREAMED);
    await stand.#asking.printed('back ');
    return stand;
  }

  /** Kills the VM's process, and waits until the guest has its device again. */
  async crash(): Promise<Crash> {
    const asking = this.#asking as RunningGuest;
    const domain = await this.#keeper.current;
    if (!isDriverVm(domain)) throw new Error('Only a driver VM can be crashed.');
    const seen = asking.out.length;
    const began = nowUs();
    process.kill(domain.pid, 'SIGKILL');
    const ended = asking.end.then(({ exitCode, signal }) => {
      throw new Error(`The guest ended with ${exitCode ?? signal}: ${asking.out.slice(seen)}${asking.err}`);
    });
    await Promise.race([
      until(() => /back \d+\n/.test(asking.out.slice(seen)), 'the device to come back'),
      ended,
    ]);
    const [, errno = '', lost, back] = /lost (\w+) (\d+)\nback (\d+)/.exec(asking.out.slice(seen)) ?? [];
    return {
      how: 'QEMU killed',
      lostMs: (Number(lost) - began) / US_PER_MS,
      backMs: (Number(back) - began) / US_PER_MS,
      errno,
    };
  }

  async close(): Promise<void> {
    for (const guest of [this.#asking, this.#streaming]) {
      if (guest === undefined) continue;
      guest.launcher.stdin?.end();
      const { exitCode, signal, out, err } = await guest.end;
      if (exitCode !== 0) this.failures.push(`${exitCode ?? signal}: ${out.slice(-200)}${err}`);
    }
    this.streams = (this.#streaming?.out.match(/^stream/gm) ?? []).length;
    await this.#keeper.close();
  }

  #start(
    domain: DriverDomain,
    program: string,
    devices: { name: string; path: string }[],
  ): Promise<RunningGuest> {
    return new Promise((resolve, reject) => {
      const report: Promise<GuestReport> = runGuest({
        ...{ program: compileGuestProgram(program, 'hostile'), args: [], devices, domain, name: program },
        log: pino({ enabled: false }),
        stdio: ['pipe', 'pipe', 'pipe'],
        onMediation: (mediation) => this.#mediations.push(mediation),
        onStart: (launcher) => resolve(new RunningGuest(launcher, () => report, [])),
      });
      report.catch(reject);
    });
  }
}

/** CLOCK_MONOTONIC, as the guests read it. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

interface Traces {
  processes: number;
  sharedMemory: string[];
  mounts: number;
  descriptors: number;
}

function traces(): Traces {
  return {
    processes: descendantsOf(process.pid).length,
    sharedMemory: readdirSync('/dev/shm').sort(),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').length,
    descriptors: readdirSync('/proc/self/fd').length,
  };
}

/** What there is more of than before. A worker thread's first use leaves a few descriptors of Node's own. */
function leaksSince(before: Traces): string[] {
  const now = traces();
  const leaks: string[] = [];
  if (now.processes > before.processes) leaks.push(`${now.processes - before.processes} processes`);
  if (now.mounts > before.mounts) leaks.push(`${now.mounts - before.mounts} mounts`);
  if (now.descriptors > before.descriptors) leaks.push(`${now.descriptors - before.descriptors} descriptors`);
  const more = now.sharedMemory.filter((name) => !before.sharedMemory.includes(name));
  if (more.length > 0) leaks.push(`in /dev/shm: ${more.join(', ')}`);
  return leaks;
}
