/**
 * Sound cards: PCM streams, raw MIDI, controls, timers and hardware-dependent devices (sound/asound.h; what is a pointer, and which of the
 * _IOR commands read their argument too, is in sound/core/{pcm_native,rawmidi,control,control_compat,timer,hwdep}.c).
 */
import * as a from './__generated__/asound';
import { after, ALL_ACCESS, ALONE, atMost, BLOCKING, BOTH_WAYS, call, commands, commandsWith } from './sdk';
import { deny, device, EACCES, EBADF, EBADFD, EINVAL, ENOMEM, EPERM, fills, HEAD, hooks } from './sdk';
import { NESTED, nested, nestedBytes, nestedRead, never, POLLERR, PROT_WRITE, READING, reason } from './sdk';
import { refuse, resets, settles, tail, TO_DRIVER, u32At, u64At, words, WRITING } from './sdk';

export { admit, cabi_realloc, complete, describe } from './sdk';

device('alsa', a.nameOf);

const FIRMWARE = reason('firmware is loaded by the owner of the driver domain');
const DESCRIPTOR = reason('descriptors do not cross between the domains: streams are not linked');
const USER_CONTROLS = reason('a control made by a guest would appear to every guest');
const EVERYONES = reason('the setting would change it for every guest');
const SLAVE = reason('a slave timer could follow the timer of another guest');
const UNCONFIGURED = reason('the stream has no hardware parameters, so that a frame has no size');
const TOO_LONG = reason('more bytes than one operation may carry');
const NOWHERE = reason('nothing is mapped at that offset');
const READ_ONLY = reason('only the driver writes the status page');
const HWDEP_DATA = reason('hardware-dependent devices are asked, but not read, written or mapped');

/** Indices in the manifest's nodes. */
const CONTROL: u32 = 0;
const PCM: u32 = 1;
const HWDEP: u32 = 3;
const MIDI: u32 = 4;
/** speaker-test writes 512 KiB at once; a backend process's arena has room for 768 KiB. */
const TRANSFER_BYTES_MAX: u32 = 640 * 1024;
/** As SDK's and envelope's limit: the data, and a pointer a channel. */
const GRANT_BYTES_MAX: u32 = TRANSFER_BYTES_MAX + 64 * 8;
/** Controls in one list; the largest cards have some hundreds. */
const CONTROLS_MAX: u32 = 2048;
/** alsa-lib's tools ask for 4096 bytes. */
const TLV_BYTES_MAX: u32 = 8192;
/** With the array of pointers, the SDK's and the envelope's number of regions. */
const CHANNELS_MAX: u32 = 63;
const TRANSFER: u32 = BLOCKING | NESTED;

/** Session state of a stream: the bits of a frame, and the channels. */
const BITS_MASK: u64 = 0xffffffff;
const CHANNELS_SHIFT: u64 = 32;
/** Session state of a control: it has subscribed to events. */
const SUBSCRIBED: u64 = 1;

nestedBytes(GRANT_BYTES_MAX);

commands([a.SNDRV_HWDEP_IOCTL_PVERSION, a.SNDRV_HWDEP_IOCTL_INFO, a.SNDRV_HWDEP_IOCTL_DSP_STATUS]);
refuse([a.SNDRV_HWDEP_IOCTL_DSP_LOAD], EPERM, FIRMWARE);

