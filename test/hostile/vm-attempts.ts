import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { ensureKernel } from '../../host/driver-vm/kernel.js';
import { ensureVmModule } from '../../host/guest-vm/frontend-module.js';
import { type GuestVm, startGuestVm } from '../../host/guest-vm/guest-vm.js';
import { ROOT } from '../../host/root.js';
import { until } from '../cli/postern.js';
import { Bench, CAMERA, type RunningGuest } from '../mediator/support.js';
import type { HostileReport, Outcome } from './attempts.js';
import { followAttempts } from './run-attempts.js';

const MODULE = 'hostile_frontend';
/** Two cameras: one for who attacks, one for whom it must not happen to. */
const DRIVERS = ['vivid n_devs=2'];
const OTHER_CAMERA = [{ name: 'video4', path: '/dev/video0' }];
const SECRET_BYTES = 8; // In hexadecimal, 16 characters.
/** How often the honest guest uses its device meanwhile. */
const HONEST_INTERVAL_MS = 200;
/** What the host must have said of such a guest: every way of notes.ts's list that the attempts try. */
export const BREACHES_EXPECTED = 7;

/** What the attempts of a guest VM's kernel came to. */
export interface VmHostileReport extends HostileReport {
  /** What the host said that it saw. */
  breaches: string[];
  /** How often the honest guest was served meanwhile. */
  served: number;
}

/** Makes every attempt of test/hostile/kernel from a guest VM, in the frontend's place, with an honest guest beside it. */
export async function runVmHostile(tell: (line: string) => void): Promise<VmHostileReport> {
  const folder = await ensureVmModule(
    await ensureKernel(tell),
    { name: MODULE, sources: join(ROOT, 'test', 'hostile', 'kernel'), kept: 'hostile-frontend' },
    tell,
  );
  tell('the driver VM and the guest VM start');
  const bench = await Bench.vm(DRIVERS, true);
  const records: Record<string, unknown>[] = [];
  let vm: GuestVm | undefined;
  let honest: HonestGuest | undefined;
  try {
    vm = await startGuestVm({
      domain: bench.domain,
      devices: CAMERA,
      log: pino({ level: 'info' }, { write: (line) => records.push(JSON.parse(line)) }),
      name: 'hostile',
      progress: () => undefined,
    });
    honest = await HonestGuest.start(bench);
    tell('the hostile kernel makes its attempts');
    const outcomes = await attemptsOf(vm, join(folder, `${MODULE}.ko`), honest.secret);
    const served = await honest.end();
    outcomes.push(...damageOf(honest));
    return { ...sorted(outcomes), blind: [], breaches: breachesIn(records), served };
  } finally {
    await honest?.end();
    await vm?.close();
    await bench.close();
  }
}

type Attempt = Outcome & { isImpossible: boolean };

function sorted(attempts: Attempt[]): Pick<HostileReport, 'outcomes' | 'impossible'> {
  const impossible = attempts.filter((one) => one.isImpossible).map(({ name, by }) => `${name}: ${by}`);
  const made = attempts.filter((one) => !one.isImpossible);
  return { outcomes: made.map(({ isImpossible: _, ...outcome }) => outcome), impossible };
}

/** The module makes its attempts while it is loaded; its report is then read. */
async function attemptsOf(vm: GuestVm, module: string, secret: string): Promise<Attempt[]> {
  let out = '';
  const script = 'rmmod postern_frontend && insmod "$0" secret="$1" && cat /proc/postern_hostile';
  const ended = vm.run(['sh', '-c', script, module, secret], (chunk) => {
    out += chunk.toString();
  });
  const { code, signal } = await ended;
  if (code !== 0)
    throw new Error(`The hostile kernel could not make its attempts: ${code ?? signal}: ${out}`);
  const attempts = await followAttempts(
    { process: { stdin: null }, out: () => out, ended },
    { look: () => [], hide: async () => async () => undefined },
  );
  return attempts.map(({ name, tried, word, by }) => ({
    ...{ program: 'kernel of a guest VM', name, tried, stopped: word === 'stopped' },
    ...{ by: word === 'stopped' ? by : `${word}: ${by}`, control: 'there is no other way to the host' },
    isImpossible: word === 'impossible',
  }));
}

function damageOf({ complaints }: HonestGuest): Attempt[] {
  return complaints.map((by) => ({
    ...{ program: 'kernel of a guest VM', name: 'the honest guest', tried: 'all of the above' },
    ...{ stopped: false, by, control: '', isImpossible: false },
  }));
}

function breachesIn(records: readonly Record<string, unknown>[]): string[] {
  const found = records.map(({ breach }) => breach).filter((breach) => typeof breach === 'string');
  return [...new Set(found)];
}

/** A process guest of the same driver VM, which uses its own camera all the time. */
class HonestGuest {
  readonly complaints: string[] = [];
  #served = 0;
  #isOver = false;
  readonly #using: Promise<void>;
  #end: Promise<number> | undefined;

  private constructor(
    private readonly running: RunningGuest,
    readonly secret: string,
  ) {
    this.#using = this.#use();
  }

  static async start(bench: Bench): Promise<HonestGuest> {
    const secret = randomBytes(SECRET_BYTES).toString('hex');
    const program = compileGuestProgram('camera_neighbour', 'hostile');
    const running = await bench.start([program, secret], { devices: OTHER_CAMERA, name: 'honest' });
    await running.printed('filled');
    return new HonestGuest(running, secret);
  }

  async #use(): Promise<void> {
    while (!this.#isOver) {
      const before = this.running.out.length;
      this.running.launcher.stdin?.write('\n');
      await until(() => this.running.out.length > before, 'the honest guest to be served');
      const last = this.running.out.trimEnd().split('\n').at(-1);
      if (last === 'well') this.#served += 1;
      else this.complaints.push(`the honest guest is not served as before: ${last}`);
      await sleep(HONEST_INTERVAL_MS);
    }
  }

  /** How often it was served. */
  end(): Promise<number> {
    this.#end ??= this.#finish();
    return this.#end;
  }

  async #finish(): Promise<number> {
    this.#isOver = true;
    await this.#using.catch((error: Error) => this.complaints.push(error.message));
    this.running.launcher.stdin?.end();
    const { exitCode, signal } = await this.running.end;
    if (exitCode !== 0) this.complaints.push(`the honest guest ended with ${exitCode ?? signal}`);
    return this.#served;
  }
}
