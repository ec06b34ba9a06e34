import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { until } from '../cli/postern.js';
import { Bench, type RunningGuest } from '../mediator/support.js';
import { type Guarded, lootOf } from './evidence.js';
import { type HostileProgram, PROGRAMS } from './programs.js';
import { type Attempted, followAttempts } from './run-attempts.js';

/** Terminals of this machine: the multiplexer, UNIX98 terminals and the kernel's log, which a node of one's own would be of. */
const TERMINAL_DEVICES = ['5:2', '136', '1:11'];
/** V4L2's major number (Documentation/admin-guide/devices.txt). */
const VIDEO_DEVICES = ['81'];
/** Two cameras: one for who attacks, one for whom it happens to. Their numbers are in the order in which vivid registers its devices. */
const DRIVERS = ['vivid n_devs=2'];
const OTHER_CAMERA = [{ name: 'video4', path: '/dev/video0' }];
const SECRET_BYTES = 8; // In hexadecimal, 16 characters.

/** One attempt, as a guest and without Postern. */
export interface Outcome {
  program: string;
  name: string;
  tried: string;
  stopped: boolean;
  /** What stopped it, or how it escaped. */
  by: string;
  /** What the same program says without Postern. */
  control: string;
}

export interface HostileReport {
  outcomes: Outcome[];
  /** Attempts that this machine offers no means for. */
  impossible: string[];
  /** Attempts that should have reached their aim without Postern, and did not. */
  blind: string[];
}

/** Runs every attempt, as a guest and without Postern. */
export async function runHostile(tell: (line: string) => void): Promise<HostileReport> {
  const report: HostileReport = { outcomes: [], impossible: [], blind: [] };
  for (const domain of ['local', 'vm'] as const) {
    const stage = domain === 'local' ? await LocalStage.open() : await CameraStage.open();
    try {
      for (const program of PROGRAMS.filter((one) => one.domain === domain)) {
        tell(`${program.name}: as a guest`);
        const attempts = await stage.asGuest(program);
        tell(`${program.name}: without Postern`);
        const controls = await stage.without(program);
        add(report, program, attempts, controls);
      }
      const damage = await stage.damage();
      for (const what of damage)
        report.outcomes.push({
          ...{ program: domain, name: 'afterwards', tried: 'all of the above', stopped: false },
          ...{ by: what, control: '' },
        });
    } finally {
      await stage.close();
    }
  }
  return report;
}

function add(
  report: HostileReport,
  program: HostileProgram,
  attempts: Attempted[],
  controls: Map<string, Attempted>,
): void {
  for (const attempt of attempts) {
    const { name, tried } = attempt;
    if (attempt.word === 'impossible') {
      report.impossible.push(`${name}: ${attempt.by}`);
      continue;
    }
    const control = controls.get(name);
    const wasKilled =
      attempt.word === 'died' && attempt.by === 'SIGKILL' && program.mayBeKilled.includes(name);
    const stopped = (attempt.word === 'stopped' || wasKilled) && attempt.loot.length === 0;
    const by = wasKilled
      ? 'the host killed it'
      : `${attempt.word === 'stopped' ? '' : `${attempt.word}: `}${attempt.by}`;
    report.outcomes.push({
      program: program.name,
      name,
      tried,
      stopped,
      by: [by, ...attempt.loot].join('; '),
      control: program.neverWithout[name] ?? controlOf(control),
    });
    if (program.succeedWithout.includes(name) && control?.word !== 'succeeded' && !hasLoot(control))
      report.blind.push(`${name}: ${controlOf(control)}`);
  }
}

function hasLoot(control: Attempted | undefined): boolean {
  return control !== undefined && control.loot.length > 0;
}

function controlOf(control: Attempted | undefined): string {
  if (control === undefined) return 'not run';
  return control.word === 'succeeded' || hasLoot(control) ? 'succeeds' : `${control.word}: ${control.by}`;
}

const byName = (attempts: Attempted[]): Map<string, Attempted> =>
  new Map(attempts.map((attempt) => [attempt.name, attempt]));

