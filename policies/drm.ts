/** Graphics: modes, planes and buffers (drm.h, drm_mode.h, drivers/gpu/drm of Linux 6.1), and virtio_gpu's own (virtgpu_drm.h). */
import * as d from './__generated__/drm';
import * as g from './__generated__/virtgpu_drm';
import { admitted, after, ALL_ACCESS, BLOCKING, bytesOf, call, commands, deny, DEVICE, device } from './sdk';
import { DMA_BUF, EACCES, EINVAL, empties, ends, ENOENT, ENOMEM, EOPNOTSUPP, fills, givesOne } from './sdk';
import { hasText, HEAD, header, hooks, INTO_DRIVER, isText, learn, learns, makesFd, mayBlock } from './sdk';
import { NESTED, nested, nestedBytes, nestedRead, OFFSET, onlyWith, OUT_OF_DRIVER } from './sdk';
import { passDescriptor, READING, reason, refuse, requireHandle, requires, SESSION, settles } from './sdk';
import { SYNC_FILE, SYNCOBJ, table, takes, takesFd, TO_DRIVER, u32At, u64At, watches } from './sdk';
export { admit, cabi_realloc, complete, describe } from './sdk';

device('drm', d.nameOf);
header(g.nameOf);
// Events are asked for by commands and come by read().
watches(READING);

const LEGACY = reason('drivers without kernel modesetting are not served');
const LEASE = reason('a lease is a descriptor, and descriptors are not passed');
const COMMIT = reason('the commit sets more properties than the class checks at once');
const FOREIGN_BUFFER = reason('this guest has not been told of a buffer at that offset');
const FOREIGN_NAME = reason('the name of a buffer that this guest has not named');
const FOREIGN_FRAME = reason('the framebuffer of another guest, or of the console');
const FOREIGN_MAGIC = reason('the magic of a client outside this guest');
const PROPERTY = reason('a property must be known to this guest; a fence, to this very file');

const OFFSETS = table('buffer-offset');
const NAMES = table('flink-name');
const FRAMES = table('framebuffer');
const MAGICS = table('magic');
const PROPERTIES = table('property');

/** Properties of one commit: a display with all its planes and cursors has some dozens. */
const COMMIT_MAX: u32 = 64;
/** A command stream of virgl has up to 128 Ki words. */
const NESTED_BYTES_MAX: u32 = 512 * 1024;
/** SETCRTC: the framebuffer that the controller has stays. */
const SAME_FRAME: u32 = 0xffffffff;
/** Session state: the numbers of the properties that commits are judged by, 16 bits each. No property has the number 0. */
const IN_FENCE: u64 = 0;
const OUT_FENCE: u64 = 16;
const WRITEBACK: u64 = 32;
const FRAME: u64 = 48;
const NO_SLOT: u64 = 64;
const ENUM_BYTES: u32 = d.drm_mode_property_enum.SIZE;
const CONTEXT_PARAM_BYTES: u32 = g.drm_virtgpu_context_set_param.SIZE;

nestedBytes(NESTED_BYTES_MAX);

