/** Input devices: keyboards, mice, tablets, joysticks (linux/input.h; what the kernel does is in drivers/input/evdev.c). */
import * as e from './__generated__/input';
import { EINVAL, EPERM, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from './__generated__/kernel';
import { admitted, after, atLeast, BLOCKING, BOTH_WAYS, bytesOf, deny, device, FROM_DRIVER } from './sdk';
import { HEAD, hooks, NESTED, nested, NO_ACCESS, plain, reason, row, sized } from './sdk';
import { TO_DRIVER, u16At, u32At } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

// A device's commands wait for each other, and one that uploads an effect waits for whoever plays it.
device('evdev', BLOCKING);

const TOO_LONG = reason('the event mask is longer than any that the kernel knows');
const TOO_MANY = reason('the waveform has more samples than the class allows');
const INJECTION = reason('a guest does not type for others: it may write what goes to the device only');

/** A mask of all key codes, the longest, takes 96 bytes; programs round up to whole pages at most. */
const MASK_BYTES_MAX: u32 = 4096;
/** An older program's struct has no resolution, which the driver then takes for 0. */
const AXIS_BYTES_MIN: u32 = e.input_absinfo.resolution;
/** Samples of a custom waveform; the drivers that have one take a dozen. */
const SAMPLES_MAX: u32 = 8192;
/** What goes to the device: its end of a packet, lights, sounds, repetition, effects. */
const TO_DEVICE: u32 = (1 << e.EV_SYN) | (1 << e.EV_LED) | (1 << e.EV_SND) | (1 << e.EV_REP) | (1 << e.EV_FF);

row('EVIOCGVERSION', e.EVIOCGVERSION);
row('EVIOCGID', e.EVIOCGID);
row('EVIOCGREP', e.EVIOCGREP);
row('EVIOCSREP', e.EVIOCSREP);
plain('EVIOCGKEYCODE', e.EVIOCGKEYCODE, 8, BOTH_WAYS);
plain('EVIOCGKEYCODE_V2', e.EVIOCGKEYCODE_V2, e.input_keymap_entry.SIZE, BOTH_WAYS);
row('EVIOCSKEYCODE', e.EVIOCSKEYCODE);
row('EVIOCSKEYCODE_V2', e.EVIOCSKEYCODE_V2);
// What the driver leaves alone stays as it was, so a buffer's own bytes go in first.
sized('EVIOCGNAME', e.EVIOCGNAME, BOTH_WAYS);
sized('EVIOCGPHYS', e.EVIOCGPHYS, BOTH_WAYS);
sized('EVIOCGUNIQ', e.EVIOCGUNIQ, BOTH_WAYS);
sized('EVIOCGPROP', e.EVIOCGPROP, BOTH_WAYS);
sized('EVIOCGMTSLOTS', e.EVIOCGMTSLOTS, BOTH_WAYS, 0, 0, (): void => atLeast(4));
sized('EVIOCGKEY', e.EVIOCGKEY, BOTH_WAYS);
sized('EVIOCGLED', e.EVIOCGLED, BOTH_WAYS);
sized('EVIOCGSND', e.EVIOCGSND, BOTH_WAYS);
sized('EVIOCGSW', e.EVIOCGSW, BOTH_WAYS);
sized('EVIOCGBIT', e.EVIOCGBIT, BOTH_WAYS, e.EV_MAX);
sized('EVIOCGABS', e.EVIOCGABS, BOTH_WAYS, e.ABS_MAX);
sized('EVIOCSABS', e.EVIOCSABS, TO_DRIVER, e.ABS_MAX, 0, (): void => atLeast(AXIS_BYTES_MIN));
plain('EVIOCSFF', e.EVIOCSFF, e.ff_effect.SIZE, BOTH_WAYS, NESTED, effect);
plain('EVIOCRMFF', e.EVIOCRMFF, 0, NO_ACCESS);
row('EVIOCGEFFECTS', e.EVIOCGEFFECTS);
plain('EVIOCGRAB', e.EVIOCGRAB, 0, NO_ACCESS);
plain('EVIOCREVOKE', e.EVIOCREVOKE, 0, NO_ACCESS);
plain('EVIOCGMASK', e.EVIOCGMASK, e.input_mask.SIZE, TO_DRIVER, NESTED, (): void => codes(FROM_DRIVER));
plain('EVIOCSMASK', e.EVIOCSMASK, e.input_mask.SIZE, TO_DRIVER, NESTED, (): void => codes(TO_DRIVER));
row('EVIOCSCLOCKID', e.EVIOCSCLOCKID);

hooks.read = admitted;
hooks.write = events;
// Polling has no side effects.
hooks.settle = (): void => {
  after.watch = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
};

/** Of all effects, only a custom waveform has a pointer that a driver follows: its samples. */
function effect(): void {
  if (u16At(HEAD, e.ff_effect.type) != e.FF_PERIODIC) return;
  if (u16At(HEAD, e.ff_effect.u_periodic_waveform) != e.FF_CUSTOM) return;
  const samples = u32At(HEAD, e.ff_effect.u_periodic_custom_len);
  if (samples > SAMPLES_MAX) return deny(EINVAL, TOO_MANY, e.ff_effect.u_periodic_custom_len);
  if (samples != 0) nested(HEAD, e.ff_effect.u_periodic_custom_data, samples * 2, TO_DRIVER);
}

/** The driver fills all of the buffer, and reads as much of it as it knows. */
function codes(access: u8): void {
  const bytes = u32At(HEAD, e.input_mask.codes_size);
  if (bytes > MASK_BYTES_MAX) return deny(EINVAL, TOO_LONG, e.input_mask.codes_size);
  if (bytes != 0) nested(HEAD, e.input_mask.codes_ptr, bytes, access);
}

/** evdev_write gives every event to all who listen, as if the device had sent it. */
function events(): void {
  for (let at: u32 = 0; at + e.input_event.SIZE <= bytesOf(HEAD); at += e.input_event.SIZE) {
    const field = at + e.input_event.type;
    const type: u32 = u16At(HEAD, field);
    if (type > e.EV_MAX || (TO_DEVICE & (1 << type)) == 0) return deny(EPERM, INJECTION, field);
  }
}
