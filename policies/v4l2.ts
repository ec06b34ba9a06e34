/** Video4Linux2: cameras, tuners, codecs (videodev2.h; what the kernel does is in v4l2-ioctl.c and videobuf2-v4l2.c). */
import {
  EAGAIN,
  EBADR,
  EINVAL,
  ENOTTY,
  EPERM,
  O_CLOEXEC,
  POLLERR,
  POLLIN,
  POLLOUT,
} from './__generated__/kernel';
import { POLLPRI, POLLRDNORM, POLLWRNORM } from './__generated__/kernel';
import * as v from './__generated__/videodev2';
import { admitted, after, ALL_ACCESS, ALWAYS_COPY, BLOCKING, bytesOf, call, deny, device } from './sdk';
import { DMA_BUF, forget, HEAD, headIs, hooks, learn, makesDescriptor, mask, NESTED, nested } from './sdk';
import { nestedRead, OFFSET, Operation, reason, refuse, repeatsDescriptor, requireHandle } from './sdk';
import { row, table, takesDescriptor, u32At, u64At } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('v4l2');

const USERPTR = reason(
  'memory of the guest is not lent to the driver: only V4L2_MEMORY_MMAP and V4L2_MEMORY_DMABUF',
);
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

/** The types of buffers with a v4l2_window, a bit each. */
const WINDOW_TYPES: u32 = (1 << v.V4L2_BUF_TYPE_VIDEO_OVERLAY) | (1 << v.V4L2_BUF_TYPE_VIDEO_OUTPUT_OVERLAY);

/** What tells an output device from a capture device. */
const OUTPUT_CAPS: u32 =
  v.V4L2_CAP_VIDEO_OUTPUT |
  v.V4L2_CAP_VIDEO_OUTPUT_MPLANE |
  v.V4L2_CAP_VBI_OUTPUT |
  v.V4L2_CAP_SLICED_VBI_OUTPUT |
  v.V4L2_CAP_SDR_OUTPUT |
  v.V4L2_CAP_META_OUTPUT;
const REFUSED_BUF_CAPS: u64 = v.V4L2_BUF_CAP_SUPPORTS_USERPTR | v.V4L2_BUF_CAP_SUPPORTS_REQUESTS;

