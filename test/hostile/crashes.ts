import { setTimeout as sleep } from 'node:timers/promises';
import { startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { until } from '../cli/postern.js';
import type { RunningGuest } from '../mediator/support.js';
import { leaksSince, Stand, traces } from './stand.js';

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
  return { crashes, leaks: await leaksSince(before), failures, streams };
}

/** A kept driver VM with its guests. */
class CrashStand {
  readonly failures: string[] = [];
  streams = 0;

  private constructor(
    readonly stand: Stand,
    readonly asking: RunningGuest,
    readonly streaming: RunningGuest,
  ) {}

  static async open(): Promise<CrashStand> {
    const stand = await Stand.open(() => startDriverVm({ drivers: DRIVERS, log: () => {} }));
    const asking = await stand.start({ program: 'reopener', devices: ASKED });
    const streaming = await stand.start({ program: 'streamer', devices: STREAMED });
    await asking.printed('back ');
    return new CrashStand(stand, asking, streaming);
  }

  /** Kills the VM's process, and waits until the guest has its device again. */
  async crash(): Promise<Crash> {
    const { asking } = this;
    const pid = await this.stand.process();
    const seen = asking.out.length;
    const began = nowUs();
    process.kill(pid, 'SIGKILL');
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
    for (const guest of [this.asking, this.streaming]) {
      guest.launcher.stdin?.end();
      const { exitCode, signal, out, err } = await guest.end;
      if (exitCode !== 0) this.failures.push(`${exitCode ?? signal}: ${out.slice(-200)}${err}`);
    }
    this.streams = (this.streaming.out.match(/^stream/gm) ?? []).length;
    await this.stand.close();
  }
}

/** CLOCK_MONOTONIC, as the guests read it. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
