import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { archiveOf } from '../../host/driver-vm/cpio.js';
import { ensureKernel } from '../../host/driver-vm/kernel.js';
import { addedArguments, memoryBytesOf, parseAttachment } from '../../host/guest-vm/attachment.js';
import { ensureFrontendModule } from '../../host/guest-vm/frontend-module.js';
import { ROOT } from '../../host/root.js';
import { isOnPath } from '../../host/setup/debian-packages.js';
import { MAIN, postern, RunningPostern } from '../cli/postern.js';

const VM_EXEC = join(ROOT, 'native', 'build', 'vm-exec');
const folder = mkdtempSync(join(tmpdir(), 'postern-own-vm-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A QEMU command line as anybody would write it: Debian's kernel, an initramfs, nothing of Postern's but the module in it. */
async function ownVm(): Promise<string[]> {
  const kernel = await ensureKernel(() => {});
  const module = join(await ensureFrontendModule(kernel, () => {}), 'postern_frontend.ko');
  const initramfs = join(folder, 'initramfs.cpio');
  writeFileSync(
    initramfs,
    archiveOf([
      { path: 'dev', mode: 0o755 },
      { path: 'init', mode: 0o755, content: readFileSync(compileGuestProgram('own_init')) },
      { path: 'postern_frontend.ko', mode: 0o644, content: readFileSync(module) },
    ]),
  );
  return [
    ...['qemu-system-x86_64', '-machine', 'q35', '-cpu', 'max', '-m', '400M', '-nodefaults', '-no-reboot'],
    ...['-nographic', '-serial', 'stdio', '-kernel', kernel.vmlinux, '-initrd', initramfs],
    ...['-append', 'console=ttyS0 quiet panic=-1'],
  ];
}

/** What the machine says, without what its firmware and kernel say. */
const WANTED = [
  'insmod: 0',
  'driver vivid',
  'ioctl of a 32-bit program: ENOTTY',
  'rmmod while a file is open: EAGAIN',
  '5 frames, with a picture',
  'SIGIO: came',
  'readv of two pieces: 2000',
  'both pieces: filled',
  'writev: EINVAL',
  'lseek: ESPIPE',
  'rmmod: 0',
  'the device is gone',
  'insmod again: 0',
  'driver vivid',
  'done',
];

function said(output: string): string[] {
  const lines = output.split(/\r?\n/).map((line) => line.trim());
  const first = lines.findIndex((line) => line.endsWith('insmod: 0'));
  return lines
    .slice(Math.max(first, 0))
    .map((line) => (line.endsWith('insmod: 0') ? 'insmod: 0' : line))
    .filter((line) => line !== '' && !/^\[ *\d+\.\d+\]/.test(line));
}

describe.skipIf(!allOk(examineMachine(), 'required'))('a VM of the user’s own', () => {
  let qemu: string[];
  beforeAll(async () => {
    qemu = await ownVm();
  });

  it('has the devices by `postern vm exec`, keeps them over an unloading of the module, and ends as QEMU ends', () => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [MAIN, 'vm', 'exec', '--device', 'video0', '--', ...qemu],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    expect(stderr).toBe('');
    expect(said(stdout)).toEqual(WANTED);
    expect(status).toBe(0);
  });

  it('has them by `postern vm attach`, started by whomever, one after another', async () => {
    const socket = join(folder, 'vms.sock');
    const host = new RunningPostern(['vm', 'attach', '--device', 'video0', '--socket', socket]);
    try {
      await host.printed('VMs are served at');
      const refused = spawnSync(VM_EXEC, [socket, 'qemu-system-x86_64', '-m', '3G'], { encoding: 'utf8' });
      expect(refused.status).toBe(125);
      expect(refused.stderr).toContain("the host refuses this VM: A machine 'pc' of more than 2 GiB");
      const { status, stdout } = spawnSync(VM_EXEC, [socket, ...qemu], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      expect(said(stdout)).toEqual(WANTED);
      expect(status).toBe(0);
    } finally {
      host.child.kill('SIGTERM');
      await host.end();
    }
  });

  it('is told when no host listens, and asks none for QEMU’s version', () => {
    const socket = join(folder, 'nobody.sock');
    const missing = spawnSync(VM_EXEC, [socket, ...qemu], { encoding: 'utf8' });
    expect(missing.status).toBe(125);
    expect(missing.stderr).toContain('start one by `postern vm attach`');
    for (const question of [['--version'], ['-machine', 'none,accel=tcg', '-version']]) {
      const asked = spawnSync(VM_EXEC, [socket, 'qemu-system-x86_64', ...question], { encoding: 'utf8' });
      expect(asked.stdout).toContain('QEMU emulator version');
      expect(asked.status).toBe(0);
    }
  });
});

describe.skipIf(!isOnPath('virt-xml-validate'))('the domain for libvirt (needs virt-xml-validate)', () => {
  it('is valid by libvirt’s own schema, and one that is spoilt is not', () => {
    const domain = postern(['vm', 'libvirt']).out;
    const validate = (text: string): number | null => {
      const file = join(folder, 'domain.xml');
      writeFileSync(file, text);
      return spawnSync('virt-xml-validate', [file, 'domain']).status;
    };
    expect(validate(domain)).toBe(0);
    expect(
      validate(domain.replace('<emulator>', '<emulater>').replace('</emulator>', '</emulater>')),
    ).not.toBe(0);
  });
});

describe('a QEMU command line', () => {
  it.each([
    [['-m', '512'], 512],
    [['-m', '1G'], 1024],
    [['-m', 'size=1048576k,slots=2,maxmem=4G'], 1024],
    [['-m', '256', '-m', '300M'], 300],
    [[], 128],
    [['-machine', 'q35,accel=tcg', '-m', '4096M'], 4096],
    [['-M', 'pc-q35-7.2', '--m', '3G'], 3072],
  ])('%j gives its guest %i MiB', (qemu, mib) => {
    expect(memoryBytesOf(['qemu-system-x86_64', ...qemu])).toBe(mib * 2 ** 20);
  });

  it.each([
    [['-m', 'lots'], 'no size that Postern understands'],
    [['-m', '0'], 'less than a machine can have'],
    [['-m', '4G'], 'use `-machine q35`'],
    [['-m', '4G', '-machine', 'microvm'], 'use `-machine q35`'],
    [['-numa', 'node'], 'memory of its own'],
  ])('%j is refused: %s', (qemu, why) => {
    expect(() => memoryBytesOf(['qemu-system-x86_64', ...qemu])).toThrow(why);
  });

  it('comes as one JSON object, or is refused with the place that is wrong', () => {
    expect(parseAttachment('{"arguments":["qemu","-m","1G"]}')).toEqual(['qemu', '-m', '1G']);
    for (const line of [
      '',
      'qemu',
      '[]',
      '{"arguments":[]}',
      '{"arguments":[1]}',
      '{"arguments":["q"],"x":1}',
    ])
      expect(() => parseAttachment(line)).toThrow(/^The request /);
    expect(() => parseAttachment('{"arguments":["q",7]}')).toThrow('/arguments/1 must be string');
  });

  it('gets its memory as a file, and the device', () => {
    expect(addedArguments(['qemu', '-smp', '4'], 2 ** 29).join(' ')).toMatch(
      /memory-backend-file,id=postern-ram,size=536870912,.*share=on .*-device ivshmem-doorbell,\S*$/,
    );
  });

  it.each([[[]], [['-smp', '1']], [['-smp', 'cpus=1,maxcpus=1']]])(
    '%j gets a second processor that is not there',
    (qemu) => {
      expect(addedArguments(['qemu', ...qemu], 2 ** 29).slice(-2)).toEqual(['-smp', 'cpus=1,maxcpus=2']);
    },
  );
});