commands([d.DRM_IOCTL_VERSION]);
fills(d.drm_version.name, d.drm_version.name_len, 1, 8);
fills(d.drm_version.date, d.drm_version.date_len, 1, 8);
fills(d.drm_version.desc, d.drm_version.desc_len, 1, 8);
commands([d.DRM_IOCTL_GET_UNIQUE]);
fills(d.drm_unique.unique, d.drm_unique.unique_len, 1, 8);
commands([d.DRM_IOCTL_GET_CLIENT, d.DRM_IOCTL_GET_STATS]);
commands([d.DRM_IOCTL_SET_VERSION, d.DRM_IOCTL_GET_CAP, d.DRM_IOCTL_SET_CLIENT_CAP]);
commands([d.DRM_IOCTL_SET_MASTER, d.DRM_IOCTL_DROP_MASTER]);
commands([d.DRM_IOCTL_GET_MAGIC]);
learns(MAGICS, 0, 4);
commands([d.DRM_IOCTL_AUTH_MAGIC]);
requires(MAGICS, 0, 4, EINVAL, FOREIGN_MAGIC);
commands([d.DRM_IOCTL_WAIT_VBLANK], BLOCKING);
commands([d.DRM_IOCTL_CRTC_GET_SEQUENCE, d.DRM_IOCTL_CRTC_QUEUE_SEQUENCE]);
refuse([d.DRM_IOCTL_IRQ_BUSID, d.DRM_IOCTL_SET_UNIQUE, d.DRM_IOCTL_CONTROL, d.DRM_IOCTL_DMA], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_BLOCK, d.DRM_IOCTL_UNBLOCK, d.DRM_IOCTL_LOCK, d.DRM_IOCTL_UNLOCK], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_FINISH, d.DRM_IOCTL_MODESET_CTL], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_ADD_MAP, d.DRM_IOCTL_GET_MAP, d.DRM_IOCTL_RM_MAP], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_ADD_BUFS, d.DRM_IOCTL_MARK_BUFS, d.DRM_IOCTL_INFO_BUFS], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_MAP_BUFS, d.DRM_IOCTL_FREE_BUFS], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_ADD_CTX, d.DRM_IOCTL_RM_CTX, d.DRM_IOCTL_MOD_CTX, d.DRM_IOCTL_GET_CTX], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_SWITCH_CTX, d.DRM_IOCTL_NEW_CTX, d.DRM_IOCTL_RES_CTX], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_SET_SAREA_CTX, d.DRM_IOCTL_GET_SAREA_CTX], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_ADD_DRAW, d.DRM_IOCTL_RM_DRAW, d.DRM_IOCTL_UPDATE_DRAW], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_AGP_ACQUIRE, d.DRM_IOCTL_AGP_RELEASE, d.DRM_IOCTL_AGP_ENABLE], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_AGP_INFO, d.DRM_IOCTL_AGP_ALLOC, d.DRM_IOCTL_AGP_FREE], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_AGP_BIND, d.DRM_IOCTL_AGP_UNBIND], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_SG_ALLOC, d.DRM_IOCTL_SG_FREE], EINVAL, LEGACY);
refuse([d.DRM_IOCTL_MODE_ATTACHMODE, d.DRM_IOCTL_MODE_DETACHMODE], EINVAL, LEGACY);

// Buffers: their handles are per open file in the kernel; their flink names are the whole device's.
// A name ends with the last handle, which only the kernel knows: names are forgotten with any handle of their session.
commands([d.DRM_IOCTL_MODE_CREATE_DUMB]);
commands([d.DRM_IOCTL_GEM_CLOSE, d.DRM_IOCTL_MODE_DESTROY_DUMB]);
empties(NAMES);
commands([d.DRM_IOCTL_MODE_MAP_DUMB]);
learns(OFFSETS, d.drm_mode_map_dumb.offset, 8);
commands([d.DRM_IOCTL_GEM_FLINK]);
learns(NAMES, d.drm_gem_flink.name, 4);
commands([d.DRM_IOCTL_GEM_OPEN]);
requires(NAMES, d.drm_gem_open.name, 4, ENOENT, FOREIGN_NAME);
commands([d.DRM_IOCTL_PRIME_HANDLE_TO_FD]);
makesFd(DMA_BUF, d.drm_prime_handle.fd, d.drm_prime_handle.flags);
commands([d.DRM_IOCTL_PRIME_FD_TO_HANDLE]);
takesFd(DMA_BUF, d.drm_prime_handle.fd);

// Framebuffers are found by number alone, and root, which the agent is, gets a buffer's handle from any of them.
commands([d.DRM_IOCTL_MODE_ADDFB, d.DRM_IOCTL_MODE_ADDFB2]);
learns(FRAMES, d.drm_mode_fb_cmd.fb_id, 4);
commands([d.DRM_IOCTL_MODE_GETFB, d.DRM_IOCTL_MODE_GETFB2], 0, (): void => frame(d.drm_mode_fb_cmd.fb_id));
commands([d.DRM_IOCTL_MODE_RMFB]);
requires(FRAMES, 0, 4, ENOENT, FOREIGN_FRAME);
ends(FRAMES, 0, 4);
commands([d.DRM_IOCTL_MODE_PAGE_FLIP], 0, (): void => frame(d.drm_mode_crtc_page_flip.fb_id));
commands([d.DRM_IOCTL_MODE_DIRTYFB], BLOCKING, (): void => frame(d.drm_mode_fb_dirty_cmd.fb_id));
takes(d.drm_mode_fb_dirty_cmd.clips_ptr, d.drm_mode_fb_dirty_cmd.num_clips, d.drm_clip_rect.SIZE);

