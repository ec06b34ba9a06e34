/** Media controllers: how the parts of a camera are wired (linux/media.h; what the kernel does is in drivers/media/mc). */
import * as m from './__generated__/media';
import { after, atMost, commands, device, EINVAL, ENOTTY, fills, hooks, POLLERR, reason } from './sdk';
import { refuse } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('media', m.nameOf);

const UNSIZED = reason('only the driver knows how long the arrays are: MEDIA_IOC_G_TOPOLOGY tells the same');
const REQUESTS = reason('the request API is not available');
const TOO_MANY = reason('the array is longer than any topology, and than the envelope allows');

/** Objects of a kind in one topology; vivid has a dozen, the largest drivers some hundreds. */
const OBJECTS_MAX: u32 = 512;

commands([m.MEDIA_IOC_DEVICE_INFO, m.MEDIA_IOC_ENUM_ENTITIES, m.MEDIA_IOC_SETUP_LINK]);
// Four arrays, each as long as the guest says; the driver writes no more, and fewer where there are fewer.
commands([m.MEDIA_IOC_G_TOPOLOGY]);
fills(m.media_v2_topology.ptr_entities, m.media_v2_topology.num_entities, m.media_v2_entity.SIZE);
atMost(OBJECTS_MAX, EINVAL, TOO_MANY);
fills(m.media_v2_topology.ptr_interfaces, m.media_v2_topology.num_interfaces, m.media_v2_interface.SIZE);
atMost(OBJECTS_MAX, EINVAL, TOO_MANY);
fills(m.media_v2_topology.ptr_pads, m.media_v2_topology.num_pads, m.media_v2_pad.SIZE);
atMost(OBJECTS_MAX, EINVAL, TOO_MANY);
fills(m.media_v2_topology.ptr_links, m.media_v2_topology.num_links, m.media_v2_link.SIZE);
atMost(OBJECTS_MAX, EINVAL, TOO_MANY);
refuse([m.MEDIA_IOC_ENUM_LINKS], ENOTTY, UNSIZED);
refuse([m.MEDIA_IOC_REQUEST_ALLOC, m.MEDIA_REQUEST_IOC_QUEUE, m.MEDIA_REQUEST_IOC_REINIT], ENOTTY, REQUESTS);

/** A media device has no events of its own: media_devnode_poll answers so. */
hooks.settle = (): void => {
  after.idle = POLLERR;
};