commands([a.SNDRV_PCM_IOCTL_PVERSION, a.SNDRV_PCM_IOCTL_USER_PVERSION, a.SNDRV_PCM_IOCTL_INFO]);
commandsWith(BOTH_WAYS, [a.SNDRV_PCM_IOCTL_CHANNEL_INFO]);
commands([a.SNDRV_PCM_IOCTL_HW_REFINE]);
// A transfer's bytes are reckoned by the frame's size: none may be under way while it changes.
commands([a.SNDRV_PCM_IOCTL_HW_PARAMS], ALONE);
settles(configured);
commands([a.SNDRV_PCM_IOCTL_HW_FREE]);
resets();
commands([a.SNDRV_PCM_IOCTL_SW_PARAMS, a.SNDRV_PCM_IOCTL_TSTAMP, a.SNDRV_PCM_IOCTL_TTSTAMP]);
commands([a.SNDRV_PCM_IOCTL_STATUS, a.SNDRV_PCM_IOCTL_STATUS_EXT, a.SNDRV_PCM_IOCTL_DELAY]);
commands([a.SNDRV_PCM_IOCTL_HWSYNC, a.SNDRV_PCM_IOCTL_SYNC_PTR]);
commands([a.SNDRV_PCM_IOCTL_PREPARE, a.SNDRV_PCM_IOCTL_RESET, a.SNDRV_PCM_IOCTL_START]);
commands([a.SNDRV_PCM_IOCTL_DROP, a.SNDRV_PCM_IOCTL_RESUME, a.SNDRV_PCM_IOCTL_XRUN]);
commands([a.SNDRV_PCM_IOCTL_DRAIN], BLOCKING);
words([a.SNDRV_PCM_IOCTL_PAUSE]);
// The result is in the argument, also when the command fails.
commandsWith(ALL_ACCESS, [a.SNDRV_PCM_IOCTL_REWIND, a.SNDRV_PCM_IOCTL_FORWARD]);
commandsWith(ALL_ACCESS, [a.SNDRV_PCM_IOCTL_WRITEI_FRAMES, a.SNDRV_PCM_IOCTL_READI_FRAMES], TRANSFER, frames);
commandsWith(ALL_ACCESS, [a.SNDRV_PCM_IOCTL_WRITEN_FRAMES, a.SNDRV_PCM_IOCTL_READN_FRAMES], TRANSFER, planes);
commands([a.SNDRV_PCM_IOCTL_UNLINK]);
refuse([a.SNDRV_PCM_IOCTL_LINK], EBADF, DESCRIPTOR);

commands([a.SNDRV_RAWMIDI_IOCTL_PVERSION, a.SNDRV_RAWMIDI_IOCTL_USER_PVERSION]);
commandsWith(BOTH_WAYS, [a.SNDRV_RAWMIDI_IOCTL_INFO]);
commands([a.SNDRV_RAWMIDI_IOCTL_PARAMS, a.SNDRV_RAWMIDI_IOCTL_STATUS, a.SNDRV_RAWMIDI_IOCTL_DROP]);
commands([a.SNDRV_RAWMIDI_IOCTL_DRAIN], BLOCKING);

commands([a.SNDRV_TIMER_IOCTL_PVERSION, a.SNDRV_TIMER_IOCTL_NEXT_DEVICE]);
commands([a.SNDRV_TIMER_IOCTL_TREAD_OLD, a.SNDRV_TIMER_IOCTL_TREAD64]);
commands([a.SNDRV_TIMER_IOCTL_GINFO, a.SNDRV_TIMER_IOCTL_GSTATUS]);
refuse([a.SNDRV_TIMER_IOCTL_GPARAMS], EPERM, EVERYONES);
commands([a.SNDRV_TIMER_IOCTL_SELECT]);
never(a.SNDRV_TIMER_CLASS_SLAVE, a.snd_timer_select.id_dev_class, 4, EINVAL, SLAVE);
commands([a.SNDRV_TIMER_IOCTL_INFO, a.SNDRV_TIMER_IOCTL_PARAMS, a.SNDRV_TIMER_IOCTL_STATUS]);
commands([a.SNDRV_TIMER_IOCTL_START, a.SNDRV_TIMER_IOCTL_STOP]);
commands([a.SNDRV_TIMER_IOCTL_CONTINUE, a.SNDRV_TIMER_IOCTL_PAUSE]);

commands([a.SNDRV_CTL_IOCTL_PVERSION, a.SNDRV_CTL_IOCTL_CARD_INFO, a.SNDRV_CTL_IOCTL_POWER_STATE]);
refuse([a.SNDRV_CTL_IOCTL_POWER, a.SNDRV_CTL_IOCTL_ELEM_LOCK], EPERM, EVERYONES);
commands([a.SNDRV_CTL_IOCTL_ELEM_LIST]);
fills(a.snd_ctl_elem_list.pids, a.snd_ctl_elem_list.space, a.snd_ctl_elem_id.SIZE);
atMost(CONTROLS_MAX, ENOMEM, TOO_LONG);
commands([a.SNDRV_CTL_IOCTL_ELEM_INFO, a.SNDRV_CTL_IOCTL_ELEM_READ, a.SNDRV_CTL_IOCTL_ELEM_WRITE]);
commands([a.SNDRV_CTL_IOCTL_ELEM_UNLOCK]);
commands([a.SNDRV_CTL_IOCTL_TLV_READ, a.SNDRV_CTL_IOCTL_TLV_WRITE, a.SNDRV_CTL_IOCTL_TLV_COMMAND]);
tail(a.snd_ctl_tlv.length);
atMost(TLV_BYTES_MAX, ENOMEM, TOO_LONG);
refuse([a.SNDRV_CTL_IOCTL_ELEM_ADD, a.SNDRV_CTL_IOCTL_ELEM_REPLACE], EPERM, USER_CONTROLS);
refuse([a.SNDRV_CTL_IOCTL_ELEM_REMOVE], EPERM, USER_CONTROLS);
commands([a.SNDRV_CTL_IOCTL_SUBSCRIBE_EVENTS]);
settles(subscribed);
commands([a.SNDRV_CTL_IOCTL_HWDEP_NEXT_DEVICE, a.SNDRV_CTL_IOCTL_RAWMIDI_NEXT_DEVICE]);
commandsWith(BOTH_WAYS, [a.SNDRV_CTL_IOCTL_PCM_NEXT_DEVICE, a.SNDRV_CTL_IOCTL_HWDEP_INFO]);
commands([a.SNDRV_CTL_IOCTL_PCM_INFO, a.SNDRV_CTL_IOCTL_PCM_PREFER_SUBDEVICE]);
commands([a.SNDRV_CTL_IOCTL_RAWMIDI_INFO, a.SNDRV_CTL_IOCTL_RAWMIDI_PREFER_SUBDEVICE]);

