/** Video4Linux2: cameras, tuners, codecs (videodev2.h; what the kernel does is in v4l2-ioctl.c and videobuf2-v4l2.c). */
import * as v from './__generated__/videodev2';
import { admitted, after, ALL_BITS, ALWAYS_COPY, among, atMost, BLOCKING, call, comesBack } from './sdk';
import { commands, device, DMA_BUF, EAGAIN, EBADR, EINVAL, empties, ENOTTY, EPERM, fills, HEAD } from './sdk';
import { hides, hooks, INTO_DRIVER, learn, makesFd, marks, never, OFFSET, onlyFor, Operation } from './sdk';
import { passDescriptor, payloads, POLLERR, POLLPRI, READING, reason, refuse, REPEATED } from './sdk';
import { requireHandle, SESSION, settles, steady, table, u32At, u64At, without, WRITING } from './sdk';
export { admit, cabi_realloc, complete, describe } from './sdk';

device('v4l2', v.nameOf);

const USERPTR = reason('memory of the guest is not lent to the driver: only buffers of MMAP and DMABUF');
const REQUESTS = reason('the request API is not available');
const DEBUGGING = reason('registers are not for guests');
const BITMAP = reason('no clipping by a bitmap, whose size only the driver knows');
const FRAMEBUFFER = reason('a guest may not name a physical address');
const TOO_MANY = reason('the array is longer than the V4L2 core allows');
const FOREIGN_BUFFER = reason('this session has not been told of a buffer at that offset');

const CAPTURE_OFFSETS = table('capture-buffer-offset');
const OUTPUT_OFFSETS = table('output-buffer-offset');

/** Session state: which queues stream, whose buffers are this session's, and whether read() and write() work. */
const STREAMS_CAPTURE: u64 = 1;
const STREAMS_OUTPUT: u64 = 2;
const OWNS_CAPTURE: u64 = 4;
const OWNS_OUTPUT: u64 = 8;
const READS: u64 = 16;
const WRITES: u64 = 32;
const READABLE: u64 = 64;
const WRITABLE: u64 = 128;
/** The session has asked for events at some time, so it may poll for them alone. */
const SUBSCRIBED: u64 = 256;

/** Index in the manifest's nodes: a radio has no buffer queue, so its poll has no side effects. */
const RADIO: u32 = 2;
/** check_array_args of v4l2-ioctl.c: the most clips and EDID blocks, and the bytes of a block. */
const CLIPS_MAX: u32 = 2048;
const EDID_BLOCKS_MAX: u32 = 256;
const EDID_BLOCK_BYTES: u32 = 128;
/** Memory-to-memory devices add this to the offsets of their capture buffers (v4l2-mem2mem.c, DST_QUEUE_OFF_BASE). */
const CAPTURE_OFFSET_BASE: u64 = 1 << 30;

/** Sets, a bit each: buffer types with a v4l2_window, and memories. */
const WINDOW_TYPES: u32 = (1 << v.V4L2_BUF_TYPE_VIDEO_OVERLAY) | (1 << v.V4L2_BUF_TYPE_VIDEO_OUTPUT_OVERLAY);
const MMAP_OR_DMABUF: u32 = (1 << v.V4L2_MEMORY_MMAP) | (1 << v.V4L2_MEMORY_DMABUF);
const REFUSED_BUF_CAPS: u64 = v.V4L2_BUF_CAP_SUPPORTS_USERPTR | v.V4L2_BUF_CAP_SUPPORTS_REQUESTS;

commands([v.VIDIOC_QUERYCAP]);
settles(capabilities);
steady();
commands([v.VIDIOC_ENUM_FMT, v.VIDIOC_ENUM_FRAMESIZES, v.VIDIOC_ENUM_FRAMEINTERVALS]);
steady();
commands([v.VIDIOC_G_FMT, v.VIDIOC_S_FMT, v.VIDIOC_TRY_FMT]);
fills(v.v4l2_format.fmt_win_clips, v.v4l2_format.fmt_win_clipcount, v.v4l2_clip.SIZE);
atMost(CLIPS_MAX, EINVAL, TOO_MANY);
onlyFor(WINDOW_TYPES, v.v4l2_format.type, 4);
comesBack();
without(ALL_BITS, v.v4l2_format.fmt_win_bitmap, 8, EINVAL, BITMAP);
onlyFor(WINDOW_TYPES, v.v4l2_format.type, 4);
commands([v.VIDIOC_G_PARM, v.VIDIOC_S_PARM, v.VIDIOC_G_JPEGCOMP, v.VIDIOC_S_JPEGCOMP]);
commands([v.VIDIOC_G_PRIORITY, v.VIDIOC_S_PRIORITY, v.VIDIOC_LOG_STATUS, v.VIDIOC_DBG_G_CHIP_INFO]);
refuse([v.VIDIOC_DBG_S_REGISTER, v.VIDIOC_DBG_G_REGISTER], ENOTTY, DEBUGGING);

