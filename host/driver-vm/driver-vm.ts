import { closeSync } from 'node:fs';
import { native } from '../native.js';
import { DisplayServer } from './display-server.js';
import type { DriverDomain, Log } from './domain.js';
import { hardwareOf } from './hardware.js';
import type { Hello } from './hello.js';
import { ensureInitramfs, type Initramfs } from './initramfs.js';
import { ensureKernel, type Kernel } from './kernel.js';
import { withOwnImage } from './own-modules.js';
import { QEMU_DESCRIPTORS, qemuArguments, qemuIdentity } from './qemu.js';
import { type ApertureEnds, QemuProcess } from './qemu-process.js';
import { type Picture, Screen } from './screen.js';
import {
  dropSnapshot,
  dropSnapshotFolder,
  findSnapshot,
  loadSnapshotRam,
  newSnapshotFolder,
  openSnapshotState,
  resumeFromState,
  type Snapshot,
  snapshotKey,
  takeSnapshot,
} from './snapshot.js';
import { Watchdog } from './watchdog.js';

/** Fits the kernel, the agent's locked memory and some hundred MiB of driver buffers. */
const MEMORY_MIB_DEFAULT = 512;
/** The kernel, the agent's locked memory and a driver need about 240 MiB; below, the boot fails in obscure ways. */
const MEMORY_MIB_MIN = 288;
const MEMORY_MIB_MAX = 16 << 10;
/** A cold start takes 2 s on an idle machine; busy continuous integration takes several times that. */
const COLD_START_TIMEOUT_MS = 60_000;
/** A restored agent answers within milliseconds, or never. */
const RESTORE_TIMEOUT_MS = 10_000;
const BYTES_PER_MIB = 1 << 20;

export interface DriverVmOptions {
  memoryMiB?: number;
  /** Modules to load, each optionally with parameters: 'vivid n_devs=2'. */
  drivers: readonly string[];
  /** A folder of modules (NAME.ko) that are used in place of the kernel's own, and perhaps a `vmlinux` of the same release. */
  modules?: string | undefined;
  /** Shares this machine's root with the VM, read-only, for run(). For comparisons only: the driver can read every file then. */
  shareRoot?: boolean;
  /** Start from a snapshot, and take one where there is none (the default). Never with `shareRoot`. */
  snapshot?: boolean;
  /**
   * A descriptor that what the sound card plays goes to, as a WAV file of 48 kHz, 16 bits, stereo. QEMU, which may be another
   * user, opens it anew: a memory file, or a file that anyone may write.
   */
  recording?: number;
  /** This is a guest VM: it has an aperture instead of hardware, and never comes from a snapshot. */
  aperture?: ApertureEnds;
  /** 'tcg' (the default) works everywhere. */
  accelerator?: 'tcg' | 'kvm';
  log: Log;
}

/** A driver domain that is a VM. */
export interface DriverVm extends DriverDomain {
  kind: 'vm';
  /** QEMU's process id. */
  pid: number;
  /** Whether it came from a snapshot. */
  restored: boolean;
  /**
   * Has the emulated input devices (the driver `virtio-input`) report something, all events in one packet.
   * @param events QEMU's InputEvent values (qapi/ui.json), such as {type: 'rel', data: {axis: 'x', value: 5}}; an absolute
   *   axis goes from 0 to 32767
   * @throws Error with QEMU's own words
   */
  sendInput(events: readonly InputEvent[]): Promise<void>;
  /**
   * What the first display shows now.
   * @throws Error with QEMU's reason, as when no driver has brought a display
   */
  picture(): Promise<Picture>;
}

/** Whether a domain is a driver VM. */
export function isDriverVm(domain: DriverDomain): domain is DriverVm {
  return domain.kind === 'vm';
}

/** One event of QEMU's `input-send-event`. */
export interface InputEvent {
  type: 'key' | 'btn' | 'rel' | 'abs';
  data: Record<string, unknown>;
}

interface Plan {
  kernel: Kernel;
  initramfs: Initramfs;
  qemuArguments: string[];
  memoryBytes: number;
  snapshotKey: string;
  sharedRoot: boolean;
  /** Whether QEMU renders: it needs an X server, and can't be saved. */
  rendering: boolean;
  recording?: number;
  aperture?: ApertureEnds;
  log: Log;
}

interface Running extends Parts {
  qemu: QemuProcess;
  hello: Hello;
  restored: boolean;
}

/**
 * Starts a driver VM: from a snapshot where there is one, else cold. Returns when its agent has answered.
 * @throws Error with QEMU's, the kernel's or the agent's reason
 */
