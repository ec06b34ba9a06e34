import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureInitramfs } from '../../host/driver-vm/initramfs.js';
import { type Kernel, presentKernel } from '../../host/driver-vm/kernel.js';
import { ownModules, withOwnImage } from '../../host/driver-vm/own-modules.js';

const kernel = presentKernel();

describe.skipIf(kernel === undefined)('a folder of modules', () => {
  const { release, modulesRoot } = kernel as Kernel;
  const kernelFile = (path: string): string => join(modulesRoot, 'lib', 'modules', release, 'kernel', path);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-modules-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** The agent's list of modules, out of the archive. */
  async function listFor(drivers: string[]): Promise<string[]> {
    const { path } = await ensureInitramfs(kernel as Kernel, { drivers, sharedRoot: false, modules: folder });
    const lines = readFileSync(path, 'latin1').match(/(?:\/modules\/\S+\.ko.*\n)+/)?.[0] ?? '';
    return lines.trim().split('\n');
  }

  it('comes before the kernel’s own, and what its modules depend on is loaded first', async () => {
    copyFileSync(kernelFile('net/bridge/bridge.ko'), join(folder, 'my-switch.ko'));
    copyFileSync(kernelFile('net/llc/llc.ko'), join(folder, 'llc.ko'));
    const list = await listFor(['my_switch some=1', 'tun']);
    const ours = list.filter((line) => !/virtio|pvpanic/.test(line));
    expect([...ours].sort()).toEqual(
      ['llc.ko', 'my-switch.ko some=1', 'stp.ko', 'tun.ko'].map((name) => `/modules/${name}`),
    );
    expect(ours.indexOf('/modules/my-switch.ko some=1')).toBeGreaterThan(ours.indexOf('/modules/llc.ko'));
    expect(ours.indexOf('/modules/my-switch.ko some=1')).toBeGreaterThan(ours.indexOf('/modules/stp.ko'));
  });

  it('must be built for the driver VM’s kernel', async () => {
    copyFileSync(kernelFile('drivers/net/tun.ko'), join(folder, 'tun.ko'));
    const find = ownModules(folder, { ...(kernel as Kernel), release: '6.1.0-1-amd64' });
    await expect(find('tun')?.depends()).rejects.toThrow(
      `tun.ko is built for kernel ${release}, but the driver VM has 6.1.0-1-amd64.`,
    );
  });

  it('may hold an image of its own, which is part of a snapshot’s key', () => {
    expect(withOwnImage(kernel as Kernel, folder)).toBe(kernel);
    writeFileSync(join(folder, 'vmlinux'), 'another image');
    const changed = withOwnImage(kernel as Kernel, folder);
    expect(changed.vmlinux).toBe(join(folder, 'vmlinux'));
    expect(changed.digest).not.toBe(kernel?.digest);
  });

  it('must be there', () => {
    expect(() => ownModules(join(folder, 'missing'), kernel as Kernel)).toThrow(
      /is no folder: --modules expects/,
    );
  });
});