row('VIDIOC_QUERYCAP', v.VIDIOC_QUERYCAP);
row('VIDIOC_ENUM_FMT', v.VIDIOC_ENUM_FMT);
row('VIDIOC_G_FMT', v.VIDIOC_G_FMT, NESTED, window);
row('VIDIOC_S_FMT', v.VIDIOC_S_FMT, NESTED, window);
row('VIDIOC_REQBUFS', v.VIDIOC_REQBUFS, 0, requestBuffers);
row('VIDIOC_QUERYBUF', v.VIDIOC_QUERYBUF, NESTED, planes);
row('VIDIOC_G_FBUF', v.VIDIOC_G_FBUF);
row('VIDIOC_S_FBUF', v.VIDIOC_S_FBUF, 0, framebuffer);
row('VIDIOC_OVERLAY', v.VIDIOC_OVERLAY);
row('VIDIOC_QBUF', v.VIDIOC_QBUF, NESTED, queueBuffer);
row('VIDIOC_EXPBUF', v.VIDIOC_EXPBUF, 0, exportBuffer);
row('VIDIOC_DQBUF', v.VIDIOC_DQBUF, BLOCKING | NESTED, planes);
row('VIDIOC_STREAMON', v.VIDIOC_STREAMON);
row('VIDIOC_STREAMOFF', v.VIDIOC_STREAMOFF);
row('VIDIOC_G_PARM', v.VIDIOC_G_PARM);
row('VIDIOC_S_PARM', v.VIDIOC_S_PARM);
row('VIDIOC_G_STD', v.VIDIOC_G_STD);
row('VIDIOC_S_STD', v.VIDIOC_S_STD);
row('VIDIOC_ENUMSTD', v.VIDIOC_ENUMSTD);
row('VIDIOC_ENUMINPUT', v.VIDIOC_ENUMINPUT);
row('VIDIOC_G_CTRL', v.VIDIOC_G_CTRL);
row('VIDIOC_S_CTRL', v.VIDIOC_S_CTRL);
row('VIDIOC_G_TUNER', v.VIDIOC_G_TUNER);
row('VIDIOC_S_TUNER', v.VIDIOC_S_TUNER);
row('VIDIOC_G_AUDIO', v.VIDIOC_G_AUDIO);
row('VIDIOC_S_AUDIO', v.VIDIOC_S_AUDIO);
row('VIDIOC_QUERYCTRL', v.VIDIOC_QUERYCTRL);
row('VIDIOC_QUERYMENU', v.VIDIOC_QUERYMENU);
row('VIDIOC_G_INPUT', v.VIDIOC_G_INPUT);
row('VIDIOC_S_INPUT', v.VIDIOC_S_INPUT);
row('VIDIOC_G_EDID', v.VIDIOC_G_EDID, ALWAYS_COPY | NESTED, edid);
row('VIDIOC_S_EDID', v.VIDIOC_S_EDID, ALWAYS_COPY | NESTED, edid);
row('VIDIOC_G_OUTPUT', v.VIDIOC_G_OUTPUT);
row('VIDIOC_S_OUTPUT', v.VIDIOC_S_OUTPUT);
row('VIDIOC_ENUMOUTPUT', v.VIDIOC_ENUMOUTPUT);
row('VIDIOC_G_AUDOUT', v.VIDIOC_G_AUDOUT);
row('VIDIOC_S_AUDOUT', v.VIDIOC_S_AUDOUT);
row('VIDIOC_G_MODULATOR', v.VIDIOC_G_MODULATOR);
row('VIDIOC_S_MODULATOR', v.VIDIOC_S_MODULATOR);
row('VIDIOC_G_FREQUENCY', v.VIDIOC_G_FREQUENCY);
row('VIDIOC_S_FREQUENCY', v.VIDIOC_S_FREQUENCY);
row('VIDIOC_CROPCAP', v.VIDIOC_CROPCAP);
row('VIDIOC_G_CROP', v.VIDIOC_G_CROP);
row('VIDIOC_S_CROP', v.VIDIOC_S_CROP);
row('VIDIOC_G_JPEGCOMP', v.VIDIOC_G_JPEGCOMP);
row('VIDIOC_S_JPEGCOMP', v.VIDIOC_S_JPEGCOMP);
row('VIDIOC_QUERYSTD', v.VIDIOC_QUERYSTD);
row('VIDIOC_TRY_FMT', v.VIDIOC_TRY_FMT, NESTED, window);
row('VIDIOC_ENUMAUDIO', v.VIDIOC_ENUMAUDIO);
row('VIDIOC_ENUMAUDOUT', v.VIDIOC_ENUMAUDOUT);
row('VIDIOC_G_PRIORITY', v.VIDIOC_G_PRIORITY);
row('VIDIOC_S_PRIORITY', v.VIDIOC_S_PRIORITY);
row('VIDIOC_G_SLICED_VBI_CAP', v.VIDIOC_G_SLICED_VBI_CAP);
row('VIDIOC_LOG_STATUS', v.VIDIOC_LOG_STATUS);
row('VIDIOC_G_EXT_CTRLS', v.VIDIOC_G_EXT_CTRLS, ALWAYS_COPY | NESTED, controls);
row('VIDIOC_S_EXT_CTRLS', v.VIDIOC_S_EXT_CTRLS, ALWAYS_COPY | NESTED, controls);
row('VIDIOC_TRY_EXT_CTRLS', v.VIDIOC_TRY_EXT_CTRLS, ALWAYS_COPY | NESTED, controls);
row('VIDIOC_ENUM_FRAMESIZES', v.VIDIOC_ENUM_FRAMESIZES);
row('VIDIOC_ENUM_FRAMEINTERVALS', v.VIDIOC_ENUM_FRAMEINTERVALS);
row('VIDIOC_G_ENC_INDEX', v.VIDIOC_G_ENC_INDEX);
row('VIDIOC_ENCODER_CMD', v.VIDIOC_ENCODER_CMD);
row('VIDIOC_TRY_ENCODER_CMD', v.VIDIOC_TRY_ENCODER_CMD);
refuse('VIDIOC_DBG_S_REGISTER', v.VIDIOC_DBG_S_REGISTER, ENOTTY, DEBUGGING);
refuse('VIDIOC_DBG_G_REGISTER', v.VIDIOC_DBG_G_REGISTER, ENOTTY, DEBUGGING);
row('VIDIOC_S_HW_FREQ_SEEK', v.VIDIOC_S_HW_FREQ_SEEK, BLOCKING);
row('VIDIOC_S_DV_TIMINGS', v.VIDIOC_S_DV_TIMINGS);
row('VIDIOC_G_DV_TIMINGS', v.VIDIOC_G_DV_TIMINGS);
row('VIDIOC_DQEVENT', v.VIDIOC_DQEVENT, BLOCKING);
row('VIDIOC_SUBSCRIBE_EVENT', v.VIDIOC_SUBSCRIBE_EVENT);
row('VIDIOC_UNSUBSCRIBE_EVENT', v.VIDIOC_UNSUBSCRIBE_EVENT);
row('VIDIOC_CREATE_BUFS', v.VIDIOC_CREATE_BUFS, 0, createBuffers);
row('VIDIOC_PREPARE_BUF', v.VIDIOC_PREPARE_BUF, NESTED, prepareBuffer);
row('VIDIOC_G_SELECTION', v.VIDIOC_G_SELECTION);
row('VIDIOC_S_SELECTION', v.VIDIOC_S_SELECTION);
row('VIDIOC_DECODER_CMD', v.VIDIOC_DECODER_CMD);
row('VIDIOC_TRY_DECODER_CMD', v.VIDIOC_TRY_DECODER_CMD);
row('VIDIOC_ENUM_DV_TIMINGS', v.VIDIOC_ENUM_DV_TIMINGS);
row('VIDIOC_QUERY_DV_TIMINGS', v.VIDIOC_QUERY_DV_TIMINGS, ALWAYS_COPY);
row('VIDIOC_DV_TIMINGS_CAP', v.VIDIOC_DV_TIMINGS_CAP);
row('VIDIOC_ENUM_FREQ_BANDS', v.VIDIOC_ENUM_FREQ_BANDS);
row('VIDIOC_DBG_G_CHIP_INFO', v.VIDIOC_DBG_G_CHIP_INFO);
row('VIDIOC_QUERY_EXT_CTRL', v.VIDIOC_QUERY_EXT_CTRL);

