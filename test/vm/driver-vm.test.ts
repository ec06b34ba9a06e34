import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../host/driver-vm/devices.js';
import { ensureKernel } from '../../host/driver-vm/kernel.js';
import { CONFINE, QEMU_DESCRIPTORS, qemuCommand } from '../../host/driver-vm/qemu.js';
import { isAlive } from '../driver-vm/processes.js';
import { recordOf, SNAPSHOTS, snapshotsOf, Vms } from './support.js';

/** A size that nothing else uses, so that the snapshot is this file's own. */
const MEMORY_MIB = 300;
const MEMORY_BYTES = MEMORY_MIB << 20;

const vms = new Vms();

function camera(devices: readonly Device[]): Device | undefined {
  return devices.find(({ name }) => name === 'video0');
}

/** Without the attributes: a clock's are its time. */
function namesAndNumbers(devices: readonly Device[]): unknown[] {
  return devices.map(({ name, major, minor, sysfs }) => ({ name, major, minor, sysfs }));
}

/** What this process's descriptors are, without the ones that Node makes for itself. */
function openMemoryFiles(): string[] {
  return readdirSync('/proc/self/fd')
    .map((descriptor) => {
      try {
        return readlinkSync(`/proc/self/fd/${descriptor}`);
      } catch {
        return '';
      }
    })
    .filter((target) => target.startsWith('/memfd:postern'));
}

function dropSnapshots(): void {
  for (const folder of snapshotsOf(MEMORY_BYTES)) rmSync(folder, { recursive: true });
}

beforeAll(async () => {
  await ensureKernel(() => {});
});
afterEach(() => vms.closeAll());
afterAll(dropSnapshots);

describe('the driver VM, cold', () => {
  it('offers the camera with its sysfs data', async () => {
    const vm = await vms.start({ snapshot: false });
    expect(vm).toMatchObject({ kind: 'vm', restored: false, channels: 64, channelEvents: null });
    expect(vm.pages).toHaveLength(64 * 260);
    const devices = await vm.devices();
    const found = camera(devices);
    expect(found).toMatchObject({ major: 81, subsystem: 'video4linux' });
    expect(found?.sysfs).toBe('/devices/platform/vivid.0/video4linux/video0');
    expect(found?.files).toMatchObject({ dev: `81:${found?.minor}\n`, name: 'vivid-000-vid-cap\n' });
    expect(found?.files.uevent).toContain('DEVNAME=video0\n');
    expect(found?.links.subsystem).toMatch(/class\/video4linux$/);
    expect(devices.some(({ name }) => name.startsWith('vport'))).toBe(false);
  });

  it('takes drivers with parameters', async () => {
    const vm = await vms.start({ snapshot: false, drivers: ['vivid n_devs=2'] });
    const names = (await vm.devices()).map(({ files }) => files.name);
    expect(names).toContain('vivid-001-vid-cap\n');
  });

  it('says which driver is missing', async () => {
    await expect(vms.start({ drivers: ['vkms'] })).rejects.toThrow('Name a driver that kernel');
  });
});

describe("the driver VM's snapshot", () => {
  const start = () => vms.start({ memoryMiB: MEMORY_MIB });

  it('is taken at the first start and used from then on', async () => {
    dropSnapshots();
    const first = await start();
    const devices = await first.devices();
    await first.close();
    const second = await start();
    expect([first.restored, second.restored]).toEqual([false, true]);
    expect(namesAndNumbers(await second.devices())).toEqual(namesAndNumbers(devices));
    expect(second.pages).toEqual(first.pages);
    expect(camera(devices)?.name).toBe('video0');
    const third = await start();
    expect(third.restored).toBe(true);
    expect(third.pid).not.toBe(second.pid);
  });

  it.each([
    ['its state is cut off', (folder: string) => writeFileSync(join(folder, 'state'), 'x'), 'digest'],
    ['its RAM is cut off', (folder: string) => writeFileSync(join(folder, 'ram'), 'x'), 'size'],
    [
      'its record is no JSON',
      (folder: string) => writeFileSync(join(folder, 'snapshot.json'), '{'),
      'broken',
    ],
    ['its state is wrong', forgeState, "can't start from its snapshot"],
  ])('is not used when %s', async (_why, spoil, words) => {
    await (await start()).close();
    const [folder = ''] = snapshotsOf(MEMORY_BYTES);
    spoil(folder);
    vms.log.length = 0;
    const vm = await start();
    expect(vm.restored).toBe(false);
    expect(vms.log.join('\n')).toContain(words);
    expect(camera(await vm.devices())?.major).toBe(81);
    await vm.close();
    expect((await start()).restored).toBe(true);
  });

  it('leaves no unfinished folders', () => {
    expect(readdirSync(SNAPSHOTS).filter((name) => name.includes('.new-'))).toEqual([]);
  });
});

