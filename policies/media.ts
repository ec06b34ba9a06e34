/** Media controllers: how the parts of a camera are wired (linux/media.h; what the kernel does is in drivers/media/mc). */
import { EINVAL, ENOTTY, POLLERR } from './__generated__/kernel';
import * as m from './__generated__/media';
import {
  after,
  BOTH_WAYS,
  deny,
  device,
  HEAD,
  hooks,
  NESTED,
  nested,
  reason,
  refuse,
  row,
  u32At,
  u64At,
} from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('media');

const UNSIZED = reason('only the driver knows how long the arrays are: MEDIA_IOC_G_TOPOLOGY tells the same');
const REQUESTS = reason('the request API is not available');
const TOO_MANY = reason('the array is longer than any topology, and than the envelope allows');

/** Objects of a kind in one topology; vivid has a dozen, the largest drivers some hundreds. */
const OBJECTS_MAX: u32 = 512;

row('MEDIA_IOC_DEVICE_INFO', m.MEDIA_IOC_DEVICE_INFO);
row('MEDIA_IOC_ENUM_ENTITIES', m.MEDIA_IOC_ENUM_ENTITIES);
refuse('MEDIA_IOC_ENUM_LINKS', m.MEDIA_IOC_ENUM_LINKS, ENOTTY, UNSIZED);
row('MEDIA_IOC_SETUP_LINK', m.MEDIA_IOC_SETUP_LINK);
row('MEDIA_IOC_G_TOPOLOGY', m.MEDIA_IOC_G_TOPOLOGY, NESTED, topology);
refuse('MEDIA_IOC_REQUEST_ALLOC', m.MEDIA_IOC_REQUEST_ALLOC, ENOTTY, REQUESTS);
refuse('MEDIA_REQUEST_IOC_QUEUE', m.MEDIA_REQUEST_IOC_QUEUE, ENOTTY, REQUESTS);
refuse('MEDIA_REQUEST_IOC_REINIT', m.MEDIA_REQUEST_IOC_REINIT, ENOTTY, REQUESTS);

/** A media device has no events of its own: media_devnode_poll answers so. */
hooks.settle = (): void => {
  after.idle = POLLERR;
};

/** Four arrays, each as long as the guest says; the driver writes no more, and fewer where there are fewer. */
function topology(): void {
  objects(m.media_v2_topology.num_entities, m.media_v2_topology.ptr_entities, m.media_v2_entity.SIZE);
  objects(m.media_v2_topology.num_interfaces, m.media_v2_topology.ptr_interfaces, m.media_v2_interface.SIZE);
  objects(m.media_v2_topology.num_pads, m.media_v2_topology.ptr_pads, m.media_v2_pad.SIZE);
  objects(m.media_v2_topology.num_links, m.media_v2_topology.ptr_links, m.media_v2_link.SIZE);
}

/** What the driver leaves alone stays as it was, so the array's own bytes go in first. */
function objects(count: u32, pointer: u32, bytes: u32): void {
  const length = u32At(HEAD, count);
  if (length > OBJECTS_MAX) return deny(EINVAL, TOO_MANY, count);
  if (length != 0 && u64At(HEAD, pointer) != 0) nested(HEAD, pointer, length * bytes, BOTH_WAYS);
}
