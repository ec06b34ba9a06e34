/* The network links of a driver VM: what an administrator beside the driver would do for every new interface. */
#ifndef POSTERN_AGENT_LINKS_H
#define POSTERN_AGENT_LINKS_H

/* Starts a process that brings every network interface up as it appears, and makes each Ethernet interface a port of one bridge, so
 * that frames go from guest to guest. Guests can't do that: addresses and flags are set on sockets, and their sockets are of another
 * machine. Does nothing where the bridge module is not loaded, which comes with the driver tun. */
void links_start(void);

#endif