/** Where programs are let loose, with what is there to be harmed. */
interface Stage {
  asGuest(program: HostileProgram): Promise<Attempted[]>;
  without(program: HostileProgram): Promise<Map<string, Attempted>>;
  /** What has been harmed, at the end. */
  damage(): Promise<string[]>;
  close(): Promise<void>;
}

/** A guest that does not end by itself is followed to the end of its attempts. */
async function follow(
  running: RunningGuest,
  guarded: Guarded,
  neighbour?: Neighbour,
  hide: (secret: string) => Promise<() => Promise<void>> = nothingToHide,
): Promise<Attempted[]> {
  const launcher = running.launcher;
  const following = followAttempts(
    { process: launcher, out: () => running.out, ended: running.end },
    {
      look: async () => [
        ...lootOf(launcher.pid as number, guarded),
        ...((await neighbour?.complaints()) ?? []),
      ],
      hide,
    },
  );
  // Whatever goes wrong, no hostile program stays.
  const attempts = await following.catch((error: Error) => {
    launcher.kill('SIGKILL');
    throw error;
  });
  const { exitCode, signal, err } = await running.end;
  if (exitCode !== 0) throw new Error(`The hostile program ended with ${exitCode ?? signal}: ${err}`);
  return attempts;
}

const nothingToHide = async (): Promise<() => Promise<void>> => async () => undefined;

/** Terminals of this machine, another guest with a terminal, and a process outside. */
class LocalStage implements Stage {
  private constructor(
    private readonly bench: Bench,
    private readonly outsider: Outsider,
    private readonly neighbour: Neighbour,
    private readonly folder: string,
  ) {}

  static async open(): Promise<LocalStage> {
    const bench = await Bench.local();
    const folder = mkdtempSync(join(tmpdir(), 'postern-hostile-'));
    return new LocalStage(bench, await Outsider.start(), await Neighbour.start(bench), folder);
  }

  async asGuest({ name }: HostileProgram): Promise<Attempted[]> {
    const environment = this.#environment(this.neighbour.terminal);
    const running = await this.bench.start([compileGuestProgram(name, 'hostile')], { environment });
    return await follow(running, { devices: TERMINAL_DEVICES, memory: undefined }, this.neighbour);
  }

  /** On this machine itself, as who runs this. */
  async without({ name, neverWithout }: HostileProgram): Promise<Map<string, Attempted>> {
    const outsider = await Outsider.start();
    const other = await otherTerminal();
    const environment = { ...this.#environment(other.name, outsider), POSTERN_CONTROL: '1' };
    const child = spawn(compileGuestProgram(name, 'hostile'), ['-', ...Object.keys(neverWithout)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: environment,
    });
    let out = '';
    child.stdin.on('error', () => {}); // It may have ended without reading all.
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    const attempting = { process: child, out: () => out, ended: once(child, 'close') };
    const controls = await followAttempts(attempting, { look: () => [], hide: nothingToHide });
    other.close();
    await outsider.end();
    return byName(controls);
  }

  async damage(): Promise<string[]> {
    return [...this.outsider.complaints(), ...(await this.neighbour.end())];
  }

  async close(): Promise<void> {
    await this.outsider.end();
    await this.neighbour.end();
    await this.bench.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #environment(terminal: string, outsider = this.outsider): NodeJS.ProcessEnv {
    return {
      PATH: process.env.PATH,
      POSTERN_FOLDER: this.folder,
      POSTERN_VICTIM: String(outsider.pid),
      POSTERN_SECRET_AT: outsider.address.toString(16),
      POSTERN_FOREIGN_TERMINAL: terminal,
    };
  }
}

/** Two cameras in a driver VM. */
class CameraStage implements Stage {
  private constructor(private readonly bench: Bench) {}

  static async open(): Promise<CameraStage> {
    return new CameraStage(await Bench.vm(DRIVERS, true));
  }

