import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DomainKeeper } from '../mediator/domain-keeper.js';
import { ROOT } from '../root.js';
import { AttachedVms } from '../serve/attached-vms.js';
import { defaultSocketPath } from '../serve/door.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { exitLike } from './exit.js';
import { openLog } from './log.js';
import { closeAuditLog, openAuditLog } from './open-audit-log.js';
import { policiesInForce } from './policies-in-force.js';
import { forwardSignals } from './signals.js';
import type { AttachOptions, VmOptions } from './vm.js';

/** Becomes a QEMU that has Postern's devices (native/vm-exec). */
const VM_EXEC = join(ROOT, 'native', 'build', 'vm-exec');
/** Debian's, which a domain of libvirt names where it names none of its own. */
const QEMU_PATH = '/usr/bin/qemu-system-x86_64';

/** Where `postern vm attach` listens: beside the host of process guests. */
function attachPath(): string {
  return defaultSocketPath().replace(/host\.sock$/, 'vms.sock');
}

/** Serves VMs that are started through native/vm-exec, until a signal asks for the end. */
export async function attachVms({ socket = attachPath(), ...options }: AttachOptions): Promise<void> {
  const ended = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  await withAttachedVms(socket, options, async (vms) => {
    process.stdout.write(`postern: VMs are served at ${socket}\n`);
    await Promise.race([ended, vms.failed]);
  });
}

/** Runs one QEMU as it is, with the devices added, and ends as it ends. */
export async function execVm(qemu: readonly string[], options: VmOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-vm-'));
  const socket = join(folder, 'vm.sock');
  const running = withAttachedVms(socket, options, async (vms) => {
    const child = spawn(VM_EXEC, [socket, ...qemu], { stdio: 'inherit' });
    const stop = forwardSignals(child);
    const [exitCode, signal] = await Promise.race([once(child, 'exit'), vms.failed]);
    stop();
    return { exitCode, signal };
  });
  exitLike(await running.finally(() => rmSync(folder, { recursive: true, force: true })));
}

async function withAttachedVms<T>(
  socket: string,
  options: VmOptions,
  use: (vms: AttachedVms) => Promise<T>,
): Promise<T> {
  const log = openLog({ ...options, tellErrors: true });
  const policies = await policiesInForce(options);
  const { driverVm: mode, driver: drivers = DRIVERS_DEFAULT, modules } = options;
  const audit = await openAuditLog(options, log);
  try {
    let vms: AttachedVms | undefined;
    const keeper = new DomainKeeper({
      open: () => openDomain({ mode, drivers, modules }, log),
      close: closeDomain,
      log,
      onLost: async () => vms?.loseDomain(),
      onReplaced: async (next) => vms?.replaceDomain(next),
    });
    try {
      const devices = options.device ?? (await everyServedDevice(await keeper.current, policies));
      const opened = AttachedVms.open({ socket, keeper, devices, policies, log, audit });
      vms = opened;
      return await use(opened).finally(() => opened.close());
    } finally {
      await keeper.close();
    }
  } finally {
    await closeAuditLog(audit, log);
  }
}

/** Prints what a domain of libvirt needs, or the script that it names. */
export function printLibvirt({ socket = attachPath(), script }: { socket?: string; script?: boolean }): void {
  process.stdout.write(script ? emulatorScript(socket) : LIBVIRT_DOMAIN);
}

const emulatorScript = (socket: string): string =>
  `#!/bin/sh\n# The emulator of domains that have Postern’s devices: made by \`postern vm libvirt --script\`.\nexec '${VM_EXEC}' '${socket}' ${QEMU_PATH} "$@"\n`;

/** What Postern needs of a domain: an emulator that is its own, x86-64, and memory in one piece. Everything else is the user's. */
const LIBVIRT_DOMAIN = `<domain type='qemu'>
  <name>with-postern</name>
  <memory unit='MiB'>1024</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <!-- Or a disk of your own, whose system has the frontend module (DKMS). -->
    <kernel>/path/to/vmlinuz</kernel>
    <initrd>/path/to/initrd.img</initrd>
    <cmdline>console=ttyS0</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <devices>
    <!-- This is all that Postern needs: the script that this command prints when asked for it, executable. -->
    <emulator>/usr/local/bin/qemu-with-postern</emulator>
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='none'/>
  </devices>
</domain>
`;
