/* The list of the driver domain's character devices, as schemas/devices.schema.json says. */
#ifndef POSTERN_AGENT_DEVICES_H
#define POSTERN_AGENT_DEVICES_H

#include "json.h"

/* VM: every character device with a node, except the kernel's virtual consoles, memory devices and virtio ports. */
struct json devices_list_all(void);
/* Local: the devices that a locked-down process can offer and that open here: ptmx, pts, net/tun. */
struct json devices_list_local(bool *has_tun);

#endif