// Controllers, encoders, connectors and planes.
commands([d.DRM_IOCTL_MODE_GETRESOURCES]);
fills(d.drm_mode_card_res.fb_id_ptr, d.drm_mode_card_res.count_fbs, 4);
fills(d.drm_mode_card_res.crtc_id_ptr, d.drm_mode_card_res.count_crtcs, 4);
fills(d.drm_mode_card_res.connector_id_ptr, d.drm_mode_card_res.count_connectors, 4);
fills(d.drm_mode_card_res.encoder_id_ptr, d.drm_mode_card_res.count_encoders, 4);
commands([d.DRM_IOCTL_MODE_GETCRTC, d.DRM_IOCTL_MODE_GETENCODER]);
commands([d.DRM_IOCTL_MODE_CURSOR, d.DRM_IOCTL_MODE_CURSOR2]);
commands([d.DRM_IOCTL_MODE_SETCRTC], BLOCKING, (): void => frame(d.drm_mode_crtc.fb_id));
takes(d.drm_mode_crtc.set_connectors_ptr, d.drm_mode_crtc.count_connectors, 4);
commands([d.DRM_IOCTL_MODE_GETGAMMA]);
fills(d.drm_mode_crtc_lut.red, d.drm_mode_crtc_lut.gamma_size, 2);
fills(d.drm_mode_crtc_lut.green, d.drm_mode_crtc_lut.gamma_size, 2);
fills(d.drm_mode_crtc_lut.blue, d.drm_mode_crtc_lut.gamma_size, 2);
commands([d.DRM_IOCTL_MODE_SETGAMMA]);
takes(d.drm_mode_crtc_lut.red, d.drm_mode_crtc_lut.gamma_size, 2);
takes(d.drm_mode_crtc_lut.green, d.drm_mode_crtc_lut.gamma_size, 2);
takes(d.drm_mode_crtc_lut.blue, d.drm_mode_crtc_lut.gamma_size, 2);
commands([d.DRM_IOCTL_MODE_GETCONNECTOR], BLOCKING);
fills(d.drm_mode_get_connector.encoders_ptr, d.drm_mode_get_connector.count_encoders, 4);
fills(d.drm_mode_get_connector.modes_ptr, d.drm_mode_get_connector.count_modes, d.drm_mode_modeinfo.SIZE);
fills(d.drm_mode_get_connector.props_ptr, d.drm_mode_get_connector.count_props, 4);
fills(d.drm_mode_get_connector.prop_values_ptr, d.drm_mode_get_connector.count_props, 8);
commands([d.DRM_IOCTL_MODE_GETPLANERESOURCES]);
fills(d.drm_mode_get_plane_res.plane_id_ptr, d.drm_mode_get_plane_res.count_planes, 4);
commands([d.DRM_IOCTL_MODE_GETPLANE]);
fills(d.drm_mode_get_plane.format_type_ptr, d.drm_mode_get_plane.count_format_types, 4);
commands([d.DRM_IOCTL_MODE_SETPLANE], BLOCKING, (): void => frame(d.drm_mode_set_plane.fb_id));
refuse([d.DRM_IOCTL_MODE_CREATE_LEASE], EOPNOTSUPP, LEASE);
commands([d.DRM_IOCTL_MODE_LIST_LESSEES]);
fills(d.drm_mode_list_lessees.lessees_ptr, d.drm_mode_list_lessees.count_lessees, 4);
commands([d.DRM_IOCTL_MODE_GET_LEASE]);
fills(d.drm_mode_get_lease.objects_ptr, d.drm_mode_get_lease.count_objects, 4);
commands([d.DRM_IOCTL_MODE_REVOKE_LEASE]);

// Properties.
commands([d.DRM_IOCTL_MODE_GETPROPERTY]);
fills(d.drm_mode_get_property.values_ptr, d.drm_mode_get_property.count_values, 8);
fills(d.drm_mode_get_property.enum_blob_ptr, d.drm_mode_get_property.count_enum_blobs, ENUM_BYTES);
settles(learnProperty);
commands([d.DRM_IOCTL_MODE_OBJ_GETPROPERTIES]);
fills(d.drm_mode_obj_get_properties.props_ptr, d.drm_mode_obj_get_properties.count_props, 4);
fills(d.drm_mode_obj_get_properties.prop_values_ptr, d.drm_mode_obj_get_properties.count_props, 8);
// Both structures have the value first and the property's number after it.
commands([d.DRM_IOCTL_MODE_SETPROPERTY, d.DRM_IOCTL_MODE_OBJ_SETPROPERTY], BLOCKING);
requires(PROPERTIES, d.drm_mode_obj_set_property.prop_id, 4, EACCES, PROPERTY);
commands([d.DRM_IOCTL_MODE_ATOMIC], NESTED | BLOCKING, atomic);
takes(d.drm_mode_atomic.objs_ptr, d.drm_mode_atomic.count_objs, 4);
commands([d.DRM_IOCTL_MODE_GETPROPBLOB]);
fills(d.drm_mode_get_blob.data, d.drm_mode_get_blob.length, 1);
commands([d.DRM_IOCTL_MODE_CREATEPROPBLOB]);
takes(d.drm_mode_create_blob.data, d.drm_mode_create_blob.length, 1);
commands([d.DRM_IOCTL_MODE_DESTROYPROPBLOB]);

