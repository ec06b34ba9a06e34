import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { type DriverVm, startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { startLocalDomain } from '../../host/driver-vm/local-domain.js';
import { type GuestOptions, type GuestReport, runGuest } from '../../host/mediator/guest.js';
import { forgetDomain } from '../../host/mediator/mediation.js';
import { ROOT } from '../../host/root.js';
import { until } from '../cli/postern.js';

const SOURCES = join(ROOT, 'test', 'guests');

export const TERMINALS = [{ name: 'ptmx', path: '/dev/ptmx' }];
export const CAMERA = [{ name: 'video0', path: '/dev/video0' }];

/** What a program printed, by case: the lines after '== NAME'. */
export type Cases = Map<string, string[]>;

/** Splits what test/guests/guest.h prints. */
export function casesOf(output: string): Cases {
  const cases: Cases = new Map();
  let lines: string[] = [];
  for (const line of output.split('\n').filter((text) => text !== '')) {
    if (line.startsWith('== ')) {
      lines = [];
      cases.set(line.slice(3), lines);
    } else lines.push(line);
  }
  return cases;
}

/** The names in the `cases` table of a guest program's source. */
export function caseNames(name: string): string[] {
  const source = readFileSync(join(SOURCES, `${name}.c`), 'utf8');
  const table = source.slice(source.indexOf('struct test_case cases[]'));
  return [...table.matchAll(/^\s*\{"([^"]+)",/gm)].map(([, found]) => found as string);
}

/** How a guest ended, and what it printed. */
export interface GuestOutcome extends GuestReport {
  out: string;
  err: string;
  /** What was logged, one object a line. */
  records: Record<string, unknown>[];
}

/** A guest that runs until it ends or the test ends it. */
export class RunningGuest {
  out = '';
  err = '';
  readonly end: Promise<GuestOutcome>;

  constructor(
    readonly launcher: ChildProcess,
    report: () => Promise<GuestReport>,
    readonly records: Record<string, unknown>[],
  ) {
    launcher.stdin?.on('error', () => {}); // It may have ended without reading all.
    launcher.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
    launcher.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
    const closed = once(launcher, 'close');
    this.end = Promise.resolve()
      .then(report)
      .then(async (ended) => {
        await closed;
        return { ...ended, out: this.out, err: this.err, records };
      });
    this.end.catch(() => {}); // Whoever awaits it is told.
  }

  /** Waits until the guest has printed `text`. */
  async printed(text: string): Promise<void> {
    const ended = this.end.then(({ exitCode, signal }) => {
      if (!this.out.includes(text))
        throw new Error(
          `The guest ended with ${exitCode ?? signal} before it printed '${text}': ${this.err}`,
        );
    });
    await Promise.race([ended, until(() => this.out.includes(text), `the guest to print '${text}'`)]);
  }
}

/** A driver domain of a test file, and guests of it. */
export class Bench<Domain extends DriverDomain = DriverDomain> {
  private constructor(readonly domain: Domain) {}

  /** Over this machine's own devices. */
  static async local(): Promise<Bench> {
    return new Bench(await startLocalDomain({ log: () => {} }));
  }

  /** A driver VM with these drivers; `shareRoot` for running programs beside them. */
  static async vm(drivers: string[], shareRoot = false, modules?: string): Promise<Bench<DriverVm>> {
    return new Bench(await startDriverVm({ drivers, shareRoot, modules, log: () => {} }));
  }

  /** Runs a program as a guest to its end. */
  async guest(
    command: readonly string[],
    options: Partial<GuestOptions> & { input?: string } = {},
  ): Promise<GuestOutcome> {
    const running = await this.start(command, options);
    running.launcher.stdin?.end(options.input ?? '');
    return await running.end;
  }

  /** Starts a program as a guest; its standard input stays open. */
  start(command: readonly string[], options: Partial<GuestOptions> = {}): Promise<RunningGuest> {
    return new Promise((resolve, reject) => {
      const [program, ...args] = command;
      const records: Record<string, unknown>[] = [];
      const report = runGuest({
        program: program as string,
        args,
        devices: this.domain.kind === 'vm' ? CAMERA : TERMINALS,
        domain: this.domain,
        log: pino({ level: 'info' }, { write: (line) => records.push(JSON.parse(line)) }),
        name: 'test',
        stdio: ['pipe', 'pipe', 'pipe'],
        ...options,
        onStart: (launcher) => resolve(new RunningGuest(launcher, () => report, records)),
      });
      report.catch(reject);
    });
  }

  /** Runs the cases of a guest program as a guest. */
  async guestCases(
    name: string,
    options: Partial<GuestOptions> = {},
    args: string[] = [],
    folder = 'guests',
  ): Promise<Cases> {
    const { out, err, exitCode, signal, records } = await this.guest(
      [compileGuestProgram(name, folder), ...args],
      options,
    );
    if (err !== '' || exitCode !== 0)
      throw new Error(`${name} ended with ${exitCode ?? signal}: ${err}${out}${JSON.stringify(records)}`);
    return casesOf(out);
  }

  /** Runs the same cases beside the driver: in the VM, or on this machine. */
  async directCases(name: string, args: string[] = [], folder = 'guests'): Promise<Cases> {
    const command = [compileGuestProgram(name, folder), ...args];
    return casesOf(this.domain.kind === 'vm' ? await this.beside(command) : await natively(command));
  }

  /** What a program prints beside the driver in the VM. */
  async beside(command: readonly string[]): Promise<string> {
    let output = '';
    const { code } = await this.domain.run(command, (chunk) => {
      output += chunk.toString();
    });
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${output}`);
    return output;
  }

  async close(): Promise<void> {
    forgetDomain(this.domain);
    await this.domain.close();
  }
}

/** What a program prints on this machine. */
export function natively(command: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const [program, ...args] = command;
    const child = spawn(program as string, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(output) : reject(new Error(`${command.join(' ')} ended with ${code}: ${output}`)),
    );
  });
}
