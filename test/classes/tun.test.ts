import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { runGuest } from '../../host/mediator/guest.js';
import { ROOT } from '../../host/root.js';

const DEVICES = [{ name: 'net/tun', path: '/dev/net/tun' }];
const PACKETS = 200;
const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');
const log = openLog({});

let domain: DriverDomain;
let pump: string;

/** Runs a program as a guest of its own. */
async function guest(program: string, args: string[]): Promise<{ exitCode: number | null; out: string }> {
  let out = '';
  const { exitCode } = await runGuest({
    ...{ program, args, devices: DEVICES, domain, log, name: args[0] ?? program },
    stdio: ['ignore', 'pipe', 'pipe'],
    onStart: (launcher) => {
      for (const stream of [launcher.stdout, launcher.stderr])
        stream?.on('data', (chunk: Buffer) => {
          out += chunk.toString();
        });
    },
  });
  return { exitCode, out };
}

describe.skipIf(!hasDriverVm)('TAP interfaces of a driver VM', () => {
  beforeAll(async () => {
    pump = compileGuestProgram('packet_pump');
    domain = await openDomain({ mode: 'snapshot', drivers: ['tun'] }, log);
  });
  afterAll(async () => {
    await closeDomain(domain);
  });

  it('carry packets from one guest to another, byte for byte', async () => {
    const [receiver, sender] = await Promise.all([
      guest(pump, ['receive', 'tap-there', `${PACKETS}`]),
      guest(pump, ['send', 'tap-here', `${PACKETS}`]),
    ]);
    expect([receiver.exitCode, sender.exitCode]).toEqual([0, 0]);
    const carried = sender.out.match(/^sent (200 packets, \d+ bytes)$/m)?.[1];
    expect(carried).toBeDefined();
    expect(receiver.out).toBe(`received ${carried}, all as sent\n`);
  });

  it('belong to the guest that made them: another cannot attach to one by its name', async () => {
    const hold = 'my $r = pack("a16 S x22", "tap-mine", 0x1002); $| = 1;';
    const attach = `${hold} open(F, "+<", "/dev/net/tun") or die; print ioctl(F, 0x400454ca, $r) ? "mine\\n" : "no: $!\\n";`;
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      const owner = runGuest({
        ...{
          program: 'perl',
          args: ['-e', `${attach} <STDIN>;`],
          devices: DEVICES,
          domain,
          log,
          name: 'owner',
        },
        stdio: ['pipe', 'pipe', 'inherit'],
        onStart: (launcher) => {
          launcher.stdout?.once('data', () => resolve());
          release = () => launcher.stdin?.end();
        },
      });
      void owner.then(() => resolve());
    });
    await held;
    const other = await guest('perl', ['-e', attach]);
    release();
    expect(other.out).toBe('no: Device or resource busy\n');
  });
});

describe.skipIf(!hasDriverVm)('npm run compliance -- tun', () => {
  it('finds that packets are carried as a guest as beside the driver', () => {
    const program = join(ROOT, 'dist', 'host', 'cli', 'compliance.js');
    const { status, stdout } = spawnSync(process.execPath, [program, 'tun', '--json'], { encoding: 'utf8' });
    expect(JSON.parse(stdout)).toEqual({
      class: 'tun',
      guest: { passed: 2, failed: 0 },
      direct: { passed: 2, failed: 0 },
      agree: true,
      differences: [],
    });
    expect(status).toBe(0);
  });
});
