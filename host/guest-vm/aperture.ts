import { writeSync } from 'node:fs';
import type { GuardedDevice } from '../mediator/world.js';
import { type NativeVmGuest, native } from '../native.js';
import { controlPages } from './device-table.js';

/** Room for the driver pages that a guest VM maps at a time, a power of two as PCI wants it: 32 frames of 1080p in RGBA. */
const APERTURE_BYTES = 256 << 20;

/** What a guest VM shares with the host, as descriptors. */
export interface Aperture {
  /** The host's end of the socket by which QEMU is given another driver domain's memory, and QEMU's own. */
  gifts: { here: number; there: number };
  memory: number;
  doorbell: number;
  interrupt: number;
}

/** An aperture with nothing in it. */
export function newAperture(): Aperture {
  const memory = native.memfd('postern-aperture', APERTURE_BYTES);
  const [here, there] = native.socketPair();
  return { memory, doorbell: native.eventFd(), interrupt: native.eventFd(), gifts: { here, there } };
}

/**
 * Writes what the frontend reads at its start.
 * @throws Error when the devices' files are too many
 */
export function fillAperture({ memory }: Aperture, devices: readonly GuardedDevice[]): void {
  writeSync(memory, controlPages(devices, APERTURE_BYTES), 0, undefined, 0);
}

/** The aperture as the addon takes it. */
export function endsOf({
  memory,
  doorbell,
  interrupt,
}: Aperture): Pick<NativeVmGuest, 'aperture' | 'apertureBytes' | 'doorbell' | 'interrupt'> {
  return { aperture: memory, apertureBytes: APERTURE_BYTES, doorbell, interrupt };
}

/** The end of the host's half. */
export function closeAperture({ memory, doorbell, interrupt, gifts }: Aperture): void {
  for (const descriptor of [memory, doorbell, interrupt, gifts.here, gifts.there])
    native.closeDescriptor(descriptor);
}