hooks.read = hooks.write = transfer;
hooks.mmap = map;
hooks.settle = events;

function transfer(): void {
  if (call.node == HWDEP) deny(EINVAL, HWDEP_DATA);
}

/** Data from its start, and the pages of status and control by either of their offsets. */
function map(): void {
  if (call.node != PCM) return deny(EINVAL, NOWHERE);
  switch (call.offset) {
    case a.SNDRV_PCM_MMAP_OFFSET_STATUS_OLD:
    case a.SNDRV_PCM_MMAP_OFFSET_STATUS_NEW:
      if (call.command & PROT_WRITE) deny(EACCES, READ_ONLY);
      return;
    case a.SNDRV_PCM_MMAP_OFFSET_DATA:
    case a.SNDRV_PCM_MMAP_OFFSET_CONTROL_OLD:
    case a.SNDRV_PCM_MMAP_OFFSET_CONTROL_NEW:
      return;
  }
  deny(EINVAL, NOWHERE);
}

/** The bytes of `count` frames of `bits` bits, or a denial. */
function bytesFor(count: u64, bits: u64): u32 {
  if (bits == 0) deny(EBADFD, UNCONFIGURED);
  else if (count > 8 * TRANSFER_BYTES_MAX || (count * bits) / 8 > TRANSFER_BYTES_MAX)
    deny(ENOMEM, TOO_LONG, a.snd_xferi.frames);
  else return <u32>((count * bits) / 8);
  return 0;
}

/** Without a buffer, playback is silence. What the driver leaves alone of a buffer stays: a capture's own bytes go in first. */
function frames(): void {
  const bytes = bytesFor(u64At(HEAD, a.snd_xferi.frames), call.state & BITS_MASK);
  const access: u8 = call.command == a.SNDRV_PCM_IOCTL_WRITEI_FRAMES ? TO_DRIVER : BOTH_WAYS;
  if (bytes != 0 && u64At(HEAD, a.snd_xferi.buf) != 0) nested(HEAD, a.snd_xferi.buf, bytes, access);
}

/** A buffer a channel; a channel without one is silent. */
function planes(): void {
  const count = <u32>(call.state >> CHANNELS_SHIFT);
  if (count > CHANNELS_MAX) return deny(ENOMEM, TOO_LONG);
  const bits = count == 0 ? 0 : (call.state & BITS_MASK) / count;
  const bytes = bytesFor(u64At(HEAD, a.snd_xfern.frames), bits);
  const access: u8 = call.command == a.SNDRV_PCM_IOCTL_WRITEN_FRAMES ? TO_DRIVER : BOTH_WAYS;
  const buffers = bytes == 0 ? 0 : nestedRead(HEAD, a.snd_xfern.bufs, count * 8, TO_DRIVER);
  for (let at: u32 = 0; buffers != 0 && at < count * 8; at += 8) {
    if (u64At(buffers, at) != 0) nested(buffers, at, bytes, access);
  }
}

function configured(): void {
  after.state = ((<u64>u32At(HEAD, a.CHANNELS)) << CHANNELS_SHIFT) | u32At(HEAD, a.FRAME_BITS);
}

function subscribed(): void {
  after.state = u32At(HEAD, 0) != 0 ? SUBSCRIBED : 0;
}

/** A control that has not subscribed has no queue to wait in: it would be asked once, and never again. */
function events(): void {
  if (call.node != CONTROL || after.state & SUBSCRIBED) after.watch = READING;
  if (call.node == PCM || call.node == MIDI) after.watch |= WRITING | POLLERR;
}
