/** Pseudo terminals: the multiplexer and the terminals made by it (asm-generic/ioctls.h; tty_ioctl.c, tty_io.c, pty.c). */
import * as t from './__generated__/ioctls';
import { admitted, ARGUMENT, BLOCKING, call, commands, deny, device, EACCES, ENOTTY, EPERM } from './sdk';
import { FROM_DRIVER, GUEST, HEAD, hooks, learn, plain, POLLHUP, POLLPRI, READING, reason } from './sdk';
import {
  refuse,
  requireHandle,
  settles,
  steady,
  table,
  TO_DRIVER,
  u32At,
  watches,
  words,
  WRITING,
} from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('pty', t.nameOf);
watches(READING | WRITING | POLLPRI | POLLHUP);

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

plain(FROM_DRIVER, t.termios.SIZE, [t.TCGETS, t.TIOCGLCKTRMIOS]);
steady();
plain(TO_DRIVER, t.termios.SIZE, [t.TCSETS]);
plain(TO_DRIVER, t.termios.SIZE, [t.TCSETSW, t.TCSETSF], BLOCKING);
plain(FROM_DRIVER, t.termio.SIZE, [t.TCGETA]);
steady();
plain(TO_DRIVER, t.termio.SIZE, [t.TCSETA]);
plain(TO_DRIVER, t.termio.SIZE, [t.TCSETAW, t.TCSETAF], BLOCKING);
commands([t.TCGETS2]);
steady();
commands([t.TCSETS2]);
commands([t.TCSETSW2, t.TCSETSF2], BLOCKING);
plain(FROM_DRIVER, 4, [t.TIOCGETD]);
steady();
plain(TO_DRIVER, 4, [t.TIOCSETD], 0, lineDiscipline);
plain(FROM_DRIVER, t.winsize.SIZE, [t.TIOCGWINSZ]);
steady();
plain(TO_DRIVER, t.winsize.SIZE, [t.TIOCSWINSZ]);
plain(FROM_DRIVER, 4, [t.TIOCINQ, t.TIOCOUTQ, t.TIOCGSOFTCAR, t.TIOCMGET]);
steady();
plain(TO_DRIVER, 4, [t.TIOCSSOFTCAR, t.TIOCMBIS, t.TIOCMBIC, t.TIOCMSET]);
words([t.TCSBRK, t.TCSBRKP, t.TCXONC], BLOCKING);
words([t.TIOCSBRK, t.TIOCCBRK, t.TCFLSH]);
words([t.TIOCEXCL, t.TIOCNXCL]);
steady();
commands([t.TIOCGEXCL]);
steady();
refuse([t.TIOCSLCKTRMIOS, t.TIOCCONS, t.TIOCVHANGUP], EPERM, PRIVILEGED);
refuse([t.TIOCLINUX], ENOTTY, PRIVILEGED);
refuse([t.TIOCSTI], EPERM, INJECTION);

plain(TO_DRIVER, 4, [t.TIOCPKT]);
commands([t.TIOCGPKT, t.TIOCGPTLCK, t.TIOCGDEV]);
steady();
commands([t.TIOCSPTLCK]);
commands([t.TIOCGPTN]);
settles(terminalMade);
refuse([t.TIOCGPTPEER], ENOTTY, DESCRIPTOR);

refuse([t.TIOCSCTTY], EPERM, SESSIONS);
refuse([t.TIOCNOTTY, t.TIOCGPGRP, t.TIOCSPGRP, t.TIOCGSID, t.TIOCSIG], ENOTTY, SESSIONS);
refuse([t.TCGETX, t.TCSETX, t.TCSETXF, t.TCSETXW, t.TIOCGSERIAL, t.TIOCSSERIAL], ENOTTY, SERIAL);
refuse([t.TIOCGRS485, t.TIOCSRS485, t.TIOCGISO7816, t.TIOCSISO7816], ENOTTY, SERIAL);
refuse([t.TIOCSERCONFIG, t.TIOCSERGWILD, t.TIOCSERSWILD, t.TIOCSERGSTRUCT], ENOTTY, SERIAL);
refuse([t.TIOCSERGETLSR, t.TIOCSERGETMULTI, t.TIOCSERSETMULTI], ENOTTY, SERIAL);
refuse([t.TIOCMIWAIT, t.TIOCGICOUNT], ENOTTY, SERIAL);

hooks.open = open;
hooks.read = hooks.write = admitted;

/** A terminal is opened by its number, which only the guest that made it has been told. */
function open(): void {
  if (call.node == TERMINAL) requireHandle(GUEST, PTS, ARGUMENT, 0, 4, EACCES, FOREIGN);
}

/** Another line discipline would load another driver, into the kernel of everyone. */
function lineDiscipline(): void {
  if (u32At(HEAD, 0) != t.N_TTY) deny(EPERM, DISCIPLINE, 0);
}

function terminalMade(): void {
  if (call.node == PTMX) learn(PTS, HEAD, 0, 4);
}