export async function startDriverVm(options: DriverVmOptions): Promise<DriverVm> {
  const plan = await planOf(options);
  // QEMU can't save a machine whose guest has a shared folder mounted, or has its drawing done.
  const usesSnapshots = (options.snapshot ?? true) && !options.shareRoot && !plan.rendering;
  const restored = usesSnapshots ? await tryRestore(plan) : undefined;
  return domainOf(restored ?? (await startCold(plan, usesSnapshots)), plan);
}

async function planOf(options: DriverVmOptions): Promise<Plan> {
  const memoryMiB = options.memoryMiB ?? MEMORY_MIB_DEFAULT;
  if (!Number.isInteger(memoryMiB) || memoryMiB < MEMORY_MIB_MIN || memoryMiB > MEMORY_MIB_MAX) {
    throw new Error(`A driver VM of ${memoryMiB} MiB: expected ${MEMORY_MIB_MIN} to ${MEMORY_MIB_MAX}.`);
  }
  const sharedRoot = options.shareRoot ?? false;
  const kernel = withOwnImage(await ensureKernel(options.log), options.modules);
  const hardware = hardwareOf(options.drivers);
  const drivers = hardware.flatMap((one) => one.modules);
  const initramfs = await ensureInitramfs(kernel, {
    drivers,
    sharedRoot,
    overlay: options.aperture !== undefined,
    modules: options.modules,
  });
  const accelerator = options.accelerator ?? 'tcg';
  const rendering = hardware.some((one) => one.rendering);
  const commandLine = qemuArguments({
    memoryMiB,
    sharedRoot,
    accelerator,
    devices: hardware.flatMap((one) => one.devices),
    recording: options.recording !== undefined,
    rendering,
    aperture: options.aperture !== undefined,
  });
  return {
    kernel,
    initramfs,
    qemuArguments: commandLine,
    memoryBytes: memoryMiB * BYTES_PER_MIB,
    snapshotKey: snapshotKey([kernel.digest, initramfs.digest, qemuIdentity(), ...commandLine]),
    sharedRoot,
    rendering,
    log: options.log,
    ...(options.aperture === undefined ? {} : { aperture: options.aperture }),
    ...(options.recording === undefined ? {} : { recording: options.recording }),
  };
}

/** A VM from its snapshot, or undefined when there is none that works. */
async function tryRestore(plan: Plan): Promise<Running | undefined> {
  const snapshot = await findSnapshot(plan.snapshotKey, plan.log);
  if (snapshot === undefined) return undefined;
  try {
    return await restore(plan, snapshot);
  } catch (error) {
    plan.log(`The driver VM can't start from its snapshot and starts cold: ${(error as Error).message}`);
    await dropSnapshot(plan.snapshotKey);
    return undefined;
  }
}

async function restore(plan: Plan, snapshot: Snapshot): Promise<Running> {
  const state = openSnapshotState(snapshot);
  try {
    return await launch(plan, { state, folder: '/', timeoutMs: RESTORE_TIMEOUT_MS }, async (qemu, memory) => {
      // QEMU sets itself up while the RAM is copied.
      await Promise.all([loadSnapshotRam(snapshot, memory), qemu.qmp.execute('qmp_capabilities')]);
      await resumeFromState(qemu.qmp, QEMU_DESCRIPTORS.state);
    });
  } finally {
    closeSync(state);
  }
}

/** A folder for a snapshot, or undefined where this user may not make one: the VM then starts cold each time. */
async function snapshotFolder(plan: Plan): Promise<string | undefined> {
  try {
    return await newSnapshotFolder(plan.snapshotKey);
  } catch (error) {
    plan.log(`The driver VM's snapshot can't be kept: ${(error as Error).message}.`);
    return undefined;
  }
}

async function startCold(plan: Plan, wantsSnapshot: boolean): Promise<Running> {
  const made = wantsSnapshot ? await snapshotFolder(plan) : undefined;
  const keepSnapshot = made !== undefined;
  const folder = made ?? '/';
  try {
    const running = await launch(plan, { folder, timeoutMs: COLD_START_TIMEOUT_MS }, async (qemu) => {
      await qemu.qmp.execute('qmp_capabilities');
    });
    if (keepSnapshot) await keep(plan, running, folder);
    return running;
  } finally {
    if (keepSnapshot) await dropSnapshotFolder(folder);
  }
}

