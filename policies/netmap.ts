/** Rings of packets in memory shared with the driver (netmap(4); what the kernel does is in sys/dev/netmap/netmap.c). */
import { EINVAL, EOPNOTSUPP, EPERM, POLLERR, POLLIN, POLLOUT } from './__generated__/kernel';
import { POLLRDNORM, POLLWRNORM } from './__generated__/kernel';
import * as n from './netmap-abi';
import { after, ALL_ACCESS, ALWAYS_COPY, call, deny, device, HEAD, headIs, hooks, NESTED } from './sdk';
import { BOTH_WAYS, nested, Operation, reason, refuse, row, u16At, u32At, u64At } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('netmap');

const VERSION = reason('only version 14 of the API is known: the sizes of the request bodies depend on it');
const INDIRECT = reason(
  'a slot of a VALE port may name memory, which the kernel would take for that of the backend',
);
const SWITCHES = reason('VALE switches belong to the owner of the driver domain');
const LOOPS = reason('kernel loops need memory and descriptors of the guest, which do not cross');
const OPTIONS = reason('the options of a request hand memory or descriptors of the guest to the kernel');
const POINTERS = reason(
  'this command of the older API is about switches, or hides a pointer in its arguments',
);
const EXTERNAL = reason('the argument means something to an external kernel module only');
const UNBOUND = reason('the file has no port yet, so there are no rings to map');
const OFFSET = reason('the rings are mapped from the start of their region');

/** Session state: the file has its port. */
const BOUND: u64 = 1;

row('NIOCGINFO', n.NIOCGINFO, ALWAYS_COPY, older);
row('NIOCREGIF', n.NIOCREGIF, ALWAYS_COPY, older);
row('NIOCTXSYNC', n.NIOCTXSYNC);
row('NIOCRXSYNC', n.NIOCRXSYNC);
refuse('NIOCCONFIG', n.NIOCCONFIG, EOPNOTSUPP, EXTERNAL);
row('NIOCCTRL', n.NIOCCTRL, ALWAYS_COPY | NESTED, control);

/** The size of the region is nr_memsize in a nested body: netmap_mmap refuses what is beyond it. */
hooks.mmap = (): void => {
  if ((call.state & BOUND) == 0) deny(EINVAL, UNBOUND);
  if (call.offset != 0) deny(EINVAL, OFFSET);
};

/** netmap_poll synchronizes the rings: it is asked after each operation and whenever the driver wakes its waiters. */
hooks.settle = (): void => {
  const isCommand = call.operation == Operation.Ioctl && call.outcome >= 0;
  const isControl = isCommand && call.command == n.NIOCCTRL;
  const registers = isControl && u16At(HEAD, n.nmreq_header.nr_reqtype) == n.NETMAP_REQ_REGISTER;
  const isOlder = isCommand && call.command == n.NIOCREGIF && u16At(HEAD, n.nmreq.nr_cmd) == 0;
  if (registers || isOlder) after.state |= BOUND;
  if (after.state & BOUND) after.watch = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
  else after.idle = POLLERR;
};

function control(): void {
  const type: u32 = u16At(HEAD, n.nmreq_header.nr_reqtype);
  if (u16At(HEAD, n.nmreq_header.nr_version) != n.NETMAP_API) return deny(EINVAL, VERSION, 0);
  if (u64At(HEAD, n.nmreq_header.nr_options) != 0)
    return deny(EOPNOTSUPP, OPTIONS, n.nmreq_header.nr_options);
  if (type >= n.NETMAP_REQ_SYNC_KLOOP_START && type <= n.NETMAP_REQ_CSB_ENABLE)
    return deny(EOPNOTSUPP, LOOPS, n.nmreq_header.nr_reqtype);
  const bytes: u32 = type < <u32>n.BODY_BYTES.length ? n.BODY_BYTES[type] : 0;
  if (bytes == 0) return deny(EPERM, SWITCHES, n.nmreq_header.nr_reqtype);
  if (u32At(HEAD, n.nmreq_header.nr_name) == n.VALE) return deny(EPERM, INDIRECT, n.nmreq_header.nr_name);
  headIs(ALL_ACCESS);
  if (u64At(HEAD, n.nmreq_header.nr_body) != 0) nested(HEAD, n.nmreq_header.nr_body, bytes, BOTH_WAYS);
}

function older(): void {
  const command: u32 = u16At(HEAD, n.nmreq.nr_cmd);
  if (u32At(HEAD, n.nmreq.nr_name) == n.VALE) return deny(EPERM, INDIRECT, n.nmreq.nr_name);
  if (command != 0 && command != n.NETMAP_BDG_VNET_HDR && command != n.NETMAP_VNET_HDR_GET)
    deny(EPERM, POINTERS, n.nmreq.nr_cmd);
}
