/** What a driver needs beside its own module: other modules, and hardware that QEMU emulates for it. */
export interface Hardware {
  /** Loaded in this order, after the modules that they depend on; a driver's parameters go to the last. */
  modules: readonly string[];
  /** QEMU's arguments. */
  devices: readonly string[];
  /** Whether QEMU renders for it: it needs OpenGL then, and can't be saved. */
  rendering?: boolean;
}

/** The name of the sound that QEMU gives to its sound cards (qemu.ts). */
export const AUDIO_BACKEND = 'audio';

/** Drivers by the names that are given to `--driver`. A driver that is not here is a module without hardware, such as vivid. */
const HARDWARE: ReadonlyMap<string, Hardware> = new Map([
  [
    'virtio-input',
    {
      modules: ['evdev', 'virtio_input'],
      devices: ['keyboard', 'mouse', 'tablet'].flatMap((kind) => ['-device', `virtio-${kind}-pci`]),
    },
  ],
  // Without evdev, nobody could read the devices that are made.
  ['uinput', { modules: ['evdev', 'uinput'], devices: [] }],
  // With a bridge in the driver VM, the agent makes each TAP interface a port of it.
  ['tun', { modules: ['bridge', 'tun'], devices: [] }],
  ['virtio-gpu', { modules: ['virtio-gpu'], devices: ['-device', 'virtio-gpu-pci'] }],
  // The same card with virgl: its commands for drawing are carried out by QEMU, with OpenGL.
  ['virtio-gpu-gl', { modules: ['virtio-gpu'], devices: ['-device', 'virtio-gpu-gl-pci'], rendering: true }],
  ['bochs', { modules: ['bochs'], devices: ['-device', 'bochs-display'] }],
  [
    'snd-hda-intel',
    {
      modules: ['snd-hda-codec-generic', 'snd-hda-intel'],
      devices: ['-device', 'ich9-intel-hda', '-device', `hda-duplex,audiodev=${AUDIO_BACKEND}`],
    },
  ],
]);

/** The hardware of the drivers that are named, each by its first word. */
export function hardwareOf(drivers: readonly string[]): Hardware[] {
  return drivers.map((driver) => {
    const [name = '', ...parameters] = driver.trim().split(/\s+/);
    const known = HARDWARE.get(name);
    if (known === undefined) return { modules: [driver], devices: [] };
    const [last = '', ...before] = [...known.modules].reverse();
    return { ...known, modules: [...before.reverse(), [last, ...parameters].join(' ')] };
  });
}
