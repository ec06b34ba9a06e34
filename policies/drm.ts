/** Graphics: modes, planes and buffers (drm.h, drm_mode.h, drivers/gpu/drm of Linux 6.1), and virtio_gpu's own (virtgpu_drm.h). */
import {
  EACCES,
  EINVAL,
  ENOENT,
  ENOMEM,
  EOPNOTSUPP,
  O_CLOEXEC,
  POLLIN,
  POLLRDNORM,
} from './__generated__/kernel';
import * as d from './__generated__/drm';
import * as g from './__generated__/virtgpu_drm';
import { admitted, after, ALL_ACCESS, array, BLOCKING, BOTH_WAYS, bytesOf, call, deny, device } from './sdk';
import { DMA_BUF, fills, FROM_DRIVER, HEAD, hooks, learn, makesDescriptor, mayBlock, NESTED } from './sdk';
import { nested, nestedBytes, nestedRead, OFFSET, Operation, reason, refuse, requireHandle } from './sdk';
import { row, SYNC_FILE, SYNCOBJ, table, takes, takesDescriptor, TO_DRIVER, u32At, u64At } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('drm');

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
/** "FENCE" in little-endian bytes, four and one: what a property that is given as a descriptor or an address has in its name. */
const FENC: u32 = 0x434e4546;

nestedBytes(NESTED_BYTES_MAX);