  async asGuest({ name }: HostileProgram): Promise<Attempted[]> {
    const running = await this.bench.start([compileGuestProgram(name, 'hostile')]);
    const { dev: device, ino: inode } = fstatSync(this.bench.domain.memory.descriptor, { bigint: true });
    const guarded = { devices: VIDEO_DEVICES, memory: { device, inode } };
    return await follow(running, guarded, undefined, (secret) => this.#hide(secret));
  }

  /** Beside the driver. */
  async without({ name, neverWithout }: HostileProgram): Promise<Map<string, Attempted>> {
    const program = compileGuestProgram(name, 'hostile');
    const out = await this.bench.beside([program, '-', ...Object.keys(neverWithout)]);
    const attempting = { process: { stdin: null }, out: () => out, ended: Promise.resolve() };
    return byName(await followAttempts(attempting, { look: () => [], hide: nothingToHide }));
  }

  async damage(): Promise<string[]> {
    return [];
  }

  async close(): Promise<void> {
    await this.bench.close();
  }

  async #hide(secret: string): Promise<() => Promise<void>> {
    const victim = await this.bench.start([compileGuestProgram('victim', 'hostile'), secret], {
      devices: OTHER_CAMERA,
    });
    await victim.printed('filled');
    return async () => {
      victim.launcher.stdin?.end();
      await victim.end;
    };
  }
}

/** A process of this machine that is nobody's guest. */
class Outsider {
  private constructor(
    private readonly child: ChildProcess,
    private readonly secret: string,
    readonly address: bigint,
  ) {}

  static async start(): Promise<Outsider> {
    const secret = randomBytes(SECRET_BYTES).toString('hex');
    const child = spawn(compileGuestProgram('outsider', 'hostile'), [secret], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    await until(() => out.includes('\n'), 'the outsider to say where its secret is');
    return new Outsider(child, secret, BigInt(`0x${/at (\w+)/.exec(out)?.[1]}`));
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** What has happened to it. */
  complaints(): string[] {
    if (this.child.exitCode !== null || this.child.signalCode !== null)
      return [`a process outside has ended: ${this.child.exitCode ?? this.child.signalCode}`];
    const memory = openSync(`/proc/${this.pid}/mem`, 'r');
    const bytes = Buffer.alloc(2 * SECRET_BYTES);
    readSync(memory, bytes, 0, bytes.length, this.address);
    closeSync(memory);
    return bytes.toString() === this.secret ? [] : [`a secret outside is now '${bytes.toString('latin1')}'`];
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const closed = once(this.child, 'close');
    this.child.stdin?.end();
    await closed;
  }
}

/** Another guest of the same domain. */
class Neighbour {
  #asked = 0;
  #end: Promise<string[]> | undefined;

  private constructor(
    private readonly running: RunningGuest,
    private readonly secret: string,
  ) {}

  static async start(bench: Bench): Promise<Neighbour> {
    const secret = randomBytes(SECRET_BYTES).toString('hex');
    const running = await bench.start([compileGuestProgram('neighbour', 'hostile'), secret], {
      name: 'neighbour',
    });
    await running.printed('terminal ');
    return new Neighbour(running, secret);
  }

  get terminal(): string {
    return /terminal (\S+)/.exec(this.running.out)?.[1] as string;
  }

  /** What it has to complain of now. */
  async complaints(): Promise<string[]> {
    this.running.launcher.stdin?.write('\n');
    this.#asked += 1;
    const answers = (): string[] => this.running.out.split('\n').slice(1, -1);
    await until(() => answers().length >= this.#asked, 'the other guest to be served');
    const last = answers().at(-1);
    return last === 'well' ? [] : [`another guest is not served: ${last}`];
  }

  /** What it has to complain of at its end. */
  end(): Promise<string[]> {
    this.#end ??= this.#finish();
    return this.#end;
  }

  async #finish(): Promise<string[]> {
    this.running.launcher.stdin?.end();
    const { out, exitCode } = await this.running.end;
    if (exitCode === 0 && out.includes(`secret ${this.secret}\n`)) return [];
    return [`another guest has lost what it had in its terminal: ${out.split('\n').at(-2)}`];
  }
}

/** A terminal with something in it that is nobody's guest's: another's, to the program that is run without Postern. */
async function otherTerminal(): Promise<{ name: string; close(): void }> {
  const child = spawn(compileGuestProgram('neighbour', 'hostile'), ['not for others'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  await until(() => out.includes('\n'), 'a terminal to be opened');
  return { name: /terminal (\S+)/.exec(out)?.[1] as string, close: () => child.kill('SIGKILL') };
}