// Inputs, outputs, and what goes over them.
commands([v.VIDIOC_ENUMINPUT, v.VIDIOC_G_INPUT, v.VIDIOC_S_INPUT]);
commands([v.VIDIOC_ENUMOUTPUT, v.VIDIOC_G_OUTPUT, v.VIDIOC_S_OUTPUT]);
commands([v.VIDIOC_ENUMAUDIO, v.VIDIOC_G_AUDIO, v.VIDIOC_S_AUDIO]);
commands([v.VIDIOC_ENUMAUDOUT, v.VIDIOC_G_AUDOUT, v.VIDIOC_S_AUDOUT]);
commands([v.VIDIOC_ENUMSTD, v.VIDIOC_G_STD, v.VIDIOC_S_STD, v.VIDIOC_QUERYSTD]);
commands([v.VIDIOC_ENUM_DV_TIMINGS, v.VIDIOC_DV_TIMINGS_CAP, v.VIDIOC_G_DV_TIMINGS, v.VIDIOC_S_DV_TIMINGS]);
commands([v.VIDIOC_QUERY_DV_TIMINGS], ALWAYS_COPY);
commands([v.VIDIOC_G_EDID, v.VIDIOC_S_EDID], ALWAYS_COPY);
fills(v.v4l2_edid.edid, v.v4l2_edid.blocks, EDID_BLOCK_BYTES);
atMost(EDID_BLOCKS_MAX, EINVAL, TOO_MANY);
comesBack();
commands([v.VIDIOC_G_TUNER, v.VIDIOC_S_TUNER, v.VIDIOC_G_MODULATOR, v.VIDIOC_S_MODULATOR]);
commands([v.VIDIOC_ENUM_FREQ_BANDS, v.VIDIOC_G_FREQUENCY, v.VIDIOC_S_FREQUENCY]);
commands([v.VIDIOC_S_HW_FREQ_SEEK], BLOCKING);

// Cropping and overlays.
commands([v.VIDIOC_CROPCAP, v.VIDIOC_G_CROP, v.VIDIOC_S_CROP, v.VIDIOC_G_SELECTION, v.VIDIOC_S_SELECTION]);
commands([v.VIDIOC_OVERLAY, v.VIDIOC_G_SLICED_VBI_CAP]);
commands([v.VIDIOC_G_FBUF]);
hides(v.V4L2_FBUF_CAP_BITMAP_CLIPPING, v.v4l2_framebuffer.capability, 4);
// A driver asks for CAP_SYS_ADMIN before it takes a framebuffer's physical address; taking none needs nothing.
commands([v.VIDIOC_S_FBUF]);
without(ALL_BITS, v.v4l2_framebuffer.base, 8, EPERM, FRAMEBUFFER);

// Controls and events.
commands([v.VIDIOC_QUERYCTRL, v.VIDIOC_QUERY_EXT_CTRL, v.VIDIOC_QUERYMENU, v.VIDIOC_G_CTRL, v.VIDIOC_S_CTRL]);
commands([v.VIDIOC_G_EXT_CTRLS, v.VIDIOC_S_EXT_CTRLS, v.VIDIOC_TRY_EXT_CTRLS], ALWAYS_COPY);
fills(v.v4l2_ext_controls.controls, v.v4l2_ext_controls.count, v.v4l2_ext_control.SIZE);
atMost(v.V4L2_CID_MAX_CTRLS, EINVAL, TOO_MANY);
payloads(v.v4l2_ext_control.string, v.v4l2_ext_control.size);
comesBack();
never(v.V4L2_CTRL_WHICH_REQUEST_VAL, v.v4l2_ext_controls.which, 4, EBADR, REQUESTS);
commands([v.VIDIOC_SUBSCRIBE_EVENT]);
marks(SUBSCRIBED);
commands([v.VIDIOC_UNSUBSCRIBE_EVENT]);
commands([v.VIDIOC_DQEVENT], BLOCKING);

