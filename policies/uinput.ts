/** Input devices that a guest makes (linux/uinput.h; what the kernel does is in drivers/input/misc/uinput.c). */
import * as u from './__generated__/uinput';
import { admitted, ALL_BITS, BLOCKING, BOTH_WAYS, commands, device, EINVAL, hides, hooks } from './sdk';
import { NESTED, nestedText, READING, reason, sized, watches, words, WRITING } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('uinput', u.nameOf, BLOCKING);
watches(READING | WRITING);

const TOO_LONG = reason('the text is longer than the kernel takes');

/** uinput_ioctl_handler's bound of a physical path, with its NUL. */
const PHYS_BYTES_MAX: u32 = 1024;

commands([u.UI_GET_VERSION, u.UI_DEV_SETUP, u.UI_ABS_SETUP, u.UI_DEV_CREATE, u.UI_DEV_DESTROY]);
commands([u.UI_END_FF_UPLOAD, u.UI_BEGIN_FF_ERASE, u.UI_END_FF_ERASE]);
words([u.UI_SET_EVBIT, u.UI_SET_KEYBIT, u.UI_SET_RELBIT, u.UI_SET_ABSBIT, u.UI_SET_MSCBIT]);
words([u.UI_SET_LEDBIT, u.UI_SET_SNDBIT, u.UI_SET_FFBIT, u.UI_SET_SWBIT, u.UI_SET_PROPBIT]);
words([u.UI_SET_PHYS], NESTED, (): void => nestedText(PHYS_BYTES_MAX, EINVAL, TOO_LONG));
sized(BOTH_WAYS, [u.UI_GET_SYSNAME]);
commands([u.UI_BEGIN_FF_UPLOAD]);
// Another guest's addresses, of samples that the driver doesn't have.
hides(ALL_BITS, u.uinput_ff_upload.effect_u_periodic_custom_data, 8);
hides(ALL_BITS, u.uinput_ff_upload.old_u_periodic_custom_data, 8);

hooks.read = hooks.write = admitted;
