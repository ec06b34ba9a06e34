import { readdirSync, readFileSync } from 'node:fs';
import pino from 'pino';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { DomainKeeper } from '../../host/mediator/domain-keeper.js';
import { type GuestReport, runGuest } from '../../host/mediator/guest.js';
import { forgetDomain, type Mediation } from '../../host/mediator/mediation.js';
import { descendantsOf, until } from '../cli/postern.js';
import { RunningGuest } from '../mediator/support.js';

/** How a guest of a stand is started. */
export interface StandGuest {
  /** A program of test/hostile. */
  program: string;
  args?: string[];
  devices: { name: string; path: string }[];
  operationDeadlineMs?: number;
  /** Told of the guest's mediation. */
  onMediation?: (mediation: Mediation) => void;
}

/** A kept driver domain with guests, and what was logged. */
export class Stand {
  readonly records: Record<string, unknown>[] = [];
  readonly keeper: DomainKeeper;
  readonly #mediations: Mediation[] = [];
  readonly #guests: RunningGuest[] = [];
  readonly #log = pino({ level: 'info' }, { write: (line) => this.records.push(JSON.parse(line)) });

  private constructor(open: () => Promise<DriverDomain>) {
    this.keeper = new DomainKeeper({
      open,
      close: async (domain) => {
        forgetDomain(domain);
        await domain.close();
      },
      log: this.#log,
      onLost: async () => {
        await Promise.all(this.#mediations.map((each) => each.loseDomain()));
      },
      onReplaced: async (next) => {
        await Promise.all(this.#mediations.map((each) => each.replaceDomain(next)));
      },
    });
  }

  /** A stand whose domain is there. */
  static async open(open: () => Promise<DriverDomain>): Promise<Stand> {
    const stand = new Stand(open);
    await stand.keeper.current;
    return stand;
  }

  async start({ program, args = [], onMediation, ...options }: StandGuest): Promise<RunningGuest> {
    const domain = await this.keeper.current;
    return await new Promise((resolve, reject) => {
      const report: Promise<GuestReport> = runGuest({
        ...{ ...options, program: compileGuestProgram(program, 'hostile'), args, domain, name: program },
        log: this.#log,
        stdio: ['pipe', 'pipe', 'pipe'],
        onMediation: (mediation) => {
          this.#mediations.push(mediation);
          onMediation?.(mediation);
        },
        onStart: (launcher) => {
          const guest = new RunningGuest(launcher, () => report, this.records);
          this.#guests.push(guest);
          resolve(guest);
        },
      });
      report.catch(reject);
    });
  }

  /** The process of the domain: QEMU, or the local agent. */
  async process(): Promise<number> {
    return ((await this.keeper.current) as DriverDomain & { pid: number }).pid;
  }

  /** What was logged, as one text. */
  logged(): string {
    return this.records.map((record) => JSON.stringify(record)).join('\n');
  }

  /** Ends every guest, however it is, and the domain. */
  async close(): Promise<void> {
    for (const guest of this.#guests.splice(0)) {
      guest.launcher.kill('SIGCONT');
      guest.launcher.kill('SIGKILL');
      await guest.end.catch(() => {});
    }
    await this.keeper.close();
  }
}

/** The backend processes below this process, newest last. */
export function backends(): number[] {
  return descendantsOf(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('backend-');
    } catch {
      return false; // It has ended meanwhile.
    }
  });
}

/** What a fault could leave behind on this machine. */
export interface Traces {
  processes: number;
  sharedMemory: string[];
  mounts: number;
  descriptors: number;
}

export function traces(): Traces {
  return {
    processes: descendantsOf(process.pid).length,
    sharedMemory: readdirSync('/dev/shm').sort(),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').length,
    descriptors: readdirSync('/proc/self/fd').length,
  };
}

/** What there is more of than before. A worker thread's first use leaves a few descriptors of Node's own. */
function moreThan(before: Traces): string[] {
  const now = traces();
  const leaks: string[] = [];
  if (now.processes > before.processes) leaks.push(`${now.processes - before.processes} processes`);
  if (now.mounts > before.mounts) leaks.push(`${now.mounts - before.mounts} mounts`);
  if (now.descriptors > before.descriptors) leaks.push(`${now.descriptors - before.descriptors} descriptors`);
  const more = now.sharedMemory.filter((name) => !before.sharedMemory.includes(name));
  if (more.length > 0) leaks.push(`in /dev/shm: ${more.join(', ')}`);
  return leaks;
}

/** What is still left behind when all that ends has had the time to. */
export async function leaksSince(before: Traces): Promise<string[]> {
  await until(() => moreThan(before).length === 0, 'what was there to be gone').catch(() => {});
  return moreThan(before);
}