// Synchronization objects: their handles are per open file, too.
commands([d.DRM_IOCTL_SYNCOBJ_CREATE, d.DRM_IOCTL_SYNCOBJ_DESTROY, d.DRM_IOCTL_SYNCOBJ_TRANSFER]);
commands([d.DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD], 0, (): void => syncobj(OUT_OF_DRIVER));
commands([d.DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE], 0, (): void => syncobj(INTO_DRIVER));
commands([d.DRM_IOCTL_SYNCOBJ_WAIT], BLOCKING);
takes(d.drm_syncobj_wait.handles, d.drm_syncobj_wait.count_handles, 4);
commands([d.DRM_IOCTL_SYNCOBJ_RESET, d.DRM_IOCTL_SYNCOBJ_SIGNAL]);
takes(d.drm_syncobj_array.handles, d.drm_syncobj_array.count_handles, 4);
commands([d.DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT], BLOCKING);
takes(d.drm_syncobj_timeline_wait.handles, d.drm_syncobj_timeline_wait.count_handles, 4);
takes(d.drm_syncobj_timeline_wait.points, d.drm_syncobj_timeline_wait.count_handles, 8);
commands([d.DRM_IOCTL_SYNCOBJ_QUERY, d.DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL]);
takes(d.drm_syncobj_timeline_array.handles, d.drm_syncobj_timeline_array.count_handles, 4);
fills(d.drm_syncobj_timeline_array.points, d.drm_syncobj_timeline_array.count_handles, 8);

// virtio_gpu's own.
commands([g.DRM_IOCTL_VIRTGPU_MAP]);
learns(OFFSETS, g.drm_virtgpu_map.offset, 8);
commands([g.DRM_IOCTL_VIRTGPU_EXECBUFFER, g.DRM_IOCTL_VIRTGPU_EXECBUFFER_RING], BLOCKING);
takes(g.drm_virtgpu_execbuffer.command, g.drm_virtgpu_execbuffer.size, 1);
takes(g.drm_virtgpu_execbuffer.bo_handles, g.drm_virtgpu_execbuffer.num_bo_handles, 4);
takesFd(SYNC_FILE, g.drm_virtgpu_execbuffer.fence_fd);
onlyWith(g.VIRTGPU_EXECBUF_FENCE_FD_IN, g.drm_virtgpu_execbuffer.flags, 4);
makesFd(SYNC_FILE, g.drm_virtgpu_execbuffer.fence_fd);
onlyWith(g.VIRTGPU_EXECBUF_FENCE_FD_OUT, g.drm_virtgpu_execbuffer.flags, 4);
commands([g.DRM_IOCTL_VIRTGPU_GETPARAM]);
givesOne(g.drm_virtgpu_getparam.value, 4);
// vgem's fences: to attach one is the number of DRM_IOCTL_VIRTGPU_MAP.
commands([g.DRM_IOCTL_VGEM_FENCE_SIGNAL]);
commands([g.DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, g.DRM_IOCTL_VIRTGPU_RESOURCE_INFO]);
commands([g.DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST, g.DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST]);
commands([g.DRM_IOCTL_VIRTGPU_WAIT], 0, waitBuffer);
commands([g.DRM_IOCTL_VIRTGPU_GET_CAPS], BLOCKING);
fills(g.drm_virtgpu_get_caps.addr, g.drm_virtgpu_get_caps.size, 1);
commands([g.DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB]);
takes(g.drm_virtgpu_resource_create_blob.cmd, g.drm_virtgpu_resource_create_blob.cmd_size, 1);
commands([g.DRM_IOCTL_VIRTGPU_CONTEXT_INIT]);
takes(g.drm_virtgpu_context_init.ctx_set_params, g.drm_virtgpu_context_init.num_params, CONTEXT_PARAM_BYTES);

hooks.read = admitted;
hooks.mmap = (): void => requireHandle(SESSION, OFFSETS, OFFSET, 0, 8, EINVAL, FOREIGN_BUFFER);