/** Zeros in the middle of the state, under the digest that belongs to them. */
function forgeState(folder: string): void {
  const state = readFileSync(join(folder, 'state'));
  const third = Math.floor(state.length / 3);
  state.fill(0, third, 2 * third);
  writeFileSync(join(folder, 'state'), state);
  const stateDigest = createHash('sha256').update(state).digest('hex');
  writeFileSync(join(folder, 'snapshot.json'), JSON.stringify({ ...recordOf(folder), stateDigest }));
}

describe("the driver VM's end", () => {
  it('leaves nothing when it is closed', async () => {
    const vm = await vms.start();
    expect(openMemoryFiles()).not.toEqual([]);
    let told = false;
    vm.onExit(() => {
      told = true;
    });
    await vm.close();
    await vm.close();
    expect(isAlive(vm.pid)).toBe(false);
    expect(openMemoryFiles()).toEqual([]);
    expect(told).toBe(false);
    expect(readdirSync('/dev/shm').filter((name) => name.includes('postern'))).toEqual([]);
  });

  it('is told when QEMU is killed', async () => {
    const vm = await vms.start();
    const reason = new Promise<string>((resolve) => vm.onExit(resolve));
    process.kill(vm.pid, 'SIGKILL');
    expect(await reason).toBe('QEMU was killed by SIGKILL');
    await expect(vm.devices()).rejects.toThrow('The driver VM has ended: QEMU was killed by SIGKILL');
    await vm.close();
    expect(openMemoryFiles()).toEqual([]);
  });

  it("comes with its host's end", async () => {
    const { command, commandArguments } = qemuCommand(
      ['-nodefaults', '-display', 'none', '-machine', 'none', '-S'],
      { sharedRoot: false, rendering: false },
    );
    const script = `const [confine, at, command, ...rest] = process.argv.slice(1);
      const stdio = [...Array(Number(at)).fill('ignore'), require('node:fs').openSync(confine, 'r')];
      const child = require('node:child_process').spawn(command, rest, { detached: true, stdio });
      child.on('spawn', () => console.log(child.pid));`;
    const confine = [CONFINE, String(QEMU_DESCRIPTORS.confine)];
    const host = spawn(process.execPath, ['-e', script, '--', ...confine, command, ...commandArguments]);
    const pid = Number(await new Promise<Buffer>((resolve) => host.stdout.once('data', resolve)));
    await expect.poll(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).toMatch(/^qemu-system/);
    host.kill('SIGKILL');
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('leaves no unfinished folder of a host that was killed', async () => {
    const abandoned = join(SNAPSHOTS, `${'0'.repeat(32)}.new-${await pidOfTheDead()}-00000000`);
    mkdirSync(abandoned);
    dropSnapshots();
    await vms.start({ memoryMiB: MEMORY_MIB });
    expect(existsSync(abandoned)).toBe(false);
  });
});

/** A number that no process has now. */
async function pidOfTheDead(): Promise<number> {
  const child = spawn('true');
  await new Promise((resolve) => child.once('close', resolve));
  return child.pid as number;
}