// Codecs.
commands([v.VIDIOC_ENCODER_CMD, v.VIDIOC_TRY_ENCODER_CMD, v.VIDIOC_G_ENC_INDEX]);
commands([v.VIDIOC_DECODER_CMD, v.VIDIOC_TRY_DECODER_CMD]);

// Buffers. Memory of the guest is answered as by a driver without it.
commands([v.VIDIOC_REQBUFS]);
among(MMAP_OR_DMABUF, v.v4l2_requestbuffers.memory, 4, EINVAL, USERPTR);
hides(REFUSED_BUF_CAPS, v.v4l2_requestbuffers.capabilities, 4);
empties(OUTPUT_OFFSETS);
onlyFor(v.OUTPUT_TYPES, v.v4l2_requestbuffers.type, 4);
empties(CAPTURE_OFFSETS);
onlyFor(~v.OUTPUT_TYPES, v.v4l2_requestbuffers.type, 4);
settles(buffersRequested);
commands([v.VIDIOC_CREATE_BUFS]);
among(MMAP_OR_DMABUF, v.v4l2_create_buffers.memory, 4, EINVAL, USERPTR);
hides(REFUSED_BUF_CAPS, v.v4l2_create_buffers.capabilities, 4);
settles(buffersCreated);
commands([v.VIDIOC_QUERYBUF], 0, (): void => planeDescriptors(REPEATED));
planes();
settles(learnOffsets);
commands([v.VIDIOC_QBUF], 0, givenDescriptors);
ownBuffer(EBADR);
commands([v.VIDIOC_PREPARE_BUF], 0, givenDescriptors);
ownBuffer(EINVAL);
commands([v.VIDIOC_DQBUF], BLOCKING, (): void => planeDescriptors(REPEATED));
planes();
commands([v.VIDIOC_EXPBUF]);
makesFd(DMA_BUF, v.v4l2_exportbuffer.fd, v.v4l2_exportbuffer.flags);
commands([v.VIDIOC_STREAMON]);
settles((): void => queue(u32At(HEAD, 0), STREAMS_CAPTURE, true));
commands([v.VIDIOC_STREAMOFF]);
settles((): void => queue(u32At(HEAD, 0), STREAMS_CAPTURE, false));

hooks.read = hooks.write = admitted;
hooks.mmap = (): void => {
  requireHandle(SESSION, offsetsOf(call.state, call.offset), OFFSET, 0, 8, EINVAL, FOREIGN_BUFFER);
};
hooks.settle = events;

function isOneOf(types: u32, type: u32): bool {
  return type < 32 && (types & (1 << type)) != 0;
}

/** The planes of a multi-planar buffer are an array. */
function planes(): void {
  fills(v.v4l2_buffer.m_planes, v.v4l2_buffer.length, v.v4l2_plane.SIZE);
  atMost(v.VIDEO_MAX_PLANES, EINVAL, TOO_MANY);
  onlyFor(v.MULTIPLANAR_TYPES, v.v4l2_buffer.type, 4);
  comesBack();
}

/** vb2_queue_or_prepare_buf checks the buffer first and the request last. */
function ownBuffer(requestErrno: u32): void {
  among(MMAP_OR_DMABUF, v.v4l2_buffer.memory, 4, EINVAL, USERPTR);
  planes();
  without(v.V4L2_BUF_FLAG_REQUEST_FD, v.v4l2_buffer.flags, 4, requestErrno, REQUESTS);
}

function givenDescriptors(): void {
  if (u32At(HEAD, v.v4l2_buffer.memory) == v.V4L2_MEMORY_DMABUF) planeDescriptors(INTO_DRIVER);
}