/** None, and the one that the controller has, need no owner. */
function frame(at: u32): void {
  const id = u32At(HEAD, at);
  if (id != 0 && id != SAME_FRAME) requireHandle(DEVICE, FRAMES, HEAD, at, 4, ENOENT, FOREIGN_FRAME);
}

/** Objects, how many properties of each are set, and then all of those: as many as the counts sum up to. */
function atomic(): void {
  const objects = u32At(HEAD, d.drm_mode_atomic.count_objs);
  if (objects == 0) return;
  if (objects > COMMIT_MAX) return deny(ENOMEM, COMMIT, d.drm_mode_atomic.count_objs);
  const counts = nestedRead(HEAD, d.drm_mode_atomic.count_props_ptr, objects * 4, TO_DRIVER);
  let sum: u64 = 0;
  for (let at: u32 = 0; at < bytesOf(counts) && counts != 0; at += 4) sum += u32At(counts, at);
  if (sum > COMMIT_MAX) return deny(ENOMEM, COMMIT, d.drm_mode_atomic.count_props_ptr);
  if (sum == 0) return;
  const ids = nestedRead(HEAD, d.drm_mode_atomic.props_ptr, <u32>sum * 4, TO_DRIVER);
  const values = nestedRead(HEAD, d.drm_mode_atomic.prop_values_ptr, <u32>sum * 8, TO_DRIVER);
  for (let at: u32 = 0; values != 0 && at < <u32>sum * 4; at += 4) setInCommit(ids, at, values);
}

/** A fence property that this file has looked up is a descriptor, or the address where one is written; FB_ID is a framebuffer. */
function setInCommit(ids: u32, at: u32, values: u32): void {
  const slot = u32At(ids, at) == 0 ? NO_SLOT : slotOf(u32At(ids, at));
  const isSet = u64At(values, 2 * at) != 0;
  if (slot == NO_SLOT) requireHandle(DEVICE, PROPERTIES, ids, at, 4, EACCES, PROPERTY);
  else if (slot == IN_FENCE) passDescriptor(SYNC_FILE, INTO_DRIVER, values, 2 * at, 8);
  else if (slot == FRAME && isSet) requireHandle(DEVICE, FRAMES, values, 2 * at, 8, ENOENT, FOREIGN_FRAME);
  else if (isSet) passDescriptor(SYNC_FILE, OUT_OF_DRIVER, nested(values, 2 * at, 4, ALL_ACCESS), 0);
}

/** Where in the session's state the property is, or NO_SLOT. */
function slotOf(property: u64): u64 {
  for (let slot: u64 = 0; slot < NO_SLOT; slot += 16)
    if (((call.state >> slot) & 0xffff) == property) return slot;
  return NO_SLOT;
}

/** With their only flag, 1, both commands are about the fence in a container. */
function syncobj(flow: u8): void {
  const kind = u32At(HEAD, d.drm_syncobj_handle.flags) & 1 ? SYNC_FILE : SYNCOBJ;
  passDescriptor(kind, flow, HEAD, d.drm_syncobj_handle.fd);
}

function waitBuffer(): void {
  mayBlock((u32At(HEAD, g.drm_virtgpu_3d_wait.flags) & g.VIRTGPU_WAIT_NOWAIT) == 0);
}

/**
 * What holds a fence or a framebuffer is not the guest's, but the file's that looks it up, in its state: at the value of a fence's
 * pointer the kernel would write into the agent. Others of the kind, as WRITEBACK_FB_ID, are learnt by nobody.
 */
function learnProperty(): void {
  const name = d.drm_mode_get_property.name;
  if (isText(name, 'IN_FENCE_FD')) remember(IN_FENCE);
  else if (isText(name, 'OUT_FENCE_PTR')) remember(OUT_FENCE);
  else if (isText(name, 'WRITEBACK_OUT_FENCE_PTR')) remember(WRITEBACK);
  else if (isText(name, 'FB_ID')) remember(FRAME);
  else if (!hasText(name, d.DRM_PROP_NAME_LEN, 'FENCE') && !hasText(name, d.DRM_PROP_NAME_LEN, 'FB_ID'))
    learn(PROPERTIES, HEAD, d.drm_mode_get_property.prop_id, 4);
}

function remember(slot: u64): void {
  const id: u64 = u32At(HEAD, d.drm_mode_get_property.prop_id);
  if (id <= 0xffff) after.state = (after.state & ~((<u64>0xffff) << slot)) | (id << slot);
}
