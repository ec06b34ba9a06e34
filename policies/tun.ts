/** Network tunnels (linux/if_tun.h; what is a pointer and what a plain word is in drivers/net/tun.c, __tun_chr_ioctl). */
import { EINVAL, EPERM, POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from './__generated__/kernel';
import * as t from './__generated__/if_tun';
import {
  admitted,
  after,
  BOTH_WAYS,
  call,
  deny,
  device,
  FROM_DRIVER,
  HEAD,
  hooks,
  mask,
  NESTED,
} from './sdk';
import { NO_ACCESS, nested, Operation, plain, reason, refuse, row, TO_DRIVER, u16At } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('tun');

const PERSISTENT = reason('an interface does not outlive the guest that made it');
const USERS = reason('the driver domain knows nothing of the users of the guest');
const PROGRAM = reason('a program of the guest is not run by the kernel of the driver domain');
const DESCRIPTOR = reason('descriptors do not cross between the domains');
const QUEUES = reason('an interface with several queues could be joined by its name');
const ADDRESSES = reason('a list of addresses after the head is not passed on');
const TOO_LONG = reason('the filter is longer than the kernel allows');

/** Session state: the session has its interface. */
const ATTACHED: u64 = 1;

row('TUNGETFEATURES', t.TUNGETFEATURES);
plain('TUNSETIFF', t.TUNSETIFF, t.ifreq.SIZE, BOTH_WAYS, 0, attach);
plain('TUNGETIFF', t.TUNGETIFF, t.ifreq.SIZE, FROM_DRIVER);
row('TUNSETIFINDEX', t.TUNSETIFINDEX);
plain('TUNSETNOCSUM', t.TUNSETNOCSUM, 0, NO_ACCESS);
plain('TUNSETDEBUG', t.TUNSETDEBUG, 0, NO_ACCESS);
plain('TUNSETLINK', t.TUNSETLINK, 0, NO_ACCESS);
plain('TUNSETOFFLOAD', t.TUNSETOFFLOAD, 0, NO_ACCESS);
plain('TUNSETPERSIST', t.TUNSETPERSIST, 0, NO_ACCESS, 0, persist);
row('TUNSETTXFILTER', t.TUNSETTXFILTER, 0, addressFilter);
row('TUNGETSNDBUF', t.TUNGETSNDBUF);
row('TUNSETSNDBUF', t.TUNSETSNDBUF);
row('TUNGETVNETHDRSZ', t.TUNGETVNETHDRSZ);
row('TUNSETVNETHDRSZ', t.TUNSETVNETHDRSZ);
row('TUNGETVNETLE', t.TUNGETVNETLE);
row('TUNSETVNETLE', t.TUNSETVNETLE);
row('TUNGETVNETBE', t.TUNGETVNETBE);
row('TUNSETVNETBE', t.TUNSETVNETBE);
row('TUNSETCARRIER', t.TUNSETCARRIER);
row('TUNATTACHFILTER', t.TUNATTACHFILTER, NESTED, socketFilter);
plain('TUNDETACHFILTER', t.TUNDETACHFILTER, 0, NO_ACCESS);
row('TUNGETFILTER', t.TUNGETFILTER);
plain('SIOCGIFHWADDR', t.SIOCGIFHWADDR, t.ifreq.SIZE, BOTH_WAYS);
plain('SIOCSIFHWADDR', t.SIOCSIFHWADDR, t.ifreq.SIZE, TO_DRIVER);
refuse('TUNSETQUEUE', t.TUNSETQUEUE, EINVAL, QUEUES);
refuse('TUNSETOWNER', t.TUNSETOWNER, EPERM, USERS);
refuse('TUNSETGROUP', t.TUNSETGROUP, EPERM, USERS);
refuse('TUNSETSTEERINGEBPF', t.TUNSETSTEERINGEBPF, EPERM, PROGRAM);
refuse('TUNSETFILTEREBPF', t.TUNSETFILTEREBPF, EPERM, PROGRAM);
refuse('TUNGETDEVNETNS', t.TUNGETDEVNETNS, EPERM, DESCRIPTOR);

hooks.read = admitted;
hooks.write = admitted;
hooks.settle = settle;

/** tun_set_iff lets a queue join any interface of that name which has several, be it another guest's. */
function attach(): void {
  if (u16At(HEAD, t.ifreq.ifr_flags) & t.IFF_MULTI_QUEUE) deny(EINVAL, QUEUES, t.ifreq.ifr_flags);
}

function persist(): void {
  if (call.argument != 0) deny(EPERM, PERSISTENT);
}

function addressFilter(): void {
  if (u16At(HEAD, t.tun_filter.count) != 0) deny(EINVAL, ADDRESSES, t.tun_filter.count);
}

function socketFilter(): void {
  const length: u32 = u16At(HEAD, t.sock_fprog.len);
  if (length > t.BPF_MAXINSNS) return deny(EINVAL, TOO_LONG, t.sock_fprog.len);
  if (length != 0) nested(HEAD, t.sock_fprog.filter, length * t.sock_filter.SIZE, TO_DRIVER);
}

function settle(): void {
  if (call.operation == Operation.Ioctl && call.outcome >= 0) settleCommand();
  if (after.state & ATTACHED) after.watch = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
  else after.idle = POLLERR;
}

function settleCommand(): void {
  if (call.command == t.TUNSETIFF) after.state |= ATTACHED;
  if (call.command == t.TUNGETFEATURES) mask(HEAD, 0, 4, ~(<u64>t.IFF_MULTI_QUEUE));
  // The kernel remembers where the filter was: an address of the driver domain.
  if (call.command == t.TUNGETFILTER) mask(HEAD, t.sock_fprog.filter, 8, 0);
}
