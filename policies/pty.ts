/** Pseudo terminals: the multiplexer and the terminals made by it (asm-generic/ioctls.h; tty_ioctl.c, tty_io.c, pty.c). */
import { EACCES, ENOTTY, EPERM, POLLHUP, POLLIN, POLLOUT, POLLPRI } from './__generated__/kernel';
import { POLLRDNORM, POLLWRNORM } from './__generated__/kernel';
import * as t from './__generated__/ioctls';
import {
  ARGUMENT,
  admitted,
  after,
  BLOCKING,
  call,
  deny,
  device,
  FROM_DRIVER,
  HEAD,
  hooks,
  learn,
} from './sdk';
import { NO_ACCESS, plain, reason, refuse, requireHandle, row, TO_DRIVER, table, u32At } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('pty');

const SESSIONS = reason('the driver domain knows nothing of the processes of the guest');
const INJECTION = reason('input is not put into the terminal of someone else');
const DESCRIPTOR = reason('descriptors do not cross between the domains: open the terminal by its name');
const PRIVILEGED = reason('only the owner of the driver domain may do that');
const DISCIPLINE = reason('the line discipline stays N_TTY');
const SERIAL = reason('a pseudo terminal is no serial port');
const FOREIGN = reason('this terminal was not made by the guest');

const PTS = table('pts');
/** Indices in the manifest's nodes. */
const PTMX: u32 = 0;
const TERMINAL: u32 = 1;

