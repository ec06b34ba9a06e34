import { describe, expect, it } from 'vitest';
import { ensureInitramfs } from '../../host/driver-vm/initramfs.js';
import type { Kernel } from '../../host/driver-vm/kernel.js';
import { qemuArguments } from '../../host/driver-vm/qemu.js';

const NO_KERNEL: Kernel = { release: '0', vmlinux: '', digest: '', modulesRoot: 'no-such-folder' };

describe('the initramfs', () => {
  it.each(['', '../vivid', 'vivid;x', '-C', 'vivid n_devs', 'vivid a=b\u0000', 'vivid a=b c'])(
    'refuses the driver %j',
    async (driver) => {
      const attempt = ensureInitramfs(NO_KERNEL, { drivers: [driver], sharedRoot: false });
      await expect(attempt).rejects.toThrow(/is not a module's name|modprobe/);
    },
  );

  it('says which driver is not in the kernel', async () => {
    const attempt = ensureInitramfs(NO_KERNEL, { drivers: ['no_such_driver'], sharedRoot: false });
    await expect(attempt).rejects.toThrow('Name a driver that kernel 0 has as a module.');
  });
});

describe("QEMU's command line", () => {
  const words = qemuArguments({ memoryMiB: 512, sharedRoot: false, accelerator: 'tcg', devices: [] });
  const line = words.join(' ');

  it('gives the VM no way out', () => {
    const doors = ['-netdev', '-nic', '-net', '-drive', '-virtfs', '-fsdev', '-vnc', '-usbdevice'];
    expect(words.filter((word) => doors.includes(word))).toEqual([]);
    expect(line).not.toMatch(/tcp:|udp:|unix:|host/);
    expect(words).toContain('-nodefaults');
    expect(line).toContain(
      '-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    );
  });

  it('keeps memory accesses atomic towards the host', () => {
    expect(line).toContain('-smp 1,maxcpus=2');
  });

  it("shares this machine's root only when asked, and read-only", () => {
    const shared = qemuArguments({ memoryMiB: 512, sharedRoot: true, accelerator: 'tcg', devices: [] }).join(
      ' ',
    );
    expect(shared).toContain('-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on');
  });
});
