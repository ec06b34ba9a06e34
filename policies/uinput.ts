/** Input devices that a guest makes (linux/uinput.h; what the kernel does is in drivers/input/misc/uinput.c). */
import { EINVAL, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from './__generated__/kernel';
import * as u from './__generated__/uinput';
import { admitted, after, BLOCKING, BOTH_WAYS, call, device, HEAD, hooks, mask, NESTED } from './sdk';
import { nestedText, NO_ACCESS, Operation, plain, reason, row, sized } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('uinput', BLOCKING);

const TOO_LONG = reason('the text is longer than the kernel takes');

/** uinput_ioctl_handler's bound of a physical path, with its NUL. */
const PHYS_BYTES_MAX: u32 = 1024;

row('UI_GET_VERSION', u.UI_GET_VERSION);
row('UI_DEV_SETUP', u.UI_DEV_SETUP);
row('UI_ABS_SETUP', u.UI_ABS_SETUP);
row('UI_DEV_CREATE', u.UI_DEV_CREATE);
row('UI_DEV_DESTROY', u.UI_DEV_DESTROY);
plain('UI_SET_EVBIT', u.UI_SET_EVBIT, 0, NO_ACCESS);
plain('UI_SET_KEYBIT', u.UI_SET_KEYBIT, 0, NO_ACCESS);
plain('UI_SET_RELBIT', u.UI_SET_RELBIT, 0, NO_ACCESS);
plain('UI_SET_ABSBIT', u.UI_SET_ABSBIT, 0, NO_ACCESS);
plain('UI_SET_MSCBIT', u.UI_SET_MSCBIT, 0, NO_ACCESS);
plain('UI_SET_LEDBIT', u.UI_SET_LEDBIT, 0, NO_ACCESS);
plain('UI_SET_SNDBIT', u.UI_SET_SNDBIT, 0, NO_ACCESS);
plain('UI_SET_FFBIT', u.UI_SET_FFBIT, 0, NO_ACCESS);
plain('UI_SET_SWBIT', u.UI_SET_SWBIT, 0, NO_ACCESS);
plain('UI_SET_PROPBIT', u.UI_SET_PROPBIT, 0, NO_ACCESS);
plain('UI_SET_PHYS', u.UI_SET_PHYS, 0, NO_ACCESS, NESTED, path);
sized('UI_GET_SYSNAME', u.UI_GET_SYSNAME, BOTH_WAYS);
row('UI_BEGIN_FF_UPLOAD', u.UI_BEGIN_FF_UPLOAD);
row('UI_END_FF_UPLOAD', u.UI_END_FF_UPLOAD);
row('UI_BEGIN_FF_ERASE', u.UI_BEGIN_FF_ERASE);
row('UI_END_FF_ERASE', u.UI_END_FF_ERASE);

hooks.read = admitted;
hooks.write = admitted;
hooks.settle = (): void => {
  after.watch = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
  if (call.operation != Operation.Ioctl || call.command != u.UI_BEGIN_FF_UPLOAD) return;
  // Another guest's address, of samples that the driver doesn't have.
  mask(HEAD, u.uinput_ff_upload.effect_u_periodic_custom_data, 8, 0);
  mask(HEAD, u.uinput_ff_upload.old_u_periodic_custom_data, 8, 0);
};

function path(): void {
  nestedText(PHYS_BYTES_MAX, EINVAL, TOO_LONG);
}