/** In a queue for DMABUF each plane has a descriptor where others have an offset. */
function planeDescriptors(flow: u8): void {
  if (!isOneOf(v.MULTIPLANAR_TYPES, u32At(HEAD, v.v4l2_buffer.type)))
    return passDescriptor(DMA_BUF, flow, HEAD, v.v4l2_buffer.m_offset);
  const count = u64At(HEAD, v.v4l2_buffer.m_planes) == 0 ? 0 : u32At(HEAD, v.v4l2_buffer.length);
  for (let plane: u32 = 0; plane < min<u32>(count, v.VIDEO_MAX_PLANES); plane++)
    passDescriptor(DMA_BUF, flow, 1, plane * v.v4l2_plane.SIZE + v.v4l2_plane.m_mem_offset);
}

/** The offsets that the session may map `offset` by: with both queues its own, the offset tells them apart. */
function offsetsOf(state: u64, offset: u64): u32 {
  if ((state & OWNS_OUTPUT) == 0) return CAPTURE_OFFSETS;
  return state & OWNS_CAPTURE && offset >= CAPTURE_OFFSET_BASE ? CAPTURE_OFFSETS : OUTPUT_OFFSETS;
}

function capabilities(): void {
  const caps = u32At(HEAD, v.v4l2_capability.device_caps);
  if ((caps & v.V4L2_CAP_READWRITE) == 0) return;
  after.state |= caps & v.OUTPUT_CAPS ? WRITABLE : READABLE;
}

/** Sets or clears a bit of the capture queue, or the bit above it, which is the output queue's. */
function queue(type: u32, captureBit: u64, set: bool): void {
  const bit = isOneOf(v.OUTPUT_TYPES, type) ? captureBit << 1 : captureBit;
  after.state = set ? after.state | bit : after.state & ~bit;
}

/** Requesting buffers frees those there were, and stops the queue. */
function buffersRequested(): void {
  const type = u32At(HEAD, v.v4l2_requestbuffers.type);
  queue(type, OWNS_CAPTURE, u32At(HEAD, v.v4l2_requestbuffers.count) != 0);
  queue(type, STREAMS_CAPTURE, false);
}

function buffersCreated(): void {
  const type = u32At(HEAD, v.v4l2_create_buffers.format_type);
  if (u32At(HEAD, v.v4l2_create_buffers.count) != 0) queue(type, OWNS_CAPTURE, true);
}

/** Anyone may query anyone's buffers, which may have descriptors instead; only the session whose buffers they are learns where to map them. */
function learnOffsets(): void {
  const type = u32At(HEAD, v.v4l2_buffer.type);
  const isOutput = isOneOf(v.OUTPUT_TYPES, type);
  const isOwn = (call.state & (isOutput ? OWNS_OUTPUT : OWNS_CAPTURE)) != 0;
  if (!isOwn || u32At(HEAD, v.v4l2_buffer.memory) != v.V4L2_MEMORY_MMAP) return;
  const offsets = isOutput ? OUTPUT_OFFSETS : CAPTURE_OFFSETS;
  if (!isOneOf(v.MULTIPLANAR_TYPES, type)) return learn(offsets, HEAD, v.v4l2_buffer.m_offset, 4);
  const count = min(u32At(HEAD, v.v4l2_buffer.length), v.VIDEO_MAX_PLANES);
  for (let plane: u32 = 0; plane < count; plane++) {
    learn(offsets, 1, plane * v.v4l2_plane.SIZE + v.v4l2_plane.m_mem_offset, 4);
  }
}

/**
 * A first read or write starts the driver's own streaming, even when it would have to wait. So does vb2_poll, which is why the driver is
 * asked only where a queue is at work already.
 */
function events(): void {
  const hasBegun = call.outcome > 0 || call.outcome == -(<i64>EAGAIN);
  if (hasBegun && call.operation == Operation.Read) after.state |= READS;
  if (hasBegun && call.operation == Operation.Write) after.state |= WRITES;
  const state = after.state;
  after.watch = POLLPRI;
  if (state & (STREAMS_CAPTURE | READS) || call.node == RADIO) after.watch |= READING;
  if (state & (STREAMS_OUTPUT | WRITES)) after.watch |= WRITING;
  if (after.watch != POLLPRI) return;
  if (state & READABLE && (state & OWNS_CAPTURE) == 0) after.idle |= READING;
  if (state & WRITABLE && (state & OWNS_OUTPUT) == 0) after.idle |= WRITING;
  if (after.idle != 0) return;
  // A socket's error wakes whoever polls, whatever for: it would hide from those who wait for events that there are none.
  after.idle = state & SUBSCRIBED ? READING | WRITING : POLLERR;
}
