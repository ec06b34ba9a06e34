/** Rings of packets in memory shared with the driver (netmap(4); what the kernel does is in sys/dev/netmap/netmap.c). */
import * as n from './__generated__/netmap';
import { after, ALL_BITS, ALWAYS_COPY, among, call, commands, deny, device, EINVAL, EOPNOTSUPP } from './sdk';
import { EPERM, fillsOne, HEAD, hooks, never, onlyFor, READING, reason, refuse, settles, u16At } from './sdk';
import { watches, without, WRITING } from './sdk';
export { admit, cabi_realloc, complete, describe } from './sdk';

device('netmap', n.nameOf);

const VERSION = reason('only version 14 of the API is known: the sizes of the request bodies depend on it');
const INDIRECT = reason('a slot of a VALE port may name memory: the kernel would read the backend there');
const SWITCHES = reason('VALE switches belong to the owner of the driver domain');
const LOOPS = reason('kernel loops need memory and descriptors of the guest, which do not cross');
const OPTIONS = reason('the options of a request hand memory or descriptors of the guest to the kernel');
const POINTERS = reason('this command of the older API is about switches, or hides a pointer');
const EXTERNAL = reason('the argument means something to an external kernel module only');
const UNBOUND = reason('the file has no port yet, so there are no rings to map');
const OFFSET = reason('the rings are mapped from the start of their region');

/** Session state: the file has its port. */
const BOUND: u64 = 1;
// netmap_poll synchronizes the rings: the manifest has it asked while a guest polls, and only then.
watches(READING | WRITING, BOUND);

/** Sets, a bit each: the requests that are not about switches, and the commands of the older API that are not. */
const PORTS: u32 = (1 << n.NETMAP_REQ_REGISTER) | (1 << n.NETMAP_REQ_PORT_INFO_GET);
const HEADERS: u32 = (1 << n.NETMAP_REQ_PORT_HDR_SET) | (1 << n.NETMAP_REQ_PORT_HDR_GET);
const POOLS: u32 = 1 << n.NETMAP_REQ_POOLS_INFO_GET;
const OLDER: u32 = (1 << 0) | (1 << n.NETMAP_BDG_VNET_HDR) | (1 << n.NETMAP_VNET_HDR_GET);

commands([n.NIOCTXSYNC, n.NIOCRXSYNC]);
commands([n.NIOCCTRL], ALWAYS_COPY);
among(1 << n.NETMAP_API, n.nmreq_header.nr_version, 2, EINVAL, VERSION);
without(ALL_BITS, n.nmreq_header.nr_options, 8, EOPNOTSUPP, OPTIONS);
never(n.NETMAP_REQ_SYNC_KLOOP_START, n.nmreq_header.nr_reqtype, 2, EOPNOTSUPP, LOOPS);
never(n.NETMAP_REQ_SYNC_KLOOP_STOP, n.nmreq_header.nr_reqtype, 2, EOPNOTSUPP, LOOPS);
never(n.NETMAP_REQ_CSB_ENABLE, n.nmreq_header.nr_reqtype, 2, EOPNOTSUPP, LOOPS);
among(PORTS | HEADERS | POOLS, n.nmreq_header.nr_reqtype, 2, EPERM, SWITCHES);
never(n.NM_BDG_NAME, n.nmreq_header.nr_name, 4, EPERM, INDIRECT);
body(1 << n.NETMAP_REQ_REGISTER, n.nmreq_register.SIZE);
body(1 << n.NETMAP_REQ_PORT_INFO_GET, n.nmreq_port_info_get.SIZE);
body(HEADERS, n.nmreq_port_hdr.SIZE);
body(POOLS, n.nmreq_pools_info.SIZE);
settles((): void => bind(u16At(HEAD, n.nmreq_header.nr_reqtype) == n.NETMAP_REQ_REGISTER));
commands([n.NIOCGINFO], ALWAYS_COPY);
older();
commands([n.NIOCREGIF], ALWAYS_COPY);
older();
settles((): void => bind(u16At(HEAD, n.nmreq.nr_cmd) == 0));
refuse([n.NIOCCONFIG], EOPNOTSUPP, EXTERNAL);

/** The size of the region is nr_memsize in a nested body: netmap_mmap refuses what is beyond it. */
hooks.mmap = (): void => {
  if ((call.state & BOUND) == 0) deny(EINVAL, UNBOUND);
  if (call.offset != 0) deny(EINVAL, OFFSET);
};

function bind(registers: bool): void {
  if (registers) after.state |= BOUND;
}

/** What requests of those types lead to. */
function body(types: u32, bytes: u32): void {
  fillsOne(n.nmreq_header.nr_body, bytes);
  onlyFor(types, n.nmreq_header.nr_reqtype, 2);
}

function older(): void {
  never(n.NM_BDG_NAME, n.nmreq.nr_name, 4, EPERM, INDIRECT);
  among(OLDER, n.nmreq.nr_cmd, 2, EPERM, POINTERS);
}