hooks.read = admitted;
hooks.write = admitted;
hooks.mmap = (): void => {
  requireHandle(offsetsOf(call.state, call.offset), OFFSET, 0, 8, EINVAL, FOREIGN_BUFFER);
};
hooks.settle = settle;

function isOneOf(types: u32, type: u32): bool {
  return type < 32 && (types & (1 << type)) != 0;
}

/** G_FMT, S_FMT and TRY_FMT: an overlay's clips are an array; whatever happens, the core copies it back. */
function window(): void {
  if (!isOneOf(WINDOW_TYPES, u32At(HEAD, v.v4l2_format.type))) return;
  const clips = u32At(HEAD, v.v4l2_format.fmt_win_clipcount);
  if (clips > CLIPS_MAX) return deny(EINVAL, TOO_MANY, v.v4l2_format.fmt_win_clipcount);
  if (u64At(HEAD, v.v4l2_format.fmt_win_bitmap) != 0)
    return deny(EINVAL, BITMAP, v.v4l2_format.fmt_win_bitmap);
  if (clips != 0) array(v.v4l2_format.fmt_win_clips, clips * v.v4l2_clip.SIZE);
}

/** The array that a pointer in the head leads to: the core copies array and head back even when the driver fails. */
function array(offset: u32, bytes: u32): void {
  headIs(ALL_ACCESS);
  nested(HEAD, offset, bytes, ALL_ACCESS);
}

function requestBuffers(): void {
  withoutUserMemory(v.v4l2_requestbuffers.memory);
}

function createBuffers(): void {
  withoutUserMemory(v.v4l2_create_buffers.memory);
}

/** Memory of the guest is answered as by a driver without it. */
function withoutUserMemory(offset: u32): void {
  const memory = u32At(HEAD, offset);
  if (memory != v.V4L2_MEMORY_MMAP && memory != v.V4L2_MEMORY_DMABUF) deny(EINVAL, USERPTR, offset);
}

function exportBuffer(): void {
  const flags = u32At(HEAD, v.v4l2_exportbuffer.flags);
  makesDescriptor(DMA_BUF, HEAD, v.v4l2_exportbuffer.fd, (flags & O_CLOEXEC) != 0);
}

function queueBuffer(): void {
  bufferWithoutRequest(EBADR);
}

function prepareBuffer(): void {
  bufferWithoutRequest(EINVAL);
}

