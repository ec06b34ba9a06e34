import { closeSync, constants, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type pino from 'pino';
import type { DecisionLog } from '../audit/log.js';
import type { DriverDomain, OnOutput, ProgramEnd } from '../driver-vm/domain.js';
import { type DriverVm, startDriverVm } from '../driver-vm/driver-vm.js';
import { ensureKernel } from '../driver-vm/kernel.js';
import { QEMU_DESCRIPTORS } from '../driver-vm/qemu.js';
import { assignDevices, type DeviceNames } from '../mediator/assignment.js';
import { compileModule } from '../mediator/guest.js';
import { Mediation, type MediationEnd } from '../mediator/mediation.js';
import { type NativeVmGuest, native } from '../native.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import { type Aperture, closeAperture, endsOf, fillAperture, newAperture } from './aperture.js';
import { ensureFrontendModule, FRONTEND_MODULE } from './frontend-module.js';

export interface GuestVmOptions {
  /** Where the drivers are: a driver VM. */
  domain: DriverDomain;
  /** Devices of the domain by name, and where the guest sees each. */
  devices: DeviceNames;
  log: pino.Logger;
  /** For the log. */
  name: string;
  memoryMiB?: number;
  /** The policy modules; those that are built by default. */
  policies?: PolicyPackage[];
  /** Where its decisions are logged, if anywhere. */
  audit?: DecisionLog | undefined;
  /** Whether the driver domain still serves: asked once the VM is up. */
  isThere?: () => boolean;
  /** Told of the mediation at once, for whoever replaces a domain that ends. */
  onMediation?: (made: Mediation) => void;
  /** Told what the VM and its start are at. */
  progress: (line: string) => void;
}

/** A guest that is a virtual machine: Debian's kernel, the frontend module, and this machine's files, read-only. */
export interface GuestVm {
  /** QEMU's process id. */
  pid: number;
  /**
   * Runs a program in the VM.
   * @param onOutput told what it writes, and whether that is on its standard error
   * @param input its standard input; by default there is none
   */
  run(argv: readonly string[], onOutput: OnOutput, input?: Readable): Promise<ProgramEnd>;
  /** Tells why the VM has ended, when it has by itself. */
  onExit(listener: (reason: string) => void): void;
  /** Ends the VM; what its operations came to. */
  close(): Promise<MediationEnd>;
}

/**
 * Starts a guest VM whose device files are served by a driver domain.
 * @throws Error when a device is not there or has no policy, or when the VM could not be started
 */
export async function startGuestVm(options: GuestVmOptions): Promise<GuestVm> {
  const { domain, devices, policies } = options;
  const assignment = await assignDevices(domain, devices, policies ?? loadPolicies());
  const modules = await Promise.all(assignment.packages.map(compileModule));
  const aperture = newAperture();
  try {
    fillAperture(aperture, assignment.guarded);
    const vm = await bootGuestVm({ ...options, driverMemory: domain.memory.descriptor }, aperture);
    if (options.isThere?.() === false) {
      await vm.close();
      throw new Error('The driver domain has ended while the guest VM booted: try again.');
    }
    const mediation = await Mediation.start({
      source: { vm: guestOf(vm, aperture), gifts: aperture.gifts.here },
      domain,
      assignment,
      modules,
      networkAdministration: false,
      log: options.log.child({ guest: options.name }),
      audit: options.audit && { log: options.audit, guest: options.name },
      onMade: options.onMediation,
    });
    // Nothing runs unjudged: a VM whose mediator has failed is ended.
    mediation.ended.catch(() => vm.close());
    return {
      pid: vm.pid,
      run: (argv, onOutput, input) => vm.run(argv, onOutput, input),
      onExit: (listener) => vm.onExit(listener),
      close: async () => {
        await vm.close();
        return await mediation.ended.finally(() => closeAperture(aperture));
      },
    };
  } catch (error) {
    closeAperture(aperture);
    throw error;
  }
}

/** What a guest VM's machine is made of. */
export interface GuestVmMachine extends Pick<GuestVmOptions, 'memoryMiB' | 'progress'> {
  /** The driver domain's memory file. */
  driverMemory: number;
}

/** The VM with its frontend loaded; the host's end of it is not served yet. */
export async function bootGuestVm(
  { driverMemory: memory, memoryMiB, progress }: GuestVmMachine,
  aperture: Aperture,
): Promise<DriverVm> {
  const kernel = await ensureKernel(progress);
  const modules = await ensureFrontendModule(kernel, progress);
  const [ours, theirs] = native.socketPair();
  const memoryReadOnly = openSync(`/proc/self/fd/${memory}`, constants.O_RDONLY);
  try {
    native.offerAperture(ours, aperture.memory, aperture.doorbell, aperture.interrupt);
    return await startDriverVm({
      drivers: [FRONTEND_MODULE],
      modules,
      shareRoot: true,
      ...(memoryMiB === undefined ? {} : { memoryMiB }),
      aperture: { socket: theirs, memory, memoryReadOnly, gifts: aperture.gifts.there },
      log: progress,
    });
  } finally {
    closeSync(memoryReadOnly);
    native.closeDescriptor(theirs);
    native.closeDescriptor(ours);
  }
}

/** QEMU has the driver domain's memory under the numbers of QEMU_DESCRIPTORS. */
function guestOf(vm: DriverVm, aperture: Aperture): NativeVmGuest {
  return {
    ...endsOf(aperture),
    ram: vm.memory.descriptor,
    ramBytes: vm.memory.bytes,
    process: vm.pid,
    memory: QEMU_DESCRIPTORS.driverMemory,
    memoryReadOnly: QEMU_DESCRIPTORS.driverMemoryReadOnly,
    gifts: QEMU_DESCRIPTORS.gifts,
  };
}