row('DRM_IOCTL_VERSION', d.DRM_IOCTL_VERSION, NESTED, version);
row('DRM_IOCTL_GET_UNIQUE', d.DRM_IOCTL_GET_UNIQUE, NESTED, unique);
row('DRM_IOCTL_GET_MAGIC', d.DRM_IOCTL_GET_MAGIC);
refuse('DRM_IOCTL_IRQ_BUSID', d.DRM_IOCTL_IRQ_BUSID, EINVAL, LEGACY);
refuse('DRM_IOCTL_GET_MAP', d.DRM_IOCTL_GET_MAP, EINVAL, LEGACY);
row('DRM_IOCTL_GET_CLIENT', d.DRM_IOCTL_GET_CLIENT);
row('DRM_IOCTL_GET_STATS', d.DRM_IOCTL_GET_STATS);
row('DRM_IOCTL_SET_VERSION', d.DRM_IOCTL_SET_VERSION);
refuse('DRM_IOCTL_MODESET_CTL', d.DRM_IOCTL_MODESET_CTL, EINVAL, LEGACY);
row('DRM_IOCTL_GEM_CLOSE', d.DRM_IOCTL_GEM_CLOSE);
row('DRM_IOCTL_GEM_FLINK', d.DRM_IOCTL_GEM_FLINK);
row('DRM_IOCTL_GEM_OPEN', d.DRM_IOCTL_GEM_OPEN, 0, openByName);
row('DRM_IOCTL_GET_CAP', d.DRM_IOCTL_GET_CAP);
row('DRM_IOCTL_SET_CLIENT_CAP', d.DRM_IOCTL_SET_CLIENT_CAP);
refuse('DRM_IOCTL_SET_UNIQUE', d.DRM_IOCTL_SET_UNIQUE, EINVAL, LEGACY);
row('DRM_IOCTL_AUTH_MAGIC', d.DRM_IOCTL_AUTH_MAGIC, 0, authenticate);
refuse('DRM_IOCTL_BLOCK', d.DRM_IOCTL_BLOCK, EINVAL, LEGACY);
refuse('DRM_IOCTL_UNBLOCK', d.DRM_IOCTL_UNBLOCK, EINVAL, LEGACY);
refuse('DRM_IOCTL_CONTROL', d.DRM_IOCTL_CONTROL, EINVAL, LEGACY);
refuse('DRM_IOCTL_ADD_MAP', d.DRM_IOCTL_ADD_MAP, EINVAL, LEGACY);
refuse('DRM_IOCTL_ADD_BUFS', d.DRM_IOCTL_ADD_BUFS, EINVAL, LEGACY);
refuse('DRM_IOCTL_MARK_BUFS', d.DRM_IOCTL_MARK_BUFS, EINVAL, LEGACY);
refuse('DRM_IOCTL_INFO_BUFS', d.DRM_IOCTL_INFO_BUFS, EINVAL, LEGACY);
refuse('DRM_IOCTL_MAP_BUFS', d.DRM_IOCTL_MAP_BUFS, EINVAL, LEGACY);
refuse('DRM_IOCTL_FREE_BUFS', d.DRM_IOCTL_FREE_BUFS, EINVAL, LEGACY);
refuse('DRM_IOCTL_RM_MAP', d.DRM_IOCTL_RM_MAP, EINVAL, LEGACY);
refuse('DRM_IOCTL_SET_SAREA_CTX', d.DRM_IOCTL_SET_SAREA_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_GET_SAREA_CTX', d.DRM_IOCTL_GET_SAREA_CTX, EINVAL, LEGACY);
row('DRM_IOCTL_SET_MASTER', d.DRM_IOCTL_SET_MASTER);
row('DRM_IOCTL_DROP_MASTER', d.DRM_IOCTL_DROP_MASTER);
refuse('DRM_IOCTL_ADD_CTX', d.DRM_IOCTL_ADD_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_RM_CTX', d.DRM_IOCTL_RM_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_MOD_CTX', d.DRM_IOCTL_MOD_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_GET_CTX', d.DRM_IOCTL_GET_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_SWITCH_CTX', d.DRM_IOCTL_SWITCH_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_NEW_CTX', d.DRM_IOCTL_NEW_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_RES_CTX', d.DRM_IOCTL_RES_CTX, EINVAL, LEGACY);
refuse('DRM_IOCTL_ADD_DRAW', d.DRM_IOCTL_ADD_DRAW, EINVAL, LEGACY);
refuse('DRM_IOCTL_RM_DRAW', d.DRM_IOCTL_RM_DRAW, EINVAL, LEGACY);
refuse('DRM_IOCTL_DMA', d.DRM_IOCTL_DMA, EINVAL, LEGACY);
refuse('DRM_IOCTL_LOCK', d.DRM_IOCTL_LOCK, EINVAL, LEGACY);
refuse('DRM_IOCTL_UNLOCK', d.DRM_IOCTL_UNLOCK, EINVAL, LEGACY);
refuse('DRM_IOCTL_FINISH', d.DRM_IOCTL_FINISH, EINVAL, LEGACY);
row('DRM_IOCTL_PRIME_HANDLE_TO_FD', d.DRM_IOCTL_PRIME_HANDLE_TO_FD, 0, buffer);
row('DRM_IOCTL_PRIME_FD_TO_HANDLE', d.DRM_IOCTL_PRIME_FD_TO_HANDLE, 0, buffer);
refuse('DRM_IOCTL_AGP_ACQUIRE', d.DRM_IOCTL_AGP_ACQUIRE, EINVAL, LEGACY);
refuse('DRM_IOCTL_AGP_RELEASE', d.DRM_IOCTL_AGP_RELEASE, EINVAL, LEGACY);
refuse('DRM_IOCTL_AGP_ENABLE', d.DRM_IOCTL_AGP_ENABLE, EINVAL, LEGACY);
refuse('DRM_IOCTL_AGP_INFO', d.DRM_IOCTL_AGP_INFO, EINVAL, LEGACY);
refuse('DRM_IOCTL_AGP_ALLOC', d.DRM_IOCTL_AGP_ALLOC, EINVAL, LEGACY);
refuse('DRM_IOCTL_AGP_FREE', d.DRM_IOCTL_AGP_FREE, EINVAL, LEGACY);
refuse('DRM_IOCTL_AGP_BIND', d.DRM_IOCTL_AGP_BIND, EINVAL, LEGACY);
refuse('DRM_IOCTL_AGP_UNBIND', d.DRM_IOCTL_AGP_UNBIND, EINVAL, LEGACY);
refuse('DRM_IOCTL_SG_ALLOC', d.DRM_IOCTL_SG_ALLOC, EINVAL, LEGACY);
refuse('DRM_IOCTL_SG_FREE', d.DRM_IOCTL_SG_FREE, EINVAL, LEGACY);
row('DRM_IOCTL_WAIT_VBLANK', d.DRM_IOCTL_WAIT_VBLANK, BLOCKING);
row('DRM_IOCTL_CRTC_GET_SEQUENCE', d.DRM_IOCTL_CRTC_GET_SEQUENCE);
row('DRM_IOCTL_CRTC_QUEUE_SEQUENCE', d.DRM_IOCTL_CRTC_QUEUE_SEQUENCE);
refuse('DRM_IOCTL_UPDATE_DRAW', d.DRM_IOCTL_UPDATE_DRAW, EINVAL, LEGACY);
row('DRM_IOCTL_MODE_GETRESOURCES', d.DRM_IOCTL_MODE_GETRESOURCES, NESTED);
fills(d.drm_mode_card_res.fb_id_ptr, d.drm_mode_card_res.count_fbs, 4);
fills(d.drm_mode_card_res.crtc_id_ptr, d.drm_mode_card_res.count_crtcs, 4);
fills(d.drm_mode_card_res.connector_id_ptr, d.drm_mode_card_res.count_connectors, 4);
fills(d.drm_mode_card_res.encoder_id_ptr, d.drm_mode_card_res.count_encoders, 4);
row('DRM_IOCTL_MODE_GETCRTC', d.DRM_IOCTL_MODE_GETCRTC);
row('DRM_IOCTL_MODE_SETCRTC', d.DRM_IOCTL_MODE_SETCRTC, NESTED | BLOCKING, frame);
takes(d.drm_mode_crtc.set_connectors_ptr, d.drm_mode_crtc.count_connectors, 4);
row('DRM_IOCTL_MODE_CURSOR', d.DRM_IOCTL_MODE_CURSOR);
row('DRM_IOCTL_MODE_GETGAMMA', d.DRM_IOCTL_MODE_GETGAMMA, NESTED);
fills(d.drm_mode_crtc_lut.red, d.drm_mode_crtc_lut.gamma_size, 2);
fills(d.drm_mode_crtc_lut.green, d.drm_mode_crtc_lut.gamma_size, 2);
fills(d.drm_mode_crtc_lut.blue, d.drm_mode_crtc_lut.gamma_size, 2);
row('DRM_IOCTL_MODE_SETGAMMA', d.DRM_IOCTL_MODE_SETGAMMA, NESTED);
takes(d.drm_mode_crtc_lut.red, d.drm_mode_crtc_lut.gamma_size, 2);
takes(d.drm_mode_crtc_lut.green, d.drm_mode_crtc_lut.gamma_size, 2);
takes(d.drm_mode_crtc_lut.blue, d.drm_mode_crtc_lut.gamma_size, 2);
row('DRM_IOCTL_MODE_GETENCODER', d.DRM_IOCTL_MODE_GETENCODER);
row('DRM_IOCTL_MODE_GETCONNECTOR', d.DRM_IOCTL_MODE_GETCONNECTOR, NESTED | BLOCKING);
fills(d.drm_mode_get_connector.encoders_ptr, d.drm_mode_get_connector.count_encoders, 4);
fills(d.drm_mode_get_connector.modes_ptr, d.drm_mode_get_connector.count_modes, d.drm_mode_modeinfo.SIZE);
fills(d.drm_mode_get_connector.props_ptr, d.drm_mode_get_connector.count_props, 4);
fills(d.drm_mode_get_connector.prop_values_ptr, d.drm_mode_get_connector.count_props, 8);
refuse('DRM_IOCTL_MODE_ATTACHMODE', d.DRM_IOCTL_MODE_ATTACHMODE, EINVAL, LEGACY);
refuse('DRM_IOCTL_MODE_DETACHMODE', d.DRM_IOCTL_MODE_DETACHMODE, EINVAL, LEGACY);
row('DRM_IOCTL_MODE_GETPROPERTY', d.DRM_IOCTL_MODE_GETPROPERTY, NESTED);
fills(d.drm_mode_get_property.values_ptr, d.drm_mode_get_property.count_values, 8);
fills(
  d.drm_mode_get_property.enum_blob_ptr,
  d.drm_mode_get_property.count_enum_blobs,
  d.drm_mode_property_enum.SIZE,
);
row('DRM_IOCTL_MODE_SETPROPERTY', d.DRM_IOCTL_MODE_SETPROPERTY, BLOCKING, setProperty);
row('DRM_IOCTL_MODE_GETPROPBLOB', d.DRM_IOCTL_MODE_GETPROPBLOB, NESTED);
fills(d.drm_mode_get_blob.data, d.drm_mode_get_blob.length, 1);
row('DRM_IOCTL_MODE_GETFB', d.DRM_IOCTL_MODE_GETFB, 0, frame);
row('DRM_IOCTL_MODE_ADDFB', d.DRM_IOCTL_MODE_ADDFB);
row('DRM_IOCTL_MODE_RMFB', d.DRM_IOCTL_MODE_RMFB);
row('DRM_IOCTL_MODE_PAGE_FLIP', d.DRM_IOCTL_MODE_PAGE_FLIP, 0, frame);
row('DRM_IOCTL_MODE_DIRTYFB', d.DRM_IOCTL_MODE_DIRTYFB, NESTED | BLOCKING, frame);
takes(d.drm_mode_fb_dirty_cmd.clips_ptr, d.drm_mode_fb_dirty_cmd.num_clips, d.drm_clip_rect.SIZE);
row('DRM_IOCTL_MODE_CREATE_DUMB', d.DRM_IOCTL_MODE_CREATE_DUMB);
row('DRM_IOCTL_MODE_MAP_DUMB', d.DRM_IOCTL_MODE_MAP_DUMB);
row('DRM_IOCTL_MODE_DESTROY_DUMB', d.DRM_IOCTL_MODE_DESTROY_DUMB);
row('DRM_IOCTL_MODE_GETPLANERESOURCES', d.DRM_IOCTL_MODE_GETPLANERESOURCES, NESTED);
fills(d.drm_mode_get_plane_res.plane_id_ptr, d.drm_mode_get_plane_res.count_planes, 4);
row('DRM_IOCTL_MODE_GETPLANE', d.DRM_IOCTL_MODE_GETPLANE, NESTED);
fills(d.drm_mode_get_plane.format_type_ptr, d.drm_mode_get_plane.count_format_types, 4);
row('DRM_IOCTL_MODE_SETPLANE', d.DRM_IOCTL_MODE_SETPLANE, BLOCKING, frame);
row('DRM_IOCTL_MODE_ADDFB2', d.DRM_IOCTL_MODE_ADDFB2);
row('DRM_IOCTL_MODE_OBJ_GETPROPERTIES', d.DRM_IOCTL_MODE_OBJ_GETPROPERTIES, NESTED);
fills(d.drm_mode_obj_get_properties.props_ptr, d.drm_mode_obj_get_properties.count_props, 4);
fills(d.drm_mode_obj_get_properties.prop_values_ptr, d.drm_mode_obj_get_properties.count_props, 8);
row('DRM_IOCTL_MODE_OBJ_SETPROPERTY', d.DRM_IOCTL_MODE_OBJ_SETPROPERTY, BLOCKING, setProperty);
row('DRM_IOCTL_MODE_CURSOR2', d.DRM_IOCTL_MODE_CURSOR2);
row('DRM_IOCTL_MODE_ATOMIC', d.DRM_IOCTL_MODE_ATOMIC, NESTED | BLOCKING, atomic);
takes(d.drm_mode_atomic.objs_ptr, d.drm_mode_atomic.count_objs, 4);
row('DRM_IOCTL_MODE_CREATEPROPBLOB', d.DRM_IOCTL_MODE_CREATEPROPBLOB, NESTED);
takes(d.drm_mode_create_blob.data, d.drm_mode_create_blob.length, 1);
row('DRM_IOCTL_MODE_DESTROYPROPBLOB', d.DRM_IOCTL_MODE_DESTROYPROPBLOB);
row('DRM_IOCTL_SYNCOBJ_CREATE', d.DRM_IOCTL_SYNCOBJ_CREATE);
row('DRM_IOCTL_SYNCOBJ_DESTROY', d.DRM_IOCTL_SYNCOBJ_DESTROY);
row('DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD', d.DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, 0, syncobj);
row('DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE', d.DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, 0, syncobj);
row('DRM_IOCTL_SYNCOBJ_WAIT', d.DRM_IOCTL_SYNCOBJ_WAIT, NESTED | BLOCKING);
takes(d.drm_syncobj_wait.handles, d.drm_syncobj_wait.count_handles, 4);
row('DRM_IOCTL_SYNCOBJ_RESET', d.DRM_IOCTL_SYNCOBJ_RESET, NESTED);
takes(d.drm_syncobj_array.handles, d.drm_syncobj_array.count_handles, 4);
row('DRM_IOCTL_SYNCOBJ_SIGNAL', d.DRM_IOCTL_SYNCOBJ_SIGNAL, NESTED);
takes(d.drm_syncobj_array.handles, d.drm_syncobj_array.count_handles, 4);
refuse('DRM_IOCTL_MODE_CREATE_LEASE', d.DRM_IOCTL_MODE_CREATE_LEASE, EOPNOTSUPP, LEASE);
row('DRM_IOCTL_MODE_LIST_LESSEES', d.DRM_IOCTL_MODE_LIST_LESSEES, NESTED);
fills(d.drm_mode_list_lessees.lessees_ptr, d.drm_mode_list_lessees.count_lessees, 4);
row('DRM_IOCTL_MODE_GET_LEASE', d.DRM_IOCTL_MODE_GET_LEASE, NESTED);
fills(d.drm_mode_get_lease.objects_ptr, d.drm_mode_get_lease.count_objects, 4);
row('DRM_IOCTL_MODE_REVOKE_LEASE', d.DRM_IOCTL_MODE_REVOKE_LEASE);
row('DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT', d.DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, NESTED | BLOCKING);
takes(d.drm_syncobj_timeline_wait.handles, d.drm_syncobj_timeline_wait.count_handles, 4);
takes(d.drm_syncobj_timeline_wait.points, d.drm_syncobj_timeline_wait.count_handles, 8);
row('DRM_IOCTL_SYNCOBJ_QUERY', d.DRM_IOCTL_SYNCOBJ_QUERY, NESTED);
takes(d.drm_syncobj_timeline_array.handles, d.drm_syncobj_timeline_array.count_handles, 4);
fills(d.drm_syncobj_timeline_array.points, d.drm_syncobj_timeline_array.count_handles, 8);
row('DRM_IOCTL_SYNCOBJ_TRANSFER', d.DRM_IOCTL_SYNCOBJ_TRANSFER);
row('DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL', d.DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, NESTED);
takes(d.drm_syncobj_timeline_array.handles, d.drm_syncobj_timeline_array.count_handles, 4);
fills(d.drm_syncobj_timeline_array.points, d.drm_syncobj_timeline_array.count_handles, 8);
row('DRM_IOCTL_MODE_GETFB2', d.DRM_IOCTL_MODE_GETFB2, 0, frame);
row('DRM_IOCTL_VIRTGPU_MAP', g.DRM_IOCTL_VIRTGPU_MAP);
row('DRM_IOCTL_VIRTGPU_EXECBUFFER', g.DRM_IOCTL_VIRTGPU_EXECBUFFER, NESTED | BLOCKING, execute);
takes(g.drm_virtgpu_execbuffer.command, g.drm_virtgpu_execbuffer.size, 1);
takes(g.drm_virtgpu_execbuffer.bo_handles, g.drm_virtgpu_execbuffer.num_bo_handles, 4);
row('DRM_IOCTL_VIRTGPU_EXECBUFFER_RING', g.DRM_IOCTL_VIRTGPU_EXECBUFFER_RING, NESTED | BLOCKING, execute);
takes(g.drm_virtgpu_execbuffer.command, g.drm_virtgpu_execbuffer.size, 1);
takes(g.drm_virtgpu_execbuffer.bo_handles, g.drm_virtgpu_execbuffer.num_bo_handles, 4);
row('DRM_IOCTL_VIRTGPU_GETPARAM', g.DRM_IOCTL_VIRTGPU_GETPARAM, NESTED, parameter);
row('DRM_IOCTL_VIRTGPU_RESOURCE_CREATE', g.DRM_IOCTL_VIRTGPU_RESOURCE_CREATE);
row('DRM_IOCTL_VIRTGPU_RESOURCE_INFO', g.DRM_IOCTL_VIRTGPU_RESOURCE_INFO);
row('DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST', g.DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST);
row('DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST', g.DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST);
row('DRM_IOCTL_VIRTGPU_WAIT', g.DRM_IOCTL_VIRTGPU_WAIT, 0, waitBuffer);
row('DRM_IOCTL_VIRTGPU_GET_CAPS', g.DRM_IOCTL_VIRTGPU_GET_CAPS, NESTED | BLOCKING);
fills(g.drm_virtgpu_get_caps.addr, g.drm_virtgpu_get_caps.size, 1);
row('DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB', g.DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB, NESTED);
takes(g.drm_virtgpu_resource_create_blob.cmd, g.drm_virtgpu_resource_create_blob.cmd_size, 1);
row('DRM_IOCTL_VIRTGPU_CONTEXT_INIT', g.DRM_IOCTL_VIRTGPU_CONTEXT_INIT, NESTED);
takes(
  g.drm_virtgpu_context_init.ctx_set_params,
  g.drm_virtgpu_context_init.num_params,
  g.drm_virtgpu_context_set_param.SIZE,
);
// DRM_IOCTL_VGEM_FENCE_ATTACH is the same number as DRM_IOCTL_VIRTGPU_MAP.
row('DRM_IOCTL_VGEM_FENCE_SIGNAL', g.DRM_IOCTL_VGEM_FENCE_SIGNAL);

hooks.read = admitted;
hooks.mmap = (): void => requireHandle(OFFSETS, OFFSET, 0, 8, EINVAL, FOREIGN_BUFFER);
hooks.settle = settle;

function version(): void {
  array(d.drm_version.name, u64At(HEAD, d.drm_version.name_len), 1, BOTH_WAYS);
  array(d.drm_version.date, u64At(HEAD, d.drm_version.date_len), 1, BOTH_WAYS);
  array(d.drm_version.desc, u64At(HEAD, d.drm_version.desc_len), 1, BOTH_WAYS);
}

function unique(): void {
  array(d.drm_unique.unique, u64At(HEAD, d.drm_unique.unique_len), 1, BOTH_WAYS);
}

/** The handles of buffers are per open file in the kernel; their flink names are the whole device's. */
function openByName(): void {
  requireHandle(NAMES, HEAD, d.drm_gem_open.name, 4, ENOENT, FOREIGN_NAME);
}

function authenticate(): void {
  requireHandle(MAGICS, HEAD, 0, 4, EINVAL, FOREIGN_MAGIC);
}

/** Framebuffers are found by number alone, and root, which the agent is, gets a buffer's handle from any of them. */
function frame(): void {
  let at = d.drm_mode_fb_cmd.fb_id;
  if (call.command == d.DRM_IOCTL_MODE_PAGE_FLIP) at = d.drm_mode_crtc_page_flip.fb_id;
  if (call.command == d.DRM_IOCTL_MODE_SETPLANE) at = d.drm_mode_set_plane.fb_id;
  if (call.command == d.DRM_IOCTL_MODE_SETCRTC) at = d.drm_mode_crtc.fb_id;
  const id = u32At(HEAD, at);
  if (id != 0 && id != SAME_FRAME) requireHandle(FRAMES, HEAD, at, 4, ENOENT, FOREIGN_FRAME);
}

/** Both structures have the value first and the property's number after it. */
function setProperty(): void {
  requireHandle(PROPERTIES, HEAD, d.drm_mode_obj_set_property.prop_id, 4, EACCES, PROPERTY);
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

/** The id of a fence property that this file has looked up: IN_FENCE_FD, OUT_FENCE_PTR, WRITEBACK_OUT_FENCE_PTR. */
function fence(which: u32): u32 {
  return <u32>(call.state >> (16 * which)) & 0xffff;
}

function setInCommit(ids: u32, at: u32, values: u32): void {
  const id = u32At(ids, at);
  const value = 2 * at;
  if (id == 0 || (id != fence(0) && id != fence(1) && id != fence(2)))
    return requireHandle(PROPERTIES, ids, at, 4, EACCES, PROPERTY);
  if (id == fence(0)) return takesDescriptor(SYNC_FILE, values, value, 8);
  if (u64At(values, value) != 0) makesDescriptor(SYNC_FILE, nested(values, value, 4, ALL_ACCESS), 0);
}

/** PRIME: a buffer's handle becomes a descriptor, and the other way. Handles are the open file's. */
function buffer(): void {
  const fd = d.drm_prime_handle.fd;
  if (call.command == d.DRM_IOCTL_PRIME_FD_TO_HANDLE) return takesDescriptor(DMA_BUF, HEAD, fd);
  makesDescriptor(DMA_BUF, HEAD, fd, (u32At(HEAD, d.drm_prime_handle.flags) & O_CLOEXEC) != 0);
}

/** With their only flag, 1, both commands are about the fence in a container. */
function syncobj(): void {
  const kind = u32At(HEAD, d.drm_syncobj_handle.flags) & 1 ? SYNC_FILE : SYNCOBJ;
  const fd = d.drm_syncobj_handle.fd;
  if (call.command == d.DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE) takesDescriptor(kind, HEAD, fd);
  else makesDescriptor(kind, HEAD, fd);
}

function execute(): void {
  const flags = u32At(HEAD, g.drm_virtgpu_execbuffer.flags);
  const fence = g.drm_virtgpu_execbuffer.fence_fd;
  if (flags & g.VIRTGPU_EXECBUF_FENCE_FD_IN) takesDescriptor(SYNC_FILE, HEAD, fence);
  if (flags & g.VIRTGPU_EXECBUF_FENCE_FD_OUT) makesDescriptor(SYNC_FILE, HEAD, fence);
}

/** The answer is an int behind a pointer. */
function parameter(): void {
  array(g.drm_virtgpu_getparam.value, 4, 1, FROM_DRIVER);
}

function waitBuffer(): void {
  mayBlock((u32At(HEAD, g.drm_virtgpu_3d_wait.flags) & g.VIRTGPU_WAIT_NOWAIT) == 0);
}

/** Events are asked for by commands and come by read(). */
function settle(): void {
  after.watch = POLLIN | POLLRDNORM;
  if (call.operation != Operation.Ioctl || call.outcome < 0) return;
  switch (call.command) {
    case d.DRM_IOCTL_MODE_MAP_DUMB:
      return learn(OFFSETS, HEAD, d.drm_mode_map_dumb.offset, 8);
    case g.DRM_IOCTL_VIRTGPU_MAP:
      return learn(OFFSETS, HEAD, g.drm_virtgpu_map.offset, 8);
    case d.DRM_IOCTL_GEM_FLINK:
      return learn(NAMES, HEAD, d.drm_gem_flink.name, 4);
    case d.DRM_IOCTL_MODE_ADDFB:
    case d.DRM_IOCTL_MODE_ADDFB2:
      return learn(FRAMES, HEAD, 0, 4);
    case d.DRM_IOCTL_GET_MAGIC:
      return learn(MAGICS, HEAD, 0, 4);
    case d.DRM_IOCTL_MODE_GETPROPERTY:
      if (isFence()) rememberFence();
      else learn(PROPERTIES, HEAD, d.drm_mode_get_property.prop_id, 4);
  }
}

/** Which is which is in its first letter. */
function rememberFence(): void {
  const letter = u32At(HEAD, d.drm_mode_get_property.name) & 0xff;
  const id: u64 = u32At(HEAD, d.drm_mode_get_property.prop_id);
  const shift: u64 = letter == 0x49 ? 0 : letter == 0x4f ? 16 : 32;
  if (id <= 0xffff) after.state = (after.state & ~((<u64>0xffff) << shift)) | (id << shift);
}

/** IN_FENCE_FD, OUT_FENCE_PTR and WRITEBACK_OUT_FENCE_PTR: the value is a descriptor, or an address where one is written. */
function isFence(): bool {
  for (let at: u32 = 0; at + 4 <= d.DRM_PROP_NAME_LEN; at++) {
    if (u32At(HEAD, d.drm_mode_get_property.name + at) == FENC) return true;
  }
  return false;
}