/** Saves the VM at rest: greeted, asked for its devices, no channel used. A VM that can't be saved still serves. */
async function keep(plan: Plan, running: Running, folder: string): Promise<void> {
  const { qemu, memory } = running;
  try {
    await qemu.orEnd(qemu.control.devices());
    const ram = { descriptor: memory, bytes: plan.memoryBytes };
    await qemu.orEnd(takeSnapshot(qemu.qmp, ram, folder, plan.snapshotKey));
  } catch (error) {
    plan.log(`The driver VM runs, but no snapshot of it could be kept: ${(error as Error).message}`);
  }
}

interface LaunchOptions {
  state?: number;
  folder: string;
  timeoutMs: number;
}

/** What a VM needs beside QEMU, and what is left of it in this process. */
interface Parts {
  memory: number;
  doorbell: number;
  screen: Screen;
  display: DisplayServer | undefined;
}

/** Starts QEMU, lets `begin` bring the machine to run, and greets the agent. Whatever fails, nothing stays. */
async function launch(
  plan: Plan,
  options: LaunchOptions,
  begin: (qemu: QemuProcess, memory: number) => Promise<unknown>,
): Promise<Running> {
  const [doorbell, theirDoorbell] = native.socketPair();
  const parts: Parts = {
    memory: native.memfd('postern-driver-vm', plan.memoryBytes),
    doorbell,
    screen: new Screen(),
    display: plan.rendering ? new DisplayServer() : undefined,
  };
  let qemu: QemuProcess | undefined;
  try {
    qemu = await startQemu(plan, options, parts, theirDoorbell).finally(() =>
      native.closeDescriptor(theirDoorbell),
    );
    await qemu.orEnd(begin(qemu, parts.memory));
    const hello = await qemu.orEnd(qemu.control.hello(plan.memoryBytes, options.timeoutMs));
    return { ...parts, qemu, hello, restored: options.state !== undefined };
  } catch (error) {
    qemu?.kill();
    await qemu?.ended;
    await release(parts);
    throw error;
  }
}

async function startQemu(
  plan: Plan,
  { state, folder }: LaunchOptions,
  { memory, screen, display }: Parts,
  doorbell: number,
): Promise<QemuProcess> {
  const incoming = state === undefined ? [] : ['-incoming', 'defer'];
  const environment = await display?.environment(QEMU_DESCRIPTORS.authority);
  const launch = {
    qemuArguments: [...plan.qemuArguments, ...incoming],
    needs: { sharedRoot: plan.sharedRoot, rendering: plan.rendering },
    kernel: plan.kernel.vmlinux,
    initramfs: plan.initramfs.path,
    memory,
    doorbell,
    screen: screen.descriptor,
    folder,
    ...(state === undefined ? {} : { state }),
    ...(plan.recording === undefined ? {} : { recording: plan.recording }),
    ...(plan.aperture === undefined ? {} : { aperture: plan.aperture }),
    ...(display === undefined || environment === undefined
      ? {}
      : { display: { authority: display.authority, environment } }),
  };
  return new QemuProcess(launch, plan.log);
}

async function release({ memory, doorbell, screen, display }: Parts): Promise<void> {
  native.closeDescriptor(memory);
  native.closeDescriptor(doorbell);
  screen.close();
  await display?.close();
}

function domainOf(running: Running, plan: Plan): DriverVm {
  const { qemu, hello, memory, doorbell, screen, restored } = running;
  let closing: Promise<void> | undefined;
  // A guest VM may be as slow as it likes.
  const watchdog =
    plan.aperture === undefined ? new Watchdog(qemu.control, (reason) => qemu.kill(reason)) : undefined;
  void qemu.ended.then(() => watchdog?.stop());
  const end = async (): Promise<void> => {
    watchdog?.stop();
    await qemu.quit();
    await release(running);
  };
  return {
    kind: 'vm',
    pid: qemu.pid as number,
    restored,
    memory: { descriptor: memory, bytes: plan.memoryBytes },
    channels: hello.channels,
    channelsAddress: hello.channelsAddress,
    pages: hello.pages,
    doorbell,
    channelEvents: null,
    devices: () => qemu.orEnd(qemu.control.devices()),
    picture: () => qemu.orEnd(screen.picture(qemu.qmp)),
    run: (argv, onOutput, input) => qemu.orEnd(qemu.control.run(argv, onOutput, input)),
    sendInput: async (events) => {
      await qemu.orEnd(qemu.qmp.execute('input-send-event', { events }));
    },
    onExit: (listener) => {
      void qemu.ended.then((reason) => closing ?? listener(reason));
    },
    close: () => {
      closing ??= end();
      return closing;
    },
  };
}
