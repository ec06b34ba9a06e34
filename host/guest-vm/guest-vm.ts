import { closeSync, constants, openSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type pino from 'pino';
import type { DriverDomain, OnOutput, ProgramEnd } from '../driver-vm/domain.js';
import { type DriverVm, startDriverVm } from '../driver-vm/driver-vm.js';
import { ensureKernel } from '../driver-vm/kernel.js';
import { QEMU_DESCRIPTORS } from '../driver-vm/qemu.js';
import { assignDevices, type DeviceNames } from '../mediator/assignment.js';
import { compileModule } from '../mediator/guest.js';
import { Mediation, type MediationEnd, type MediationOptions } from '../mediator/mediation.js';
import { type NativeVmGuest, native } from '../native.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import { controlPages } from './device-table.js';
import { ensureFrontendModule, FRONTEND_MODULE } from './frontend-module.js';

/** Room for the driver pages that a guest VM maps at a time, a power of two as PCI wants it: 32 frames of 1080p in RGBA. */
const APERTURE_BYTES = 256 << 20;

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

/** What a guest VM shares with the host, as descriptors. */
interface Aperture {
  memory: number;
  doorbell: number;
  interrupt: number;
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
    writeSync(aperture.memory, controlPages(assignment.guarded, APERTURE_BYTES), 0, undefined, 0);
    const vm = await boot(options, aperture);
    const mediation = await mediate((onStart) => ({
      source: { vm: guestOf(vm, aperture) },
      domain,
      assignment,
      modules,
      networkAdministration: false,
      log: options.log.child({ guest: options.name }),
      onStart,
    }));
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

/** A mediator that serves already. */
async function mediate(optionsFor: (onStart: () => void) => MediationOptions): Promise<Mediation> {
  return await new Promise((resolve, reject) => {
    const mediation = new Mediation(optionsFor(() => resolve(mediation)));
    mediation.ended.catch(reject);
  });
}

function newAperture(): Aperture {
  const memory = native.memfd('postern-aperture', APERTURE_BYTES);
  return { memory, doorbell: native.eventFd(), interrupt: native.eventFd() };
}

function closeAperture({ memory, doorbell, interrupt }: Aperture): void {
  for (const descriptor of [memory, doorbell, interrupt]) native.closeDescriptor(descriptor);
}

/** The VM with its frontend loaded; the host's end of it is not served yet. */
async function boot({ domain, memoryMiB, progress }: GuestVmOptions, aperture: Aperture): Promise<DriverVm> {
  const kernel = await ensureKernel(progress);
  const modules = await ensureFrontendModule(kernel, progress);
  const [ours, theirs] = native.socketPair();
  const memory = domain.memory.descriptor;
  const memoryReadOnly = openSync(`/proc/self/fd/${memory}`, constants.O_RDONLY);
  try {
    native.offerAperture(ours, aperture.memory, aperture.doorbell, aperture.interrupt);
    return await startDriverVm({
      drivers: [FRONTEND_MODULE],
      modules,
      shareRoot: true,
      ...(memoryMiB === undefined ? {} : { memoryMiB }),
      aperture: { socket: theirs, memory, memoryReadOnly },
      log: progress,
    });
  } finally {
    closeSync(memoryReadOnly);
    native.closeDescriptor(theirs);
    native.closeDescriptor(ours);
  }
}

/** QEMU has the driver domain's memory under the numbers of QEMU_DESCRIPTORS. */
function guestOf(vm: DriverVm, { memory, doorbell, interrupt }: Aperture): NativeVmGuest {
  return {
    ram: vm.memory.descriptor,
    ramBytes: vm.memory.bytes,
    aperture: memory,
    apertureBytes: APERTURE_BYTES,
    doorbell,
    interrupt,
    process: vm.pid,
    memory: QEMU_DESCRIPTORS.driverMemory,
    memoryReadOnly: QEMU_DESCRIPTORS.driverMemoryReadOnly,
  };
}