/** vb2_queue_or_prepare_buf checks the buffer first and the request last. */
function bufferWithoutRequest(errno: u32): void {
  withoutUserMemory(v.v4l2_buffer.memory);
  planes();
  if (u32At(HEAD, v.v4l2_buffer.flags) & v.V4L2_BUF_FLAG_REQUEST_FD)
    deny(errno, REQUESTS, v.v4l2_buffer.request_fd);
}

/** The planes of a multi-planar buffer are an array. */
function planes(): void {
  const length = u32At(HEAD, v.v4l2_buffer.length);
  const isMultiplanar = isOneOf(v.MULTIPLANAR_TYPES, u32At(HEAD, v.v4l2_buffer.type));
  if (!isMultiplanar) return memoryOf(HEAD, v.v4l2_buffer.m_offset);
  if (length > v.VIDEO_MAX_PLANES) return deny(EINVAL, TOO_MANY, v.v4l2_buffer.length);
  if (length == 0) return;
  array(v.v4l2_buffer.m_planes, length * v.v4l2_plane.SIZE);
  for (let plane: u32 = 0; plane < length; plane++)
    memoryOf(1, plane * v.v4l2_plane.SIZE + v.v4l2_plane.m_mem_offset);
}

/** Where a plane's offset is there is its descriptor, if it has one: what is queued is told again when it is asked for. */
function memoryOf(region: u32, at: u32): void {
  if (call.command == v.VIDIOC_DQBUF || call.command == v.VIDIOC_QUERYBUF) {
    repeatsDescriptor(DMA_BUF, region, at);
  } else if (u32At(HEAD, v.v4l2_buffer.memory) == v.V4L2_MEMORY_DMABUF) {
    takesDescriptor(DMA_BUF, region, at);
  }
}

/** A driver asks for CAP_SYS_ADMIN before it takes a framebuffer's physical address; taking none needs nothing. */
function framebuffer(): void {
  if (u64At(HEAD, v.v4l2_framebuffer.base) != 0) deny(EPERM, FRAMEBUFFER, v.v4l2_framebuffer.base);
}

function edid(): void {
  const blocks = u32At(HEAD, v.v4l2_edid.blocks);
  if (blocks > EDID_BLOCKS_MAX) return deny(EINVAL, TOO_MANY, v.v4l2_edid.blocks);
  if (blocks != 0) array(v.v4l2_edid.edid, blocks * EDID_BLOCK_BYTES);
}

/** The controls are an array; each with a size has a payload of its own. */
function controls(): void {
  const count = u32At(HEAD, v.v4l2_ext_controls.count);
  if (count > v.V4L2_CID_MAX_CTRLS) return deny(EINVAL, TOO_MANY, v.v4l2_ext_controls.count);
  if (u32At(HEAD, v.v4l2_ext_controls.which) == v.V4L2_CTRL_WHICH_REQUEST_VAL) {
    return deny(EBADR, REQUESTS, v.v4l2_ext_controls.which);
  }
  if (count == 0) return;
  const list = nestedRead(HEAD, v.v4l2_ext_controls.controls, count * v.v4l2_ext_control.SIZE, ALL_ACCESS);
  for (let at: u32 = 0; list != 0 && at < bytesOf(list); at += v.v4l2_ext_control.SIZE) {
    const size = u32At(list, at + v.v4l2_ext_control.size);
    if (size != 0) nested(list, at + v.v4l2_ext_control.string, size, ALL_ACCESS);
  }
}

/** The offsets that the session may map `offset` by: with both queues its own, the offset tells them apart. */
function offsetsOf(state: u64, offset: u64): u32 {
  if ((state & OWNS_OUTPUT) == 0) return CAPTURE_OFFSETS;
  return state & OWNS_CAPTURE && offset >= CAPTURE_OFFSET_BASE ? CAPTURE_OFFSETS : OUTPUT_OFFSETS;
}

function settle(): void {
  if (call.operation == Operation.Read) settleTransfer(READS);
  else if (call.operation == Operation.Write) settleTransfer(WRITES);
  else if (call.operation == Operation.Ioctl && call.outcome >= 0) settleCommand();
  settleEvents();
}

/** A first read or write starts the driver's own streaming, even when it would have to wait. */
function settleTransfer(bit: u64): void {
  if (call.outcome > 0 || call.outcome == -(<i64>EAGAIN)) after.state |= bit;
}