plain('TCGETS', t.TCGETS, t.termios.SIZE, FROM_DRIVER);
plain('TCSETS', t.TCSETS, t.termios.SIZE, TO_DRIVER);
plain('TCSETSW', t.TCSETSW, t.termios.SIZE, TO_DRIVER, BLOCKING);
plain('TCSETSF', t.TCSETSF, t.termios.SIZE, TO_DRIVER, BLOCKING);
plain('TCGETA', t.TCGETA, t.termio.SIZE, FROM_DRIVER);
plain('TCSETA', t.TCSETA, t.termio.SIZE, TO_DRIVER);
plain('TCSETAW', t.TCSETAW, t.termio.SIZE, TO_DRIVER, BLOCKING);
plain('TCSETAF', t.TCSETAF, t.termio.SIZE, TO_DRIVER, BLOCKING);
row('TCGETS2', t.TCGETS2);
row('TCSETS2', t.TCSETS2);
row('TCSETSW2', t.TCSETSW2, BLOCKING);
row('TCSETSF2', t.TCSETSF2, BLOCKING);
plain('TIOCGLCKTRMIOS', t.TIOCGLCKTRMIOS, t.termios.SIZE, FROM_DRIVER);
plain('TIOCGSOFTCAR', t.TIOCGSOFTCAR, 4, FROM_DRIVER);
plain('TIOCSSOFTCAR', t.TIOCSSOFTCAR, 4, TO_DRIVER);
plain('TCSBRK', t.TCSBRK, 0, NO_ACCESS, BLOCKING);
plain('TCSBRKP', t.TCSBRKP, 0, NO_ACCESS, BLOCKING);
plain('TIOCSBRK', t.TIOCSBRK, 0, NO_ACCESS);
plain('TIOCCBRK', t.TIOCCBRK, 0, NO_ACCESS);
plain('TCXONC', t.TCXONC, 0, NO_ACCESS, BLOCKING);
plain('TCFLSH', t.TCFLSH, 0, NO_ACCESS);
plain('TIOCEXCL', t.TIOCEXCL, 0, NO_ACCESS);
plain('TIOCNXCL', t.TIOCNXCL, 0, NO_ACCESS);
row('TIOCGEXCL', t.TIOCGEXCL);
plain('TIOCINQ', t.TIOCINQ, 4, FROM_DRIVER);
plain('TIOCOUTQ', t.TIOCOUTQ, 4, FROM_DRIVER);
plain('TIOCGWINSZ', t.TIOCGWINSZ, t.winsize.SIZE, FROM_DRIVER);
plain('TIOCSWINSZ', t.TIOCSWINSZ, t.winsize.SIZE, TO_DRIVER);
plain('TIOCMGET', t.TIOCMGET, 4, FROM_DRIVER);
plain('TIOCMBIS', t.TIOCMBIS, 4, TO_DRIVER);
plain('TIOCMBIC', t.TIOCMBIC, 4, TO_DRIVER);
plain('TIOCMSET', t.TIOCMSET, 4, TO_DRIVER);
plain('TIOCGETD', t.TIOCGETD, 4, FROM_DRIVER);
plain('TIOCSETD', t.TIOCSETD, 4, TO_DRIVER, 0, lineDiscipline);
plain('TIOCPKT', t.TIOCPKT, 4, TO_DRIVER);
row('TIOCGPKT', t.TIOCGPKT);
row('TIOCGPTN', t.TIOCGPTN);
row('TIOCSPTLCK', t.TIOCSPTLCK);
row('TIOCGPTLCK', t.TIOCGPTLCK);
row('TIOCGDEV', t.TIOCGDEV);
refuse('TIOCGPTPEER', t.TIOCGPTPEER, ENOTTY, DESCRIPTOR);
refuse('TIOCSCTTY', t.TIOCSCTTY, EPERM, SESSIONS);
refuse('TIOCNOTTY', t.TIOCNOTTY, ENOTTY, SESSIONS);
refuse('TIOCGPGRP', t.TIOCGPGRP, ENOTTY, SESSIONS);
refuse('TIOCSPGRP', t.TIOCSPGRP, ENOTTY, SESSIONS);
refuse('TIOCGSID', t.TIOCGSID, ENOTTY, SESSIONS);
refuse('TIOCSIG', t.TIOCSIG, ENOTTY, SESSIONS);
refuse('TIOCSTI', t.TIOCSTI, EPERM, INJECTION);
refuse('TIOCCONS', t.TIOCCONS, EPERM, PRIVILEGED);
refuse('TIOCVHANGUP', t.TIOCVHANGUP, EPERM, PRIVILEGED);
refuse('TIOCSLCKTRMIOS', t.TIOCSLCKTRMIOS, EPERM, PRIVILEGED);
refuse('TIOCLINUX', t.TIOCLINUX, ENOTTY, PRIVILEGED);
refuse('TCGETX', t.TCGETX, ENOTTY, SERIAL);
refuse('TCSETX', t.TCSETX, ENOTTY, SERIAL);
refuse('TCSETXF', t.TCSETXF, ENOTTY, SERIAL);
refuse('TCSETXW', t.TCSETXW, ENOTTY, SERIAL);
refuse('TIOCGSERIAL', t.TIOCGSERIAL, ENOTTY, SERIAL);
refuse('TIOCSSERIAL', t.TIOCSSERIAL, ENOTTY, SERIAL);
refuse('TIOCGRS485', t.TIOCGRS485, ENOTTY, SERIAL);
refuse('TIOCSRS485', t.TIOCSRS485, ENOTTY, SERIAL);
refuse('TIOCGISO7816', t.TIOCGISO7816, ENOTTY, SERIAL);
refuse('TIOCSISO7816', t.TIOCSISO7816, ENOTTY, SERIAL);
refuse('TIOCSERCONFIG', t.TIOCSERCONFIG, ENOTTY, SERIAL);
refuse('TIOCSERGWILD', t.TIOCSERGWILD, ENOTTY, SERIAL);
refuse('TIOCSERSWILD', t.TIOCSERSWILD, ENOTTY, SERIAL);
refuse('TIOCSERGSTRUCT', t.TIOCSERGSTRUCT, ENOTTY, SERIAL);
refuse('TIOCSERGETLSR', t.TIOCSERGETLSR, ENOTTY, SERIAL);
refuse('TIOCSERGETMULTI', t.TIOCSERGETMULTI, ENOTTY, SERIAL);
refuse('TIOCSERSETMULTI', t.TIOCSERSETMULTI, ENOTTY, SERIAL);
refuse('TIOCMIWAIT', t.TIOCMIWAIT, ENOTTY, SERIAL);
refuse('TIOCGICOUNT', t.TIOCGICOUNT, ENOTTY, SERIAL);

hooks.open = open;
hooks.read = admitted;
hooks.write = admitted;
hooks.settle = settle;

/** A terminal is opened by its number, which only the guest that made it has been told. */
function open(): void {
  if (call.node == TERMINAL) requireHandle(PTS, ARGUMENT, 0, 4, EACCES, FOREIGN);
}

/** Another line discipline would load another driver, into the kernel of everyone. */
function lineDiscipline(): void {
  if (u32At(HEAD, 0) != t.N_TTY) deny(EPERM, DISCIPLINE, 0);
}

function settle(): void {
  after.watch = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLPRI | POLLHUP;
  if (call.command == t.TIOCGPTN && call.node == PTMX && call.outcome == 0) learn(PTS, HEAD, 0, 4);
}
