/** Input devices: keyboards, mice, tablets, joysticks (linux/input.h; what the kernel does is in drivers/input/evdev.c). */
import * as e from './__generated__/input';
import { admitted, atLeast, atMost, BLOCKING, BOTH_WAYS, bytesOf, commands, commandsWith, deny } from './sdk';
import { device, EINVAL, EPERM, gives, HEAD, hooks, onlyIf, READING, reason, refuse, sized } from './sdk';
import { takes, TO_DRIVER, u16At, watches, words, WRITING } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

// A device's commands wait for each other, and one that uploads an effect waits for whoever plays it.
device('evdev', e.nameOf, BLOCKING);
// Polling has no side effects.
watches(READING | WRITING);

const TOO_LONG = reason('the event mask is longer than any that the kernel knows');
const TOO_MANY = reason('the waveform has more samples than the class allows');
const EVERYONES = reason('keys, axes and repetition would change for every guest');
const INJECTION = reason('a guest does not type for others: it may write what goes to the device only');

/** A mask of all key codes, the longest, takes 96 bytes; programs round up to whole pages at most. */
const MASK_BYTES_MAX: u32 = 4096;
/** Samples of a custom waveform; the drivers that have one take a dozen. */
const SAMPLES_MAX: u32 = 8192;
/** What goes to the device: its end of a packet, lights, sounds, effects. Repetition would change for every guest. */
const TO_DEVICE: u32 = (1 << e.EV_SYN) | (1 << e.EV_LED) | (1 << e.EV_SND) | (1 << e.EV_FF);

commands([e.EVIOCGVERSION, e.EVIOCGID, e.EVIOCGREP, e.EVIOCGEFFECTS, e.EVIOCSCLOCKID]);
refuse([e.EVIOCSREP, e.EVIOCSKEYCODE, e.EVIOCSKEYCODE_V2], EPERM, EVERYONES);
refuse([e.EVIOCSABS], EPERM, EVERYONES, e.ABS_MAX);
commandsWith(BOTH_WAYS, [e.EVIOCGKEYCODE, e.EVIOCGKEYCODE_V2]);
words([e.EVIOCRMFF, e.EVIOCGRAB, e.EVIOCREVOKE]);
// What the driver leaves alone stays as it was, so a buffer's own bytes go in first.
sized(BOTH_WAYS, [e.EVIOCGNAME, e.EVIOCGPHYS, e.EVIOCGUNIQ, e.EVIOCGPROP]);
sized(BOTH_WAYS, [e.EVIOCGKEY, e.EVIOCGLED, e.EVIOCGSND, e.EVIOCGSW]);
sized(BOTH_WAYS, [e.EVIOCGMTSLOTS], 0, 0, (): void => atLeast(4));
sized(BOTH_WAYS, [e.EVIOCGBIT], e.EV_MAX);
sized(BOTH_WAYS, [e.EVIOCGABS], e.ABS_MAX);
// Of all effects, only a custom waveform has a pointer that a driver follows: its samples.
commandsWith(BOTH_WAYS, [e.EVIOCSFF]);
takes(e.ff_effect.u_periodic_custom_data, e.ff_effect.u_periodic_custom_len, 2);
atMost(SAMPLES_MAX, EINVAL, TOO_MANY);
onlyIf(e.FF_PERIODIC, e.ff_effect.type, 2);
onlyIf(e.FF_CUSTOM, e.ff_effect.u_periodic_waveform, 2);
// The driver fills all of the buffer, and reads as much of it as it knows.
commandsWith(TO_DRIVER, [e.EVIOCGMASK]);
gives(e.input_mask.codes_ptr, e.input_mask.codes_size, 1);
atMost(MASK_BYTES_MAX, EINVAL, TOO_LONG);
commandsWith(TO_DRIVER, [e.EVIOCSMASK]);
takes(e.input_mask.codes_ptr, e.input_mask.codes_size, 1);
atMost(MASK_BYTES_MAX, EINVAL, TOO_LONG);

hooks.read = admitted;
hooks.write = events;

/** evdev_write gives every event to all who listen, as if the device had sent it. */
function events(): void {
  for (let at: u32 = 0; at + e.input_event.SIZE <= bytesOf(HEAD); at += e.input_event.SIZE) {
    const field = at + e.input_event.type;
    const type: u32 = u16At(HEAD, field);
    if (type > e.EV_MAX || (TO_DEVICE & (1 << type)) == 0) return deny(EPERM, INJECTION, field);
  }
}