function settleCommand(): void {
  switch (call.command) {
    case v.VIDIOC_QUERYCAP:
      return capabilities(u32At(HEAD, v.v4l2_capability.device_caps));
    case v.VIDIOC_STREAMON:
      return queue(u32At(HEAD, 0), STREAMS_CAPTURE, true);
    case v.VIDIOC_STREAMOFF:
      return queue(u32At(HEAD, 0), STREAMS_CAPTURE, false);
    case v.VIDIOC_REQBUFS:
      return buffersRequested();
    case v.VIDIOC_CREATE_BUFS:
      if (u32At(HEAD, v.v4l2_create_buffers.count) != 0) {
        queue(u32At(HEAD, v.v4l2_create_buffers.format_type), OWNS_CAPTURE, true);
      }
      return mask(HEAD, v.v4l2_create_buffers.capabilities, 4, ~REFUSED_BUF_CAPS);
    case v.VIDIOC_QUERYBUF:
      return learnOffsets();
    case v.VIDIOC_SUBSCRIBE_EVENT:
      after.state |= SUBSCRIBED;
      return;
    case v.VIDIOC_G_FBUF:
      return mask(HEAD, v.v4l2_framebuffer.capability, 4, ~(<u64>v.V4L2_FBUF_CAP_BITMAP_CLIPPING));
  }
}

function capabilities(caps: u32): void {
  if ((caps & v.V4L2_CAP_READWRITE) == 0) return;
  after.state |= caps & OUTPUT_CAPS ? WRITABLE : READABLE;
}

/** Sets or clears a bit of the capture queue, or the bit above it, which is the output queue's. */
function queue(type: u32, captureBit: u64, set: bool): void {
  const bit = isOneOf(v.OUTPUT_TYPES, type) ? captureBit << 1 : captureBit;
  after.state = set ? after.state | bit : after.state & ~bit;
}

/** Requesting buffers frees those there were, and stops the queue. */
function buffersRequested(): void {
  const type = u32At(HEAD, v.v4l2_requestbuffers.type);
  forget(isOneOf(v.OUTPUT_TYPES, type) ? OUTPUT_OFFSETS : CAPTURE_OFFSETS);
  queue(type, OWNS_CAPTURE, u32At(HEAD, v.v4l2_requestbuffers.count) != 0);
  queue(type, STREAMS_CAPTURE, false);
  mask(HEAD, v.v4l2_requestbuffers.capabilities, 4, ~REFUSED_BUF_CAPS);
}

/** Anyone may query anyone's buffers; only the session whose buffers they are learns where to map them. */
function learnOffsets(): void {
  const type = u32At(HEAD, v.v4l2_buffer.type);
  const isOutput = isOneOf(v.OUTPUT_TYPES, type);
  if (u32At(HEAD, v.v4l2_buffer.memory) != v.V4L2_MEMORY_MMAP) return;
  if ((call.state & (isOutput ? OWNS_OUTPUT : OWNS_CAPTURE)) == 0) return;
  const offsets = isOutput ? OUTPUT_OFFSETS : CAPTURE_OFFSETS;
  if (!isOneOf(v.MULTIPLANAR_TYPES, type)) return learn(offsets, HEAD, v.v4l2_buffer.m_offset, 4);
  const count = min(u32At(HEAD, v.v4l2_buffer.length), v.VIDEO_MAX_PLANES);
  for (let plane: u32 = 0; plane < count; plane++) {
    learn(offsets, 1, plane * v.v4l2_plane.SIZE + v.v4l2_plane.m_mem_offset, 4);
  }
}

/** vb2_poll starts read and write by itself, so the driver is asked only where a queue is at work already. */
function settleEvents(): void {
  const state = after.state;
  after.watch = POLLPRI;
  if (state & (STREAMS_CAPTURE | READS) || call.node == RADIO) after.watch |= POLLIN | POLLRDNORM;
  if (state & (STREAMS_OUTPUT | WRITES)) after.watch |= POLLOUT | POLLWRNORM;
  if (after.watch != POLLPRI) return;
  if (state & READABLE && (state & OWNS_CAPTURE) == 0) after.idle |= POLLIN | POLLRDNORM;
  if (state & WRITABLE && (state & OWNS_OUTPUT) == 0) after.idle |= POLLOUT | POLLWRNORM;
  if (after.idle != 0) return;
  // A socket's error wakes whoever polls, whatever for: it would hide from those who wait for events that there are none.
  after.idle = state & SUBSCRIBED ? POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM : POLLERR;
}
