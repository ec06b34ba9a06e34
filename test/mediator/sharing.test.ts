import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { type GuestReport, runGuest } from '../../host/mediator/guest.js';
import type { Manifest } from '../../host/policy/manifest.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import { policyPackage } from '../policy/support.js';

/** Says whether it could open the device, keeps it open until its standard input ends, and closes it before it ends. */
const HOLDER =
  '$| = 1; print open(my $file, "+<", "/dev/ptmx") ? "open\\n" : "refused: $!\\n"; <STDIN>; close $file if $file;';
const DEVICES = [{ name: 'ptmx', path: '/dev/ptmx' }];
const log = openLog({});

let domain: DriverDomain;
let terminals: PolicyPackage;

beforeAll(async () => {
  terminals = await policyPackage('pty');
  domain = await openDomain({ mode: 'local', drivers: [] }, log);
});
afterAll(() => closeDomain(domain));

/** A guest that has tried to open the device. */
class Holder {
  said = '';
  #launcher: ChildProcess | undefined;
  readonly #report: Promise<GuestReport>;
  readonly #hasTried: Promise<void>;

  constructor(sharing: Manifest['sharing']) {
    const policies = [{ ...terminals, manifest: { ...terminals.manifest, sharing } }];
    let tried = (): void => undefined;
    this.#hasTried = new Promise((resolve) => {
      tried = resolve;
    });
    this.#report = runGuest({
      ...{ program: 'perl', args: ['-e', HOLDER], devices: DEVICES, domain, log, name: 'holder', policies },
      stdio: ['pipe', 'pipe', 'inherit'],
      onStart: (launcher) => {
        this.#launcher = launcher;
        launcher.stdout?.on('data', (chunk: Buffer) => {
          this.said += chunk.toString();
          if (this.said.endsWith('\n')) tried();
        });
      },
    });
  }

  async tried(): Promise<string> {
    await Promise.race([this.#hasTried, this.#report]);
    return this.said;
  }

  /** Lets the guest close the device and end. */
  async end(): Promise<GuestReport> {
    this.#launcher?.stdin?.end();
    return await this.#report;
  }

  /** Ends the guest with the device open. */
  async kill(): Promise<void> {
    this.#launcher?.kill('SIGKILL');
    await this.#report;
  }
}

describe('a device of a concurrent class', () => {
  it('is open in two guests at once', async () => {
    const [first, second] = [new Holder('concurrent'), new Holder('concurrent')];
    expect([await first.tried(), await second.tried()]).toEqual(['open\n', 'open\n']);
    await Promise.all([first.end(), second.end()]);
  });
});

describe('a device of an exclusive class', () => {
  it('is EBUSY to a second guest for as long as the first has it open', async () => {
    const first = new Holder('exclusive');
    expect(await first.tried()).toBe('open\n');
    const second = new Holder('exclusive');
    expect(await second.tried()).toBe('refused: Device or resource busy\n');
    await Promise.all([first.end(), second.end()]);
    const third = new Holder('exclusive');
    expect(await third.tried()).toBe('open\n');
    await third.end();
  });

  it('is free again when the guest that had it was killed', async () => {
    const first = new Holder('exclusive');
    expect(await first.tried()).toBe('open\n');
    await first.kill();
    const second = new Holder('exclusive');
    expect(await second.tried()).toBe('open\n');
    await second.end();
  });

  it('may be opened again by the guest that has it', async () => {
    const policies = [{ ...terminals, manifest: { ...terminals.manifest, sharing: 'exclusive' as const } }];
    const open = (file: string): string => `open(my $${file}, "+<", "/dev/ptmx") or die $!;`;
    const { exitCode } = await runGuest({
      ...{
        program: 'perl',
        args: ['-e', open('one') + open('two')],
        devices: DEVICES,
        domain,
        log,
        name: 'twice',
        policies,
      },
    });
    expect(exitCode).toBe(0);
  });
});
