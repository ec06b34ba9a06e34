/** Network tunnels (linux/if_tun.h; what is a pointer and what a plain word is in drivers/net/tun.c, __tun_chr_ioctl). */
import * as t from './__generated__/if_tun';
import { admitted, ALL_BITS, ARGUMENT, atMost, BOTH_WAYS, commands, device, EINVAL, EPERM } from './sdk';
import { FROM_DRIVER, hides, hooks, marks, plain, READING, reason, refuse, takes, TO_DRIVER } from './sdk';
import { steady, watches, without, words, WRITING } from './sdk';
export { admit, cabi_realloc, complete, describe } from './sdk';

device('tun', t.nameOf);

const PERSISTENT = reason('an interface does not outlive the guest that made it');
const USERS = reason('the driver domain knows nothing of the users of the guest');
const PROGRAM = reason('a program of the guest is not run by the kernel of the driver domain');
const DESCRIPTOR = reason('descriptors do not cross between the domains');
const QUEUES = reason('an interface with several queues could be joined by its name');
const ADDRESSES = reason('a list of addresses after the head is not passed on');
const TOO_LONG = reason('the filter is longer than the kernel allows');

/** Session state: the session has its interface. */
const ATTACHED: u64 = 1;
watches(READING | WRITING, ATTACHED);

// tun_set_iff lets a queue join any interface of that name which has several, be it another guest's.
plain(BOTH_WAYS, t.ifreq.SIZE, [t.TUNSETIFF]);
without(t.IFF_MULTI_QUEUE, t.ifreq.ifr_flags, 2, EINVAL, QUEUES);
marks(ATTACHED);
commands([t.TUNGETFEATURES]);
steady();
hides(t.IFF_MULTI_QUEUE, 0, 4);
refuse([t.TUNSETQUEUE], EINVAL, QUEUES);
plain(FROM_DRIVER, t.ifreq.SIZE, [t.TUNGETIFF]);
steady();
plain(BOTH_WAYS, t.ifreq.SIZE, [t.SIOCGIFHWADDR]);
plain(TO_DRIVER, t.ifreq.SIZE, [t.SIOCSIFHWADDR]);
commands([t.TUNSETIFINDEX, t.TUNSETCARRIER, t.TUNGETSNDBUF, t.TUNSETSNDBUF]);
commands([t.TUNGETVNETHDRSZ, t.TUNSETVNETHDRSZ]);
commands([t.TUNGETVNETLE, t.TUNSETVNETLE, t.TUNGETVNETBE, t.TUNSETVNETBE]);
words([t.TUNSETNOCSUM, t.TUNSETDEBUG, t.TUNSETLINK, t.TUNSETOFFLOAD]);
words([t.TUNSETPERSIST]);
without(ALL_BITS, ARGUMENT, 8, EPERM, PERSISTENT);
refuse([t.TUNSETOWNER, t.TUNSETGROUP], EPERM, USERS);
commands([t.TUNSETTXFILTER]);
without(0xffff, t.tun_filter.count, 2, EINVAL, ADDRESSES);
commands([t.TUNATTACHFILTER]);
takes(t.sock_fprog.filter, t.sock_fprog.len, t.sock_filter.SIZE, 2);
atMost(t.BPF_MAXINSNS, EINVAL, TOO_LONG);
words([t.TUNDETACHFILTER]);
// The kernel remembers where the filter was: an address of the driver domain.
commands([t.TUNGETFILTER]);
hides(ALL_BITS, t.sock_fprog.filter, 8);
refuse([t.TUNSETSTEERINGEBPF, t.TUNSETFILTEREBPF], EPERM, PROGRAM);
refuse([t.TUNGETDEVNETNS], EPERM, DESCRIPTOR);

hooks.read = hooks.write = admitted;
